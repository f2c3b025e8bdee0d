"""Where a method does well and where it does not: scores against the parameters of the simulated skies."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from cmbml.analysis.statistics import Interval, mean_interval, ratio_interval

Array = NDArray[np.float64]
MIN_FOR_INTERVAL = 5
"""Fewer simulations than this give a rank correlation, but no interval for it."""


@dataclass(frozen=True)
class ParameterBin:
    """Simulations whose parameter lies in [lo, hi], and their mean score."""

    lo: float
    hi: float
    n_sims: int
    score: Interval


def varying(draws: Mapping[str, ArrayLike]) -> dict[str, Array]:
    """Columns of a table of draws that are numbers and differ between simulations.

    Parameters
    ----------
    draws
        Columns of the table, a value per simulation each: numbers, or text such as the name of a model.
    """
    columns = {name: np.asarray(column) for name, column in draws.items()}
    return {
        name: column.astype(np.float64)
        for name, column in columns.items()
        if np.issubdtype(column.dtype, np.number) and len(np.unique(column)) > 1
    }


def score_by_parameter(values: ArrayLike, parameter: ArrayLike, *, n_bins: int = 4) -> list[ParameterBin]:
    """Mean score in bins of a parameter, with intervals.

    Parameters
    ----------
    values
        A score per simulation: ``(n_sims,)``.
    parameter
        The parameter of the same simulations: ``(n_sims,)``.
    n_bins
        Bins, of equal numbers of simulations as far as these divide; never more than there are simulations.

    Raises
    ------
    ValueError
        Where the two are not of one length.
    """
    scores, drawn = _paired(values, parameter)
    order = np.argsort(drawn, kind="stable")
    groups = np.array_split(order, min(n_bins, len(order)))
    return [
        ParameterBin(drawn[group].min(), drawn[group].max(), len(group), mean_interval(scores[group]))
        for group in groups
    ]


def trend(
    values: ArrayLike,
    parameter: ArrayLike,
    rng: np.random.Generator,
    *,
    n_resamples: int,
    level: float = 0.95,
) -> Interval:
    """Spearman's rank correlation of score and parameter, with a percentile bootstrap interval.

    0 means that the score does not follow the parameter, 1 or -1 that it does in every pair of simulations.

    Parameters
    ----------
    values, parameter
        As for `score_by_parameter`.
    rng, n_resamples
        Generator and number of the resamples.
    level
        Nominal coverage of the interval.

    Raises
    ------
    ValueError
        Where the two are not of one length, or one of them is constant (see `varying`).
    """
    scores, drawn = _paired(values, parameter)
    if len(np.unique(scores)) == 1 or len(np.unique(drawn)) == 1:
        raise ValueError("no trend is defined where score or parameter is the same in all simulations")
    mean = rank_correlation(scores, drawn)
    if len(scores) < MIN_FOR_INTERVAL:
        return Interval(mean, None, None)
    picks = rng.integers(len(scores), size=(n_resamples, len(scores)))
    resampled = _rank_correlation(scores[picks], drawn[picks])
    lo, hi = np.nanquantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(lo), float(hi))


def rank_correlation(values: ArrayLike, parameter: ArrayLike) -> float:
    """Spearman's rank correlation of score and parameter, NaN where either is constant: see `trend`."""
    scores, drawn = _paired(values, parameter)
    return float(_rank_correlation(scores[None], drawn[None])[0])


def generalisation_gap(home: ArrayLike, away: ArrayLike) -> Interval:
    """Relative change of the mean score from one split to another: mean(away) / mean(home) - 1.

    Parameters
    ----------
    home, away
        Scores per simulation of the split like the training data, and of the other: ``(n_sims,)`` each, of
        different lengths as they come.

    Returns
    -------
    Interval
        By `cmbml.analysis.statistics.ratio_interval`.
    """
    ratio = ratio_interval(away, home)
    lo, hi = (None if end is None else end - 1 for end in (ratio.lo, ratio.hi))
    return Interval(ratio.mean - 1, lo, hi)


def _paired(values: ArrayLike, parameter: ArrayLike) -> tuple[Array, Array]:
    scores, drawn = np.asarray(values, dtype=np.float64), np.asarray(parameter, dtype=np.float64)
    if scores.shape != drawn.shape or scores.ndim != 1:
        raise ValueError(
            f"scores {scores.shape} and parameter {drawn.shape} need a value for the same simulations"
        )
    return scores, drawn


def _rank_correlation(a: Array, b: Array) -> Array:
    """Spearman's coefficient of every row, NaN for a constant one: ``(n_rows,)``."""
    first, second = (stats.rankdata(x, axis=1) for x in (a, b))
    first -= first.mean(axis=1, keepdims=True)
    second -= second.mean(axis=1, keepdims=True)
    norm = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    return np.divide((first * second).sum(axis=1), norm, out=np.full(len(a), np.nan), where=norm > 0)
