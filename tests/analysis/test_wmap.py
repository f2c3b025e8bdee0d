"""Real observations: the cross-spectrum of WMAP's V and W bands that Fortran HEALPix published."""

from pathlib import Path

import healpy as hp
import numpy as np
import pytest

from cmbml.analysis.postprocess import remove_dipole
from cmbml.analysis.spectra.bands import Bands
from cmbml.analysis.spectra.master import masked_alm, master, pseudo_spectra

WMAP = Path(__file__).parents[2].parent / "shared" / "wmap"
pytestmark = pytest.mark.skipif(not WMAP.is_dir(), reason="the WMAP files are not on this machine")


def temperature(name):
    return hp.read_map(WMAP / name, field=0, dtype=np.float64)


@pytest.fixture(scope="module")
def maps():
    mask = temperature("wmap_temperature_analysis_mask_r9_7yr_v4_udgraded32.fits").astype(bool)
    names = (f"wmap_band_iqumap_r9_7yr_{band}_v4_udgraded32.fits" for band in "WV")
    return mask, [temperature(name) for name in names]


def test_published_cross_spectrum_is_reproduced(maps):
    """Its conventions: binary mask, monopole of the open pixels removed, three iterations, no decoupling."""
    mask, skies = maps
    alms = [masked_alm((sky - sky[mask].mean())[None], mask, 64, iterations=3) for sky in skies]
    published = hp.read_cl(
        WMAP / "cl_wmap_band_iqumap_r9_7yr_WVxspec_v4_udgraded32_II_lmax64_rmmono_3iter.fits"
    )
    # The file holds seven digits.
    np.testing.assert_allclose(pseudo_spectra(*alms)["TT"], published, rtol=1e-6, atol=1e-6 * published.max())


def test_decoupled_spectrum_is_the_cmbs(maps):
    """The plateau of the CMB, about 1000 uK^2 at l = 10 to 60, from maps in mK."""
    mask, skies = maps
    bands = Bands.linear(2, 48, 12)
    weights = mask.astype(float)
    alms = [masked_alm(1e3 * remove_dipole(sky, weights)[None], weights, bands.lmax) for sky in skies]
    powers = master(weights, bands).decouple(pseudo_spectra(*alms))["TT"]
    # Cosmic variance of 12 multipoles on 70 % of the sky: 10 to 20 %; averaging over pixels costs 10 %.
    assert np.all((powers > 600) & (powers < 1600))
