import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbml.sky.mask import apodise, galactic_mask, galactic_mask_fsky, threshold_mask

from .conftest import SHARED


def brute_force(mask, scale_arcmin, kind):
    """NaMaster's loop, pixel by pixel."""
    nside = hp.get_nside(mask)
    vectors = np.stack(hp.pix2vec(nside, np.arange(mask.size)), axis=1)
    cosine = (vectors @ vectors[mask <= 0].T).max(axis=1)
    x = np.minimum(np.sqrt(np.maximum(1 - cosine, 0) / (1 - np.cos(np.radians(scale_arcmin / 60)))), 1)
    taper = x - np.sin(2 * np.pi * x) / (2 * np.pi) if kind == "C1" else 0.5 * (1 - np.cos(np.pi * x))
    return mask * taper


@pytest.fixture(scope="module")
def patchy():
    """A Galactic cut with 40 holes at nside 16."""
    mask = galactic_mask(16, 15.0)
    mask[np.random.default_rng(0).integers(0, mask.size, 40)] = 0
    return mask


@pytest.mark.parametrize("kind", ["C1", "C2"])
@pytest.mark.parametrize("scale", [300.0, 900.0])
def test_apodisation_agrees_with_the_brute_force(patchy, kind, scale):
    """Same formula by another route; the square root of rounded cosines is good to 1e-7."""
    np.testing.assert_allclose(apodise(patchy, scale, kind), brute_force(patchy, scale, kind), atol=1e-6)


@pytest.mark.parametrize("kind", ["C1", "C2", "gaussian"])
def test_apodisation_tapers_inwards_only(patchy, kind):
    tapered = apodise(patchy, 400.0, kind)
    assert not tapered[patchy == 0].any()
    assert tapered.min() >= 0
    assert tapered.max() <= 1
    assert tapered.sum() < patchy.sum()


@pytest.mark.parametrize("kind", ["C1", "C2", "gaussian"])
def test_far_from_the_border_nothing_changes(kind):
    """At the poles of a 10 degree cut a taper of 2 degrees is far away; smoothing rings at 1e-3."""
    tapered = apodise(galactic_mask(32, 10.0), 120.0, kind)
    assert tapered[0] == pytest.approx(1, abs=2e-3)


def test_gaussian_halfway_point():
    """Cut 2.5 sigma further and smoothed, the profile is 1/2 there; pixels blur the border by 0.1."""
    mask = galactic_mask(64, 0.0)
    z = hp.pix2vec(64, np.arange(mask.size))[2]
    mask[z < 0] = 0
    tapered = apodise(mask, 240.0, "gaussian")
    latitude = np.degrees(np.arcsin(z))
    halfway = tapered[np.abs(latitude - 10.0) < 0.5].mean()
    assert halfway == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["C1", "C2"])
def test_masks_without_a_border_stay(value, kind):
    mask = np.full(12 * 8**2, value)
    np.testing.assert_array_equal(apodise(mask, 60.0, kind), mask)


@settings(max_examples=25)
@given(st.floats(0.01, 1))
def test_sky_fraction(fsky):
    """One pixel ring is 2 % of the sky at nside 32 near the equator."""
    assert galactic_mask_fsky(32, fsky).mean() == pytest.approx(fsky, abs=0.02)


def test_cut_is_at_its_latitude():
    mask = galactic_mask(32, 20.0)
    latitude = 90 - np.degrees(hp.pix2ang(32, np.arange(mask.size))[0])
    np.testing.assert_array_equal(mask, np.abs(latitude) >= 20)


@pytest.mark.parametrize(
    ("scale", "kind", "message"),
    [(0.0, "C1", "must be positive"), (60.0, "C3", "known are C1, C2, gaussian")],
)
def test_bad_apodisations_are_refused(patchy, scale, kind, message):
    with pytest.raises(ValueError, match=message):
        apodise(patchy, scale, kind)


@pytest.mark.parametrize("fsky", [0.0, -0.5, 1.5])
def test_bad_sky_fractions_are_refused(fsky):
    with pytest.raises(ValueError, match="fsky"):
        galactic_mask_fsky(8, fsky)


@pytest.mark.parametrize("nside", [4, 8, 16])
def test_threshold_on_the_mean_of_the_area(nside):
    """Healpy's own regrading of weights, on random columns."""
    weights = np.random.default_rng(1).random(12 * 8**2)
    expected = hp.ud_grade(weights, nside) >= 0.5  # noqa: TID251  (the independent code)
    np.testing.assert_array_equal(threshold_mask(weights, nside, 0.5), expected)


def test_unseen_is_masked():
    weights = np.ones(12 * 4**2)
    weights[7] = hp.UNSEEN
    assert np.flatnonzero(threshold_mask(weights, 4, 0.9) == 0).tolist() == [7]


def test_a_threshold_that_nothing_reaches_is_refused():
    with pytest.raises(ValueError, match="no pixel reaches the threshold 2; the largest is 1"):
        threshold_mask(np.ones(12 * 4**2), 4, 2.0)


def test_wmap_mask_is_read_as_it_is():
    """WMAP's temperature analysis mask at nside 32 keeps about 60 per cent of the sky."""
    paths = sorted((SHARED / "wmap").glob("wmap_temperature_analysis_mask*.fits"))
    if not paths:
        pytest.skip("no WMAP maps beside the repository")
    column = hp.read_map(paths[0], dtype=np.float64)
    assert threshold_mask(column, 32, 0.9).mean() == pytest.approx(0.62, abs=0.02)
