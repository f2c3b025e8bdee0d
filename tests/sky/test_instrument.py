import healpy as hp
import numpy as np
import pytest

from cmbml.sky.instrument import beam_warnings, pixel_size_arcmin, white_noise_cl
from cmbml.sky.noise.draws import draw_white_noise
from cmbml.sky.observe import combine_alm
from cmbml.sky.sht import alm2cl, alm_size, gaussian_beam, resize_alm, unit_alm


def test_depth_to_spectrum():
    """A depth of 1 uK arcmin is 1 uK in a square of 1 arcmin: C_l is that area."""
    np.testing.assert_allclose(white_noise_cl(1.0, 3), np.full(4, np.radians(1 / 60) ** 2))


def test_pixel_size_is_healpys():
    assert pixel_size_arcmin(64) == pytest.approx(hp.nside2resol(64, arcmin=True))


def test_narrow_beams_are_named():
    lines = beam_warnings({"30": 225.0, "857": 40.0}, 64, 160)
    assert len(lines) == 1
    assert "857" in lines[0]


def test_narrow_beams_beyond_the_band_are_refused():
    with pytest.raises(ValueError, match=r"857.*lower lmax to 160"):
        beam_warnings({"30": 225.0, "857": 40.0}, 64, 161)


def test_wide_beams_leave_any_band_alone():
    assert beam_warnings({"30": 225.0}, 64, 300) == []


def test_noise_has_its_depth_in_every_stokes_parameter():
    """Up to l = 200 T has 40401 modes, so its variance is good to sqrt(2 / 40401) = 0.7 %; 4 sigma."""
    alm = draw_white_noise(60.0, 200, np.random.default_rng(0), n_stokes=3)
    weight = 2 * np.arange(201) + 1
    for row, factor in zip(alm, (1, 2, 2), strict=True):
        level = np.average(alm2cl(row), weights=weight)
        assert level == pytest.approx(factor * np.radians(1) ** 2, rel=0.03)


def test_noise_realisation_depends_on_neither_band_limit_nor_polarisation():
    low = draw_white_noise(60.0, 50, np.random.default_rng(1))
    high = draw_white_noise(60.0, 80, np.random.default_rng(1), n_stokes=3)
    np.testing.assert_array_equal(low[0], resize_alm(high[0], 50))


def mode(lmax, ell, m):
    alm = np.zeros(alm_size(lmax), dtype=complex)
    alm[m * (2 * lmax + 1 - m) // 2 + ell] = 1
    return alm


def test_one_mode_of_each_component_comes_out_with_the_right_beam():
    foreground = mode(40, 7, 3)
    noise = np.stack([mode(40, 9, 0), mode(40, 9, 0)])
    fwhm = np.array([300.0, 120.0])
    observed = combine_alm(mode(40, 5, 2)[None], np.stack([foreground, 2 * foreground]), noise, fwhm, 40)
    for band in range(2):
        beam = gaussian_beam(fwhm[band], 40)
        expected = beam[5] * mode(40, 5, 2) + (band + 1) * beam[7] * mode(40, 7, 3) + mode(40, 9, 0)
        np.testing.assert_allclose(observed[band], expected, rtol=1e-12)


def test_observation_of_polarisation():
    rng = np.random.default_rng(5)
    cmb = np.stack([resize_alm(unit_alm(10, rng), 20) for _ in range(3)])
    cmb[1:, [0, 1, 21]] = 0  # spin 2 has no l < 2
    zero = np.zeros((1, 3, alm_size(20)), dtype=complex)
    observed = combine_alm(cmb, cmb[None], zero, np.array([0.0]), 20)
    np.testing.assert_allclose(observed[0], 2 * cmb, rtol=1e-12)


def test_inputs_are_left_alone():
    noise = np.zeros((1, alm_size(10)), dtype=complex)
    combine_alm(mode(10, 2, 0)[None], mode(10, 2, 0)[None], noise, np.array([60.0]), 10)
    assert not noise.any()
