"""Changing one parameter recomputes exactly what depends on it: the stages whose fingerprints change."""

import os

import pytest

from cmbml.core import load_config
from cmbml.core.errors import PipelineError
from cmbml.core.files import memo as memos
from cmbml.core.files.checksums import md5_of
from cmbml.core.files.science_assets import raw_digests
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.plan.pieces import Piece, Portion
from tests.conftest import ROOT

SHIPPED = Plan(load_config(ROOT))
SCORES = {"comparison", "scores"}
# Which pixels make a patch depends on the resolution alone.
TABLE = {"patch_nn_table"}
# Whatever cleans, and what it learns from the train split: all of it reads the observations.
METHODS = {
    stage.key
    for stage in SHIPPED.stages.values()
    if stage.file not in ("pipeline/simulation.yaml", "pipeline/analysis.yaml")
} - TABLE
GSC_UNET = {key for key in METHODS if key.startswith("gsc_unet")}
CMBNNCS = {key for key in METHODS if key.startswith("cmbnncs")}
PATCH_NN = {key for key in METHODS if key.startswith("patch_nn")}
# The mask says where networks learn, and where errors are calibrated.
MASKED = {"gsc_unet_training", "gsc_unet"} | CMBNNCS | PATCH_NN
LEARNED = {key for key in METHODS if set(SHIPPED.stages[key].splits) <= {"train", "valid"}}
SKY = {"observations"} | METHODS | SCORES
FROM_CMB = {"cmb", "noise_floor", "perfect_estimate"} | SKY
FROM_THEORY = {"theory"} | FROM_CMB


def fingerprints(config):
    plan = Plan(config)
    return {
        piece: plan.fingerprint(piece)
        for stage in plan.stages.values()
        for portion in plan.portions(stage)
        for piece in plan.pieces(portion)
    }


def changed(real_config, **overrides):
    before = fingerprints(real_config)
    after = fingerprints(
        load_config(real_config.root, overrides={k.replace("__", "."): v for k, v in overrides.items()})
    )
    return {piece for piece in before.keys() | after.keys() if before.get(piece) != after.get(piece)}


@pytest.mark.parametrize(
    ("key", "value", "stages"),
    [
        ("nilc__ilc_bias", 0.02, {"nilc"} | SCORES),
        ("nilc__peaks", [60, 120, 161], {"nilc"} | SCORES),
        ("hilc__shrinkage", 0.5, {"hilc"} | GSC_UNET | SCORES),
        ("hilc__bin_width", 10, {"hilc_covariance", "hilc"} | GSC_UNET | SCORES),
        ("analysis__n_bootstrap", 500, set()),
        ("analysis__band_width", 20, {"mask_coupling"} | SCORES),
        (
            "analysis__fwhm_arcmin",
            90.0,
            {"noise_floor", "perfect_estimate", "mask_coupling"} | METHODS | SCORES,
        ),
        ("analysis__lmax", 150, {"perfect_estimate", "mask_coupling"} | SCORES),
        (
            "mask__latitude_deg",
            25.0,
            {"mask", "mask_coupling", "wiener_window", "wiener"} | MASKED | SCORES,
        ),
        ("foregrounds__model", "layered", {"draws", "draw_table", "leakage", "noise_floor"} | SKY),
        ("instrument__bands__100__depth_uk_arcmin", 50.0, {"noise_floor"} | SKY),
        ("instrument__bands__545__fwhm_arcmin", 60.0, {"noise_floor"} | SKY),
        ("instrument__lmax", 165, FROM_THEORY),
        (
            "instrument__nside",
            128,
            {"mask", "mask_coupling", "noise_floor", "perfect_estimate"} | TABLE | SKY,
        ),
        ("cosmology__scatter", False, {"cosmology", "draw_table"} | FROM_THEORY),
        ("cosmology__source", "wmap9", {"cosmology", "draw_table"} | FROM_THEORY),
        ("seed", 5, {"cosmology", "draws", "draw_table", "leakage"} | FROM_THEORY),
    ],
)
def test_exactly_the_dependents_go_stale(real_config, key, value, stages):
    assert {piece.portion.stage for piece in changed(real_config, **{key: value})} == stages


def test_a_population_stales_its_own_split_only(real_config):
    found = changed(real_config, populations__dusty__dust_beta={"mean": 0.1, "sd": 0.05})
    assert {piece.portion.split for piece in found} == {"shifted", None}
    # What is learned reads the train split only, which is of another population.
    assert {"nilc_covariance", "hilc_covariance"} <= LEARNED
    drawn = {"draws", "draw_table", "leakage", "noise_floor"}
    assert {piece.portion.stage for piece in found} == drawn | SKY - LEARNED


