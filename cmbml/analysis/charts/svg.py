"""Charts as SVG: lines, points and intervals on linear, logarithmic or named axes.

A report has a hundred of them and DVC keeps some in git, so they are drawn in a millisecond, small, and the
same to the byte for the same numbers; matplotlib needs a quarter of a second for each.  Sizes are in pixels
of a page; a chart may be scaled freely.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cmbml.analysis.charts.axes import Axis, make_axis

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195")
"""Okabe and Ito's colour-blind-safe colours; black is for references."""

DASHES = ("", "7 3", "2 3", "9 3 2 3")
FONT = 13
FAMILY = "system-ui, -apple-system, Segoe UI, Roboto, DejaVu Sans, sans-serif"
INK, SOFT, GRID = "#1b1f24", "#57606a", "#e3e8ee"
MARKERS: Mapping[str, str] = {
    "circle": "M-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0 -6.4 0z",
    "square": "M-3 -3h6v6h-6z",
    "triangle": "M0 -3.8L3.6 2.8H-3.6z",
    "diamond": "M0 -4.2L4 0L0 4.2L-4 0z",
    "down": "M0 3.8L3.6 -2.8H-3.6z",
    "plus": "M-1.2 -3.6h2.4v2.4h2.4v2.4h-2.4v2.4h-2.4v-2.4h-2.4v-2.4h2.4z",
    "bar": "M-4 -1.6h8v3.2h-8z",
}


@dataclass(frozen=True)
class Style:
    """How a series looks: colour, dashes and marker."""

    colour: str
    dashes: str
    marker: str


def style(index: int) -> Style:
    """Look of series number `index`: those of one colour differ in dashes and marker."""
    turn = index // len(PALETTE)
    markers = list(MARKERS)
    return Style(
        PALETTE[index % len(PALETTE)], DASHES[turn % len(DASHES)], markers[(index + turn) % len(markers)]
    )


REFERENCES = (Style("#000000", "7 3", "square"), Style("#8a8f98", "2 3", "circle"))
"""Looks of rows that are no methods."""


