import healpy as hp
import numpy as np
import pytest

from cmbml.sky.pixwin import pixel_window, polarisation_window
from cmbml.sky.sht import alm2map, draw_alm

# Values of the tables that HEALPix 3 distributes (pixel_window_n0064.fits and its like), at l = 3 nside - 1.
DISTRIBUTED = {
    16: (0.6526493371, 0.6531650080),
    64: (0.6479038919, 0.6479359188),
    512: (0.6465464196, 0.6465466646),
    2048: (0.6464025862, 0.6464025973),
}


@pytest.mark.parametrize("nside", DISTRIBUTED)
def test_window_is_the_distributed_one(nside):
    lmax = 3 * nside - 1
    windows = pixel_window(nside, lmax)[-1], polarisation_window(nside, lmax)[-1]
    # 1e-5 where all pixels are taken, 2e-5 where 64 by 64 of a base pixel are.
    assert windows == pytest.approx(DISTRIBUTED[nside], abs=3e-5)


def test_window_begins_at_one_and_falls():
    for window in (pixel_window(32, 128), polarisation_window(32, 128)):
        # Moments are means over 5^4 pairs of each pixel: rounding only.
        assert window[0] == pytest.approx(1, abs=1e-12)
        assert np.all(np.diff(window[2:]) < 0)


def test_window_is_what_averaging_does():
    """A sky of one l, averaged over coarse pixels, loses the power that the window says."""
    nside, ell = 8, 20
    window = pixel_window(nside, ell)[ell]
    cl = (np.arange(ell + 1) == ell).astype(float)
    ratios = []
    for seed in range(30):
        fine = alm2map(draw_alm(cl, np.random.default_rng(seed)), 128)
        nested = hp.reorder(fine, r2n=True)
        coarse = nested.reshape(12 * nside**2, -1).mean(axis=1)
        ratios.append(np.mean(coarse**2) / np.mean(fine**2))
    # 30 skies of 41 modes: the scatter of the ratio of two means over one sky is below 1e-3.
    assert np.sqrt(np.mean(ratios)) == pytest.approx(window, abs=1e-3)


def test_window_beyond_the_grid_is_refused():
    with pytest.raises(ValueError, match="nside 16 ends at l = 64, not 65"):
        pixel_window(16, 65)
