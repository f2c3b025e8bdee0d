"""Runs of pyilc: against a stand-in with its command line and file names, and the real one where it is set."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from cmbml.core.engine.check import check_executors
from cmbml.core.errors import CmbmlError, ConfigError, StageError
from cmbml.core.files.outside import find_program
from cmbml.core.plan.fingerprints import Plan
from cmbml.interfaces.pyilc.executors import PYILC, as_checkout, run_pyilc
from cmbml.interfaces.pyilc.params import PyilcParams
from cmbml.sky.sht import alm2map, almxfl, draw_alm, gaussian_beam, map2alm
from cmbml.sky.skymap import SkyMap
from tests.small_run import UPSTREAM, repository, run

SETTINGS = PyilcParams(peaks=(20, 41), ilc_bias=0.01)

STAND_IN = """\
import os, sys
import healpy as hp
import yaml

config = yaml.safe_load(open(sys.argv[1]))
print("reading maps")
assert os.path.basename(os.getcwd()) == "pyilc"
assert config["beam_FWHM_arcmin"] == sorted(config["beam_FWHM_arcmin"], reverse=True)
assert len(os.listdir(config["output_dir"])) == config["N_freqs"] + 1, "the folder is not private"
maps = []
for path in config["freq_map_files"]:
    sky, header = hp.read_map(path, h=True, dtype=None)
    assert dict(header)["TUNIT1"] == "K_CMB"
    maps.append(sky * 1e6)
{fault}
out = config["output_dir"] + config["output_prefix"] + "needletILCmap_component_CMB" + config["output_suffix"] + ".fits"
hp.write_map(out, maps[-1], dtype="f8")
"""


def checkout(folder, fault=""):
    """A program with pyilc's command line and file names, which returns the sharpest band."""
    (folder / "pyilc").mkdir(parents=True)
    (folder / "pyilc/main.py").write_text(STAND_IN.format(fault=fault), encoding="utf-8")
    return folder


def bands():
    rng = np.random.default_rng(1)
    cmb = draw_alm(1e4 / (np.arange(41) + 2.0) ** 2, rng)
    noise = [draw_alm(np.full(41, 1e-2), rng) for _ in range(3)]
    return cmb, [
        SkyMap(alm2map(almxfl(cmb, gaussian_beam(fwhm, 40)) + extra, 16)[None], "uK_CMB", fwhm, 40)
        for fwhm, extra in zip((300.0, 500.0, 400.0), noise, strict=True)
    ]


def test_maps_go_in_by_beam_and_the_result_has_its_beam(tmp_path):
    _, maps = bands()
    out = run_pyilc(checkout(tmp_path), maps, SETTINGS, freq_ghz=[100, 30, 44], fwhm_out=300.0, lmax=40)
    assert (out.unit, out.fwhm_arcmin, out.lmax, out.nside) == ("uK_CMB", 300.0, 40, 16)
    # through float32 files
    assert out.values == pytest.approx(maps[0].values, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "raise ValueError('beams must decrease')",
            r"pyilc ended with code 1: .*ValueError: beams must decrease",
        ),
        ("quit()", r"pyilc ended well and left no needletILCmap_component_CMB.fits: reading maps"),
        ("os._exit(7)", "pyilc ended with code 7"),
    ],
    ids=["traceback", "quit", "killed"],
)
def test_failures_end_with_the_last_lines_of_the_program(tmp_path, fault, message):
    with pytest.raises(StageError, match=message):
        run_pyilc(
            checkout(tmp_path, fault), bands()[1], SETTINGS, freq_ghz=[100, 30, 44], fwhm_out=300.0, lmax=40
        )


def test_a_missing_checkout_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.delenv("PYILC_PATH", raising=False)
    with pytest.raises(
        ConfigError, match=r"PYILC_PATH is not set: get it from https://github.com/jcolinhill/pyilc"
    ):
        find_program(tmp_path, "pyilc", PYILC)
    with pytest.raises(ConfigError, match=rf"no {re.escape('pyilc/main.py')} in {tmp_path}"):
        as_checkout(tmp_path)
    monkeypatch.setenv("PYILC_PATH", str(checkout(tmp_path / "mine")))
    assert as_checkout(find_program(tmp_path, "pyilc", PYILC)) == tmp_path / "mine"


def test_check_refuses_it_without_a_checkout_or_with_polarisation(tmp_path, monkeypatch):
    monkeypatch.delenv("PYILC_PATH", raising=False)
    plan = Plan(repository(tmp_path / "t", methods=["pyilc"]))
    with pytest.raises(CmbmlError, match=r"get it from https://github.com/jcolinhill/pyilc"):
        check_executors(plan, [plan.stages["pyilc"]])
    monkeypatch.setenv("PYILC_PATH", str(checkout(tmp_path / "mine")))
    assert check_executors(plan, [plan.stages["pyilc"]]) == []
    plan = Plan(repository(tmp_path / "tqu", methods=["pyilc"], instrument__fields="TQU"))
    with pytest.raises(CmbmlError, match="temperature only"):
        check_executors(plan, [plan.stages["pyilc"]])


def test_it_is_off_as_it_ships(real_config):
    assert "pyilc" not in real_config.params.methods


@pytest.mark.long
def test_the_stage_cleans_every_simulation(tmp_path, monkeypatch):
    monkeypatch.setenv("PYILC_PATH", str(checkout(tmp_path / "mine")))
    only = {"test": {"n_sims": 2, "population": "nominal"}}
    data = run(repository(tmp_path / "run", methods=["pyilc"], splits=only), *UPSTREAM[:-1], "pyilc")
    for sim in range(2):
        out = data["pyilc"].cleaned.at(split="test", sim=sim).read().values
        sharpest = data["observations"].obs.at(split="test", sim=sim, freq="857").read().values
        # but for l = 0 and 1, where the levels of the band made room for those of the CMB
        change = map2alm(out - sharpest, 40)
        assert (
            np.abs(np.delete(change, [0, 1, 41], axis=1)).max() < 1e-5 * np.abs(map2alm(sharpest, 40)).max()
        )


@pytest.mark.long
@pytest.mark.skipif("PYILC_PATH" not in os.environ, reason="needs a pyilc checkout: set PYILC_PATH")
def test_the_real_program_cleans():
    cmb, maps = bands()
    path = Path(os.environ["PYILC_PATH"])
    out = run_pyilc(path, maps, SETTINGS, freq_ghz=[100, 30, 44], fwhm_out=300.0, lmax=40)
    truth = alm2map(almxfl(cmb, gaussian_beam(300.0, 40)), 16)
    assert np.std(out.values[0] - truth) < 0.2 * np.std(truth)
