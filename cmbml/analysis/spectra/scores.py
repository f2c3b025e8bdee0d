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
    "correlation_error": Metric(
        "correlation error",
        "",
        False,
        "√ mean over bands of (r estimate - r truth)², r = D XY / √(D XX D YY) of two fields X and Y",
    ),
}
"""Band powers D, decoupled from the mask, weighted by the number of modes of their bands.

Powers, such as EE, have all but the last; cross-spectra of two fields, such as TE, whose sign changes, have
the spectrum error and the last.
"""


def cross_metrics(
    comparison: Comparison, sigma: Cl, modes: Cl, autos: tuple[Comparison, Comparison]
) -> dict[str, float]:
    """All metrics of the cross-spectrum of two fields of one simulation.

    Parameters
    ----------
    comparison, sigma, modes
        As for `spectral_metrics`.
    autos
        The powers of either field.
    """
    correlations = [
        _ratio(getattr(comparison, kind), *(getattr(auto, kind) for auto in autos))
        for kind in ("estimate", "truth")
    ]
    return {
        "spectrum_error": _rms(comparison.error / sigma, modes),
        "correlation_error": _rms(correlations[0] - correlations[1], modes),
    }


def spectral_metrics(comparison: Comparison, sigma: Cl, modes: Cl) -> dict[str, float]:
    """All metrics of one power spectrum of one simulation.

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
        All of `SPECTRAL_METRICS` but ``correlation_error``, that of halves where there are some; bands where
        decoupling has left the truth without power have no transfer and no coherence.
    """
    halves = {}
    if comparison.halves is not None:
        halves["halves_error"] = _rms((comparison.halves - comparison.truth) / sigma, modes)
    defined = comparison.truth > 0
    weights = modes[defined]
    return {
        "spectrum_error": _rms(comparison.error / sigma, modes),
        "residual_power": _rms(comparison.residual / sigma, modes),
        "transfer_error": float(np.average(np.abs(comparison.transfer[defined] - 1), weights=weights)),
        "coherence": float(np.average(comparison.coherence[defined], weights=weights)),
        **halves,
    }


def _ratio(cross: Cl, first: Cl, second: Cl) -> Cl:
    """Correlation coefficient by band, 0 where decoupling has left either field without power."""
    there = (first > 0) & (second > 0)
    power = np.where(there, first * second, 1.0)
    return np.where(there, cross / np.sqrt(power), 0.0)


def _rms(values: Cl, weights: Cl) -> float:
    return float(np.sqrt(np.average(values**2, weights=weights)))
