import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cmbml.analysis.pixel import METRICS, latitude_metrics, pixel_metrics, region_metrics

NPIX = 192
FULL_SKY = np.ones(NPIX)
finite = st.floats(-500, 500)
maps = arrays(np.float64, NPIX, elements=finite)


def test_values_of_a_known_residual():
    truth = np.where(np.arange(NPIX) % 2 == 0, 10.0, -10.0)
    estimate = truth + np.where(np.arange(NPIX) % 4 < 2, 3.0, -1.0)
    scores = pixel_metrics(estimate, truth, FULL_SKY)
    assert scores == pytest.approx(
        {
            "mae": 2.0,
            "mse": 5.0,
            "rmse": np.sqrt(5),
            "nrmse": np.sqrt(5) / 10,
            "r2": 1 - 5 / 100,
            "psnr": 10 * np.log10(400 / 5),
        }
    )
    assert list(scores) == list(METRICS)


def test_weights_and_offset_enter_every_mean():
    truth = np.tile([10.0, 14.0], NPIX // 2)
    estimate = truth + np.tile([1.0, 3.0], NPIX // 2)
    weights = np.tile([0.75, 0.25], NPIX // 2)
    scores = pixel_metrics(estimate, truth, weights)
    # The truth's weighted mean is 11, its variance 3 and its mean square 124.
    assert scores["mae"] == pytest.approx(1.5)
    assert scores["mse"] == pytest.approx(3)
    assert scores["r2"] == pytest.approx(0, abs=1e-12)
    assert scores["nrmse"] == pytest.approx(np.sqrt(3 / 124))


def test_perfect_estimate_has_no_error():
    truth = np.linspace(-1, 1, NPIX)
    scores = pixel_metrics(truth, truth, FULL_SKY)
    assert scores == {"mae": 0, "mse": 0, "rmse": 0, "nrmse": 0, "r2": 1, "psnr": np.inf}


def test_range_of_psnr_is_that_of_the_truth(rng):
    truth = rng.normal(size=NPIX)
    estimate = truth + 0.1
    outlier = estimate.copy()
    outlier[0] += 50
    better, worse = (pixel_metrics(sky, truth, FULL_SKY)["psnr"] for sky in (estimate, outlier))
    # With the range of both maps the outlier would gain 20 log10(50 / range).
    assert worse < better


def test_binary_mask_leaves_pixels_out(rng):
    truth, residual = rng.normal(size=(2, NPIX))
    mask = (np.arange(NPIX) < 100).astype(float)
    corrupted = truth + residual
    corrupted[100:] = 1e6
    inside = pixel_metrics((truth + residual)[:100], truth[:100], np.ones(100))
    assert pixel_metrics(corrupted, truth, mask) == pytest.approx(inside)


def test_invalid_pixels_outside_the_mask_do_not_count():
    truth = np.linspace(-1, 1, NPIX)
    estimate = truth.copy()
    estimate[0], estimate[1] = np.nan, hp.UNSEEN
    mask = (np.arange(NPIX) > 1).astype(float)
    assert pixel_metrics(estimate, truth, mask)["mse"] == 0


@settings(max_examples=40)
@given(maps, maps, arrays(np.float64, NPIX, elements=st.floats(0.1, 1)), st.floats(0.1, 10))
def test_scale_of_the_weights_is_irrelevant(truth, residual, weights, scale):
    truth[0] += 1000
    a = pixel_metrics(truth + residual, truth, weights)
    b = pixel_metrics(truth + residual, truth, scale * weights)
    assert a == pytest.approx(b, rel=1e-9)


@settings(max_examples=40)
@given(maps, maps, st.floats(0.1, 10))
def test_change_of_unit_scales_scores(truth, residual, factor):
    truth[0] += 1000
    residual[1] += 1000
    a = pixel_metrics(truth + residual, truth, FULL_SKY)
    b = pixel_metrics(factor * (truth + residual), factor * truth, FULL_SKY)
    expected = {name: a[name] for name in ("nrmse", "r2", "psnr")} | {
        "mae": factor * a["mae"],
        "rmse": factor * a["rmse"],
        "mse": factor**2 * a["mse"],
    }
    assert b == pytest.approx(expected, rel=1e-9)
    assert a["mae"] <= a["rmse"] * (1 + 1e-12)


@pytest.mark.parametrize(
    ("estimate", "truth", "mask", "reason"),
    [
        (np.zeros(12), np.zeros(NPIX), FULL_SKY, "differ"),
        (np.zeros((1, NPIX)), np.zeros((1, NPIX)), np.ones((1, NPIX)), "one field each"),
        (np.zeros(NPIX), np.zeros(NPIX), np.zeros(NPIX), "no positive weight"),
        (np.zeros(NPIX), np.zeros(NPIX), FULL_SKY - 2 * (np.arange(NPIX) == 3), "negative"),
        (np.full(NPIX, np.nan), np.zeros(NPIX), FULL_SKY, "the estimate has 192 invalid"),
        (np.zeros(NPIX), np.full(NPIX, hp.UNSEEN), FULL_SKY, "the truth has 192 invalid"),
    ],
)
def test_unfit_maps_are_refused(estimate, truth, mask, reason):
    with pytest.raises(ValueError, match=reason):
        pixel_metrics(estimate, truth, mask)


NSIDE = 16
LATITUDE = 90 - np.degrees(hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2))[0])


def test_latitude_bands_see_their_own_residual(rng):
    edges = np.array([-90.0, -30, 0, 30, 90])
    truth = rng.normal(size=LATITUDE.size)
    residual = np.digitize(LATITUDE, edges).astype(float)
    rows = latitude_metrics(truth + residual, truth, edges, (LATITUDE > 0).astype(float))
    whole = {row["latitude_deg"]: row["rmse"] for row in rows if row["region"] == "all"}
    assert whole == pytest.approx({-60.0: 1, -15.0: 2, 15.0: 3, 60.0: 4})
    scored = {row["latitude_deg"]: row["mae"] for row in rows if row["region"] == "scored"}
    assert scored == pytest.approx({15.0: 3, 60.0: 4}), "bands without scored sky have no row"


def test_latitude_bands_add_up_to_the_whole(rng):
    truth, residual = rng.normal(size=(2, LATITUDE.size))
    rows = latitude_metrics(truth + residual, truth, np.arange(-90, 91, 10), np.ones(LATITUDE.size))
    counts = np.histogram(LATITUDE, np.arange(-90, 91, 10))[0]
    mse = np.average([row["mse"] for row in rows if row["region"] == "all"], weights=counts)
    # A pixel on an edge may be rounded into either band.
    assert mse == pytest.approx(np.mean(residual**2), rel=2e-3)


def test_regions_are_the_mask_and_the_rest():
    mask = np.clip(LATITUDE / 30, 0, 1)
    truth = np.cos(np.radians(LATITUDE))
    regions = region_metrics(truth + (LATITUDE <= 0), truth, mask)
    assert regions["scored"]["rmse"] == 0
    share = (LATITUDE <= 0).sum() / (1 - mask).sum()
    assert regions["masked"]["mse"] == pytest.approx(share)
    assert set(region_metrics(truth, truth, np.ones(truth.size))) == {"scored"}
