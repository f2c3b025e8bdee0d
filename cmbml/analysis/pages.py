"""The page of one method on one split, put together from its scores, spectra and maps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from cmbml.analysis.figures import to_png
from cmbml.analysis.reference import NOISE_FLOOR, REFERENCE_LABELS
from cmbml.analysis.report import Flip, Page, Picture, Table
from cmbml.analysis.score_figures import distribution_figure, parameter_figure
from cmbml.analysis.spectra.comparison import Comparison
from cmbml.analysis.spectrum_figures import power_figure, transfer_figure
from cmbml.analysis.statistics import Interval
from cmbml.analysis.subcategories import score_by_parameter, trend, varying
from cmbml.analysis.tables import format_interval, header, metric_names
from cmbml.sky.sht import Cl

LEADING = "rmse"
"""The metric that pages plot and sort by."""

MAX_PARAMETERS = 3
"""Figures of score against parameter: those that the score follows most."""


@dataclass(frozen=True)
class SplitResults:
    """All numbers of one split.

    Attributes
    ----------
    split
        Its name.
    sims
        Names of its simulations: ``(n_sims,)``.
    values
        ``{method: {metric: (n_sims,)}}``, reference rows among the methods.
    draws
        Columns of the table of draws, a value per simulation each.
    spectra
        ``{TT or another: {method: mean comparison}}``; may be empty.
    sigma
        ``{TT or another: (n_bands,)}``: sample standard deviation of the mean band powers, uK^2.
    """

    split: str
    sims: Sequence[str]
    values: Mapping[str, Mapping[str, ArrayLike]]
    draws: Mapping[str, ArrayLike] = field(default_factory=dict)
    spectra: Mapping[str, Mapping[str, Comparison]] = field(default_factory=dict)
    sigma: Mapping[str, Cl] = field(default_factory=dict)


def method_page(
    method: str,
    results: SplitResults,
    maps: Sequence[Flip],
    rng_of: Callable[[str], np.random.Generator],
    *,
    figures: Sequence[Picture] = (),
) -> Page:
    """Page of one method on one split.

    Parameters
    ----------
    method
        A key of ``results.values``.
    results
        The numbers of the split.
    maps
        Maps to show, for instance of the simulation with the median score.
    rng_of
        Gives a fresh generator for a name, as in `cmbml.analysis.statistics.summarise`.
    figures
        More pictures, shown last: zooms, parts of the residual, training curves.

    Returns
    -------
    Page
        Spectra, distribution of scores, scores by parameter; tables of trends and of all simulations, the
        worst first.
    """
    trends = _trends(results.values[method], results.draws, rng_of)
    return Page(
        method,
        results.split,
        maps=maps,
        figures=[
            *_spectra(method, results),
            _distribution(method, results),
            *(_by_parameter(method, results, name, rng_of) for name in list(trends)[:MAX_PARAMETERS]),
            *figures,
        ],
        tables=[*_trend_table(trends), _simulations(method, results)],
        notes=_notes(trends),
    )


def median_sim(values: ArrayLike) -> int:
    """Number of the simulation whose score is the median, the better of two: a fair one to show."""
    return int(np.argsort(np.asarray(values), kind="stable")[(np.size(values) - 1) // 2])


def _trends(
    row: Mapping[str, ArrayLike],
    draws: Mapping[str, ArrayLike],
    rng_of: Callable[[str], np.random.Generator],
) -> dict[str, Interval]:
    """Rank correlation of the leading metric with every parameter that varies, the strongest first."""
    scores = np.asarray(row[LEADING])
    if len(np.unique(scores)) == 1:
        return {}
    found = {name: trend(scores, column, rng_of(name)) for name, column in varying(draws).items()}
    return dict(sorted(found.items(), key=lambda item: -abs(item[1].mean)))


def _notes(trends: Mapping[str, Interval]) -> list[str]:
    count = len(trends)
    text = (
        f"The score is compared with {count} parameters of the skies, the most correlated first: of {count} "
        f"that do not matter, {0.05 * count:.1f} would seem to at 95 %."
    )
    return [text] if count else []


def _trend_table(trends: Mapping[str, Interval]) -> list[Table]:
    caption = f"Rank correlation of {header(LEADING)} with the parameters of the skies"
    rows = [[name, format_interval(interval)] for name, interval in trends.items()]
    return [Table(caption, ["Parameter", "Spearman's coefficient"], rows)] if rows else []


def _simulations(method: str, results: SplitResults) -> Table:
    row = results.values[method]
    names = metric_names({method: dict.fromkeys(row, Interval(0, None, None))})
    order = np.argsort(np.asarray(row[LEADING]), kind="stable")[::-1]
    rows = [[results.sims[i], *(f"{np.asarray(row[name])[i]:.4g}" for name in names)] for i in order]
    return Table("All simulations, the worst first", ["Simulation", *map(header, names)], rows)


def _distribution(method: str, results: SplitResults) -> Picture:
    values = {name: row[LEADING] for name, row in results.values.items() if LEADING in row}
    figure = distribution_figure(values, LEADING, title=f"split {results.split}")
    alt = f"{header(LEADING)} of every simulation for {method} beside the other methods"
    return Picture(to_png(figure), alt, "Every point is a simulation, the bar the median.")


def _by_parameter(
    method: str, results: SplitResults, name: str, rng_of: Callable[[str], np.random.Generator]
) -> Picture:
    scores, column = results.values[method][LEADING], results.draws[name]
    bins = {method: score_by_parameter(scores, column, rng_of(name))}
    figure = parameter_figure({method: scores}, column, bins, name=LEADING, label=name)
    alt = f"{header(LEADING)} of {method} against {name}"
    return Picture(to_png(figure), alt, f"Score against {name}; means of bins with 95 % intervals.")


def _spectra(method: str, results: SplitResults) -> list[Picture]:
    pictures = []
    for spectrum, methods in results.spectra.items():
        shown = {name: methods[name] for name in (method, NOISE_FLOOR) if name in methods}
        title = f"{spectrum}, {REFERENCE_LABELS.get(method, method)}, split {results.split}"
        power = power_figure(shown, results.sigma[spectrum], field=spectrum, title=title)
        transfer = transfer_figure(shown, field=spectrum, title=title)
        pictures += [
            Picture(to_png(power), f"{spectrum} spectra of truth, {method} and residual, with errors below"),
            Picture(to_png(transfer), f"{spectrum} transfer function and coherence of {method}"),
        ]
    return pictures
