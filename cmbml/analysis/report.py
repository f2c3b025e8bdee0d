"""The report: one self-contained HTML page from scores, tables and pictures."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jinja2 import Environment, PackageLoader, StrictUndefined

from cmbml.analysis import tables
from cmbml.analysis.pixel import METRICS
from cmbml.analysis.reference import REFERENCE_LABELS
from cmbml.analysis.statistics import Interval, Scores


@dataclass(frozen=True)
class Picture:
    """An image of the report.

    Attributes
    ----------
    png
        Bytes of a PNG.
    alt
        What the picture shows, for those who do not see it.
    caption
        Text below it; may be empty.
    """

    png: bytes
    alt: str
    caption: str = ""

    @property
    def uri(self) -> str:
        """The image as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


@dataclass(frozen=True)
class Flip:
    """Pictures of one size at one place, between which the reader flips: truth, estimate, difference.

    Attributes
    ----------
    title
        Heading.
    frames
        Pictures by the name on their button; the first is shown at the start.
    """

    title: str
    frames: Mapping[str, Picture]


@dataclass(frozen=True)
class Table:
    """A plain table of text: caption, header and rows of equal length."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class ReportContext:
    """All that a report says.

    Attributes
    ----------
    title, dataset
        Heading, and the name of the dataset.
    run
        What was run: label to value (commit, state of the data versions, seed, beam, lmax, nside).
    scores
        ``{split: {method: {metric: interval}}}``, reference rows among the methods.
    n_sims
        Number of simulations per split.
    maps
        Maps to flip through.
    figures
        Other figures.
    parameters
        Parameter key to value, as text.
    tables
        Stages, tasks and the like.
    notes
        Remarks, a paragraph each.
    """

    title: str
    dataset: str
    run: Mapping[str, str]
    scores: Scores
    n_sims: Mapping[str, int]
    maps: Sequence[Flip] = ()
    figures: Sequence[Picture] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class _Cell:
    mean: str
    interval: str
    best: bool


def render(context: ReportContext) -> str:
    """Render the report as one HTML page that needs no other file and no network.

    Parameters
    ----------
    context
        Scores, pictures and tables.

    Returns
    -------
    str
        HTML; the same context gives the same text.
    """
    environment = Environment(
        loader=PackageLoader("cmbml.analysis"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        context=context, boards=[_board(context, split) for split in context.scores], metrics=METRICS
    )


def _board(context: ReportContext, split: str) -> dict[str, object]:
    """Leaderboard of a split: header cells and rows."""
    methods = context.scores[split]
    names = tables.metric_names(methods)
    best = {name: _best(methods, name) for name in names}
    rows = [
        {
            "label": REFERENCE_LABELS.get(method, method),
            "reference": method in REFERENCE_LABELS,
            "cells": [_cell(methods[method].get(name), best=best[name] == method) for name in names],
        }
        for method in tables.ordered_methods(methods)
    ]
    header = [(tables.header(name), tables.metric(name)) for name in names]
    return {"split": split, "n_sims": context.n_sims[split], "header": header, "rows": rows}


def _best(methods: Mapping[str, Mapping[str, Interval]], name: str) -> str | None:
    """The method, reference rows apart, with the best mean of a known metric."""
    means = {m: row[name].mean for m, row in methods.items() if m not in REFERENCE_LABELS and name in row}
    if name not in METRICS or not means:
        return None
    choose = max if METRICS[name].higher_is_better else min
    return choose(means, key=lambda method: means[method])


def _cell(interval: Interval | None, *, best: bool) -> _Cell:
    mean, _, ends = tables.format_interval(interval).partition(" ")
    return _Cell(mean, ends, best)
