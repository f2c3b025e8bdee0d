"""Band powers condensed to a few numbers per simulation, for the tables."""

import numpy as np

from cmbml.analysis.metric import Metric
from cmbml.analysis.spectra.comparison import Comparison
from cmbml.sky.sht import Cl

SPECTRAL_METRICS: dict[str, Metric] = {
    "spectrum_error": Metric(
        "spectrum error",
        "sd",
        False,
        "√ mean over bands of ((D estimate - D truth) / s)²: error of the power in units of its sample"
        " standard deviation s",
    ),
    "residual_power": Metric(
        "residual power",
        "sd",
        False,
        "√ mean over bands of (D residual / s)²: power of the residual in the same unit",
    ),
    "transfer_error": Metric(
        "transfer error", "", False, "mean over bands of |D cross / D truth - 1|: how far the gain is from 1"
    ),
    "coherence": Metric(
        "coherence", "", True, "mean over bands of D cross / √(D estimate D truth): 0 in a band without any"
    ),
    "halves_error": Metric(
        "spectrum error of halves",
        "sd",
        False,
        "√ mean over bands of ((D half 1 x half 2 - D truth) / s)²: error of the power without bias by noise",
    ),
}
"""Band powers D, decoupled from the mask, weighted by the number of modes of their bands."""


def spectral_metrics(comparison: Comparison, sigma: Cl, modes: Cl) -> dict[str, float]:
    """All spectral metrics of one spectrum of one simulation.

    Parameters
    ----------
    comparison
        Band powers of the simulation.
    sigma
        Standard deviation of the band powers by sample variance, uK^2: ``(n_bands,)``.
    modes
        Modes per band, the weights of the mean: ``(n_bands,)``.

    Returns
    -------
    dict[str, float]
        One number per key of `SPECTRAL_METRICS`, that of halves where there are some.
    """
    halves = {}
    if comparison.halves is not None:
        halves["halves_error"] = _rms((comparison.halves - comparison.truth) / sigma, modes)
    coherence = np.nan_to_num(comparison.coherence, nan=0.0)
    return {
        "spectrum_error": _rms(comparison.error / sigma, modes),
        "residual_power": _rms(comparison.residual / sigma, modes),
        "transfer_error": float(np.average(np.abs(comparison.transfer - 1), weights=modes)),
        "coherence": float(np.average(coherence, weights=modes)),
        **halves,
    }


def _rms(values: Cl, weights: Cl) -> float:
    return float(np.sqrt(np.average(values**2, weights=weights)))
