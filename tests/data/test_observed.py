"""Real skies: maps in Planck's formats and WMAP's become observations; what methods make of them is compared."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import healpy as hp
import numpy as np
import pytest

import cmbml
from cmbml.core.engine.context import run_stage
from cmbml.core.engine.make import Engine
from cmbml.core.errors import ConfigError, DataError, ProblemsError
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.config import load_config
from cmbml.core.spec.profile import overlay
from cmbml.core.spec.yamlio import dump_yaml, read_yaml
from cmbml.sky.observed.maps import bring_to_instrument
from cmbml.sky.passbands import as_bandpass
from cmbml.sky.pixwin import pixel_window
from cmbml.sky.sht import alm2map, almxfl, draw_alm, gaussian_beam
from cmbml.sky.units import mjysr_per_kelvin
from tests.conftest import ROOT
from tests.data.planck_files import write_planck

NSIDE, LMAX = 64, 80
FWHM_IN, FWHM_OUT = 60.0, 160.0
METHODS = ("nilc", "smica", "sevem", "commander")


def sky_alm(seed: int = 1) -> np.ndarray:
    """A CMB-like sky up to LMAX, uK."""
    ell = np.arange(LMAX + 1.0)
    cl = np.zeros(LMAX + 1)
    cl[2:] = 6e3 / ell[2:] / (ell[2:] + 1)
    return draw_alm(cl, np.random.default_rng(seed))[np.newaxis]


def seen(alm: np.ndarray, fwhm: float, nside: int, *, pixwin: bool) -> np.ndarray:
    """A sky as an instrument sees it: RING, ``(npix,)``."""
    window = gaussian_beam(fwhm, LMAX) * (pixel_window(nside, LMAX) if pixwin else 1.0)
    return alm2map(almxfl(alm, window), nside)[0]


@pytest.mark.parametrize("pixwin", [True, False])
def test_beam_window_and_grid_are_brought_to_the_instrument(pixwin):
    alm = sky_alm()
    real = seen(alm, FWHM_IN, NSIDE, pixwin=pixwin)
    found = bring_to_instrument(real, fwhm_in=FWHM_IN, fwhm_out=FWHM_OUT, pixwin=pixwin, lmax=LMAX, nside=32)
    wanted = seen(alm, FWHM_OUT, 32, pixwin=False)
    # three iterations of the quadrature leave 1e-4 at this band-limit
    assert np.std(found - wanted) < 1e-3 * np.std(wanted)


def test_missing_pixels_harm_only_their_surroundings():
    alm = sky_alm()
    real = seen(alm, FWHM_IN, NSIDE, pixwin=False)
    hole = hp.query_disc(NSIDE, [1, 0, 0], np.radians(2))
    real[hole] = hp.UNSEEN
    found = bring_to_instrument(real, fwhm_in=FWHM_IN, fwhm_out=FWHM_OUT, pixwin=False, lmax=LMAX, nside=32)
    wanted = seen(alm, FWHM_OUT, 32, pixwin=False)
    far = np.ones(found.size, dtype=bool)
    far[hp.query_disc(32, [1, 0, 0], np.radians(10))] = False
    assert np.abs(found - wanted)[far].max() < 0.02 * np.std(wanted)


def test_what_cannot_be_brought_is_refused():
    sky = np.zeros(12 * 16**2)
    with pytest.raises(ValueError, match="its beam of 60 arcmin is blunter than the wanted 30"):
        bring_to_instrument(sky, fwhm_in=60, fwhm_out=30, pixwin=False, lmax=10, nside=16)
    with pytest.raises(ValueError, match="its nside 16 does not carry lmax 60"):
        bring_to_instrument(sky, fwhm_in=30, fwhm_out=60, pixwin=False, lmax=60, nside=32)


class Repository:
    """A small repository with an observed split, whose raw files lie in Planck's formats."""

    def __init__(self, root: Path, **values: object) -> None:
        self.root = root
        shutil.copytree(ROOT / "pipeline", root / "pipeline")
        shutil.copy(ROOT / "luigi.cfg", root)
        params = overlay(read_yaml(ROOT / "params.yaml"), read_yaml(ROOT / "profiles/demo.yaml"))
        sky = {"splits": {"sky": {"n_sims": 1, "source": "observed"}}, "dataset": "real"}
        params = overlay(params, {**sky, **values})
        (root / "params.yaml").write_text(dump_yaml(params), encoding="utf-8")
        (root / "dvc.yaml").touch()

    @property
    def raw(self) -> Path:
        return self.root / "data/raw"

    def run(self, *keys: str) -> None:
        engine = Engine(Plan(load_config(self.root)))
        for key in keys:
            run_stage(engine, engine.plan.stages[key])

    def read(self, stage: str, output: str, **tags: object) -> object:
        return getattr(cmbml.open(self.root)[stage], output).at(split="sky", sim=0, **tags).read()


