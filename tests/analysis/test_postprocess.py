from dataclasses import replace

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbml.analysis import postprocess
from cmbml.analysis.pixel import pixel_metrics
from cmbml.sky.pixwin import pixel_window, polarisation_window
from cmbml.sky.sht import alm2map, almxfl, gaussian_beam, map2alm, resize_alm
from cmbml.sky.skymap import SkyAlm, SkyMap

from .conftest import LMAX, NSIDE, cmb_like_cl

FULL_SKY = np.ones(12 * NSIDE**2)
COMMON = {"fwhm_arcmin": 200.0, "lmax": 64, "nside": NSIDE}


def beamed(alm, fwhm):
    return almxfl(alm, gaussian_beam(fwhm, LMAX))


def test_truth_and_equally_beamed_estimate_agree(truth_alm, galactic_mask):
    truth = postprocess.common(truth_alm, 0.0, **COMMON, mask=galactic_mask)
    estimate = postprocess.common(beamed(truth_alm, 120), 120.0, **COMMON, mask=galactic_mask)
    # Both windows are one Gaussian, written in one or two factors: rounding only.
    np.testing.assert_allclose(estimate, truth, atol=1e-10 * truth.std())


def test_smoothing_is_healpys(truth_alm):
    truth = postprocess.common(truth_alm, 0.0, **COMMON, mask=FULL_SKY)
    cut = resize_alm(truth_alm, 64)
    expected = hp.alm2map(hp.smoothalm(cut, fwhm=np.radians(200 / 60)), NSIDE)
    # Pixelised harmonics are orthogonal to monopole and dipole to quadrature error only: 1e-3.
    np.testing.assert_allclose(truth, expected, atol=2e-3 * expected.std())


def test_perfect_map_scores_zero_on_another_grid(truth_alm, galactic_mask):
    sky = SkyMap(
        alm2map(beamed(truth_alm, 120), 64)[None], unit="uK_CMB", fwhm_arcmin=120, lmax=LMAX, pixwin=False
    )
    estimate = postprocess.common_from_map(sky, **COMMON, mask=galactic_mask)[0]
    truth = postprocess.common(truth_alm, 0.0, **COMMON, mask=galactic_mask)
    # Three Jacobi iterations at lmax = 1.25 nside: about 1e-7.
    assert pixel_metrics(estimate, truth, galactic_mask)["nrmse"] < 1e-6


def test_map_already_common_is_only_freed_of_its_dipole(truth_alm, galactic_mask):
    values = alm2map(almxfl(resize_alm(truth_alm, 64), gaussian_beam(200, 64)), NSIDE)
    sky = SkyMap(values[None], unit="uK_CMB", fwhm_arcmin=200, lmax=64)
    result = postprocess.common_from_map(sky, **COMMON, mask=galactic_mask)[0]
    np.testing.assert_array_equal(result, postprocess.remove_dipole(values, galactic_mask))


def test_pixel_window_is_divided_out(truth_alm):
    windowed = almxfl(beamed(truth_alm, 120), pixel_window(NSIDE, LMAX))
    sky = SkyMap(alm2map(windowed, NSIDE)[None], unit="uK_CMB", fwhm_arcmin=120, lmax=LMAX, pixwin=True)
    result = postprocess.common_from_map(sky, **COMMON, mask=FULL_SKY)[0]
    truth = postprocess.common(truth_alm, 0.0, **COMMON, mask=FULL_SKY)
    # What lies between lmax 64 and 80 aliases at the level of the quadrature: 1e-4 at nside 32.
    assert pixel_metrics(result, truth, FULL_SKY)["nrmse"] < 1e-3


def test_polarisation_follows_the_same_way(rng, galactic_mask):
    alm = np.stack([resize_alm(row, LMAX) for row in _three_alms(rng)])
    tqu = SkyMap(
        alm2map(np.stack([beamed(row, 120) for row in alm]), NSIDE), unit="uK_CMB", fwhm_arcmin=120, lmax=LMAX
    )
    result = postprocess.common_from_map(tqu, **COMMON, mask=galactic_mask)
    truth = postprocess.common(alm, 0.0, **COMMON, mask=galactic_mask)
    assert result.shape == truth.shape == (3, 12 * NSIDE**2)
    np.testing.assert_allclose(result, truth, atol=2e-3 * truth.std())


def _three_alms(rng):
    from cmbml.sky.sht import draw_alm

    return [draw_alm(cmb_like_cl(LMAX), rng) for _ in range(3)]


def test_polarisation_pixel_window_is_divided_out(rng):
    alm = np.stack(_three_alms(rng))
    windows = pixel_window(NSIDE, LMAX), polarisation_window(NSIDE, LMAX)
    windowed = np.stack([almxfl(row, w) for row, w in zip(alm, [*windows, windows[1]], strict=True)])
    back = postprocess.remove_pixel_window(windowed, NSIDE)
    np.testing.assert_allclose(back, alm, rtol=1e-12)


