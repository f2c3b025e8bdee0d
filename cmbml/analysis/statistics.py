"""Means over simulations, with bootstrap intervals."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
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
    if sample.ndim != 1:
        raise ValueError(f"expected one finite score per simulation, got {sample}")
    return bootstrap_means(sample[np.newaxis], rng, n_resamples=n_resamples, level=level)[0]


def bootstrap_means(
    samples: ArrayLike, rng: np.random.Generator, *, n_resamples: int = RESAMPLES, level: float = 0.95
) -> list[Interval]:
    """Intervals of many scores of the same simulations, all resampled alike: see `bootstrap_mean`.

    Parameters
    ----------
    samples
        ``(n_scores, n_sims)``
    rng, n_resamples, level
        As for `bootstrap_mean`.
    """
    rows = np.asarray(samples, dtype=np.float64)
    count = rows.shape[1]
    if count == 0 or np.isnan(rows).any():
        raise ValueError(f"expected one finite score per simulation, got {rows}")
    means = rows.mean(axis=1).tolist()
    if count == 1:
        return [Interval(mean, None, None) for mean in means]
    ends = _ends(rows, rng, n_resamples, level).T.tolist()
    return [
        Interval(mean, lo, hi) if np.isfinite(mean) else Interval(mean, None, None)
        for mean, (lo, hi) in zip(means, ends, strict=True)
    ]


def _ends(
    rows: NDArray[np.float64], rng: np.random.Generator, n_resamples: int, level: float
) -> NDArray[np.float64]:
    """Lower and upper ends of the intervals: ``(2, n_scores)``."""
    count = rows.shape[1]
    picks = rng.integers(count, size=(n_resamples, count))
    # How often every resample holds every simulation.
    times = np.bincount((picks + count * np.arange(n_resamples)[:, None]).ravel(), minlength=picks.size)
    weights = times.reshape(n_resamples, count) / count
    # One product for each row: in a product of matrices a row's last digit would depend on its neighbours.
    means = np.stack([weights @ np.where(np.isfinite(row), row, 0.0) for row in rows])
    tail = _expanded_tail(count, level)
    return np.asarray(np.quantile(means, [tail, 1 - tail], axis=1))


def _expanded_tail(n: int, level: float) -> float:
    """Tail probability at which the bootstrap of n normal values has the width of the t interval."""
    quantile = stats.t.ppf((1 + level) / 2, n - 1) * np.sqrt(n / (n - 1))
    return float(stats.norm.cdf(-quantile))


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
        split: _unstacked(
            {(method, name): row for method, metrics in methods.items() for name, row in metrics.items()},
            rng_of(split),
            n_resamples,
        )
        for split, methods in values.items()
    }


def _unstacked(
    rows: Mapping[tuple[str, str], ArrayLike], rng: np.random.Generator, n_resamples: int
) -> dict[str, dict[str, Interval]]:
    """Intervals of rows with two keys, by one key and the other."""
    out: dict[str, dict[str, Interval]] = {}
    if rows:
        intervals = bootstrap_means(np.stack([*map(np.asarray, rows.values())]), rng, n_resamples=n_resamples)
        for (first, second), interval in zip(rows, intervals, strict=True):
            out.setdefault(first, {})[second] = interval
    return out


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
        pairs = {(a, b): finite[a] - finite[b] for a in finite for b in finite if a != b}
        out[split] = _unstacked(pairs, rng_of(split), n_resamples)
    return out


def all_differences(
    values: Values, rng_of: Callable[[str], np.random.Generator], *, n_resamples: int = RESAMPLES
) -> dict[str, dict[str, dict[str, dict[str, Interval]]]]:
    """Paired differences of every metric, by `differences`: ``{metric: {split: {method: {other: ...}}}}``."""
    names = dict.fromkeys(name for methods in values.values() for row in methods.values() for name in row)
    return {name: differences(values, name, rng_of, n_resamples=n_resamples) for name in names}
