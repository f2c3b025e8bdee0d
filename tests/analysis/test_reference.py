import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbml.analysis.reference import combine, noise_floor_weights
from cmbml.sky.sht import alm2cl, almxfl, draw_alm, gaussian_beam

from .conftest import LMAX, cmb_like_cl

FWHM = np.array([225.0, 97.2, 61.8])
NOISE = np.outer([0.002, 0.0001, 0.03], np.ones(LMAX + 1))


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.floats(0, 3000), st.floats(1e-6, 1e6)), min_size=1, max_size=9),
    st.integers(2, 1024),
)
def test_weights_sum_to_one_even_where_beams_underflow(bands, lmax):
    fwhm, noise = np.array(bands).T
    weights = noise_floor_weights(np.outer(noise, np.ones(lmax + 1)), fwhm, lmax)
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-12)
    assert np.all(weights >= 0)


def test_weights_are_inverse_variances():
    weights = noise_floor_weights(NOISE, FWHM, LMAX)
    inverse = np.array([gaussian_beam(f, LMAX) ** 2 for f in FWHM]) / NOISE
    np.testing.assert_allclose(weights, inverse / inverse.sum(axis=0), rtol=1e-10)


def test_combination_keeps_the_cmb_whole(rng):
    cmb = draw_alm(cmb_like_cl(LMAX), rng)
    bands = np.stack([almxfl(cmb, gaussian_beam(f, LMAX)) for f in FWHM])
    out = combine(bands, noise_floor_weights(NOISE, FWHM, LMAX), FWHM, 80.0)
    np.testing.assert_allclose(out, almxfl(cmb, gaussian_beam(80, LMAX)), rtol=1e-10, atol=1e-12)


def test_noise_left_is_the_smallest_that_any_weights_leave(rng):
    weights = noise_floor_weights(NOISE, FWHM, LMAX)
    noise = np.stack([draw_alm(cl, rng) for cl in NOISE])
    left = alm2cl(combine(noise, weights, FWHM, 0.0))
    inverse = np.array([gaussian_beam(f, LMAX) ** 2 for f in FWHM]) / NOISE
    modes = 2 * np.arange(LMAX + 1) + 1
    ratio = np.sum(modes * left * inverse.sum(axis=0)) / modes.sum()
    # Mean of (LMAX + 1)^2 squared normals: error sqrt(2) / (LMAX + 1), four of them.
    assert ratio == pytest.approx(1, abs=4 * np.sqrt(2) / (LMAX + 1))


@pytest.mark.parametrize("noise", [np.zeros((3, LMAX + 1)), NOISE[:2], NOISE[:, :-1]])
def test_unfit_noise_is_refused(noise):
    with pytest.raises(ValueError, match=f"positive spectrum up to lmax {LMAX} for each of 3 bands"):
        noise_floor_weights(noise, FWHM, LMAX)
