"""The whole chain at low resolution: simulate, clean, score, report, and maps made elsewhere."""

import json
import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import healpy as hp
import numpy as np
import pytest

import cmbml
from cmbml.core.engine.context import run_stage
from cmbml.core.engine.make import Engine
from cmbml.core.engine.switch import apply_profile
from cmbml.core.handlers import get_handler
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.config import load_config
from cmbml.core.spec.yamlio import dump_yaml, read_yaml
from cmbml.core.views.dataset import Dataset
from cmbml.sky.instrument import white_noise_cl
from cmbml.sky.sht import alm2map, almxfl, gaussian_beam, map2alm
from cmbml.sky.skymap import SkyMap
from tests.commands import call
from tests.conftest import ROOT


def command(folder, *arguments, ok=True, **environment):
    return call(folder, *arguments, ok=ok, **environment)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A finished run of the demo profile."""
    folder = tmp_path_factory.mktemp("demo") / "repository"
    command(ROOT, "profile", "demo", "--into", str(folder))
    command(folder, "run")
    return folder


@pytest.fixture(scope="module")
def data(demo):
    return cmbml.open(demo)


def test_a_second_run_makes_nothing(demo):
    assert command(demo, "run").stderr == ""
    assert command(demo, "status").stdout == "everything is complete\n"


def test_maps_say_what_they_are(data):
    obs = data["observations"].obs.at(split="test", sim=2, freq="143").read(nside=32)
    assert (obs.unit, obs.fwhm_arcmin, obs.lmax, obs.pixwin) == ("uK_CMB", 97.2, 80, False)
    cleaned = data["nilc"].cleaned.at(split="test", sim=2).read()
    assert (cleaned.unit, cleaned.fwhm_arcmin, cleaned.lmax) == ("uK_CMB", 160.0, 80)
    truth = data["cmb"].cmb.at(split="test", sim=2).read()
    assert (truth.unit, truth.fwhm_arcmin, truth.lmax) == ("uK_CMB", 0.0, 80)


def test_no_two_skies_share_random_numbers(data):
    """Truths, and the spectra drawn for them, differ between all simulations of all splits."""
    truths = [
        data["cmb"].cmb.at(split=split.name, sim=sim).read().values[0]
        for split in data.splits.values()
        for sim in split.iter_sims()
    ]
    normalised = [alm / np.linalg.norm(alm) for alm in truths]
    overlap = abs(
        np.array([[np.vdot(a, b).real for a in normalised] for b in normalised]) - np.eye(len(truths))
    )
    # The dipole-free power sits in few low multipoles: about 40 modes count, so chance stays well below 0.9.
    assert overlap.max() < 0.9


def test_the_scores_lie_between_the_references(demo):
    scores = json.loads((demo / "data/demo/scores/scores.json").read_text())
    assert set(scores) == {"train", "valid", "test", "shifted"}
    for methods in scores.values():
        rmse = {name: metrics["rmse"]["mean"] for name, metrics in methods.items()}
        # float32 maps of 70 uK carry 1e-5 of rounding.
        assert rmse["perfect_estimate"] < 1e-4
        assert rmse["perfect_estimate"] < rmse["noise_floor"] < min(rmse["nilc"], rmse["hilc"])
        assert max(rmse["nilc"], rmse["hilc"]) < 10
    assert scores["valid"]["nilc"]["rmse"]["lo"] is None, "one simulation has no interval"


def test_without_foregrounds_the_noise_floor_is_the_best_combination_of_the_observations(tmp_path):
    """The reference row adds the very noise of the observations, and the best linear weights, to the truth."""
    apply_profile(ROOT, "demo", tmp_path)
    none = {"mean": 1e-12, "sd": 0.0}
    overrides = {
        f"populations.nominal.{name}_amplitude": none for name in ("dust", "sync", "freefree", "ame")
    }
    overrides |= {"splits": {"test": {"n_sims": 1, "population": "nominal"}}}
    config = load_config(tmp_path, overrides=overrides)
    engine = Engine(Plan(config))
    for key in ("cosmology", "theory", "cmb", "draws", "observations", "noise_floor"):
        run_stage(engine, engine.plan.stages[key])
    data, instrument = Dataset(config), config.params.instrument
    lmax, beams = instrument.lmax, instrument.fwhm_arcmin
    windows = np.array([gaussian_beam(beam, lmax) for beam in beams])
    inverse = windows**2 / [white_noise_cl(d, lmax) for d in instrument.depth_uk_arcmin]
    out = gaussian_beam(config.params.analysis.fwhm_arcmin, lmax)
    weights = inverse / inverse.sum(axis=0) * out / windows
    bands = [
        data["observations"].obs.at(split="test", sim=0, freq=f).read().values[0] for f in instrument.freqs
    ]
    floor = data["noise_floor"].cleaned.at(split="test", sim=0).read()
    alms = [almxfl(map2alm(b, lmax, iterations=12), weight) for b, weight in zip(bands, weights, strict=True)]
    observed = alm2map(sum(alms), 32)
    # Maps are float32, of up to 1e4 uK at 857 GHz; enough iterations leave nothing else.
    np.testing.assert_allclose(observed, floor.values[0], rtol=0, atol=1e-4 * observed.std())


class Links(HTMLParser):
    """Collects what a page would load."""

    def __init__(self):
        super().__init__()
        self.loads = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.loads += [values[key] for key in ("src", "href") if key in values and tag != "a"]


@pytest.mark.long
def test_the_report_is_one_page_that_loads_nothing(demo):
    assert "index.html" in command(demo, "report").stdout
    page = (demo / "reports/index.html").read_text()
    links = Links()
    links.feed(page)
    assert links.loads
    assert all(link.startswith("data:") for link in links.loads)
    for word in ("nilc", "noise floor", "perfect estimate", "shifted"):
        assert word in page


def write_predictions(folder, data, scale=1.0, **facts):
    folder.mkdir(exist_ok=True)
    for sim in data.splits["test"].iter_sims():
        sky = data["nilc"].cleaned.at(split="test", sim=sim).read()
        get_handler("HealpyMap").write(
            folder / f"pred_{sim}.fits", SkyMap(sky.values * scale, **{"unit": "uK_CMB", **facts})
        )


@pytest.mark.long
def test_maps_made_elsewhere_get_the_score_they_deserve(demo, data, tmp_path):
    """Our own maps, handed in as a stranger's, score as ours."""
    write_predictions(tmp_path / "mine", data, scale=1e-3, unit="mK_CMB")
    ask = [
        "score",
        "--maps",
        str(tmp_path / "mine/pred_{sim}.fits"),
        "--split",
        "test",
        "--fwhm",
        "160",
        "--lmax",
        "80",
    ]
    table = command(demo, *ask, "--name", "mine").stdout
    rows = {
        line.split("|")[1].strip(): line.split("|")[2:]
        for line in table.splitlines()
        if line.startswith("| ")
    }
    # float32 in mK rounds otherwise than in uK: the sixth digit.
    numbers = {name: [float(cell.split()[0]) for cell in rows[name][:-1]] for name in ("mine", "nilc")}
    assert numbers["mine"] == pytest.approx(numbers["nilc"], rel=2e-3)
    command(demo, "report")
    assert 'href="mine--test.html"' in (demo / "reports/index.html").read_text()
    page = (demo / "reports/mine--test.html").read_text()
    for word in ("TT spectra", "transfer", "largest error", "Rank correlation"):
        assert word in page
    for change, expected in (
        (["--name", "nilc"], "is one of our own rows"),
        (["--name", "../x"], "letters, digits"),
        (["--name", "x", "--split", "tset"], "did you mean 'test'"),
        (["--name", "x", "--fwhm", "200"], "blunter"),
        (["--name", "x", "--maps", "pred.fits"], "lacks {sim}"),
        (["--name", "x", "--maps", "gone_{sim}.fits"], "no file for simulation 0 of test"),
        (["--name", "x", "--lmax", "70"], "ends at lmax 70, below the common 80"),
    ):
        done = command(demo, *ask, *change, ok=False)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert expected in done.stderr


