"""The report: self-contained HTML pages from scores, tables and pictures."""

import base64
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from cmbml.analysis import tables
from cmbml.analysis.charts.svg import Chart, svg
from cmbml.analysis.metric import Metric
from cmbml.analysis.reference import REFERENCE_LABELS, label
from cmbml.analysis.statistics import Interval, Scores
from cmbml.report.leaderboard import Board, boards
from cmbml.report.maps.colours import COLOUR_MAPS, gradient, palette_chunk


@dataclass(frozen=True)
class Scale:
    """Colour scale of a map, from -span to span."""

    span: float
    unit: str


@dataclass(frozen=True)
class Picture:
    """An image of the report.

    Attributes
    ----------
    data
        Bytes of an image.
    alt
        What the picture shows, for those who do not see it.
    caption
        Text below it; may be empty.
    kind
        ``png`` or ``svg+xml``.
    scale
        Colour scale to draw below it, where the image has none of its own.
    """

    data: bytes
    alt: str
    caption: str = ""
    kind: str = "png"
    scale: Scale | None = None

    @property
    def uri(self) -> str:
        """The image as a data URI."""
        return f"data:image/{self.kind};base64,{base64.b64encode(self.data).decode()}"


def chart_picture(chart: Chart, alt: str, caption: str = "") -> Picture:
    """A chart as a picture of the report."""
    return Picture(svg(chart).encode(), alt, caption, kind="svg+xml")


@dataclass(frozen=True)
class Flip:
    """Pictures of one size at one place, between which the reader flips: truth, estimate, difference.

    Attributes
    ----------
    title
        Heading.
    frames
        Pictures by the name on their button; the first is shown at the start.
    small
        Whether they are details of a map, and small.
    """

    title: str
    frames: Mapping[str, Picture]
    small: bool = False


@dataclass(frozen=True)
class Table:
    """A plain table of text: caption, header and rows of equal length."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Page:
    """What the report says of one method on one split.

    Attributes
    ----------
    method, split
        Of whom and where.
    maps, figures, tables, notes, traces
        As in `ReportContext`.
    more
        Figures that few will want to see.
    """

    method: str
    split: str
    maps: Sequence[Flip] = ()
    figures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    traces: Mapping[str, str] = field(default_factory=dict)
    more: Sequence[Picture] = ()

    @property
    def label(self) -> str:
        """Name of the method, as readers see it."""
        return label(self.method)

    @property
    def file_name(self) -> str:
        """Name of the page's file, beside index.html."""
        return re.sub(r"[^A-Za-z0-9_.-]", "_", f"{self.method}--{self.split}.html")


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
    differences
        Paired differences in RMSE, ``{split: {method: {other: interval}}}``, by `statistics.differences`.
    traces
        Where numbers come from: label to preformatted text.
    downloads
        Files to take away: name to text.
    pages
        Pages of methods and splits, to which the leaderboard links.
    filtered
        Methods whose maps do not keep the signal.
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
    differences: Mapping[str, Mapping[str, Mapping[str, Interval]]] = field(default_factory=dict)
    traces: Mapping[str, str] = field(default_factory=dict)
    downloads: Mapping[str, str] = field(default_factory=dict)
    pages: Sequence[Page] = ()
    filtered: Collection[str] = ()


def render(context: ReportContext) -> str:
    """Render the report as one HTML page that needs no other file and no network.

    Parameters
    ----------
    context
        Scores, pictures and tables.  Where it has pages, write those of `render_page` beside this one.

    Returns
    -------
    str
        HTML; the same context gives the same text.
    """
    details = context.tables or context.parameters or context.traces
    splits = [
        {
            "name": split,
            "boards": boards(
                methods, context.n_sims[split], links=_links(context, split), filtered=context.filtered
            ),
            "differences": _difference_table(context.differences.get(split, {})),
        }
        for split, methods in context.scores.items()
    ]
    page = _environment().get_template("report.html")
    return page.render(context=context, splits=splits, metrics=_metrics(context), details=details)


def render_page(context: ReportContext, page: Page) -> str:
    """Render the page of a method and split, to be written beside index.html as its ``file_name``."""
    template = _environment().get_template("page.html")
    return template.render(context=context, page=page, boards=_page_boards(context, page))


def require_one_page_each(context: ReportContext) -> None:
    """Raise ValueError where two pages of the report would be one file."""
    names = [page.file_name for page in context.pages]
    double = {name for name in names if names.count(name) > 1}
    if double:
        raise ValueError(f"two pages of the report would be {min(double)}: give every method its own name")


def _metrics(context: ReportContext) -> list[Metric]:
    """Every metric that a leaderboard shows, told once for all fields and regions."""
    names = dict.fromkeys(
        tables.parse_name(name)[0]
        for methods in context.scores.values()
        for name in tables.metric_names(methods)
    )
    return [tables.metric(name) for name in names]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cmbml.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["gradients"] = {name: gradient(name) for name in COLOUR_MAPS}
    environment.globals["palettes"] = {
        name: base64.b64encode(palette_chunk(name)).decode() for name in COLOUR_MAPS
    }
    environment.filters["text_uri"] = _text_uri
    return environment


def _text_uri(text: str) -> str:
    return f"data:text/plain;charset=utf-8;base64,{base64.b64encode(text.encode()).decode()}"


def _links(context: ReportContext, split: str) -> dict[str, str]:
    return {page.method: page.file_name for page in context.pages if page.split == split}


def _page_boards(context: ReportContext, page: Page) -> list[Board]:
    """Leaderboards of a page: its method and the references."""
    shown = [page.method, *REFERENCE_LABELS]
    return boards(
        context.scores[page.split],
        context.n_sims[page.split],
        shown=shown,
        links={},
        filtered=context.filtered,
    )


def _difference_table(differences: Mapping[str, Mapping[str, Interval]]) -> Table | None:
    if not differences:
        return None
    names = list(differences)
    rows = [
        [label(row), *(tables.format_interval(differences[row].get(column)) for column in names)]
        for row in names
    ]
    return Table("Paired differences", ["Method", *map(label, names)], rows)