def put_planck_sky(raw: Path, bands: dict[str, dict[str, float]], fwhm: dict[str, float], alm) -> None:
    """A sky of CMB alone in Planck's files: K_CMB, MJy/sr at 545 and 857 GHz, ten columns or three."""
    rng = np.random.default_rng(5)
    for name, band in bands.items():
        real = seen(alm, fwhm[name], NSIDE, pixwin=True) * 1e-6
        # no two bands are the same
        real += rng.normal(0, 1e-7, real.size)
        real[7] = hp.UNSEEN
        bright = name in ("545", "857")
        if bright:
            real = np.where(real == hp.UNSEEN, real, real * mjysr_per_kelvin(as_bandpass(band["freq_ghz"])))
        unit, extra = ("MJy/sr", 3) if bright else ("K_CMB", 5)
        write_planck(raw / f"planck/sky_{name}.fits", real, unit, extra=extra)
    for name in METHODS:
        write_planck(
            raw / f"planck/cmb_{name}.fits", seen(alm, 5.0, NSIDE, pixwin=True) * 1e-6, "K_CMB", extra=2
        )


def test_planck_files_become_observations(tmp_path):
    fwhm = dict.fromkeys(("30", "44", "70", "100", "143", "217", "353", "545", "857"), 30.0)
    repository = Repository(tmp_path, observed={"fwhm_arcmin": fwhm})
    bands = read_yaml(repository.root / "params.yaml")["instrument"]["bands"]
    alm = sky_alm()
    put_planck_sky(repository.raw, bands, fwhm, alm)
    repository.run("observed_sky")
    for name, band in bands.items():
        obs = repository.read("observations", "obs", freq=name)
        wanted = seen(alm, band["fwhm_arcmin"], 32, pixwin=False)
        # one pixel of 49152 was missing and was filled; the bands are float32
        assert np.std(obs.values[0] - wanted) < 5e-3 * np.std(wanted), name
        assert (obs.unit, obs.fwhm_arcmin, obs.lmax) == ("uK_CMB", band["fwhm_arcmin"], 80)


def test_a_band_that_is_there_twice_and_a_dead_one_are_refused(tmp_path):
    fwhm = dict.fromkeys(("30", "44", "70", "100", "143", "217", "353", "545", "857"), 30.0)
    repository = Repository(tmp_path, observed={"fwhm_arcmin": fwhm})
    bands = read_yaml(repository.root / "params.yaml")["instrument"]["bands"]
    put_planck_sky(repository.raw, bands, fwhm, sky_alm())
    shutil.copy(repository.raw / "planck/sky_100.fits", repository.raw / "planck/sky_143.fits")
    with pytest.raises(DataError, match=r"planck: T of band 143 is T of band 100 times a number"):
        repository.run("observed_sky")
    write_planck(repository.raw / "planck/sky_143.fits", np.full(12 * NSIDE**2, 1e-4), "K_CMB")
    with pytest.raises(DataError, match=r"sky_143.fits: T is 100 in most pixels"):
        repository.run("observed_sky")