def test_classic_mistake_is_impossible(truth_alm):
    """A 20.6-arcmin estimate against an unbeamed truth: 39.5 uK for a perfect one in a published table."""
    unbeamed = COMMON | {"fwhm_arcmin": 0.0}
    with pytest.raises(ValueError, match=r"20\.6 arcmin, blunter than the common 0"):
        postprocess.common(beamed(truth_alm, 20.6), 20.6, **unbeamed, mask=FULL_SKY)


def test_beam_within_tolerance_passes(truth_alm):
    sharp = postprocess.common(beamed(truth_alm, 200), 200.0, **COMMON, mask=FULL_SKY)
    blunt = postprocess.common(beamed(truth_alm, 200), 200.0 * (1 + 5e-5), **COMMON, mask=FULL_SKY)
    np.testing.assert_array_equal(sharp, blunt)
    with pytest.raises(ValueError, match="deconvolving is refused"):
        postprocess.common(beamed(truth_alm, 200), 200.0 * (1 + 2e-4), **COMMON, mask=FULL_SKY)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fwhm_arcmin": None}, "does not say its beam"),
        ({"fwhm_arcmin": 300.0}, "blunter than the common 200"),
        ({"lmax": 63}, "ends at lmax 63, below the common 64"),
        ({"unit": "K_CMB"}, "is in K_CMB"),
        ({"unit": ""}, "is in no unit"),
        ({"values": np.zeros((1, 12 * 16**2))}, "nside 16 cannot hold lmax 64: at most 47"),
        ({"values": np.full((1, 12 * NSIDE**2), hp.UNSEEN)}, "invalid pixels"),
        ({"values": np.full((1, 12 * NSIDE**2), np.nan)}, "invalid pixels"),
    ],
)
def test_unfit_maps_are_refused_with_the_reason(change, reason):
    good = SkyMap(np.zeros((1, 12 * NSIDE**2)), unit="uK_CMB", fwhm_arcmin=120, lmax=64)
    postprocess.common_from_map(good, **COMMON, mask=FULL_SKY)
    with pytest.raises(ValueError, match=reason):
        postprocess.common_from_map(replace(good, **change), **COMMON, mask=FULL_SKY)


def test_unfit_alm_are_refused_with_the_reason(truth_alm):
    with pytest.raises(ValueError, match="is in mK_CMB"):
        postprocess.common_alm(SkyAlm(truth_alm, "mK_CMB", 0), fwhm_arcmin=80, lmax=LMAX)
    with pytest.raises(ValueError, match="ends at lmax 80"):
        postprocess.common(truth_alm, 0.0, **(COMMON | {"lmax": 90}), mask=FULL_SKY)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [(np.ones(12), "has 12 pixels"), (np.zeros(12 * NSIDE**2), "too little sky")],
)
def test_unfit_masks_are_refused(truth_alm, mask, reason):
    with pytest.raises(ValueError, match=reason):
        postprocess.common(truth_alm, 0.0, **COMMON, mask=mask)


@settings(max_examples=20)
@given(
    st.lists(st.floats(-1e4, 1e4), min_size=4, max_size=4),
    st.floats(5, 60),
)
def test_monopole_and_dipole_vanish_whatever_the_mask(coefficients, cut_deg):
    basis = np.vstack([np.ones(12 * NSIDE**2), hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2))])
    mask = np.clip((np.abs(np.degrees(np.arcsin(basis[3]))) - cut_deg) / 5, 0, 1)
    rest = postprocess.remove_dipole(np.array(coefficients) @ basis, mask)
    # Exact but for rounding, on the full sky and not only where the mask is open.
    assert np.abs(rest).max() <= 1e-8 * (1 + np.abs(coefficients).max())


def test_dipole_fit_matches_healpy_on_a_binary_mask(truth_alm, galactic_mask):
    binary = (galactic_mask == 1).astype(float)
    sky = alm2map(truth_alm, NSIDE) + 7
    expected = hp.remove_dipole(np.where(binary > 0, sky, hp.UNSEEN))
    result = postprocess.remove_dipole(sky, binary)
    np.testing.assert_allclose(result[binary > 0], expected[binary > 0], atol=1e-9 * sky.std())


def test_polarisation_keeps_its_large_scales():
    tqu = np.ones((3, 12 * NSIDE**2))
    result = postprocess.remove_dipole(tqu, FULL_SKY)
    np.testing.assert_array_equal(result[1:], tqu[1:])
    np.testing.assert_allclose(result[0], 0, atol=1e-12)


def test_inputs_stay_untouched(truth_alm):
    values = alm2map(truth_alm, NSIDE)[None]
    before = values.copy()
    postprocess.common_from_map(SkyMap(values, "uK_CMB", 200, 64), **COMMON, mask=FULL_SKY)
    np.testing.assert_array_equal(values, before)


def test_result_is_band_limited(truth_alm):
    sky = postprocess.common(truth_alm, 0.0, **COMMON, mask=FULL_SKY)
    alm = map2alm(sky, LMAX)
    high = alm - resize_alm(resize_alm(alm, 64), LMAX)
    # Quadrature leakage at lmax = 2.5 nside: 3e-5.
    assert np.abs(high).max() < 1e-4 * np.abs(alm).max()