@dataclass(frozen=True)
class Series:
    """Points with one look and one entry of the legend.

    Attributes
    ----------
    name
        Entry of the legend; none where it is empty.
    x, y
        Places, ``(n,)``; what is not finite, or not positive on a logarithmic axis, is left out.
    style
        Colour, dashes, marker.
    low, high
        Ends of intervals, ``(n,)``; NaN where there is none.
    across
        Whether intervals lie along x.
    line, marker
        Whether points are joined, and marked.
    faint
        Whether it stands back.
    """

    name: str
    x: ArrayLike
    y: ArrayLike
    style: Style
    low: ArrayLike = ()
    high: ArrayLike = ()
    across: bool = False
    line: bool = True
    marker: bool = True
    faint: bool = False


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes
    ----------
    series
        What is drawn.
    x_label, y_label
        What the axes are, with units.
    title
        Heading.
    log_x, log_y
        Whether the axes are logarithmic.
    rows
        Names along y, at 0, 1, ... from the top, in place of numbers.
    shaded_rows
        Rows that stand on grey.
    levels, marks
        Places of a line across, and of lines upright.
    shade
        Range of y on grey.
    from_zero
        Whether the axis of numbers begins at 0.
    height
        Height in pixels, without title and labels.
    """

    series: Sequence[Series]
    x_label: str
    y_label: str = ""
    title: str = ""
    log_x: bool = False
    log_y: bool = False
    rows: Sequence[str] = ()
    shaded_rows: Sequence[int] = ()
    levels: Sequence[float] = ()
    marks: Sequence[float] = ()
    shade: tuple[float, float] | None = None
    from_zero: bool = False
    height: int = 230


@dataclass(frozen=True)
class Chart:
    """Panels in rows and columns, with one legend for all.

    Attributes
    ----------
    panels
        Rows of panels.
    title
        Heading.
    note
        A line below.
    width
        Width of a column in pixels.
    """

    panels: Sequence[Sequence[Panel]]
    title: str = ""
    note: str = ""
    width: int = 420
    legend: bool = True


def svg(chart: Chart) -> str:
    """Draw a chart: an SVG document, the same for the same numbers."""
    columns = max(len(row) for row in chart.panels)
    width = columns * chart.width
    body: list[str] = []
    top = 8.0
    if chart.title:
        top += 1.4 * FONT
        body.append(_text(8, top - 4, chart.title, weight="600"))
    if chart.legend:
        top = _legend(body, chart, width, top)
    margin = max(_margin(panel, chart.width) for row in chart.panels for panel in row)
    for number, row in enumerate(chart.panels):
        bottoms = [
            _panel(body, panel, f"c{number}-{i}", (i * chart.width, top, chart.width, margin))
            for i, panel in enumerate(row)
        ]
        top = max(bottoms)
    if chart.note:
        top += 1.3 * FONT
        body.append(_text(8, top - 4, chart.note, fill=SOFT, size=FONT - 1.5))
    height = math.ceil(top + 4)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="{FAMILY}" font-size="{FONT}" fill="{INK}">'
        '<rect width="100%" height="100%" fill="#fff"/>' + "".join(body) + "</svg>\n"
    )


def text_width(text: str, size: float = FONT) -> float:
    """Width of a text in pixels, as most fonts have it."""
    return 0.57 * size * len(text)


def _legend(body: list[str], chart: Chart, width: float, top: float) -> float:
    """Draw entries side by side, in as many lines as it takes; return where they end."""
    series = [one for row in chart.panels for panel in row for one in panel.series if one.name]
    entries: list[Series] = []
    for one in series:
        if one.name not in [entry.name for entry in entries]:
            entries.append(one)
    x = 10.0
    for entry in entries:
        space = 34 + text_width(entry.name)
        if x > 10 and x + space > width:
            x, top = 10.0, top + 1.45 * FONT
        y = top + 0.7 * FONT
        body.append(_swatch(entry, x, y))
        body.append(_text(x + 26, y + 4.5, entry.name))
        x += space + 8
    return top + 1.6 * FONT if entries else top


def _swatch(entry: Series, x: float, y: float) -> str:
    parts = []
    if entry.line:
        parts.append(_path([(x, y), (x + 20, y)], entry.style, entry.faint))
    if entry.marker:
        parts.append(_marker(entry, x + 10, y))
    return "".join(parts)


@dataclass
class _Frame:
    """Where a panel's axes lie, and how numbers become pixels."""

    left: float
    right: float
    top: float
    bottom: float
    x: Axis
    y: Axis
    inside: list[str] = field(default_factory=list)

    def px(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.left + self.x.place(value) * (self.right - self.left)

    def py(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.bottom - self.y.place(value) * (self.bottom - self.top)


def _panel(body: list[str], panel: Panel, name: str, place: tuple[float, float, float, float]) -> float:
    """Draw one panel at its left, top, width and margin; return where it ends."""
    frame = _frame(panel, *place)
    x0 = place[0]
    if panel.title:
        body.append(_text(frame.left, frame.top - 6, panel.title, weight="600"))
    _ground(body, frame, panel)
    for one in panel.series:
        _draw(frame, one)
    box = (frame.left - 5, frame.top - 5, frame.right - frame.left + 10, frame.bottom - frame.top + 10)
    shape = 'x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"'.format(*box)
    body.append(f'<clipPath id="{name}"><rect {shape}/></clipPath><g clip-path="url(#{name})">')
    body.extend(frame.inside)
    body.append("</g>")
    if panel.x_label:
        middle = (frame.left + frame.right) / 2
        body.append(_text(middle, frame.bottom + 2.75 * FONT, panel.x_label, anchor="middle"))
    if panel.y_label:
        middle = (frame.top + frame.bottom) / 2
        turned = f' transform="rotate(-90 {x0 + 14:.1f} {middle:.1f})"'
        body.append(_text(x0 + 14, middle, panel.y_label, anchor="middle", more=turned))
    return frame.bottom + (3.3 if panel.x_label else 2) * FONT


def _frame(panel: Panel, x0: float, top: float, width: float, margin: float) -> _Frame:
    from_zero = panel.from_zero and bool(panel.rows)
    x_axis = make_axis(_extent(panel, along_x=True), log=panel.log_x, from_zero=from_zero, ticks=5)
    upper = top + (1.6 * FONT if panel.title else 8)
    return _Frame(x0 + margin, x0 + width - 18, upper, upper + panel.height, x_axis, _y_axis(panel))


def _y_axis(panel: Panel) -> Axis:
    if panel.rows:
        return Axis.of_rows(panel.rows)
    return make_axis(_extent(panel, along_x=False), log=panel.log_y, from_zero=panel.from_zero, ticks=5)


def _margin(panel: Panel, width: float) -> float:
    """Room for the labels on the left; where names are long, the picture keeps half of the width."""
    labels = max((text_width(label) for _, label in _y_axis(panel).ticks), default=0)
    return min(12 + labels + (1.5 * FONT if panel.y_label else 0), width / 2)


def _extent(panel: Panel, *, along_x: bool) -> list[float]:
    """All numbers that an axis has to show."""
    log = panel.log_x if along_x else panel.log_y
    arrays = [np.asarray(one.x if along_x else one.y, dtype=np.float64) for one in panel.series]
    for one in panel.series:
        if one.across == along_x:
            arrays += [np.asarray(end, dtype=np.float64) for end in (one.low, one.high)]
    arrays.append(np.asarray(panel.marks if along_x else panel.levels, dtype=np.float64))
    if panel.shade and not along_x:
        arrays.append(np.asarray(panel.shade))
    values = np.concatenate([array.ravel() for array in arrays]) if arrays else np.empty(0)
    values = values[np.isfinite(values)]
    return list(values[values > 0] if log else values)


def _ground(body: list[str], frame: _Frame, panel: Panel) -> None:
    """Grid, ticks, shades and lines behind the series."""
    for row in panel.shaded_rows:
        high, low = frame.py(np.array([row - 0.5, row + 0.5]))
        body.append(_rect(frame.left, high, frame.right, low, "#f0f3f6"))
    if panel.shade:
        low, high = np.clip(frame.py(np.asarray(panel.shade, dtype=np.float64)), frame.top, frame.bottom)
        body.append(_rect(frame.left, high, frame.right, low, "#e8ebef"))
    for value, label in frame.x.ticks:
        x = float(frame.px(np.array(value)))
        body.append(_line(x, frame.top, x, frame.bottom, GRID))
        body.append(_text(x, frame.bottom + 1.35 * FONT, label, anchor="middle", fill=SOFT))
    for value, label in frame.y.ticks:
        y = float(frame.py(np.array(value)))
        if not panel.rows:
            body.append(_line(frame.left, y, frame.right, y, GRID))
        body.append(_text(frame.left - 6, y + 4.5, label, anchor="end", fill=INK if panel.rows else SOFT))
    body.append(_line(frame.left, frame.bottom, frame.right, frame.bottom, SOFT))
    body.append(_line(frame.left, frame.top, frame.left, frame.bottom, SOFT))
    for value in panel.levels:
        y = float(frame.py(np.array(value)))
        body.append(_line(frame.left, y, frame.right, y, INK))
    for value in panel.marks:
        x = float(frame.px(np.array(value)))
        body.append(_line(x, frame.top, x, frame.bottom, INK))


def _draw(frame: _Frame, one: Series) -> None:
    x, y = frame.px(np.asarray(one.x, dtype=np.float64)), frame.py(np.asarray(one.y, dtype=np.float64))
    good = np.isfinite(x) & np.isfinite(y)
    if one.line:
        for run in _runs(good):
            frame.inside.append(_path(list(zip(x[run], y[run], strict=True)), one.style, one.faint))
    if np.size(one.low):
        to_pixels = frame.px if one.across else frame.py
        ends = [to_pixels(np.asarray(end, dtype=np.float64)) for end in (one.low, one.high)]
        for px, py, low, high in zip(x, y, *ends, strict=True):
            if np.isfinite([px, py, low, high]).all():
                frame.inside.append(_interval(one, px, py, low, high))
    if one.marker:
        frame.inside += [_marker(one, px, py) for px, py in zip(x[good], y[good], strict=True)]


def _runs(good: NDArray[np.bool_]) -> Iterator[slice]:
    """Stretches of neighbours that are all good."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], good.astype(np.int8), [0]])))
    return (slice(int(first), int(last)) for first, last in pairwise(edges) if good[first])


def _interval(one: Series, px: float, py: float, low: float, high: float) -> str:
    if one.across:
        caps = f"M{low:.1f} {py - 3:.1f}v6M{high:.1f} {py - 3:.1f}v6"
        stem = f"M{low:.1f} {py:.1f}H{high:.1f}"
    else:
        caps = f"M{px - 3:.1f} {low:.1f}h6M{px - 3:.1f} {high:.1f}h6"
        stem = f"M{px:.1f} {low:.1f}V{high:.1f}"
    return f'<path d="{stem}{caps}" stroke="{one.style.colour}" stroke-width="1.5"/>'


def _path(points: Sequence[tuple[float, float]], look: Style, faint: bool) -> str:
    places = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dashes = f' stroke-dasharray="{look.dashes}"' if look.dashes else ""
    opacity = ' opacity="0.45"' if faint else ""
    return (
        f'<path d="M{places}" fill="none" stroke="{look.colour}" stroke-width="{3 if faint else 1.6}"'
        f"{dashes}{opacity}/>"
    )


def _marker(one: Series, x: float, y: float) -> str:
    opacity = ' opacity="0.45"' if one.faint else ""
    return (
        f'<path d="{MARKERS[one.style.marker]}" transform="translate({x:.1f} {y:.1f})" '
        f'fill="{one.style.colour}"{opacity}/>'
    )


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    fill: str = INK,
    weight: str = "400",
    size: float = FONT,
    more: str = "",
) -> str:
    looks = f' text-anchor="{anchor}"' if anchor != "start" else ""
    looks += f' fill="{fill}"' if fill != INK else ""
    looks += f' font-weight="{weight}"' if weight != "400" else ""
    looks += f' font-size="{size}"' if size != FONT else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{looks}{more}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}"/>'


def _rect(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    size = f'width="{x2 - x1:.1f}" height="{y2 - y1:.1f}"'
    return f'<rect x="{x1:.1f}" y="{y1:.1f}" {size} fill="{colour}"/>'
