"""Charts of scores: rows of methods, profiles, spectra, distributions, parameters, training."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from cmbml.analysis.charts.svg import REFERENCES, Chart, Panel, Series, Style, style
from cmbml.analysis.metric import ALL
from cmbml.analysis.reference import NOISE_FLOOR, PERFECT, REFERENCE_LABELS, label
from cmbml.analysis.scoring import Rows, comparisons
from cmbml.analysis.spectra.comparison import Comparison
from cmbml.analysis.statistics import Interval, Scores
from cmbml.analysis.subcategories import ParameterBin
from cmbml.analysis.tables import header, metric, ordered_methods
from cmbml.sky.sht import Cl

GOLDEN = (np.sqrt(5) - 1) / 2
"""Multiples of it, modulo 1, spread evenly however many: a jitter that is the same every time."""

SIGMA = "\N{GREEK SMALL LETTER SIGMA}"
MULTIPOLE = "multipole \N{SCRIPT SMALL L}"
TRUTH = Style("#8a8f98", "", "circle")


def looks(names: Sequence[str]) -> dict[str, Style]:
    """Look of every method, whatever their number; references look alike everywhere."""
    methods = [name for name in names if name not in REFERENCE_LABELS]
    references = dict(zip((NOISE_FLOOR, PERFECT), REFERENCES, strict=True))
    return {name: style(index) for index, name in enumerate(methods)} | references


def bars_chart(scores: Scores, name: str) -> Chart:
    """One metric of every method and split: means with intervals; references on grey.

    Parameters
    ----------
    scores
        ``{split: {method: {metric: interval}}}``
    name
        Metric; infinite scores (PSNR of the perfect estimate) are left out.
    """
    methods = list(dict.fromkeys(m for split in scores.values() for m in ordered_methods(split)))
    direction = "higher is better" if metric(name).higher_is_better else "lower is better"
    series = [
        _intervals(split, [scores[split].get(m, {}).get(name) for m in methods], index, len(scores))
        for index, split in enumerate(scores)
    ]
    panel = Panel(
        series,
        x_label=f"{header(name)}, {direction}",
        rows=[label(method) for method in methods],
        shaded_rows=[i for i, method in enumerate(methods) if method in REFERENCE_LABELS],
        from_zero=True,
        height=30 + 34 * len(methods),
    )
    return Chart([[panel]], title=f"{header(name)} of every method and split")


def gap_chart(gaps: Mapping[str, Mapping[str, Interval]], name: str, *, home: str) -> Chart:
    """Generalisation gap: relative change of a score away from the split that is most like the training data.

    Parameters
    ----------
    gaps
        ``{split: {method: gap}}``, by `cmbml.analysis.subcategories.generalisation_gap`.
    name
        Metric.
    home
        The split that the others are compared with.
    """
    methods = list(dict.fromkeys(method for row in gaps.values() for method in row))
    series = [
        _intervals(split, [_percent(row.get(m)) for m in methods], index, len(gaps))
        for index, (split, row) in enumerate(gaps.items())
    ]
    panel = Panel(
        series,
        x_label=f"change of {metric(name).label} against split {home} [%]",
        rows=[label(method) for method in methods],
        shaded_rows=[i for i, method in enumerate(methods) if method in REFERENCE_LABELS],
        marks=[0.0],
        height=30 + 34 * len(methods),
    )
    return Chart([[panel]], title=f"Generalisation gap in {metric(name).label}")


def latitude_chart(rows: Rows, *, field: str = "T", splits: Sequence[str] | None = None) -> Chart:
    """Error of all pixels by Galactic latitude, a panel for every split; the perfect estimate has none.

    Parameters
    ----------
    rows
        Of ``split``, ``method``, ``field``, ``region``, ``latitude_deg`` and ``rmse_uk``.
    field
        T, Q or U.
    splits
        Those to show; all by default.
    """
    chosen = [row for row in rows if row["field"] == field and row["method"] != PERFECT]
    shown = splits or list(dict.fromkeys(str(row["split"]) for row in chosen))
    known = looks(list(dict.fromkeys(str(row["method"]) for row in chosen)))
    panels = [
        Panel(
            [
                _profile(own, method, look)
                for method, look in known.items()
                if (own := [row for row in chosen if (row["split"], row["method"]) == (split, method)])
            ],
            x_label="Galactic latitude [deg]",
            y_label=f"RMSE {field} [µK]",
            title=f"split {split}",
            log_y=True,
        )
        for split in shown
    ]
    return Chart(_in_pairs(panels), title=f"Residual by Galactic latitude, {field}")


def _profile(rows: Rows, method: str, look: Style) -> Series:
    whole = [row for row in rows if row["region"] == ALL]
    return Series(
        label(method), [row["latitude_deg"] for row in whole], [row["rmse_uk"] for row in whole], look
    )


def power_grid(rows: Rows) -> Chart:
    """Spectra of truth, estimates and residuals, a panel for every split and spectrum.

    The perfect estimate is left out: its residual is rounding, far below all others.

    Parameters
    ----------
    rows
        Of ``split``, ``method`` and what `cmbml.analysis.scoring.band_rows` gives.
    """
    panels = []
    for split in dict.fromkeys(str(row["split"]) for row in rows):
        for spectrum, (found, _) in spectra_of(rows, split).items():
            methods = {name: one for name, one in found.items() if name != PERFECT}
            panel = _power_panel(methods, spectrum)
            panels.append(replace(panel, title=f"{spectrum}, split {split}", x_label=MULTIPOLE))
    return Chart(_in_pairs(panels), title="Spectra of truth, estimates (lines) and residuals (points)")


def spectra_of(rows: Rows, split: str) -> dict[str, tuple[dict[str, Comparison], Cl]]:
    """Mean comparison of every method, and sigma, by spectrum: from rows of band powers."""
    out: dict[str, tuple[dict[str, Comparison], Cl]] = {}
    own = [row for row in rows if row["split"] == split]
    for method in dict.fromkeys(str(row["method"]) for row in own):
        found = comparisons([row for row in own if row["method"] == method])
        for spectrum, (comparison, sigma) in found.items():
            out.setdefault(spectrum, ({}, sigma))[0][method] = comparison
    return out


def power_chart(methods: Mapping[str, Comparison], sigma: Cl, *, field: str = "TT", title: str = "") -> Chart:
    """Band powers of truth, estimates and residuals; below, the errors in units of the sample variance.

    Parameters
    ----------
    methods
        Comparison of each method, of one simulation or the mean of many; the truth is that of the first.
    sigma
        Standard deviation of the truth's band powers by sample variance, for as many simulations, uK^2:
        ``(n_bands,)``.
    field
        Name of the spectrum; one that may be negative has a linear axis.
    title
        Heading.
    """
    errors = [
        Series(label(method), one.ell, one.error / sigma, look) for (method, look), one in _looked(methods)
    ]
    errors += [
        Series(f"{label(method)}, halves", one.ell, (one.halves - one.truth) / sigma, look, line=False)
        for (method, look), one in _looked(methods)
        if one.halves is not None
    ]
    error = Panel(errors, MULTIPOLE, f"error / {SIGMA}", log_x=True, shade=(-1, 1), levels=[0.0], height=120)
    note = f"{SIGMA}, grey: sample variance of the mean over simulations."
    if any(one.halves is not None for one in methods.values()):
        note += " Points, halves: the cross-spectrum of cleaned halves, without bias by their noise."
    return Chart([[_power_panel(methods, field)], [error]], title=title, note=note)


def _power_panel(methods: Mapping[str, Comparison], field: str) -> Panel:
    truth = next(iter(methods.values()))
    series = [Series("truth", truth.ell, truth.truth, TRUTH, marker=False, faint=True)]
    for (method, look), one in _looked(methods):
        series.append(Series(label(method), one.ell, one.estimate, look, marker=False))
        series.append(Series(f"{label(method)}, residual", one.ell, one.residual, look, line=False))
    power = f"D {field} [µK²]"
    return Panel(series, "", power, log_x=True, log_y=field[0] == field[1], height=260)


def transfer_chart(methods: Mapping[str, Comparison], *, field: str = "TT", title: str = "") -> Chart:
    """Transfer function and coherence of every method; parameters are those of `power_chart`."""
    transfer = [Series(label(m), one.ell, one.transfer, look) for (m, look), one in _looked(methods)]
    coherence = [Series(label(m), one.ell, one.coherence, look) for (m, look), one in _looked(methods)]
    upper = Panel(transfer, "", f"transfer {field}", log_x=True, levels=[1.0], height=170)
    lower = Panel(coherence, MULTIPOLE, f"coherence {field}", log_x=True, levels=[1.0], height=170)
    note = "Above: cross / truth. Below: cross / √(estimate · truth)."
    return Chart([[upper], [lower]], title=title, note=note)


def distribution_chart(values: Mapping[str, ArrayLike], name: str, *, title: str = "") -> Chart:
    """Scores of all simulations, a point each, and a bar at the median, per method.

    Parameters
    ----------
    values
        Scores per method: ``(n_sims,)`` each; infinite ones are left out.
    name
        Metric.
    title
        Heading.
    """
    known = looks(list(values))
    series = []
    for row, (method, scores) in enumerate(values.items()):
        shown = np.asarray(scores, dtype=np.float64)
        shown = shown[np.isfinite(shown)]
        jitter = (np.arange(len(shown)) * GOLDEN % 1 - 0.5) * 0.5
        series.append(Series("", shown, row + jitter, known[method], line=False, faint=True))
        if len(shown):
            ends = np.median(shown) * np.ones(2)
            bar = Style("#1b1f24", "", "bar")
            series.append(Series("", ends, [row - 0.32, row + 0.32], bar, marker=False))
    panel = Panel(
        series, header(name), rows=[label(m) for m in values], from_zero=True, height=30 + 34 * len(values)
    )
    return Chart([[panel]], title=title, note="A point is a simulation, a bar the median.")


def parameter_chart(
    values: Mapping[str, ArrayLike],
    parameter: ArrayLike,
    bins: Mapping[str, Sequence[ParameterBin]],
    *,
    name: str,
    label_x: str,
) -> Chart:
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
        Metric.
    label_x
        The parameter's name and unit.
    """
    known = looks(list(values))
    series = []
    for method, scores in values.items():
        series.append(Series("", parameter, scores, known[method], line=False, faint=True))
        centres = [(one.lo + one.hi) / 2 for one in bins[method]]
        low, high = _ends([one.score for one in bins[method]])
        means = [one.score.mean for one in bins[method]]
        series.append(Series(label(method), centres, means, known[method], low=low, high=high))
    panel = Panel(series, label_x, header(name), height=200)
    return Chart([[panel]], title=f"{metric(name).label} against {label_x}")


