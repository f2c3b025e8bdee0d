"""What header and options say of a map that is to be scored, together."""

import numpy as np
import pytest

from cmbml.core.errors import DataError
from cmbml.core.handlers import get_handler
from cmbml.report.submissions import Submission, read_submission
from cmbml.sky.skymap import SkyMap


def asked(fwhm_arcmin=None, lmax=None):
    return Submission("mine", "pred_{sim}.fits", "test", fwhm_arcmin, lmax, {"way": "command"})


@pytest.fixture
def folder(tmp_path):
    """Two maps: one that names beam and band-limit, one that does not."""
    sky = np.random.default_rng(1).standard_normal((1, 768))
    for sim, known in enumerate([(160.0, 16), (None, None)]):
        get_handler("HealpyMap").write(tmp_path / f"pred_{sim}.fits", SkyMap(sky, "uK_CMB", *known))
    return tmp_path


@pytest.mark.parametrize("fwhm", [None, 160.0, 160.00001])
def test_a_beam_agrees_to_single_precision(folder, fwhm):
    found = read_submission(asked(fwhm), folder, 0)
    assert (found.fwhm_arcmin, found.lmax) == (pytest.approx(160.0), 16)


@pytest.mark.parametrize(
    ("sim", "fwhm", "message"),
    [
        (0, 161.0, "the header says 160, --fwhm says 161"),
        (1, None, "does not say its beam: say --fwhm"),
        (2, 160.0, r"--maps pred_\{sim\}.fits: no file for simulation 2 of test"),
    ],
)
def test_what_is_missing_or_contradicts_is_told_with_the_option(folder, sim, fwhm, message):
    with pytest.raises(DataError, match=message):
        read_submission(asked(fwhm), folder, sim)


@pytest.mark.parametrize("value", [0.0, -3.5])
def test_a_map_of_one_number_is_refused(folder, value):
    dead = SkyMap(np.full((1, 768), value), "uK_CMB", 160.0)
    get_handler("HealpyMap").write(folder / "pred_0.fits", dead)
    with pytest.raises(DataError, match=f"pred_0.fits: T is {value:g} in most pixels, as no sky is: name"):
        read_submission(asked(), folder, 0)


def test_a_map_with_zeros_in_its_mask_is_refused(folder):
    sky = np.where(np.arange(768) < 90, 0.0, np.random.default_rng(1).standard_normal(768))
    get_handler("HealpyMap").write(folder / "pred_0.fits", SkyMap(sky[None], "uK_CMB", 160.0))
    with pytest.raises(
        DataError, match=r"pred_0.fits: T is exactly 0 in 90 pixels, as where nothing was seen"
    ):
        read_submission(asked(), folder, 0)
