"""`cmbml inspect`: what files say, what would be assumed, and what would be refused."""

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

from cmbml.cli.entry import main
from cmbml.core.handlers import get_handler
from cmbml.sky.skymap import SkyMap

NSIDE = 8
DIPOLE = np.array([0.0, 3.0, 4.0])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sky = 7 + DIPOLE @ np.array(hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2)))
    get_handler("HealpyMap").write(tmp_path / "ours.fits", SkyMap(sky[None], "uK_CMB", 80.0, 16))
    sky[5] = -1.6375e30
    hp.write_map(tmp_path / "theirs.fits", sky, column_units="mK", coord=None, dtype=np.float64)
    hp.write_map(tmp_path / "turned.fits", sky, column_units="K_CMB", coord="C")
    fits.ImageHDU(np.zeros((4, 5))).writeto(tmp_path / "picture.fits")
    return tmp_path


def said(capsys, *arguments):
    main(["inspect", *arguments])
    return capsys.readouterr().out


def test_a_file_of_ours_leaves_nothing_open(folder, capsys):
    text = said(capsys, "ours.fits")
    assert "HDU 1 xtension: 768 rows of I [uK_CMB]" in text
    assert (
        "read as: T, uK_CMB, nside 8, beam 80 arcmin, lmax 16, pixel window not in it, 0 missing pixels"
        in text
    )
    assert "assumed: nothing" in text
    assert "monopole 7, dipole 5, from" in text


def test_what_would_be_assumed_and_refused(folder, capsys):
    text = said(capsys, "theirs.fits", "turned.fits", "picture.fits")
    assert "mK_CMB, nside 8, beam not known, lmax not known, pixel window not in it, 1 missing pixels" in text
    assert "assumed: unit mK_CMB (it says mK); coord G (no COORDSYS); no pixel window (no PIXWIN)" in text
    assert "would be refused: COORDSYS is C (equatorial): --coord C has it rotated" in text
    assert "would be refused: no table of HEALPix pixels, HDU 1 is a picture of 4 x 5" in text
    assert "read as" in said(capsys, "turned.fits", "--coord", "C")


@pytest.mark.parametrize(
    ("name", "unit", "values"),
    [("TMASK", None, [0.0, 0.5]), ("GAL040", "none", [0.0, 1.0]), ("I_STOKES", "unitless", [0.0, 1.0]),
     ("C1", None, [0.0, 1.0])],
)  # fmt: skip
def test_a_mask_is_called_a_mask(folder, capsys, name, unit, values):
    mask = np.where(np.arange(12 * NSIDE**2) < 192, *values)
    column = {"column_names": [name], "column_units": unit, "coord": "G"}
    hp.write_map(folder / "mine.fits", mask, overwrite=True, **column)
    text = said(capsys, "mine.fits", "--out", "mask.png")
    assert "read as: mask, nside 8, 0 missing pixels" in text
    assert f"mask: mean {0.75 * values[1]:g}, from 0 to {values[1]:g}" in text
    assert " T" not in text.partition("read as")[2]


def test_a_mask_beside_a_sky_leaves_it_a_sky(folder, capsys):
    sky = hp.read_map(folder / "turned.fits")
    names = {"column_names": ["I_STOKES", "TMASK"], "column_units": "K_CMB", "coord": "G"}
    hp.write_map(folder / "smica.fits", [sky, (sky > 7) * 1.0], overwrite=True, **names)
    assert "read as: T, K_CMB" in said(capsys, "smica.fits")
    # where no row is a sky, the file would be refused as before
    hp.write_map(folder / "hits.fits", 3 * (sky > 7), column_names=["HITS"], overwrite=True, coord="G")
    assert "would be refused: no column of the sky" in said(capsys, "hits.fits")
    names = {"column_names": ["GAL020", "GAL040"], "coord": "G"}
    hp.write_map(folder / "planes.fits", [sky > 7, sky > 8], overwrite=True, dtype=np.uint8, **names)
    text = said(capsys, "planes.fits")
    assert "would be refused: columns GAL020, GAL040 could be meant: say --column GAL020 or another" in text


def test_a_picture_is_drawn_and_never_over_a_map(folder, capsys):
    assert said(capsys, "ours.fits", "theirs.fits", "--out", "maps.png").endswith("maps.png\n")
    assert (folder / "maps.png").read_bytes().startswith(b"\x89PNG")
    for out, message in (("ours.fits", "is not overwritten"), ("gone/maps.png", "make it first")):
        with pytest.raises(SystemExit):
            main(["inspect", "ours.fits", "--out", out])
        assert message in capsys.readouterr().err


def test_a_missing_file_is_one_line(folder, capsys):
    with pytest.raises(SystemExit):
        main(["inspect", "gone.fits"])
    assert capsys.readouterr().err == "cmbml: gone.fits: no such file: give files of maps, as 'obs_*.fits'\n"
