import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbml.sky import sht


def spherical_alm(lmax, ell, m, value=1.0):
    alm = np.zeros(sht.alm_size(lmax), dtype=complex)
    alm[m * (2 * lmax + 1 - m) // 2 + ell] = value
    return alm


@given(st.integers(0, 300))
def test_lmax_is_recovered_from_the_size(lmax):
    assert sht.lmax_of(np.zeros(sht.alm_size(lmax), dtype=complex)) == lmax


@pytest.mark.parametrize("size", [2, 5, 7, 100])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(ValueError, match="not a number of a_lm"):
        sht.lmax_of(np.zeros(size, dtype=complex))


@pytest.mark.parametrize("npix", [13, 12 * 9, 12 * 36])
def test_impossible_maps_are_refused(npix):
    with pytest.raises(ValueError, match="HEALPix"):
        sht.nside_of(np.zeros(npix))


def test_one_mode_is_its_legendre_function():
    """Y_20 has a closed form; synthesis is exact, so only rounding is left."""
    z = hp.pix2vec(16, np.arange(12 * 16**2))[2]
    sky = sht.alm2map(spherical_alm(8, 2, 0), 16)
    np.testing.assert_allclose(sky, np.sqrt(5 / (16 * np.pi)) * (3 * z**2 - 1), atol=1e-14)


@pytest.mark.parametrize("n_stokes", [1, 3])
def test_transforms_agree_with_healpy(n_stokes):
    """Two libraries, the same quadrature and the same iterations: rounding only."""
    rng = np.random.default_rng(0)
    alm = np.stack([sht.unit_alm(40, rng) for _ in range(n_stokes)])
    if n_stokes == 3:
        for m in range(2):  # spin 2 has no l < 2
            for ell in range(m, 2):
                alm[1:, m * (2 * 40 + 1 - m) // 2 + ell] = 0
    sky = sht.alm2map(alm, 16)
    expected = hp.alm2map(alm if n_stokes == 3 else alm[0], 16)
    np.testing.assert_allclose(sky, np.atleast_2d(expected), atol=1e-12)
    back = hp.map2alm(sky if n_stokes == 3 else sky[0], lmax=40, iter=3)
    np.testing.assert_allclose(sht.map2alm(sky, 40), np.atleast_2d(back), atol=1e-12)


def test_round_trip_at_the_band_limit():
    """Three iterations leave 2e-4 of a white sky with all its power up to l = 2.5 nside."""
    alm = sht.unit_alm(80, np.random.default_rng(1))
    back = sht.map2alm(sht.alm2map(alm, 32), 80)
    assert np.std(back - alm) < 3e-4 * np.std(alm)


@settings(max_examples=20)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 2**32))
def test_resizing_keeps_the_common_modes(old, new, seed):
    alm = sht.unit_alm(old, np.random.default_rng(seed))
    once = sht.resize_alm(alm, new)
    assert sht.lmax_of(once) == new
    common = min(old, new)
    np.testing.assert_array_equal(sht.resize_alm(once, common), sht.resize_alm(alm, common))
    np.testing.assert_allclose(sht.alm2cl(once)[: common + 1], sht.alm2cl(alm)[: common + 1])


@settings(max_examples=20)
@given(st.integers(2, 60), st.integers(0, 40), st.integers(0, 2**32))
def test_a_draw_at_a_lower_band_limit_is_the_draw_cut(lmax, more, seed):
    low = sht.unit_alm(lmax, np.random.default_rng(seed))
    high = sht.unit_alm(lmax + more, np.random.default_rng(seed))
    np.testing.assert_array_equal(low, sht.resize_alm(high, lmax))


def test_drawn_spectrum_recovers_within_sample_variance_at_every_l():
    """400 skies: the mean C_l scatters by sqrt(2 / (2 l + 1) / 400); 5 sigma for 49 multipoles."""
    cl = 1 / (np.arange(51) + 1.0) ** 2
    rng = np.random.default_rng(2)
    mean = np.mean([sht.alm2cl(sht.draw_alm(cl, rng)) for _ in range(400)], axis=0)
    ell = np.arange(51)
    pull = (mean / cl - 1) / np.sqrt(2 / (2 * ell + 1) / 400)
    assert np.abs(pull[2:]).max() < 5
    assert 0.6 < np.std(pull[2:]) < 1.4
    # All 400 x 2601 modes together know the level to 0.14 per cent; 5 sigma.
    assert np.average(mean / cl, weights=2 * ell + 1) == pytest.approx(1, abs=0.007)


def test_spectrum_and_filter_agree_with_healpy():
    alm = sht.unit_alm(30, np.random.default_rng(3))
    beam = sht.gaussian_beam(90.0, 30)
    np.testing.assert_allclose(beam, hp.gauss_beam(np.radians(1.5), lmax=30), rtol=1e-12)
    np.testing.assert_allclose(sht.almxfl(alm, beam), hp.almxfl(alm, beam), rtol=1e-12)
    np.testing.assert_allclose(sht.alm2cl(alm), hp.alm2cl(alm), rtol=1e-12)


def test_two_rows_are_the_polarisation_and_four_are_refused():
    alms = np.array([sht.unit_alm(30, np.random.default_rng(seed)) for seed in range(3)])
    np.testing.assert_array_equal(sht.alm2map(alms[1:], 16), sht.alm2map(alms, 16)[1:])
    with pytest.raises(ValueError, match="1 to 3 rows, got 4"):
        sht.alm2map(np.zeros((4, sht.alm_size(4)), dtype=complex), 4)


@pytest.mark.parametrize("n_stokes", [1, 3])
def test_bands_at_once_are_bands_one_by_one(n_stokes):
    rng = np.random.default_rng(7)
    alms = np.array([[sht.unit_alm(30, rng) for _ in range(n_stokes)] for _ in range(4)])
    together = sht.alm2map(alms, 16)
    assert together.shape == (4, n_stokes, 12 * 16**2)
    np.testing.assert_array_equal(together, np.stack([sht.alm2map(alm, 16) for alm in alms]))