def test_the_stages_of_an_observed_split_are_those_that_need_no_truth(tmp_path):
    plan = Plan(load_config(Repository(tmp_path).root))
    made = {stage.key for stage in plan.stages.values() for p in plan.portions(stage) if p.split == "sky"}
    methods = set(plan.config.params.methods)
    assert made == {"observed_sky", "sky_comparison"} | methods
    compared = {p.method for p in plan.portions(plan.stages["sky_comparison"])}
    assert compared == methods
    assert "sky" not in plan.config.splits
    # without such a split there are no such stages
    assert not {"observed_sky", "sky_comparison"} & set(Plan(load_config(ROOT)).stages)


def test_a_band_without_a_beam_and_a_blunt_map_are_told(tmp_path):
    repository = Repository(tmp_path)
    text = (repository.root / "params.yaml").read_text(encoding="utf-8")
    changed = re.sub(r"\n    '143': 7.3", "", text)
    assert changed != text
    (repository.root / "params.yaml").write_text(changed, encoding="utf-8")
    engine = Engine(Plan(load_config(repository.root)))
    with pytest.raises(ConfigError, match=r"observed\.fwhm_arcmin: no beam of band '143'"):
        engine.make_executor("observed_sky", None)
    blunt = text.replace("'30': 32.29", "'30': 500.0")
    (repository.root / "params.yaml").write_text(blunt, encoding="utf-8")
    for name in ("30", "44", "70", "100", "143", "217", "353", "545", "857"):
        rows = np.random.default_rng(int(name)).standard_normal(12 * 64**2)
        write_planck(repository.raw / f"planck/sky_{name}.fits", 1e-4 * rows, "K_CMB")
    with pytest.raises(DataError, match=r"sky_30\.fits: its beam of 500 arcmin is blunter"):
        repository.run("observed_sky")


def test_stand_ins_are_checked(tmp_path):
    repository = Repository(tmp_path)
    path = repository.root / "pipeline/observed.yaml"
    text = path.read_text(encoding="utf-8")
    for old, new, message in (
        (
            "stands_for: observations",
            "stands_for: observation",
            "no stage 'observation': did you mean 'observations'",
        ),
        ("    source: observed\n    stands_for", "    stands_for", "needs 'source'"),
        ("obs_{freq}.fits", "o_{freq}.fits", "must have dir_name and assets_out of stage 'observations'"),
    ):
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(ProblemsError, match=message):
            load_config(repository.root)


