"""The page of one method on one split, put together from its scores, spectra and maps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from cmbml.analysis.charts.scores import (
    distribution_chart,
    parameter_chart,
    parts_chart,
    power_chart,
    transfer_chart,
)
from cmbml.analysis.metric import MASKED
from cmbml.analysis.pixel import METRICS
from cmbml.analysis.reference import NOISE_FLOOR, PERFECT
from cmbml.analysis.residuals import RESIDUAL_METRICS
from cmbml.analysis.spectra.comparison import Comparison
from cmbml.analysis.spectra.scores import SPECTRAL_METRICS
from cmbml.analysis.statistics import Interval
from cmbml.analysis.subcategories import rank_correlation, score_by_parameter, trend, varying
from cmbml.analysis.tables import LEADING, format_interval, header, metric, metric_names
from cmbml.report.html import Flip, Page, Picture, Table, chart_picture
from cmbml.sky.sht import Cl

MAX_PARAMETERS = 3
"""Figures of score against parameter that are shown first: those that the score follows most."""

UNITS = {"dust_temp": "K", "ame_peak": "GHz", "H0": "km/s/Mpc"}
"""Units of the columns of the table of draws; the others are factors, offsets of exponents, or densities."""


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
    n_resamples: int,
    figures: Sequence[Picture] = (),
    traces: Mapping[str, str] | None = None,
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
        Gives a fresh generator for a name.
    n_resamples
        Resamples of the intervals of rank correlations.
    figures
        More pictures, shown last: training curves and the like.
    traces
        Where the numbers come from: label to text.

    Returns
    -------
    Page
        Spectra, distribution of scores, scores by parameter; tables of trends and of all simulations, the
        worst first.
    """
    trends = _trends(results.values[method], results.draws, rng_of, n_resamples)
    by_parameter = [_by_parameter(method, results, name) for name in trends]
    return Page(
        method,
        results.split,
        maps=maps,
        figures=[
            *_spectra(method, results),
            _distribution(method, results),
            *_parts(results),
            *by_parameter[:MAX_PARAMETERS],
            *figures,
        ],
        more=by_parameter[MAX_PARAMETERS:],
        tables=[*_trend_table(trends, results.values[method], results.draws), _simulations(method, results)],
        notes=_notes(trends),
        traces=traces or {},
    )


def median_sim(values: ArrayLike) -> int:
    """Number of the simulation whose score is the median, the better of two: a fair one to show."""
    return int(np.argsort(np.asarray(values), kind="stable")[(np.size(values) - 1) // 2])


def parameter_label(name: str) -> str:
    """A column of the table of draws as readers see it: words, and the unit where there is one."""
    words = name.replace("_", " ")
    return f"{words} [{UNITS[name]}]" if name in UNITS else words


def _trends(
    row: Mapping[str, ArrayLike],
    draws: Mapping[str, ArrayLike],
    rng_of: Callable[[str], np.random.Generator],
    n_resamples: int,
) -> dict[str, Interval]:
    """Rank correlation of the leading metric with every parameter that varies, the strongest first."""
    scores = np.asarray(row[LEADING])
    if len(np.unique(scores)) == 1:
        return {}
    found = {
        name: trend(scores, column, rng_of(name), n_resamples=n_resamples)
        for name, column in varying(draws).items()
    }
    return dict(sorted(found.items(), key=lambda item: -abs(item[1].mean)))


def _notes(trends: Mapping[str, Interval]) -> list[str]:
    count = len(trends)
    text = (
        f"The score is compared with {count} parameters of the skies, the most correlated first: of {count} "
        f"that do not matter, {0.05 * count:.1f} would seem to at 95 %."
    )
    return [text] if count else []


def _trend_table(
    trends: Mapping[str, Interval], row: Mapping[str, ArrayLike], draws: Mapping[str, ArrayLike]
) -> list[Table]:
    """Correlation of every score with every parameter; intervals for the leading one."""
    others = [name for name in (*METRICS, *SPECTRAL_METRICS, f"{LEADING}_{MASKED}") if name in row]
    varied = varying({name: row[name] for name in others if name != LEADING})
    caption = "Rank correlation (Spearman) of scores with the parameters of the skies"
    rows = [
        [
            parameter_label(parameter),
            format_interval(interval),
            *(f"{rank_correlation(scores, draws[parameter]):.2f}" for scores in varied.values()),
        ]
        for parameter, interval in trends.items()
    ]
    header_row = ["Parameter", header(LEADING), *(metric(name).label for name in varied)]
    return [Table(caption, header_row, rows)] if rows else []


def _simulations(method: str, results: SplitResults) -> Table:
    row = results.values[method]
    names = metric_names({method: dict.fromkeys(row, Interval(0, None, None))})
    order = np.argsort(np.asarray(row[LEADING]), kind="stable")[::-1]
    rows = [[results.sims[i], *(f"{np.asarray(row[name])[i]:.4g}" for name in names)] for i in order]
    return Table("All simulations, the worst first", ["Simulation", *map(header, names)], rows)


def _distribution(method: str, results: SplitResults) -> Picture:
    values = {name: row[LEADING] for name, row in results.values.items() if LEADING in row}
    chart = distribution_chart(values, LEADING, title=f"{header(LEADING)} of all simulations")
    return chart_picture(
        chart, f"{header(LEADING)} of every simulation for {method} beside the other methods"
    )


def _by_parameter(method: str, results: SplitResults, name: str) -> Picture:
    scores, column = results.values[method][LEADING], results.draws[name]
    bins = {method: score_by_parameter(scores, column)}
    chart = parameter_chart({method: scores}, column, bins, name=LEADING, label_x=parameter_label(name))
    caption = "A point is a simulation; means of bins with 95 % intervals."
    return chart_picture(chart, f"{header(LEADING)} of {method} against {name}", caption)


def _parts(results: SplitResults) -> list[Picture]:
    """What the residuals of all methods are made of: rms over simulations."""
    parts = {
        method: {
            name: float(np.sqrt(np.mean(np.square(row[name]))))
            for name, known in RESIDUAL_METRICS.items()
            if name in row and known.unit == "µK"
        }
        for method, row in results.values.items()
        if method != PERFECT
    }
    shown = {method: row for method, row in parts.items() if row}
    if not shown:
        return []
    chart = parts_chart(shown, title="Parts of the residual")
    return [chart_picture(chart, "Parts of the residual of every method, rms in µK")]


def _spectra(method: str, results: SplitResults) -> list[Picture]:
    pictures = []
    for spectrum, methods in results.spectra.items():
        shown = {name: methods[name] for name in (method, NOISE_FLOOR) if name in methods}
        if method not in shown:
            continue
        power = power_chart(shown, results.sigma[spectrum], field=spectrum, title=f"{spectrum} spectra")
        text = f"{spectrum} spectra of truth, {method} and residual, with errors below"
        pictures.append(chart_picture(power, text))
        if spectrum[0] == spectrum[1]:
            transfer = transfer_chart(shown, field=spectrum, title=f"{spectrum} transfer and coherence")
            text = f"{spectrum} transfer function and coherence of {method}"
            pictures.append(chart_picture(transfer, text))
    return pictures
