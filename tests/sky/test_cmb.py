import numpy as np
import pytest

from cmbml.sky.cmb import draw_cmb
from cmbml.sky.sht import alm2cl, resize_alm

LMAX = 60


@pytest.fixture(scope="module")
def spectra():
    """Any valid covariance does: TE is half of what it may be, of either sign."""
    ell = np.arange(LMAX + 1)
    tt = np.where(ell > 1, 1000.0 / (ell + 1.0) ** 2, 0)
    ee = 0.01 * tt
    te = 0.5 * np.sqrt(tt * ee) * np.cos(ell / 5)
    return {"TT": tt, "EE": ee, "BB": 0.1 * ee, "TE": te}


def generators(seed):
    return np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])


def test_mean_spectra_within_sample_variance_at_every_l(spectra):
    """300 skies.  The covariance of TT, EE, TE estimates is Gaussian; 5 sigma over 4 x 59 numbers."""
    n_sims = 300
    alms = [draw_cmb(spectra, LMAX, *generators(i), n_stokes=3) for i in range(n_sims)]
    ell = np.arange(LMAX + 1)
    for key, (i, j) in {"TT": (0, 0), "EE": (1, 1), "BB": (2, 2), "TE": (0, 1)}.items():
        mean = np.mean([alm2cl(alm[i], alm[j]) for alm in alms], axis=0)
        auto = {0: spectra["TT"], 1: spectra["EE"], 2: spectra["BB"]}
        sigma = np.sqrt((auto[i] * auto[j] + spectra[key] ** 2) / (2 * ell + 1) / n_sims)
        pull = (mean - spectra[key])[2:] / sigma[2:]
        assert np.abs(pull).max() < 5, key
    cross = np.mean([alm2cl(alm[0], alm[2]) for alm in alms], axis=0)
    sigma = np.sqrt(spectra["TT"] * spectra["BB"] / (2 * ell + 1) / n_sims)
    assert np.abs(cross[2:] / sigma[2:]).max() < 5


def test_temperature_does_not_depend_on_polarisation(spectra):
    alone = draw_cmb(spectra, LMAX, generators(3)[0])
    together = draw_cmb(spectra, LMAX, *generators(3), n_stokes=3)
    assert alone.shape[0] == 1
    np.testing.assert_array_equal(alone[0], together[0])


def test_realisation_does_not_depend_on_the_band_limit(spectra):
    low = draw_cmb(spectra, 30, *generators(4), n_stokes=3)
    high = draw_cmb(spectra, LMAX, *generators(4), n_stokes=3)
    np.testing.assert_array_equal(low, np.stack([resize_alm(row, 30) for row in high]))


def test_short_spectra_are_refused(spectra):
    with pytest.raises(ValueError, match="end at l = 60, below lmax = 61"):
        draw_cmb(spectra, LMAX + 1, *generators(0))


def test_polarisation_needs_its_generator(spectra):
    with pytest.raises(ValueError, match="rng_p"):
        draw_cmb(spectra, LMAX, generators(0)[0], n_stokes=3)
