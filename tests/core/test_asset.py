import multiprocessing
import pickle

import pytest

import cmbml
from cmbml.core import BaseStageExecutor, generator
from cmbml.core.errors import CmbmlError, DirectionError, NamerError, UndeclaredError
from tests.conftest import ROOT

FIELDS = """\
  fields:
    executor: toy.NumberExecutor
    dir_name: fields
    epochs: [5, 10]
    assets_out:
      fields:
        handler: Text
        path_template: "{root}/{dataset}/{stage}/{split}/{sim}/{epoch}_{field}.txt"
        fields: [a, b]
"""


@pytest.fixture
def make(toy):
    def build(name, **overrides):
        import toy as module

        return getattr(module, f"{name}Executor")(toy.config(**overrides))

    return build


def test_an_output_is_written_and_an_input_is_read(make):
    number, double = make("Number"), make("Double")
    with number.name_tracker.set_contexts({"split": "test", "sim": 1}):
        number.out_number.write({"value": 2.0})
    with double.name_tracker.set_contexts({"split": "test", "sim": 1}):
        assert double.in_number.read() == {"value": 2.0}
        assert double.in_number.path == number.out_number.at(split="test", sim=1).path


def test_the_wrong_direction_is_refused(make):
    number, double = make("Number"), make("Double")
    with number.name_tracker.set_contexts({"split": "test", "sim": 1}):
        with pytest.raises(
            DirectionError, match=r"'number' is an output and cannot be read: declare it under assets_in"
        ):
            number.out_number.read()
        with pytest.raises(DirectionError, match=r"cannot be read"):
            number.out_number.at(sim=1).read()
    with double.name_tracker.set_contexts({"split": "test", "sim": 1}):
        with pytest.raises(DirectionError, match=r"'number' is an input and cannot be written"):
            double.in_number.write({})
        with pytest.raises(DirectionError, match=r"cannot be written"):
            double.in_number.at().write({})


def test_references_work_in_other_processes(make):
    number = make("Number")
    number.assets_out["number"].at(split="test", sim=0).write({"value": 7.0})
    reference = make("Double").in_number.at(split="test", sim=0)
    assert pickle.loads(pickle.dumps(reference)) == reference  # noqa: S301
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(type(reference).read, [reference]) == [{"value": 7.0}]


def test_an_undeclared_split_is_out_of_reach(toy, make):
    toy.edit("pipeline/toy.yaml", "dir_name: total", "dir_name: total\n    splits: [train, valid]")
    total = make("Total")
    assert [split.name for split in total.splits] == ["train", "valid"]
    assert total.in_double.at(split="valid", sim=0)
    with pytest.raises(
        UndeclaredError, match=r"split 'test' is not declared: add .* 'total' in pipeline/toy.yaml"
    ):
        total.in_double.at(split="test", sim=0)


def test_another_simulation_is_out_of_reach_while_one_is_made(make):
    double = make("Double")
    with double.name_tracker.set_contexts({"split": "test", "sim": 1}):
        with pytest.raises(UndeclaredError, match=r"input 'number' of sim '2'.*override process_split"):
            double.in_number.at(sim=2)
        with pytest.raises(UndeclaredError, match=r"of split 'valid'"):
            double.in_number.at(split="valid")


def test_a_pinned_input_is_read_whole(toy, make):
    toy.edit("pipeline/toy.yaml", "{stage: number}", "{stage: number, split: train}")
    double = make("Double")
    with double.name_tracker.set_contexts({"split": "test", "sim": 1}):
        assert double.in_number.at(sim=2).path.parts[-3:] == ("train", "sim0002", "number.yaml")


def test_a_missing_asset_says_what_to_add(make):
    with pytest.raises(
        UndeclaredError, match=r"no 'nmber' in 'assets_in': did you mean 'number'.*pipeline/toy.yaml"
    ):
        make("Double").assets_in["nmber"]


class Reading(BaseStageExecutor):
    """Reads a parameter at a moment of the test's choice."""

    def __init__(self, cfg, read):
        read(cfg)
        super().__init__(cfg, stage_str="number")
        self.kept = cfg
        self.value = cfg.seed


def test_parameters_are_read_in_init_only(toy):
    executor = Reading(toy.config(), lambda cfg: None)
    with pytest.raises(UndeclaredError, match=r"'seed' is read after __init__: keep it there, as self.seed"):
        _ = executor.kept.seed


