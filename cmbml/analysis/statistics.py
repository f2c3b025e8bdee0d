"""Means over simulations, with bootstrap intervals."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval; the ends are None where there is none (one simulation)."""

    mean: float
    lo: float | None
    hi: float | None


Scores = Mapping[str, Mapping[str, Mapping[str, Interval]]]
"""``{split: {method: {metric: interval}}}``"""

Values = Mapping[str, Mapping[str, Mapping[str, ArrayLike]]]
"""``{split: {method: {metric: values per simulation}}}``"""


def bootstrap_mean(
    values: ArrayLike, rng: np.random.Generator, *, n_resamples: int = RESAMPLES, level: float = 0.95
) -> Interval:
    """Mean over simulations with an expanded-percentile bootstrap interval.

    The plain percentile interval is too short for few simulations.  Its quantiles are moved outward so
    that for normal data it has the width of the t interval.

    Parameters
    ----------
    values
        One number per simulation: ``(n_sims,)``.
    rng
        Generator of the resamples.
    n_resamples
        Number of resamples.
    level
        Nominal coverage of the interval.

    Returns
    -------
    Interval
        Without ends for one simulation, and where a value is infinite (PSNR of a perfect estimate).

    Raises
    ------
    ValueError
        Where there are no values, or a value is NaN.

    References
    ----------
    Hesterberg 2015, The American Statistician 69, 371 (arXiv:1411.5279): the expanded percentile interval.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or len(sample) == 0 or np.isnan(sample).any():
        raise ValueError(f"expected one finite score per simulation, got {sample}")
    if len(sample) == 1 or np.isinf(sample).any():
        return Interval(float(sample.mean()), None, None)
    picks = rng.integers(len(sample), size=(n_resamples, len(sample)))
    tail = _expanded_tail(len(sample), level)
    lo, hi = np.quantile(sample[picks].mean(axis=1), [tail, 1 - tail])
    return Interval(float(sample.mean()), float(lo), float(hi))


def _expanded_tail(n: int, level: float) -> float:
    """Tail probability at which the bootstrap of n normal values has the width of the t interval."""
    quantile = stats.t.ppf((1 + level) / 2, n - 1) * np.sqrt(n / (n - 1))
    return float(stats.norm.cdf(-quantile))


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    rng: np.random.Generator,
    *,
    n_resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Interval:
    """Mean of a - b over the same simulations, with its interval: see `bootstrap_mean`.

    Raises
    ------
    ValueError
        Where the two do not hold the same number of simulations.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"paired scores need the same simulations, got {first.size} and {second.size}")
    return bootstrap_mean(first - second, rng, n_resamples=n_resamples, level=level)


def summarise(
    values: Values, rng_of: Callable[[str], np.random.Generator], *, n_resamples: int = RESAMPLES
) -> Scores:
    """Mean and interval of every score.

    Parameters
    ----------
    values
        ``{split: {method: {metric: (n_sims,)}}}``
    rng_of
        Gives a fresh generator for a split.  All methods of a split are resampled alike, so that a row does
        not depend on which other methods are in the table.
    n_resamples
        Number of bootstrap resamples.
    """
    return {
        split: {
            method: {
                name: bootstrap_mean(numbers, rng_of(split), n_resamples=n_resamples)
                for name, numbers in metrics.items()
            }
            for method, metrics in methods.items()
        }
        for split, methods in values.items()
    }


def differences(
    values: Values, name: str, rng_of: Callable[[str], np.random.Generator], *, n_resamples: int = RESAMPLES
) -> dict[str, dict[str, dict[str, Interval]]]:
    """Paired differences of one metric between all methods of every split, row minus column.

    Parameters
    ----------
    values, rng_of, n_resamples
        As for `summarise`.
    name
        The metric; methods without it, or with infinite values, are left out.

    Returns
    -------
    dict
        ``{split: {method: {other: interval}}}``
    """
    out: dict[str, dict[str, dict[str, Interval]]] = {}
    for split, methods in values.items():
        scores = {method: np.asarray(row[name]) for method, row in methods.items() if name in row}
        finite = {method: row for method, row in scores.items() if np.isfinite(row).all()}
        out[split] = {
            a: {
                b: paired_difference(finite[a], finite[b], rng_of(split), n_resamples=n_resamples)
                for b in finite
                if a != b
            }
            for a in finite
        }
    return out
