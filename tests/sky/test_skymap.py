"""Missing pixels: one rule for what is one."""

import healpy as hp
import numpy as np
import pytest

from cmbml.core.errors import DataError
from cmbml.core.handlers import get_handler
from cmbml.sky.skymap import UNSEEN, SkyMap, is_unseen


def test_the_mark_is_that_of_healpix():
    assert UNSEEN == hp.UNSEEN


@pytest.mark.parametrize("factor", [1.0, 1 + 1e-4, 0.999, 1e3, 1e6])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_rounding_and_units_leave_a_missing_pixel_missing(factor, kind):
    sky = np.array([hp.UNSEEN * factor, 0.0, -1e29], dtype=kind)
    assert is_unseen(sky).tolist() == [True, False, False]


def test_what_is_no_number_is_not_missing():
    assert not is_unseen(np.array([np.nan, np.inf, -np.inf])).any()


def test_a_change_of_unit_keeps_missing_pixels(tmp_path):
    sky = SkyMap(np.where(np.arange(12) == 3, UNSEEN, 1e-6)[None], "K_CMB")
    found = sky.to("uK_CMB")
    assert np.flatnonzero(is_unseen(found.values[0])).tolist() == [3]
    assert np.delete(found.values[0], 3) == pytest.approx(np.ones(11))
    with pytest.raises(DataError, match="1 missing pixels"):
        get_handler("HealpyMap").write(tmp_path / "map.fits", found)
