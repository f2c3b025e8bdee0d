import numpy as np
import pytest

from cmbml.sky.sht import draw_alm

LMAX = 80
NSIDE = 32


def cmb_like_cl(lmax):
    """C_l in uK^2 with the red slope and size of the CMB's plateau, none below l = 2."""
    ell = np.arange(lmax + 1)
    cl = np.zeros(lmax + 1)
    cl[2:] = 2 * np.pi * 1000 / (ell[2:] * (ell[2:] + 1))
    return cl


@pytest.fixture
def rng():
    return np.random.default_rng(20240)


@pytest.fixture
def truth_alm(rng):
    return draw_alm(cmb_like_cl(LMAX), rng)


@pytest.fixture(scope="session")
def galactic_mask():
    """Weights that fall smoothly to zero towards the Galactic plane."""
    theta = np.arccos(pixel_z(NSIDE))
    return np.clip((np.abs(90 - np.degrees(theta)) - 15) / 10, 0, 1)


def pixel_z(nside):
    import healpy as hp

    return hp.pix2vec(nside, np.arange(12 * nside**2))[2]
