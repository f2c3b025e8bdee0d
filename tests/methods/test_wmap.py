"""WMAP's own files, as LAMBDA's headers leave them, through `clean` and `score`: compared with healpy."""

import healpy as hp
import numpy as np
import pytest

from cmbml.cli.entry import main
from cmbml.core.errors import DataError
from cmbml.core.handlers import get_handler
from cmbml.report.submissions import Submission, read_submission
from cmbml.sky.pixwin import pixel_window, polarisation_window

LMAX, FWHM, NSIDE = 48, 300.0, 32
BEAMS = {"V": 19.8, "W": 13.2}
NAME = "wmap_band_iqumap_r9_7yr_{freq}_v4_udgraded32.fits"
TABLE = """# %ECSV 1.0
# ---
# datatype:
# - {name: band, datatype: string}
# - {name: freq, unit: GHz, datatype: float64}
# - {name: fwhm, unit: arcmin, datatype: float64}
# - {name: depth, unit: uK_CMB arcmin, datatype: float64}
band freq fwhm depth
V 60.8 19.8 300.0
W 93.5 13.2 300.0
"""


@pytest.fixture
def folder(tmp_path, monkeypatch, shared):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wmap.ecsv").write_text(TABLE, encoding="utf-8")
    return shared / "wmap"


def alms_at_the_output_beam(folder):
    """a_lm of V and W by healpy: uK, window of the pixels out, at one beam: ``(2, 3, nalm)``."""
    # healpy fetches its windows; ours are compared with a direct average elsewhere
    temperature, polarisation = pixel_window(NSIDE, LMAX), polarisation_window(NSIDE, LMAX)
    pairs = []
    for band, fwhm in BEAMS.items():
        maps = 1e3 * hp.read_map(folder / NAME.format(freq=band), field=(0, 1, 2), dtype=np.float64)
        alms = hp.map2alm(maps, lmax=LMAX, iter=3)
        beam = hp.gauss_beam(np.radians(FWHM / 60), LMAX) / hp.gauss_beam(np.radians(fwhm / 60), LMAX)
        fields = zip(alms, (temperature, polarisation, polarisation), strict=True)
        pairs.append([hp.almxfl(alm, beam / window) for alm, window in fields])
    return np.array(pairs)


def weights_of(alms, low, high):
    """The weights of least variance of two maps over some multipoles, by their own spectra."""
    modes = 2 * np.arange(low, high + 1) + 1
    cross = [[modes @ hp.alm2cl(one, two)[low : high + 1] for two in alms] for one in alms]
    summed = np.linalg.solve(cross, np.ones(2))
    return summed / summed.sum()


@pytest.mark.parametrize("fields", ["T", "TQU"])
def test_what_is_cleaned_is_what_healpy_gives(folder, tmp_path, fields, capsys):
    arguments = [
        "--maps",
        str(folder / NAME),
        "--instrument",
        "wmap.ecsv",
        "--fwhm",
        str(FWHM),
        "--lmax",
        str(LMAX),
    ]
    main(
        [
            "clean",
            "hilc_plain",
            *arguments,
            "--unit",
            "mK_CMB",
            "--pixwin",
            "--fields",
            fields,
            "--out",
            "w.fits",
        ]
    )
    said = capsys.readouterr().err
    assert "assumed: " in said
    assert "coord G (no COORDSYS): V, W" in said
    assert ("polconv COSMO (no POLCCONV)" in said) is (fields == "TQU")
    bands = alms_at_the_output_beam(folder)
    cleaned = np.atleast_2d(hp.read_map("w.fits", field=None, dtype=np.float64))
    found = hp.map2alm(cleaned if fields == "TQU" else cleaned[0], lmax=LMAX, iter=10)
    rows = get_handler("Csv").read(tmp_path / "w_weights.csv")
    ell = hp.Alm.getlm(LMAX)[0]
    for number, field in enumerate("TEB"[: len(fields)]):
        mine = [row for row in rows if row["field"] == field and row["ell_min"] > 1]
        assert mine
        for v, w in zip(mine[::2], mine[1::2], strict=True):
            low, high = v["ell_min"], v["ell_max"]
            expected = weights_of(bands[:, number], low, high)
            np.testing.assert_allclose([v["mean"], w["mean"]], expected, rtol=2e-3, atol=2e-3)
            here = (ell >= low) & (ell <= high)
            wanted = v["mean"] * bands[0, number, here] + w["mean"] * bands[1, number, here]
            got = np.atleast_2d(found)[number, here]
            # maps are written in single precision
            assert np.abs(got - wanted).max() < 2e-3 * np.abs(wanted).max()


@pytest.mark.parametrize("n_stokes", [1, 3])
def test_what_is_scored_is_what_healpy_reads(folder, n_stokes):
    told = {"unit": "mK_CMB", "pixwin": True, "way": "command"} | (
        {"column": "I_STOKES"} if n_stokes == 1 else {}
    )
    pattern = str(folder / NAME).replace("{freq}", "V").replace("7yr", "{sim}yr")
    sky = read_submission(Submission("w", pattern, "test", BEAMS["V"], None, told), folder, 7)
    expected = 1e3 * np.atleast_2d(hp.read_map(folder / NAME.format(freq="V"), field=range(n_stokes)))
    np.testing.assert_allclose(sky.values, expected, rtol=1e-6)
    assert (sky.unit, sky.fwhm_arcmin, sky.pixwin) == ("uK_CMB", 19.8, True)


def test_its_unit_is_asked_for_as_the_command_line_says_it(folder):
    submission = Submission(
        "w", str(folder / NAME.replace("{freq}", "V")), "test", 19.8, None, {"way": "command"}
    )
    with pytest.raises(DataError, match="names no unit: say --unit"):
        read_submission(submission, folder, 7)
