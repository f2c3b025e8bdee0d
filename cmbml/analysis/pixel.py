"""Metrics on pixels: how far an estimate lies from the truth, both in the common convention.

Every mean is weighted by the mask, whose weights may be binary or apodised.  The range in PSNR is that of
the truth alone: a range taken from both maps would reward an estimate for its outliers.
"""

from functools import lru_cache

import healpy as hp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cmbml.analysis.metric import Metric
from cmbml.sky.sht import Map, nside_of

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
    seen = mask > 0
    weights, true = mask[seen], truth[seen]
    difference = estimate[seen] - true
    mse = float(np.average(difference**2, weights=weights))
    span = float(true.max() - true.min())
    return {
        "mae": float(np.average(np.abs(difference), weights=weights)),
        "mse": mse,
        "rmse": float(np.sqrt(mse)),
        "nrmse": float(np.sqrt(mse / np.average(true**2, weights=weights))),
        "r2": 1 - mse / _variance(true, weights),
        "psnr": float(10 * np.log10(span**2 / mse)) if mse > 0 else np.inf,
    }


def latitude_rmse(
    estimate: Map, truth: Map, edges_deg: ArrayLike, mask: Map | None = None
) -> NDArray[np.float64]:
    """RMSE in bands of Galactic latitude.

    Parameters
    ----------
    estimate, truth
        Maps of one field in uK_CMB: ``(npix,)``.
    edges_deg
        Increasing edges of the bands in degrees, from -90 to 90 at most: ``(n_bands + 1,)``.
    mask
        Weights in [0, 1], ``(npix,)``; the full sky where it is None.

    Returns
    -------
    ndarray
        RMSE in uK_CMB, NaN in a band without weight: ``(n_bands,)``.
    """
    weights = np.ones(truth.shape) if mask is None else mask
    check_fields(estimate, truth, weights)
    edges = np.asarray(edges_deg, dtype=np.float64)
    band = np.digitize(_latitude(nside_of(truth)), edges)
    size = len(edges) + 1
    square = np.where(weights > 0, estimate - truth, 0.0) ** 2
    total = np.bincount(band, weights, minlength=size)[1:-1]
    power = np.bincount(band, weights * square, minlength=size)[1:-1]
    return np.sqrt(np.divide(power, total, out=np.full(size - 2, np.nan), where=total > 0))


def check_fields(estimate: Map, truth: Map, mask: Map) -> None:
    """Raise ValueError where two maps of one field and a mask cannot be compared."""
    if not (estimate.ndim == 1 and estimate.shape == truth.shape == mask.shape):
        raise ValueError(
            f"estimate {estimate.shape}, truth {truth.shape} and mask {mask.shape} differ: "
            "give one field each, at one nside"
        )
    if not np.any(mask > 0) or np.any(mask < 0):
        raise ValueError("the mask has no positive weight or has negative ones: weights lie in [0, 1]")
    for name, sky in (("estimate", estimate), ("truth", truth)):
        bad = ~np.isfinite(sky[mask > 0]) | (sky[mask > 0] < 0.5 * hp.UNSEEN)
        if bad.any():
            raise ValueError(f"the {name} has {int(bad.sum())} invalid pixels inside the mask")


def _variance(values: Map, weights: Map) -> float:
    mean = np.average(values, weights=weights)
    return float(np.average((values - mean) ** 2, weights=weights))


@lru_cache(maxsize=1)
def _latitude(nside: int) -> NDArray[np.float64]:
    """Galactic latitude of every pixel in degrees, ``(npix,)``."""
    theta, _ = hp.pix2ang(nside, np.arange(12 * nside**2))
    return 90 - np.degrees(theta)