@pytest.mark.long
def test_a_real_sky_is_cleaned_by_every_method_and_compared(tmp_path):
    """Whole chain, trained on simulations: on a sky of CMB alone all methods return it."""
    fwhm = dict.fromkeys(("30", "44", "70", "100", "143", "217", "353", "545", "857"), 30.0)
    repository = Repository(tmp_path, observed={"fwhm_arcmin": fwhm})
    bands = read_yaml(repository.root / "params.yaml")["instrument"]["bands"]
    put_planck_sky(repository.raw, bands, fwhm, sky_alm())
    done = subprocess.run(
        [sys.executable, "-m", "cmbml", "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    for method in load_config(tmp_path).params.methods:
        for published in METHODS:
            place = {"split": "sky", "sim": 0, "method": method}
            summary = cmbml.open(tmp_path)["sky_comparison"].summary.at(**place).read()[published]
            # the Wiener filter loses power on purpose, the others keep the CMB but for its loss in their covariance
            assert summary["mean_coherence"] > 0.99, (method, summary)
            assert summary["rms_difference"] < 0.35 * summary["rms_published"], (method, summary)
            difference = cmbml.open(tmp_path)["sky_comparison"].difference.at(**place, field=published).read()
            assert np.isclose(np.std(difference.values), summary["rms_difference"], rtol=0.3)


@pytest.mark.long
def test_the_sky_of_wmap_is_cleaned_and_compared(tmp_path, shared):
    """V and W of WMAP through harmonic weights; V in the place of a published map: they are alike on large scales."""
    bands = {
        "V": {"freq_ghz": 60.8, "fwhm_arcmin": 240.0, "depth_uk_arcmin": 300.0},
        "W": {"freq_ghz": 93.5, "fwhm_arcmin": 240.0, "depth_uk_arcmin": 300.0},
    }
    values = {
        "observed": {
            "fwhm_arcmin": {"V": 19.8, "W": 13.2},
            "unit": "mK_CMB",
            "pixwin": True,
            "cmb_fwhm_arcmin": 19.8,
        },
        "methods": ["hilc"],
        "mask": {"kind": "map", "threshold": 0.5},
        "analysis": {"fwhm_arcmin": 240.0, "lmax": 40},
    }
    repository = Repository(tmp_path, **values)
    path = tmp_path / "params.yaml"
    params = read_yaml(path)
    params["instrument"] |= {"nside": 32, "lmax": 60, "bands": bands}
    path.write_text(dump_yaml(params), encoding="utf-8")
    for band in bands:
        name = shared / f"wmap/wmap_band_iqumap_r9_7yr_{band}_v4_udgraded32.fits"
        (repository.raw / "planck").mkdir(parents=True, exist_ok=True)
        shutil.copy(name, repository.raw / f"planck/sky_{band}.fits")
    for published in METHODS:
        shutil.copy(repository.raw / "planck/sky_V.fits", repository.raw / f"planck/cmb_{published}.fits")
    (repository.raw / "mask").mkdir()
    shutil.copy(
        shared / "wmap/wmap_temperature_analysis_mask_r9_7yr_v4_udgraded32.fits",
        repository.raw / "mask/mask.fits",
    )
    done = subprocess.run(
        [sys.executable, "-m", "cmbml", "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    place = {"split": "sky", "sim": 0, "method": "hilc"}
    summary = cmbml.open(tmp_path)["sky_comparison"].summary.at(**place).read()["smica"]
    # a CMB of some 50 uK at this beam, in which V and W agree but for noise and faint foregrounds
    assert 30 < summary["rms_published"] < 90, summary
    assert summary["mean_coherence"] > 0.9, summary


def test_what_headers_leave_open_may_stand_in_the_pipeline_file(tmp_path):
    """NaN for missing pixels, hits as first column, the unit left out: told by `reads`, and part of the fingerprint."""
    fwhm = dict.fromkeys(("30", "44", "70", "100", "143", "217", "353", "545", "857"), 30.0)
    repository = Repository(tmp_path, observed={"fwhm_arcmin": fwhm, "pixwin": False})
    bands = read_yaml(repository.root / "params.yaml")["instrument"]["bands"]
    alm = sky_alm()
    (repository.raw / "planck").mkdir(parents=True)
    for number, name in enumerate(bands):
        real = seen(alm, 30.0, NSIDE, pixwin=False) * 1e-3
        real += 0.01 * real.std() * np.random.default_rng(number).standard_normal(real.size)
        real[7] = np.nan
        path = repository.raw / f"planck/sky_{name}.fits"
        hp.write_map(path, [real * 0 + 9, real], column_names=["A", "B"], dtype=np.float64)
    before = Plan(load_config(repository.root))
    with pytest.raises(DataError, match=r"columns A, B could be meant: say reads: \{column: A\} or another"):
        repository.run("observed_sky")
    path = repository.root / "pipeline/observed.yaml"
    text = path.read_text(encoding="utf-8")
    told = "sky: {stage: planck_maps, reads: {column: B, unit: mK_CMB, missing: nan}}"
    path.write_text(text.replace("sky: {stage: planck_maps}", told), encoding="utf-8")
    repository.run("observed_sky")
    found = repository.read("observations", "obs", freq="30").values[0]
    wanted = seen(alm, bands["30"]["fwhm_arcmin"], 32, pixwin=False)
    assert np.std(found - wanted) < 5e-3 * np.std(wanted)
    recipes = [
        plan.recipe(plan.portions(plan.stages["observed_sky"])[0])
        for plan in (before, Plan(load_config(tmp_path)))
    ]
    assert recipes[0].handlers != recipes[1].handlers
    path.write_text(
        text.replace("mask: {stage: mask}", "mask: {stage: mask, reads: {units: K}}"), encoding="utf-8"
    )
    with pytest.raises(
        ProblemsError, match=r"unknown key 'assets_in\.mask\.reads\.units': did you mean 'unit'"
    ):
        load_config(repository.root)