@pytest.mark.long
def test_headers_and_options_must_agree(demo, data, tmp_path):
    write_predictions(tmp_path, data, fwhm_arcmin=160.0, lmax=80)
    ask = ["score", "--maps", str(tmp_path / "pred_{sim}.fits"), "--split", "test", "--name", "said"]
    assert "| said |" in command(demo, *ask).stdout, "headers that say it all need no options"
    done = command(demo, *ask, "--fwhm", "100", ok=False)
    assert "the header says 160, --fwhm says 100" in done.stderr
    write_predictions(tmp_path, data)
    assert "does not say its beam" in command(demo, *ask, ok=False).stderr


@pytest.mark.long
def test_scores_of_maps_hold_for_their_truths_only(demo, data, tmp_path):
    """After a change of the convention the old scores leave the tables, and the report says so."""
    write_predictions(tmp_path, data, fwhm_arcmin=160.0, lmax=80)
    ask = ["score", "--maps", str(tmp_path / "pred_{sim}.fits"), "--split", "test", "--name", "old"]
    command(demo, *ask)
    folder = next((demo / ".cmbml/submissions").iterdir())
    text = (folder / "old--test.json").read_text()
    kept = json.loads(text)
    (folder / "old--test.json").write_text(json.dumps(kept | {"ground": ["another"]}))
    command(demo, "report")
    page = (demo / "reports/index.html").read_text()
    assert "old, split test: scored against other truths" in page
    assert "old--test.html" not in page
    (folder / "old--test.json").write_text(json.dumps(kept | {"name": "nilc"}))
    command(demo, "report")
    assert "nilc: maps from elsewhere have the name of a method" in (demo / "reports/index.html").read_text()
    (folder / "old--test.json").unlink()


