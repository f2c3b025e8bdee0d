import math
import re
import shutil
from typing import get_args, get_origin

import pytest
from pydantic import ValidationError

from cmbml.core import CmbmlError, load_config
from cmbml.core.errors import ConfigError
from cmbml.core.spec.config import params_model
from cmbml.core.spec.pipeline import load_pipeline
from tests.conftest import ROOT

OWN_BLOCK = """
from pydantic import BaseModel


class Own(BaseModel):
    value: float | list[float] | dict[str, float]
"""


def problems(toy):
    with pytest.raises(CmbmlError) as caught:
        load_config(toy.root)
    text = str(caught.value)
    assert "Traceback" not in text
    return text.splitlines()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("n_bootstrap:", "n_boostrap:", "analysis.n_boostrap: unknown key: did you mean 'n_bootstrap'"),
        ("seed:", "sede:", "sede: unknown key: did you mean 'seed'"),
        (
            "depth_uk_arcmin: 150.0",
            "depth_uk_arcmni: 150.0",
            "instrument.bands.30.depth_uk_arcmni: unknown key",
        ),
        ("train: {n_sims: 3", "train: {n_sims: 0", "splits.train.n_sims: .* greater than or equal to 1"),
        ("train: {n_sims: 3", "train: {n_sims: -2", "splits.train.n_sims: "),
        (
            "train: {n_sims: 3, population: nominal}",
            "train: {n_sims: 3, population: nomnal}",
            "'nomnal' is none of",
        ),
        ("nside: 64", "nside: 63", "instrument.nside: .*power of two"),
        ("  lmax: 160\n  fields", "  lmax: 192\n  fields", "at most 191"),
        ("latitude_deg: 20.0", "latitude_deg: wide", "mask.latitude_deg: .*'wide'"),
        ("freq_ghz: 44.1", "freq_ghz: 20.0", "bands must be in order of frequency"),
        ("freq_ghz: 44.1", "freq_ghz: 28.4", "each frequency once"),
        ("mean: 1.0, sd: 0.12", "mean: .nan, sd: 0.12", "populations.*mean: .*finite number"),
        ("mean: 1.0, sd: 0.12", "mean: 1.0, sd: .inf", "populations.*sd: .*finite number"),
        (
            "mean: 1.0, sd: 0.12",
            "mean: 0.0, sd: 0.12",
            "populations.*mean: a factor should be greater than 0",
        ),
        ("fwhm_arcmin: 195.0", "fwhm_arcmin: -195.0", "instrument.bands.44.fwhm_arcmin: .*greater than 0"),
        (
            "depth_uk_arcmin: 162.0",
            "depth_uk_arcmin: 0",
            "instrument.bands.44.depth_uk_arcmin: .*greater than 0",
        ),
        (
            "freq_ghz: 44.1",
            "freq_ghz: 44.1e9",
            "instrument.bands.44.freq_ghz: .*less than or equal to 20000",
        ),
        ("train: {n_sims: 3", "train: {n_sims: true", "splits.train.n_sims: .*not true or false"),
        ("methods: \\[\\]", "methods: [nilc]", "methods: no stage 'nilc'"),
        ("kind: white", "kind: white, size: 3", "noise.size: DVC would miss"),
        ("kind: white", "kind: white, nfiles: 3", "noise.nfiles: DVC would miss"),
        ('"44": ', '"30": ', "line .*: '30' stands twice"),
        ("dataset: toy", "dataset: ../toy", "dataset: "),
        ("seed: ", "seed: [", "params.yaml, line"),
        ("dataset: toy", "dataset: 007", "dataset: yaml reads this as 7, no text: put it in quotes"),
        ("dataset: toy", "dataset: true", "dataset: yaml reads this as true, no text: put it in quotes"),
        ("dataset: toy", "dataset: 2026-11-28", "dataset: yaml reads this as a date: put it in quotes"),
        ("dataset: toy", "dataset: 12:30:00", "dataset: .*'12:30:00'"),
        ("dataset: toy", "dataset: Raw", "dataset: 'Raw' would be data/raw: choose another name"),
        ("  test: {", "  007: {", "splits.7: yaml reads this as 7, no text: put it in quotes"),
        ("  test: {", "  null: {", "splits.None: yaml reads this as null, no text: put it in quotes"),
        ("  test: {", "  Train: {", "splits: 'train' and 'Train' differ in case alone, .*: rename one"),
        ("  broad:", "  Nominal:", "populations: 'nominal' and 'Nominal' differ in case alone"),
        ("methods: \\[\\]", "methods: [nilc, NILC]", "methods: 'nilc' and 'NILC' differ in case alone"),
        ("methods: \\[\\]", "methods: [nilc, nilc]", "methods: 'nilc' is named twice: take it out once"),
        (
            '"44": ',
            '"a": {freq_ghz: 29, fwhm_arcmin: 1, depth_uk_arcmin: 1}\n    "A": ',
            "bands: 'a' and 'A'",
        ),
        ("  presets:\n  - d1\n", "  presets:\n  - d1\n  - d1\n", "presets: 'd1' is named twice"),
        ("model: galaxy", "model: d1+s1+d1", "foregrounds.model: 'd1' is named twice"),
        ("models: \\[layered\\]", "models: [layered, layered]", "models: 'layered' is named twice"),
    ],
)
def test_each_mistake_is_one_line_that_names_file_key_and_remedy(toy, old, new, expected):
    old = old.replace("\\", "")
    toy.edit("params.yaml", old, new)
    assert any(re.search(expected, line) and "params.yaml" in line for line in problems(toy)), problems(toy)


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (
            "nilc.fwhm_arcmin",
            "params.yaml: nilc.fwhm_arcmin: unknown key: set analysis.fwhm_arcmin, which holds for all methods",
        ),
        (
            "patch_nn.nside",
            "params.yaml: patch_nn.nside: unknown key: set instrument.nside, which holds for all methods",
        ),
        ("nilc.ilc_bais", "params.yaml: nilc.ilc_bais: unknown key: did you mean 'ilc_bias'?"),
    ],
)
def test_a_key_that_all_methods_share_is_not_one_of_theirs(key, line):
    with pytest.raises(CmbmlError) as caught:
        load_config(ROOT, overrides={key: 80.0})
    assert str(caught.value) == line


def test_all_mistakes_are_told_at_once(toy):
    toy.edit("params.yaml", "seed:", "sede:")
    toy.edit("params.yaml", "kind: white", "kind: pink")
    lines = problems(toy)
    assert len(lines) == 3  # the unknown key, the missing one, and the kind
    assert all(line.startswith("params.yaml: ") for line in lines)


def test_numbers_as_dvc_writes_them_are_numbers(toy):
    """PyYAML reads 1e-05 as text; DVC writes it so."""
    toy.edit("params.yaml", "latitude_deg: 20.0", "latitude_deg: 1e-05")
    assert load_config(toy.root).params.mask.latitude_deg == 1e-5


def test_overrides_replace_values_by_dotted_key(toy):
    assert toy.config(mask__latitude_deg=10).params.mask.latitude_deg == 10


def test_an_unknown_override_is_refused(toy):
    with pytest.raises(CmbmlError, match="did you mean 'latitude_deg'"):
        toy.config(mask__latitud_deg=10)
    with pytest.raises(ConfigError, match="did you mean 'mask'"):
        toy.config(maks__latitude_deg=10)


@pytest.mark.parametrize("name", ["no", "on", "off", "yes", "y", "1e", "e5"])
def test_words_that_are_text_for_dvc_are_names(toy, name):
    toy.edit("params.yaml", "dataset: toy", f"dataset: {name}")
    toy.edit("params.yaml", "  test: {", f"  {name}: {{")
    config = toy.config()
    assert (config.dataset, name in config.splits) == (name, True)


def test_numbers_are_those_of_dvc(toy):
    toy.edit("params.yaml", "train: {n_sims: 3", "train: {n_sims: 010")
    assert toy.config().splits["train"].n_sims == 10


def test_a_dataset_has_its_folder_alone_where_case_does_not_count(toy):
    (toy.root / "data/Toy").mkdir(parents=True)
    assert problems(toy) == ["params.yaml: dataset: 'toy' would be data/Toy: choose another name"]


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "nan", "[1.0, .nan]", "{a: .inf}"])
def test_blocks_of_others_have_finite_numbers_too(toy, value):
    toy.write("toy_params.py", OWN_BLOCK)
    toy.edit("pipeline/toy.yaml", "stages:\n", "parameters:\n  own: toy_params.Own\nstages:\n")
    toy.append("params.yaml", f"\nown: {{value: {value}}}\n")
    assert re.fullmatch(r"params.yaml: own.value(.a)?: -?(nan|inf) is no number: give one", problems(toy)[0])


def test_missing_files_are_named(toy):
    (toy.root / "params.yaml").unlink()
    assert "params.yaml: no such file" in problems(toy)[0]


def test_a_split_knows_its_simulations(toy):
    split = toy.config().splits["shifted"]
    assert (split.name, split.n_sims, split.population, split.stream) == ("shifted", 3, "dusty", "shifted")
    assert list(split.iter_sims()) == [0, 1, 2]


def test_a_profile_forgets_the_one_before_and_the_first_is_what_ships(tmp_path):
    from cmbml.core.engine.switch import apply_profile

    for name in ("profiles", "pipeline"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "dvc.yaml").touch()
    apply_profile(tmp_path, "demo", tmp_path)
    once = (tmp_path / "params.yaml").read_text()
    apply_profile(tmp_path, "cmbml-128", tmp_path)
    apply_profile(tmp_path, "demo", tmp_path)
    assert (tmp_path / "params.yaml").read_text() == once
    apply_profile(tmp_path, "mini", tmp_path)
    assert (tmp_path / "params.yaml").read_text() == (ROOT / "params.yaml").read_text()


def test_every_shipped_profile_is_valid(tmp_path, real_config):
    from cmbml.core.engine.switch import apply_profile

    profiles = sorted((real_config.root / "profiles").glob("*.yaml"))
    assert profiles
    for path in profiles:
        apply_profile(real_config.root, path.stem, tmp_path / path.stem)
        assert load_config(tmp_path / path.stem).dataset == path.stem


def inner(annotation):
    """What an annotation is made of: `float` and `None` of ``dict[str, float] | None``."""
    parts = get_args(annotation)
    return [kind for part in parts for kind in inner(part)] if parts else [annotation]


def blocks(model):
    """A block of parameters, and all that are below it."""
    below = [kind for field in model.model_fields.values() for kind in inner(field.annotation)]
    return [model] + [b for kind in below if hasattr(kind, "model_fields") for b in blocks(kind)]


@pytest.mark.parametrize("value", [math.nan, math.inf, "nan", "-inf", "1e400"])
def test_no_parameter_takes_what_is_not_finite(value):
    """Each float of each block, those of methods among them, given alone or as the value of a mapping."""
    keys = 0
    for block in set(blocks(params_model(load_pipeline(ROOT / "pipeline")))):
        for key, field in block.model_fields.items():
            if float not in inner(field.annotation):
                continue
            keys += 1
            given = {"100": value} if get_origin(field.annotation) is dict else value
            with pytest.raises(ValidationError) as caught:
                block.model_validate({key: given})
            assert any(found["loc"][0] == key for found in caught.value.errors()), (block, key)
    assert keys > 30
