"""Figures of maps and scores, each a matplotlib Figure without any global state.

Sizes are in inches; maps are RING and Galactic, longitude grows to the left, l = 0 in the middle.  Turn a
figure into bytes with `to_png` or `to_svg`: the same input gives the same bytes.
"""

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import healpy as hp
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from numpy.typing import ArrayLike, NDArray

from cmbml.analysis.reference import REFERENCE_LABELS
from cmbml.analysis.statistics import Interval, Scores
from cmbml.analysis.tables import header, metric, ordered_methods
from cmbml.sky.sht import Map, nside_of

PLANCK = LinearSegmentedColormap.from_list(
    "planck",
    [
        (0, "#0000ff"),
        (0.332, "#00d7ff"),
        (0.5, "#ffedd9"),
        (0.664, "#ffb400"),
        (0.828, "#ff4b00"),
        (1, "#640000"),
    ],
)
"""The colour map of the Planck collaboration's CMB maps."""

COLOUR_MAPS: dict[str, Colormap] = {"planck": PLANCK, "uniform": mpl.colormaps["cividis"]}
"""``uniform`` is perceptually uniform and reads alike with colour-blind eyes and in grey."""

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colour-blind-safe colours."""

MARKERS = "osD^vPX"
MULTIPOLE = r"multipole $\ell$"
STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
    "svg.hashsalt": "cmbml",
    "svg.fonttype": "path",
}


def to_png(figure: Figure, *, dpi: int = 110) -> bytes:
    """PNG of a figure: no date, no version inside."""
    return _save(figure, format="png", dpi=dpi, metadata={"Software": None})


def to_svg(figure: Figure) -> bytes:
    """SVG of a figure: no date, fixed identifiers."""
    return _save(figure, format="svg", metadata={"Date": None, "Creator": None})


def _save(figure: Figure, **options: Any) -> bytes:
    out = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(out, facecolor="white", **options)
    return out.getvalue()


@lru_cache(maxsize=4)
def _mollweide_pixels(nside: int, width: int) -> NDArray[np.intp]:
    """RING pixel under every point of a Mollweide picture, -1 outside: ``(width // 2, width)``."""
    x = np.linspace(-2, 2, width, endpoint=False) + 2 / width
    y = np.linspace(-1, 1, width // 2, endpoint=False) + 2 / width
    x, y = np.meshgrid(x, y)
    inside = (x / 2) ** 2 + y**2 < 1
    angle = np.arcsin(y[inside])
    lon = -np.pi * x[inside] / (2 * np.cos(angle))
    lat = np.arcsin((2 * angle + np.sin(2 * angle)) / np.pi)
    pixels = np.full(inside.shape, -1)
    pixels[inside] = hp.ang2pix(nside, np.pi / 2 - lat, lon % (2 * np.pi))
    return pixels


def mollweide(sky: Map, *, width: int = 800, mask: Map | None = None) -> NDArray[np.float64]:
    """Picture of a RING map ``(npix,)``, row 0 in the south: ``(width // 2, width)``, NaN off the sky.

    Pixels where `mask` is 0 are NaN too.
    """
    shown = np.append(sky if mask is None else np.where(mask > 0, sky, np.nan), np.nan)
    return shown[_mollweide_pixels(nside_of(sky), width)]


def _draw_map(figure: Figure, ax: Axes, sky: Map, options: Mapping[str, Any]) -> None:
    span = options["span"]
    cmap = COLOUR_MAPS[options["cmap"]].with_extremes(bad="#d9d9d9")
    picture = np.ma.masked_invalid(mollweide(sky, width=options["width"], mask=options.get("mask")))
    image = ax.imshow(
        picture,
        origin="lower",
        extent=(-2, 2, -1, 1),
        cmap=cmap,
        vmin=-span,
        vmax=span,
        interpolation="nearest",
    )
    outline = Ellipse((0, 0), 4, 2, fill=False, edgecolor="black", linewidth=0.8)
    ax.add_patch(outline)
    image.set_clip_path(outline)
    ax.set(xlim=(-2.02, 2.02), ylim=(-1.02, 1.02), title=options["title"])
    ax.set_axis_off()
    bar = figure.colorbar(
        image, ax=ax, orientation="horizontal", fraction=0.05, pad=0.03, aspect=30, extend="both"
    )
    bar.set_label(options["unit"])


def sky_map(
    sky: Map,
    *,
    title: str,
    span: float,
    unit: str = "µK",
    cmap: str = "planck",
    mask: Map | None = None,
    width: int = 800,
) -> Figure:
    """One map in Mollweide projection.

    Parameters
    ----------
    sky
        Map of one field: ``(npix,)``.
    title
        Heading.
    span
        The colour scale goes from -span to span.
    unit
        Unit on the colour bar.
    cmap
        Name in `COLOUR_MAPS`.
    mask
        Pixels where it is 0 are drawn in grey: ``(npix,)``.
    width
        Width of the projected picture in pixels.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.8), layout="constrained")
        options = {"title": title, "span": span, "unit": unit, "cmap": cmap, "mask": mask, "width": width}
        _draw_map(figure, figure.add_subplot(), sky, options)
    return figure


def map_triple(
    truth: Map,
    estimate: Map,
    *,
    title: str,
    unit: str = "µK",
    cmap: str = "planck",
    mask: Map | None = None,
    width: int = 800,
) -> Figure:
    """Truth, estimate and their difference side by side, in Mollweide projection.

    Truth and estimate share one scale, 3 times the rms of the truth; the difference has its own, as its
    colour bar shows.  Arguments are those of `sky_map`.
    """
    difference = estimate - truth
    span = map_span(truth, mask)
    panels = [
        ("truth", truth, span),
        (title, estimate, span),
        (f"{title} - truth", difference, map_span(difference, mask)),
    ]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(13, 3.2), layout="constrained")
        for ax, (name, sky, limit) in zip(figure.subplots(1, 3), panels, strict=True):
            options = {"title": name, "span": limit, "unit": unit, "cmap": cmap, "mask": mask, "width": width}
            _draw_map(figure, ax, sky, options)
    return figure


def map_span(sky: Map, mask: Map | None = None) -> float:
    """Half-width of a colour scale: 3 times the rms inside the mask, 1 for a map that is zero."""
    seen = sky if mask is None else sky[mask > 0]
    return 3 * float(np.sqrt(np.mean(seen**2))) or 1.0


def series(index: int) -> dict[str, Any]:
    """Line style of the method number `index`: colour, marker and dashes all differ."""
    dashes = ["-", "--", "-.", ":"]
    return {
        "color": PALETTE[index % len(PALETTE)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": dashes[index // len(PALETTE) % len(dashes)],
        "markersize": 4,
        "linewidth": 1.4,
    }


def latitude_figure(
    edges_deg: ArrayLike, rmse: Mapping[str, NDArray[np.floating]], *, title: str = ""
) -> Figure:
    """Residual rms by Galactic latitude, a line per method.

    Parameters
    ----------
    edges_deg
        Edges of the bands in degrees: ``(n_bands + 1,)``.
    rmse
        RMSE per method in uK: each ``(n_bands,)``, NaN where there is no sky.
    """
    edges = np.asarray(edges_deg, dtype=np.float64)
    centres = (edges[1:] + edges[:-1]) / 2
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4), layout="constrained")
        ax = figure.add_subplot()
        for index, (method, values) in enumerate(rmse.items()):
            ax.plot(centres, values, label=REFERENCE_LABELS.get(method, method), **series(index))
        ax.set(xlabel="Galactic latitude [deg]", ylabel="residual rms [µK]", title=title)
        ax.set_ylim(bottom=0)
        ax.legend()
    return figure


def metric_bars(scores: Scores, name: str) -> Figure:
    """One metric for every method and split: points with intervals, reference rows shaded.

    Parameters
    ----------
    scores
        ``{split: {method: {metric: interval}}}``
    name
        Metric, a key of `cmbml.analysis.tables.KNOWN_METRICS`; an infinite score (PSNR of the perfect
        estimate) is left out.
    """
    splits = list(scores)
    methods = list(dict.fromkeys(m for split in splits for m in ordered_methods(scores[split])))
    with mpl.rc_context(STYLE):
        figure = Figure(
            figsize=(6.4, 1.2 + 0.34 * len(methods) * max(1, len(splits) / 2)), layout="constrained"
        )
        ax = figure.add_subplot()
        for index, split in enumerate(splits):
            offset = (index - (len(splits) - 1) / 2) * 0.7 / len(splits)
            style = series(index) | {"linestyle": "none"}
            _points(ax, [scores[split].get(m, {}).get(name) for m in methods], offset, split, style)
        for row in (i for i, method in enumerate(methods) if method in REFERENCE_LABELS):
            ax.axhspan(row - 0.5, row + 0.5, color="#f0f3f6", zorder=0)
        ax.set_yticks(range(len(methods)), [REFERENCE_LABELS.get(m, m) for m in methods])
        ax.invert_yaxis()
        ax.set(
            xlabel=header(name),
            title="higher is better" if metric(name).higher_is_better else "lower is better",
        )
        ax.legend(title="split", loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _points(
    ax: Axes, row: Sequence[Interval | None], offset: float, label: str, style: dict[str, Any]
) -> None:
    shown = {i: one for i, one in enumerate(row) if one is not None and np.isfinite(one.mean)}
    intervals = list(shown.values())
    x = [one.mean for one in intervals]
    y = [i + offset for i in shown]
    ax.errorbar(x, y, xerr=interval_bars(intervals), capsize=3, label=label, **style)


def interval_bars(intervals: Sequence[Interval]) -> NDArray[np.float64]:
    """Lengths of error bars below and above the means, 0 where there is no interval: ``(2, n)``."""
    below = [0 if one.lo is None else one.mean - one.lo for one in intervals]
    above = [0 if one.hi is None else one.hi - one.mean for one in intervals]
    # A percentile interval may leave its mean out by rounding.
    return np.clip([below, above], 0, None)