@pytest.mark.long
def test_one_simulation_is_said_to_have_no_interval(demo):
    command(demo, "report")
    page = (demo / "reports/index.html").read_text()
    assert "Split valid has one simulation, so its scores have no interval." in page
    assert "1 simulation, too few for an interval" in page


CARELESS = """
import numpy as np

from cmbml.core import BaseStageExecutor
from cmbml.sky.skymap import SkyMap

MAPS = {
    "train": SkyMap(np.ones((1, 12 * 32**2)), "uK_CMB", None, 80),
    "valid": SkyMap(np.ones((1, 12 * 16**2)), "uK_CMB", 160.0, 40),
    "test": SkyMap(np.ones((1, 12 * 32**2)), "mK_CMB", 160.0, 80),
    "shifted": SkyMap(np.ones((1, 12 * 32**2)), "uK_CMB", 300.0, 80),
}


class CarelessExecutor(BaseStageExecutor):
    def __init__(self, cfg):
        super().__init__(cfg, stage_str="careless")

    def process_sim(self, split, sim):
        self.assets_out["cleaned"].write(MAPS[split.name])
"""

CARELESS_STAGE = """
stages:
  careless:
    executor: careless.CarelessExecutor
    dir_name: careless
    assets_out:
      cleaned: {handler: HealpyMap, path_template: "{root}/{dataset}/{stage}/{split}/{sim}/cleaned.fits"}
    assets_in:
      obs: {stage: observations}
"""


def with_methods(source, folder, methods):
    """Write the parameters of one repository into another, with these methods."""
    params = read_yaml(source / "params.yaml") | {"methods": methods}
    (folder / "params.yaml").write_text(dump_yaml(params))


@pytest.fixture(scope="module")
def careless(demo, tmp_path_factory):
    """The demo with a method that returns what cannot be scored, another fault in every split."""
    folder = tmp_path_factory.mktemp("careless") / "repository"
    shutil.copytree(demo, folder)
    (folder / "careless.py").write_text(CARELESS)
    (folder / "pipeline/careless.yaml").write_text(CARELESS_STAGE)
    with_methods(folder, folder, ["careless"])
    command(folder, "dvc")
    command(folder, "run", "careless")
    return folder