def test_parameters_are_read_after_the_stage_is_known(toy):
    with pytest.raises(UndeclaredError, match=r"before super\(\).__init__"):
        Reading(toy.config(), lambda cfg: cfg.seed)


def test_undeclared_parameters_raise_with_the_line_to_add(toy):
    class Greedy(BaseStageExecutor):
        def __init__(self, cfg):
            super().__init__(cfg, stage_str="number")
            self.fwhm = cfg.analysis.fwhm_arcmin

    with pytest.raises(
        UndeclaredError, match=r"add 'analysis' to 'params' of stage 'number' in pipeline/toy.yaml"
    ):
        Greedy(toy.config())
    toy.edit("pipeline/toy.yaml", "params: [seed]", "params: [seed, analysis.fwhm_arcmin]")
    assert Greedy(toy.config()).fwhm == 80
    toy.edit("pipeline/toy.yaml", "analysis.fwhm_arcmin]", "analysis.lmax]")
    with pytest.raises(UndeclaredError, match=r"add 'analysis.fwhm_arcmin' to 'params'"):
        Greedy(toy.config())


def test_only_the_population_in_hand_can_be_read(toy):
    toy.edit("pipeline/toy.yaml", "params: [seed]", "params: [seed, populations]")

    class Drawing(BaseStageExecutor):
        def __init__(self, cfg):
            super().__init__(cfg, stage_str="number")
            self.populations = cfg.populations

    drawing = Drawing(toy.config())
    with drawing.name_tracker.set_context("split", "shifted"):
        assert drawing.populations["dusty"].dust_amplitude.mean == 1.6
        with pytest.raises(
            UndeclaredError, match=r"population 'nominal' is read, but the split in hand has 'dusty'"
        ):
            _ = drawing.populations["nominal"]


def test_generators_belong_to_one_simulation():
    assert generator(1, "a", 0, "x").random() != generator(1, "a", 1, "x").random()


@pytest.mark.parametrize(
    ("output", "tags", "told"),
    [
        (
            "observations.obs",
            {"split": "test", "sim": 33, "freq": "100"},
            "no simulation 33 of split 'test': it has 6, 0 to 5",
        ),
        ("observations.obs", {"split": "test", "sim": -1, "freq": "100"}, "no simulation -1 of split 'test'"),
        ("observations.obs", {"split": "test", "sim": "sim0006", "freq": "100"}, "no simulation sim0006"),
        (
            "observations.obs",
            {"split": "test", "sim": 0, "freq": "145"},
            "no freq '145': it has 30, 44, 70, 100",
        ),
        ("observations.obs", {"split": "sky", "sim": 0, "freq": "100"}, "the splits are train, valid, test"),
        ("patch_nn_samples.sample", {"split": "shifted", "sim": 0}, "the splits are train, valid$"),
        (
            "comparison.metrics",
            {"method": "nlic", "split": "test", "sim": 0},
            "no method 'nlic': it has nilc, hilc",
        ),
    ],
)
def test_what_will_never_be_there_is_told_from_what_is_not_made_yet(output, tags, told):
    stage, name = output.split(".")
    asset = getattr(cmbml.open(ROOT)[stage], name)
    with pytest.raises(CmbmlError, match=told):
        asset.at(**tags)


def test_there_is_what_is_planned(toy):
    toy.append("pipeline/toy.yaml", FIELDS)
    fields = cmbml.open(toy.root)["fields"].fields
    assert fields.at(split="test", sim=2, epoch=5, field="a").path.name == "5_a.txt"
    assert fields.at(split="test", sim="sim0002", epoch="5", field="b").path.parent.name == "sim0002"
    with pytest.raises(NamerError, match="asset 'fields' has no epoch '4': it has 5, 10"):
        fields.at(split="test", sim=2, epoch=4, field="a")
    with pytest.raises(NamerError, match="has no field 'c': it has a, b"):
        fields.at(split="test", sim=2, epoch=5, field="c")


def test_a_stage_is_told_as_well(make):
    total = make("Total")
    with total.name_tracker.set_context("split", "test"):
        assert total.in_double.at(sim=2)
        with pytest.raises(
            NamerError, match="asset 'double' has no simulation 3 of split 'test': it has 3, 0 to 2"
        ):
            total.in_double.at(sim=3)
