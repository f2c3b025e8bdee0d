"""What a residual is made of."""

from collections.abc import Mapping

import numpy as np

from cmbml.analysis.metric import Metric
from cmbml.analysis.pixel import check_fields
from cmbml.sky.sht import Map

RESIDUAL_METRICS: dict[str, Metric] = {
    "response": Metric(
        "response to the CMB",
        "%",
        False,
        "100 (g - 1), g = Σ w e t / Σ w t²: CMB lost or gained; chance correlations average out over skies",
    ),
    "multiplicative": Metric(
        "multiplicative residual",
        "µK",
        False,
        "|g - 1| rms(t): CMB lost or gained, and correlated with the error by chance on this sky",
    ),
    "additive": Metric(
        "additive residual", "µK", False, "rms(e - g t): what does not follow the CMB, foregrounds and noise"
    ),
    "foreground": Metric(
        "foreground residual", "µK", False, "rms of what a linear method makes of the foregrounds alone"
    ),
    "noise": Metric("noise residual", "µK", False, "rms of what a linear method makes of the noise alone"),
}
"""Parts of a residual: estimate e, truth t, mask weights w.

The squares of the multiplicative and the additive one add up to the MSE.
"""


def split_by_gain(estimate: Map, truth: Map, mask: Map) -> dict[str, float]:
    """Split the residual of any method into what is proportional to the truth and the rest.

    Parameters
    ----------
    estimate, truth
        Maps of one field in the common convention, uK_CMB: ``(npix,)``.
    mask
        Weights in [0, 1]: ``(npix,)``.

    Returns
    -------
    dict[str, float]
        ``response``, 100 (g - 1) with the gain g = <estimate truth> / <truth truth>: its mean over skies
        is 0 for a lossless method; ``multiplicative``, the rms in uK of (g - 1) times the truth;
        ``additive``, that of the rest, which does not correlate with the truth.
    """
    check_fields(estimate, truth, mask)
    seen = mask > 0
    weights, true, difference = mask[seen], truth[seen], estimate[seen] - truth[seen]
    weights = weights / weights.sum()
    power = float(weights @ (true * true))
    excess = float(weights @ (difference * true)) / power
    rest = difference - excess * true
    return {
        "response": 100 * excess,
        "multiplicative": abs(excess) * float(np.sqrt(power)),
        "additive": float(np.sqrt(weights @ (rest * rest))),
    }


def split_by_component(cleaned: Mapping[str, Map], truth: Map, mask: Map) -> dict[str, float]:
    """Split the residual of a linear method by the components that it let through.

    Parameters
    ----------
    cleaned
        What the method, with the weights of the whole sky, makes of each component alone: ``cmb``, and for
        instance ``foreground`` and ``noise``; common convention, uK_CMB, ``(npix,)`` each.
    truth
        The true CMB: ``(npix,)``.
    mask
        Weights in [0, 1]: ``(npix,)``.

    Returns
    -------
    dict[str, float]
        rms in uK: ``multiplicative`` and ``cmb_other`` of the CMB's part (see `split_by_gain`), then every
        other component by name, and ``total``, the RMSE of the sum.

    Raises
    ------
    ValueError
        Where there is no ``cmb`` among the components, or the maps do not fit together.
    """
    if "cmb" not in cleaned:
        raise ValueError(f"the cleaned components {sorted(cleaned)} lack 'cmb'")
    for sky in cleaned.values():
        check_fields(sky, truth, mask)
    own = split_by_gain(cleaned["cmb"], truth, mask)
    others = {name: float(_rms(sky, mask)) for name, sky in cleaned.items() if name != "cmb"}
    total = np.sum(list(cleaned.values()), axis=0) - truth
    return {
        "multiplicative": own["multiplicative"],
        "cmb_other": own["additive"],
        **others,
        "total": float(_rms(total, mask)),
    }


def _mean(values: Map, mask: Map) -> np.floating:
    seen = mask > 0
    return np.average(values[seen], weights=mask[seen])


def _rms(values: Map, mask: Map) -> np.floating:
    return np.sqrt(_mean(values**2, mask))