def parts_chart(parts: Mapping[str, Mapping[str, float]], *, title: str = "") -> Chart:
    """What the residuals are made of: rms of every part in uK, per method: ``{method: {part: rms}}``."""
    names = list(dict.fromkeys(name for row in parts.values() for name in row))
    series = [
        Series(
            metric(name).label,
            [row.get(name, np.nan) for row in parts.values()],
            list(range(len(parts))),
            style(index),
            line=False,
        )
        for index, name in enumerate(names)
    ]
    panel = Panel(
        series,
        "rms of the part [µK]",
        rows=[label(method) for method in parts],
        from_zero=True,
        height=30 + 30 * len(parts),
    )
    return Chart([[panel]], title=title)


def training_chart(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]], *, title: str, best: int | None
) -> Chart:
    """Losses over epochs, on a logarithmic axis where all are positive.

    Parameters
    ----------
    curves
        Epochs and values of each curve, for instance ``train`` and ``valid``: ``(n,)`` each.
    title
        Heading.
    best
        Epoch whose weights are kept, or None.
    """
    series = [
        Series(name, epochs, values, style(index), marker=np.size(epochs) < 40)
        for index, (name, (epochs, values)) in enumerate(curves.items())
    ]
    positive = all(np.nanmin(np.asarray(values, dtype=np.float64)) > 0 for _, values in curves.values())
    panel = Panel(series, "epoch", "loss", log_y=positive, marks=[] if best is None else [float(best)])
    note = "" if best is None else f"Upright line: the kept epoch, {best}."
    return Chart([[panel]], title=title, note=note)