def test_growing_a_split_adds_simulations_and_touches_no_other(real_config):
    found = changed(real_config, splits__test__n_sims=8)
    alone = {piece for piece in found if piece.sim is not None}
    assert {piece.sim for piece in alone} == {6, 7}
    assert {piece.portion.split for piece in alone} == {"test"}
    assert {str(piece) for piece in found - alone} == {"scores", "leakage", "draw_table/test"}


def test_a_random_stream_is_part_of_a_simulation(real_config):
    found = changed(real_config, splits__shifted__stream="test")
    assert {piece.portion.split for piece in found} == {"shifted", None}


def test_template_edits_do_not_change_fingerprints_but_handlers_do(toy):
    before = fingerprints(toy.config())
    toy.edit("pipeline/toy.yaml", "double.yaml", "twice.yaml")
    assert fingerprints(toy.config()) == before
    toy.edit(
        "pipeline/toy.yaml",
        'handler: Config, path_template: "{root}/{dataset}/{stage}/{split}/{sim}/twice',
        'handler: Csv, path_template: "{root}/{dataset}/{stage}/{split}/{sim}/twice',
    )
    assert fingerprints(toy.config()) != before


def test_a_formula_stales_its_dependents_only(toy):
    before = fingerprints(toy.config())
    toy.edit("toy_math.py", "2 * x", "3 * x")
    after = fingerprints(toy.config())
    assert {piece.portion.stage for piece in before if before[piece] != after[piece]} == {"double", "total"}


def test_a_science_asset_is_read_once(tmp_path, monkeypatch):
    asset = tmp_path / "asset"
    asset.write_text("one")
    read = []
    monkeypatch.setattr(memos, "md5_of", lambda path: read.append(path) or md5_of(path))

    def digests(*paths):
        return raw_digests(paths, memos.Memo(tmp_path, tmp_path / "local" / "memo.jsonl"))

    first = digests(asset, asset)
    assert digests(asset) == first[:1] == [md5_of(asset)]
    assert len(read) == 1
    before = asset.stat()
    asset.write_text("two")
    os.utime(asset, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert digests(asset) == [md5_of(asset)] != first[:1]


def test_a_science_asset_counts_by_its_content(toy):
    toy.write(
        "pipeline/raw.yaml",
        'stages:\n  raw:\n    assets_out:\n      t: {handler: Text, path_template: "{src_root}/t"}\n',
    )
    toy.edit("pipeline/toy.yaml", "number: {stage: number}", "number: {stage: number}\n      t: {stage: raw}")
    (toy.root / "data" / "raw").mkdir(parents=True)
    toy.write("data/raw/t", "one")
    before = fingerprints(toy.config())
    toy.write("data/raw/t", "two")
    after = fingerprints(toy.config())
    assert {piece.portion.stage for piece in before if before[piece] != after[piece]} == {"double", "total"}


def test_a_pinned_split_is_read_whole(toy):
    toy.edit("pipeline/toy.yaml", "{stage: number}", "{stage: number, split: train}")
    plan = Plan(toy.config())
    inputs = plan.inputs(Piece(Portion("double", None, "test"), 1))
    assert inputs == {"number": [Portion("number", None, "train")]}


def test_files_follow_bands_and_simulations(real_config):
    plan = Plan(real_config)
    files = plan.files(Piece(Portion("observations", None, "valid"), 2))
    assert len(files) == 9
    assert "data/mini/observations/valid/sim0002/obs_857.fits" in files


def test_a_method_that_is_off_takes_its_own_stages_with_it(real_config):
    plan = Plan(load_config(real_config.root, overrides={"methods": []}))
    assert not {"nilc", "hilc", "hilc_covariance"} & set(plan.stages)
    assert "noise_floor" in plan.stages
    assert {portion.method for portion in plan.portions(plan.stages["comparison"])} == {
        "noise_floor",
        "perfect_estimate",
    }


def test_reading_from_a_method_that_is_off_says_what_to_switch_on(toy):
    toy.edit(
        "pipeline/toy.yaml",
        "double: {stage: double}",
        "double: {stage: double}\n      cleaned: {stage: clean}",
    )
    toy.write(
        "pipeline/clean.yaml",
        "stages:\n  clean:\n    executor: toy.NumberExecutor\n    dir_name: clean\n    assets_out:\n"
        '      cleaned: {handler: Config, path_template: "{root}/{dataset}/{stage}/{split}/{sim}/c.yaml"}\n',
    )
    plan = Plan(toy.config())
    with pytest.raises(PipelineError, match="'clean', which is switched off: add its method to 'methods'"):
        plan.inputs(Piece(Portion("total", None, "test"), None))
