"""Leaderboards: the scores of one split, laid out for a page."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from cmbml.analysis import tables
from cmbml.analysis.metric import MASKED, Metric
from cmbml.analysis.pixel import METRICS
from cmbml.analysis.reference import REFERENCE_LABELS, label
from cmbml.analysis.residuals import RESIDUAL_METRICS
from cmbml.analysis.spectra.scores import SPECTRAL_METRICS
from cmbml.analysis.statistics import Interval

Methods = Mapping[str, Mapping[str, Interval]]

_KINDS = {"Pixels": METRICS, "Spectra": SPECTRAL_METRICS, "Parts of the residual": RESIDUAL_METRICS}


@dataclass(frozen=True)
class Cell:
    """A score as text, and whether it is the best of its column."""

    mean: str
    interval: str
    best: bool


@dataclass(frozen=True)
class Row:
    """A method's scores; `tag` says what sets it apart, `link` leads to its page, where there is one."""

    label: str
    reference: bool
    tag: str
    link: str | None
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Board:
    """One table: a group, a caption, columns as header and metric, rows; `main` if it is to be read first."""

    group: str
    caption: str
    columns: Sequence[tuple[str, Metric]]
    rows: Sequence[Row]
    main: bool


def boards(
    methods: Methods,
    n_sims: int,
    *,
    shown: Sequence[str] | None = None,
    links: Mapping[str, str],
    filtered: Collection[str] = (),
) -> list[Board]:
    """Leaderboards of one split: a table for each kind of metric, field and region, as far as there are any.

    Parameters
    ----------
    methods
        ``{method: {metric: interval}}``
    n_sims
        Number of simulations.
    shown
        Methods that have a row; all of them by default.  The best of a column is sought among all.
    links
        Address of the page of a method.
    filtered
        Methods whose maps do not keep the signal, as a Wiener filter's.
    """
    groups: dict[tuple[str, bool], list[str]] = {}
    for name in tables.metric_names(methods):
        groups.setdefault(_group(name), []).append(name)
    rows = [name for name in tables.ordered_methods(methods) if shown is None or name in shown]
    found = [
        Board(
            group,
            f"{group}: {_count(n_sims)}",
            [(tables.header(name), tables.metric(name)) for name in columns],
            [
                _row(methods, method, columns, tag=_tag(method, filtered), link=links.get(method))
                for method in rows
            ],
            main,
        )
        for (group, main), columns in groups.items()
    ]
    return sorted(found, key=lambda board: not board.main)


def _group(name: str) -> tuple[str, bool]:
    """Table in which a metric stands, and whether that is one to read first."""
    base, field, region = tables.parse_name(name)
    kind = next((kind for kind, metrics in _KINDS.items() if base in metrics), "Others")
    words = [kind, field, "under the mask" if region == MASKED else ""]
    main = kind in ("Pixels", "Spectra") and not field and region != MASKED
    return " ".join(word for word in words if word), main


def _count(n_sims: int) -> str:
    return "1 simulation, too few for an interval" if n_sims == 1 else f"{n_sims} simulations"


def _tag(method: str, filtered: Collection[str]) -> str:
    if method in REFERENCE_LABELS:
        return "reference"
    return "not signal-preserving" if method in filtered else ""


def _row(methods: Methods, method: str, columns: Sequence[str], *, tag: str, link: str | None) -> Row:
    cells = [_cell(methods[method].get(name), best=_best(methods, name) == method) for name in columns]
    return Row(label(method), method in REFERENCE_LABELS, tag, link, cells)


def _best(methods: Methods, name: str) -> str | None:
    """The method, reference rows apart, with the best mean of a metric whose direction is known."""
    means = {m: row[name].mean for m, row in methods.items() if m not in REFERENCE_LABELS and name in row}
    if not tables.metric(name).definition or not means:
        return None
    if tables.metric(name).higher_is_better:
        return max(means, key=lambda method: means[method])
    return min(means, key=lambda method: abs(means[method]))


def _cell(interval: Interval | None, *, best: bool) -> Cell:
    mean, _, ends = tables.format_interval(interval).partition(" ")
    return Cell(mean, ends, best)
