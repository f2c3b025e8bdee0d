"""Metrics on pixels: how far an estimate lies from the truth, both in the common convention.

Every mean is weighted by the mask, whose weights may be binary or apodised.  The range in PSNR is that of
the truth alone: a range taken from both maps would reward an estimate for its outliers.
"""

from functools import lru_cache
from itertools import pairwise

import healpy as hp
import numpy as np
from numpy.typing import ArrayLike

from cmbml.analysis.metric import ALL, MASKED, SCORED, Metric
from cmbml.sky.sht import Map, nside_of
from cmbml.sky.skymap import is_unseen

METRICS: dict[str, Metric] = {
    "mae": Metric("MAE", "µK", False, "Σ w |d| / Σ w: mean absolute difference"),
    "mse": Metric("MSE", "µK²", False, "Σ w d² / Σ w: mean squared difference"),
    "rmse": Metric("RMSE", "µK", False, "√MSE: root-mean-square difference"),
    "nrmse": Metric("NRMSE", "", False, "RMSE / √(Σ w t² / Σ w): RMSE over the rms of the truth"),
    "r2": Metric("R²", "", True, "1 - Σ w d² / Σ w (t - t̄)²: share of the truth's variance explained"),
    "psnr": Metric(
        "PSNR", "dB", True, "10 log₁₀((max t - min t)² / MSE), the range taken from the truth only"
    ),
}
"""Difference d = estimate - truth, truth t, mask weights w."""


def pixel_metrics(estimate: Map, truth: Map, mask: Map) -> dict[str, float]:
    """All pixel metrics of one field of one simulation.

    Parameters
    ----------
    estimate, truth
        Maps of one field in uK_CMB, in the common convention of `cmbml.analysis.postprocess`: ``(npix,)``.
    mask
        Weights in [0, 1]: ``(npix,)``.

    Returns
    -------
    dict[str, float]
        One number per key of `METRICS`; PSNR is infinite for an estimate without error.

    Raises
    ------
    ValueError
        Where the shapes differ, where a weight is negative or all are zero, or where a pixel that counts
        is not finite.
    """
    check_fields(estimate, truth, mask)
    return _metrics(estimate, truth, mask)


def _metrics(estimate: Map, truth: Map, mask: Map) -> dict[str, float]:
    """Pixel metrics of maps that have been checked."""
    seen = slice(None) if np.all(mask) else mask > 0
    weights, true, difference = mask[seen], truth[seen], estimate[seen] - truth[seen]
    weights = weights / weights.sum()
    square = difference * difference
    mse, power = float(weights @ square), float(weights @ (true * true))
    variance = float(weights @ (true - weights @ true) ** 2)
    span = float(true.max() - true.min())
    return {
        "mae": float(weights @ np.abs(difference)),
        "mse": mse,
        "rmse": float(np.sqrt(mse)),
        "nrmse": _ratio(np.sqrt(mse), np.sqrt(power)),
        "r2": 1 - _ratio(mse, variance),
        "psnr": float(20 * np.log10(span / np.sqrt(mse))) if mse > 0 else np.inf,
    }


def region_metrics(estimate: Map, truth: Map, mask: Map) -> dict[str, dict[str, float]]:
    """Pixel metrics where scores are taken, and where the mask hides the sky.

    Parameters are those of `pixel_metrics`.

    Returns
    -------
    dict
        ``{region: metrics}``: `SCORED`, weighted by the mask, and `MASKED`, weighted by what it takes away;
        the latter is absent where the mask takes nothing.
    """
    weights = {SCORED: mask, MASKED: 1 - mask / mask.max()}
    return {
        region: pixel_metrics(estimate, truth, weight)
        for region, weight in weights.items()
        if region == SCORED or np.any(weight > 0)
    }


def latitude_metrics(
    estimate: Map, truth: Map, edges_deg: ArrayLike, mask: Map
) -> list[dict[str, float | str]]:
    """Pixel metrics in bands of Galactic latitude: over all pixels, and where scores are taken.

    Parameters
    ----------
    estimate, truth
        Maps of one field in uK_CMB: ``(npix,)``.
    edges_deg
        Increasing edges of the bands in degrees, from -90 to 90 at most: ``(n_bands + 1,)``.
    mask
        Weights in [0, 1]: ``(npix,)``.

    Returns
    -------
    list
        A row for every band and region (`ALL`, `SCORED`) with any weight: ``latitude_deg`` (its centre),
        ``region``, and the metrics.
    """
    check_fields(estimate, truth, mask)
    edges = tuple(float(edge) for edge in np.asarray(edges_deg))
    rows: list[dict[str, float | str]] = []
    for (low, high), pixels in zip(pairwise(edges), _band_pixels(nside_of(truth), edges), strict=True):
        place: dict[str, float | str] = {"latitude_deg": (low + high) / 2}
        whole = _metrics(estimate[pixels], truth[pixels], np.ones(pixels.stop - pixels.start))
        rows.append({**place, "region": ALL, **whole})
        weight = mask[pixels]
        if np.any(weight > 0):
            scored = whole if np.all(weight == 1) else _metrics(estimate[pixels], truth[pixels], weight)
            rows.append({**place, "region": SCORED, **scored})
    return rows


def check_fields(estimate: Map, truth: Map, mask: Map) -> None:
    """Raise ValueError where two maps of one field and a mask cannot be compared."""
    if not (estimate.ndim == 1 and estimate.shape == truth.shape == mask.shape):
        raise ValueError(
            f"estimate {estimate.shape}, truth {truth.shape} and mask {mask.shape} differ: "
            "give one field each, at one nside"
        )
    if not np.any(mask > 0) or np.any(mask < 0):
        raise ValueError("the mask has no positive weight or has negative ones: weights lie in [0, 1]")
    seen = mask > 0
    for name, sky in (("estimate", estimate), ("truth", truth)):
        bad = seen & (~np.isfinite(sky) | is_unseen(sky))
        if bad.any():
            raise ValueError(f"the {name} has {int(bad.sum())} invalid pixels inside the mask")


def _ratio(part: float, whole: float) -> float:
    """Quotient; infinite over nothing, 0 of nothing."""
    if part == 0:
        return 0.0
    return float(part / whole) if whole > 0 else np.inf


@lru_cache(maxsize=4)
def _band_pixels(nside: int, edges_deg: tuple[float, ...]) -> list[slice]:
    """Pixels of every band of latitude: neighbours, since RING pixels go from north to south."""
    colatitude = hp.pix2ang(nside, np.arange(12 * nside**2))[0]
    bounds = np.searchsorted(colatitude, np.radians(90 - np.asarray(edges_deg)), side="right")
    return [slice(int(first), int(last)) for last, first in pairwise(bounds)]
