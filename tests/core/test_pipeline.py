import pytest
import yaml

from cmbml.core import CmbmlError, load_config
from cmbml.core.engine.check import check_dvc, check_executors, check_plan
from cmbml.core.engine.dvc import dvc_yaml
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.yamlio import read_yaml
from tests.conftest import ROOT


def message(toy):
    with pytest.raises(CmbmlError) as caught:
        check(toy)
    return str(caught.value)


def check(toy):
    plan = Plan(load_config(toy.root))
    check_plan(plan)
    check_executors(plan)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("dir_name: double", "dirname: double", "stages.double: unknown key 'dirname': did you mean 'dir_name'"),
        ("{stage: number}", "{stage: numbr}", "no stage 'numbr': did you mean 'number'"),
        ("      number: {stage: number}", "      numbr: {stage: number}", "makes no 'numbr': did you mean 'number'"),
        ('handler: Config, path_template: "{root}/{dataset}/{stage}/{split}/{sim}/double',
         'handler: Confg, path_template: "{root}/{dataset}/{stage}/{split}/{sim}/double', "unknown handler 'Confg': did you mean 'Config'"),
        ("{sim}/double.yaml", "{smi}/double.yaml", "unknown tag {smi}.*did you mean 'sim'"),
        ("dir_name: double", "dir_name: double\n    splits: [trian]", "no split 'trian': did you mean 'train'"),
        ("{stage: number}", "{stage: number, split: tset}", "no split 'tset'"),
        ("dir_name: double", "dir_name: number", None),
        ("handler: Config", "handler: nowhere.Gone", "handler 'nowhere.Gone': cannot be imported"),
        ("params: [seed]", "params: [sede]", "no parameter 'sede': did you mean 'seed'"),
        ("params: [seed]", "params: [seed, mask]", "'mask' is declared but never read"),
        ("params: [seed]", "params: []", "add 'seed' to 'params' of stage 'number' in pipeline/toy.yaml"),
        ("toy.DoubleExecutor", "toy.DuobleExecutor", "no class 'DuobleExecutor': did you mean 'DoubleExecutor'"),
        ("toy.DoubleExecutor", "toy.NumberExecutor", "NumberExecutor is not made for stage 'double'"),
        ("{root}/{dataset}/{stage}/{split}/{sim}/double", "{root}/{dataset}/{stage}/{split}/double", "lacks {split} or {sim}"),
        ("{root}/{dataset}/{stage}/{split}/{sim}/double", "{root}/{dataset}/elsewhere/double", "lacks the tag {stage}"),
        ("stages:\n", "stagse:\n", "unknown key 'stagse': did you mean 'stages'"),
    ],
)  # fmt: skip
def test_each_mistake_is_told_with_its_place_and_remedy(toy, old, new, expected):
    toy.edit("pipeline/toy.yaml", old, new)
    if expected is None:
        toy.edit("pipeline/toy.yaml", "double.yaml", "number.yaml")
        expected = "writes the path of number.number"
    text = message(toy)
    import re

    assert re.search(expected, text), text
    assert "pipeline/toy.yaml" in text
    assert "Traceback" not in text


TWICE = (
    '      double: {handler: Config, path_template: "{root}/{dataset}/{stage}/{split}/{sim}/double.yaml"}\n'
)
MORE = TWICE.replace("double", "more").replace("}\n", ", when: {seed: 7}}\n")


def test_an_output_may_be_switched_by_a_parameter(toy):
    toy.edit("pipeline/toy.yaml", TWICE, TWICE + MORE)
    stage = load_config(toy.root).pipeline.stages["double"]
    assert list(stage.assets_out) == ["double"]
    other = load_config(toy.root, overrides={"seed": 7}).pipeline.stages["double"]
    assert list(other.assets_out) == ["double", "more"]


def test_who_reads_an_output_that_is_switched_off_is_told(toy):
    toy.edit("pipeline/toy.yaml", TWICE, TWICE + MORE)
    toy.edit("pipeline/toy.yaml", "{stage: double", "{stage: double, orig_name: more")
    assert "'more' of stage 'double' is switched off: say 'when' of the input" in message(toy)


def test_a_cycle_is_named(toy):
    toy.edit(
        "pipeline/toy.yaml", "params: [seed]", "params: [seed]\n    assets_in:\n      total: {stage: total}"
    )
    assert "a cycle: " in message(toy)
    assert "number" in message(toy)


def test_one_key_in_two_files(toy):
    toy.write("pipeline/other.yaml", "stages:\n  number: {dir_name: x}\n")
    assert "stages.number: also defined in pipeline/other.yaml" in message(toy)


def test_a_missing_science_asset_is_told_before_anything_runs(toy):
    toy.write(
        "pipeline/raw.yaml",
        "stages:\n  raw:\n    assets_out:\n"
        '      table: {handler: Csv, path_template: "{src_root}/table.csv"}\n',
    )
    toy.edit("pipeline/toy.yaml", "{stage: number}", "{stage: number}\n      table: {stage: raw}")
    assert "science asset data/raw/table.csv is missing: fetch it" in message(toy)


def test_stages_come_after_what_they_read(real_config):
    order = list(real_config.pipeline.stages)
    for stage in real_config.pipeline.stages.values():
        for name in stage.assets_in:
            for producer, _ in real_config.pipeline.producers(stage, name):
                assert order.index(producer.key) < order.index(stage.key)


def test_what_ships_has_no_problem(real_config):
    plan = Plan(real_config)
    check_plan(plan)
    check_executors(plan)
    check_dvc(plan)


def test_dvc_finds_every_parameter_that_it_is_told_of(real_config):
    """Keys with a default may be left out of params.yaml; DVC would call them missing."""
    written = read_yaml(ROOT / "params.yaml")
    described = yaml.safe_load(dvc_yaml(Plan(real_config)))["stages"]
    keys = {key for stage in described.values() for key in stage.get("params", []) if isinstance(key, str)}
    assert "nilc_regularised.needlets" not in keys
    assert len(keys) > 20
    for key in keys:
        value = written
        for part in key.split("."):
            assert part in value, key
            value = value[part]