@pytest.mark.parametrize(
    ("split", "reason"),
    [
        ("train", "does not say its beam: write fwhm_arcmin into it"),
        ("valid", "ends at lmax 40, below the common 80"),
        ("test", "scores are taken in uK_CMB, the estimate is in mK_CMB: convert it"),
        ("shifted", "a beam of 300 arcmin, blunter than the common 160: deconvolving is refused"),
    ],
)
def test_estimates_that_cannot_be_compared_are_refused_with_the_reason(careless, split, reason):
    done = command(careless, "run", "comparison", "--method", "careless", "--split", split, ok=False)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "cleaned.fits of method careless" in done.stderr
    assert reason in done.stderr


def test_a_missing_truth_is_named(careless):
    shutil.rmtree(careless / "data/demo/cmb/test")
    ask = ["score", "--maps", "x_{sim}.fits", "--split", "test", "--fwhm", "160", "--name", "x"]
    for arguments in (ask, ["run", "comparison", "--method", "careless", "--split", "test"]):
        done = command(careless, *arguments, ok=False)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert "cmb/test is not complete" in done.stderr


def test_a_method_cannot_be_there_twice(demo, tmp_path):
    shutil.copytree(demo / "pipeline", tmp_path / "pipeline")
    with_methods(demo, tmp_path, ["nilc", "hilc", "nilc"])
    (tmp_path / "dvc.yaml").write_text("")
    done = command(tmp_path, "check", ok=False)
    assert "methods: 'nilc' is named twice" in done.stderr


@pytest.mark.long
def test_the_same_pipeline_on_the_templates_of_the_field(demo, tmp_path, shared):
    """PySM 3's templates by one parameter; without them one line says what to fetch."""
    folder = tmp_path / "pysm"
    folder.mkdir()
    for name in ("params.yaml", "dvc.yaml", "luigi.cfg"):
        if (demo / name).exists():
            shutil.copy(demo / name, folder)
    shutil.copytree(demo / "pipeline", folder / "pipeline")
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("model: galaxy", "model: pysm3"))
    # A process of its own: astropy keeps the home that it found first.
    absent = subprocess.run(
        [sys.executable, "-m", "cmbml", "check"],
        cwd=folder,
        env={**os.environ, "PYSM_LOCAL_DATA": str(tmp_path / "nowhere"), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert absent.returncode == 2
    assert "PYSM_LOCAL_DATA" in absent.stderr
    assert "Traceback" not in absent.stderr
    command(folder, "run", PYSM_LOCAL_DATA=str(shared / "sky64"))
    ours, theirs = (
        cmbml.open(f)["observations"].obs.at(split="test", sim=0, freq="857").read() for f in (demo, folder)
    )
    assert np.corrcoef(ours.values[0], theirs.values[0])[0, 1] > 0.5, "both are the Milky Way at 857 GHz"
    rmse = json.loads((folder / "metrics/summary.json").read_text())["test"]["rmse"]["nilc"]
    assert 0.3 < rmse < 15


def test_real_maps_are_read_masked_and_brought_to_common_ground(shared):
    """WMAP's V and W see the same CMB: outside the mask their difference is small against either."""
    from cmbml.analysis.postprocess import common_from_map

    folder = shared / "wmap"
    handler = get_handler("HealpyMap")
    mask = handler.read(
        folder / "wmap_temperature_analysis_mask_r9_7yr_v4_udgraded32.fits", unit="1", field=0
    ).values[0]
    skies = [
        handler.read(
            folder / f"wmap_band_iqumap_r9_7yr_{band}_v4_udgraded32.fits", unit="mK_CMB", field=0
        ).to("uK_CMB")
        for band in "VW"
    ]
    v, w = (
        common_from_map(
            SkyMap(sky.values, sky.unit, fwhm_arcmin=fwhm),
            fwhm_arcmin=300, lmax=60, nside=32, mask=mask,
        )[0]
        for sky, fwhm in zip(skies, (21.0, 13.2), strict=True)
    )  # fmt: skip
    seen = mask > 0.5
    assert hp.npix2nside(len(seen)) == 32
    assert 40 < v[seen].std() < 90, "the CMB at 5 degrees, uK"
    assert (v - w)[seen].std() < 0.25 * v[seen].std()
