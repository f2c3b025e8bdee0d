"""Figures of scores: their distribution over simulations, and how they follow parameters and splits."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from cmbml.analysis.figures import STYLE, interval_bars, series
from cmbml.analysis.reference import REFERENCE_LABELS
from cmbml.analysis.statistics import Interval
from cmbml.analysis.subcategories import ParameterBin
from cmbml.analysis.tables import header

GOLDEN = (np.sqrt(5) - 1) / 2
"""Multiples of it, modulo 1, spread evenly however many: a jitter that is the same every time."""


def distribution_figure(values: Mapping[str, ArrayLike], name: str, *, title: str = "") -> Figure:
    """Scores of all simulations, a point each, and a bar at the median, per method.

    Parameters
    ----------
    values
        Scores per method: ``(n_sims,)`` each; infinite ones are left out.
    name
        Metric, a key of `cmbml.analysis.tables.KNOWN_METRICS`.
    title
        Heading.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 1.2 + 0.5 * len(values)), layout="constrained")
        ax = figure.add_subplot()
        for row, scores in enumerate(values.values()):
            shown = np.asarray(scores, dtype=np.float64)
            shown = shown[np.isfinite(shown)]
            jitter = (np.arange(len(shown)) * GOLDEN % 1 - 0.5) * 0.5
            style = series(row) | {"linestyle": "none", "alpha": 0.5, "markersize": 3}
            ax.plot(shown, row + jitter, **style)
            if len(shown):
                ax.plot([np.median(shown)] * 2, [row - 0.35, row + 0.35], color="black", linewidth=1.6)
        ax.set_yticks(range(len(values)), [REFERENCE_LABELS.get(method, method) for method in values])
        ax.set_ylim(len(values) - 0.5, -0.5)
        ax.set(xlabel=header(name), title=title)
    return figure


def parameter_figure(
    values: Mapping[str, ArrayLike],
    parameter: ArrayLike,
    bins: Mapping[str, Sequence[ParameterBin]],
    *,
    name: str,
    label: str,
) -> Figure:
    """Score against a parameter of the skies: a point per simulation, means of bins with intervals.

    Parameters
    ----------
    values
        Scores per method: ``(n_sims,)`` each.
    parameter
        Parameter of the same simulations: ``(n_sims,)``.
    bins
        Per method, what `cmbml.analysis.subcategories.score_by_parameter` gives.
    name
        Metric, a key of `cmbml.analysis.tables.KNOWN_METRICS`.
    label
        The parameter's name and unit, for the axis.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4), layout="constrained")
        ax = figure.add_subplot()
        for index, (method, scores) in enumerate(values.items()):
            style = series(index)
            ax.plot(parameter, scores, **style | {"linestyle": "none", "alpha": 0.3, "markersize": 3})
            centres = [(one.lo + one.hi) / 2 for one in bins[method]]
            intervals = [one.score for one in bins[method]]
            means = np.array([one.mean for one in intervals])
            text = REFERENCE_LABELS.get(method, method)
            ax.errorbar(centres, means, yerr=interval_bars(intervals), capsize=3, label=text, **style)
        ax.set(xlabel=label, ylabel=header(name))
        ax.legend(fontsize=8)
    return figure


def gap_figure(gaps: Mapping[str, Mapping[str, Interval]], name: str, *, home: str) -> Figure:
    """Generalisation gap: relative change of a score away from the split like the training data.

    Parameters
    ----------
    gaps
        ``{split: {method: gap}}`` as by `cmbml.analysis.subcategories.generalisation_gap`.
    name
        Metric, a key of `cmbml.analysis.tables.KNOWN_METRICS`.
    home
        The split that the others are compared with.
    """
    methods = list(dict.fromkeys(method for row in gaps.values() for method in row))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 1.2 + 0.4 * len(methods)), layout="constrained")
        ax = figure.add_subplot()
        for index, (split, row) in enumerate(gaps.items()):
            shown = [(y, row[method]) for y, method in enumerate(methods) if method in row]
            offset = (index - (len(gaps) - 1) / 2) * 0.6 / len(gaps)
            intervals = [gap for _, gap in shown]
            x = 100 * np.array([gap.mean for gap in intervals])
            y = np.array([y for y, _ in shown]) + offset
            style = series(index) | {"linestyle": "none"}
            ax.errorbar(x, y, xerr=100 * interval_bars(intervals), capsize=3, label=split, **style)
        ax.axvline(0, color="black", linewidth=0.8)
        ax.set_yticks(range(len(methods)), [REFERENCE_LABELS.get(method, method) for method in methods])
        ax.set_ylim(len(methods) - 0.5, -0.5)
        ax.set(xlabel=f"{header(name).split(' [')[0]} against split {home}, change [%]")
        ax.legend(title="split", loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def parts_figure(parts: Mapping[str, Mapping[str, float]], *, title: str = "") -> Figure:
    """What the residuals are made of: rms of every part, per method.

    Parameters
    ----------
    parts
        ``{method: {part: rms in uK}}``, as by `cmbml.analysis.residuals`; ``gain`` is no rms and is left out.
    title
        Heading.
    """
    names = list(dict.fromkeys(name for row in parts.values() for name in row if name != "gain"))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 1.2 + 0.4 * len(parts)), layout="constrained")
        ax = figure.add_subplot()
        for index, name in enumerate(names):
            shown = [(row, values[name]) for row, values in enumerate(parts.values()) if name in values]
            rows, rms = zip(*shown, strict=True)
            style = series(index) | {"linestyle": "none", "markersize": 6}
            ax.plot(rms, rows, label=name.replace("_", " "), **style)
        ax.set_yticks(range(len(parts)), [REFERENCE_LABELS.get(method, method) for method in parts])
        ax.set_ylim(len(parts) - 0.5, -0.5)
        ax.set_xlim(left=0)
        ax.set(xlabel="rms of the part [µK]", title=title)
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure
