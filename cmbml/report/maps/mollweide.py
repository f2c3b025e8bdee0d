"""Figures of maps for papers, each a matplotlib Figure without any global state.

Sizes are in inches; maps are RING and Galactic, longitude grows to the left, l = 0 in the middle.
"""

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import healpy as hp
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from numpy.typing import NDArray

from cmbml.report.maps.colours import COLOUR_MAPS
from cmbml.sky.sht import Map, nside_of

STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "svg.hashsalt": "cmbml",
    "svg.fonttype": "path",
}


def to_svg(figure: Figure) -> bytes:
    """SVG of a figure: no date, fixed identifiers, so that the same input gives the same bytes."""
    out = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(out, facecolor="white", format="svg", metadata={"Date": None, "Creator": None})
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
    colour bar shows.

    Parameters
    ----------
    truth, estimate
        Maps of one field: ``(npix,)``.
    title
        Name of the estimate.
    unit
        Unit on the colour bars.
    cmap
        Name in `cmbml.report.maps.colours.COLOUR_MAPS`.
    mask
        Pixels where it is 0 are drawn in grey: ``(npix,)``.
    width
        Width of the projected pictures in pixels.
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


def map_sheet(panels: Sequence[tuple[str, Map, str]], *, width: int = 800) -> Figure:
    """Maps below one another, each on a scale of its own around its median.

    Parameters
    ----------
    panels
        Title, map ``(npix,)`` and unit of each; pixels that are NaN are drawn in grey.
    width
        Width of the projected pictures in pixels.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5, 3.2 * len(panels)), layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        for ax, (title, sky, unit) in zip(axes, panels, strict=True):
            centred = sky - np.nanmedian(sky)
            span = map_span(centred[np.isfinite(centred)])
            options = {"title": title, "span": span, "unit": unit, "cmap": "planck", "width": width}
            _draw_map(figure, ax, centred, options)
    return figure


def to_png(figure: Figure) -> bytes:
    """PNG of a figure."""
    out = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(out, facecolor="white", format="png", dpi=100, metadata={"Software": None})
    return out.getvalue()


def map_span(sky: Map, mask: Map | None = None) -> float:
    """Half-width of a colour scale: 3 times the rms inside the mask, 1 for a map that is zero."""
    seen = sky if mask is None else sky[mask > 0]
    return 3 * float(np.sqrt(np.mean(seen**2))) or 1.0