def _looked(methods: Mapping[str, Comparison]) -> list[tuple[tuple[str, Style], Comparison]]:
    known = looks(list(methods))
    return [((method, known[method]), one) for method, one in methods.items()]


def _intervals(name: str, row: Sequence[Interval | None], index: int, count: int) -> Series:
    """One split's means of all rows, a little apart from those of the other splits."""
    shown = [(i, one) for i, one in enumerate(row) if one is not None and np.isfinite(one.mean)]
    offset = (index - (count - 1) / 2) * 0.66 / count
    low, high = _ends([one for _, one in shown])
    x, y = [one.mean for _, one in shown], [i + offset for i, _ in shown]
    return Series(name, x, y, style(index), low=low, high=high, across=True, line=False)


def _ends(intervals: Sequence[Interval]) -> tuple[list[float], list[float]]:
    """Ends of intervals, NaN where there is none."""
    low = [np.nan if one.lo is None else one.lo for one in intervals]
    high = [np.nan if one.hi is None else one.hi for one in intervals]
    return low, high


def _percent(gap: Interval | None) -> Interval | None:
    if gap is None:
        return None
    lo, hi = (None if end is None else 100 * end for end in (gap.lo, gap.hi))
    return Interval(100 * gap.mean, lo, hi)


def _in_pairs(panels: Sequence[Panel]) -> list[Sequence[Panel]]:
    return [panels[i : i + 2] for i in range(0, len(panels), 2)]
