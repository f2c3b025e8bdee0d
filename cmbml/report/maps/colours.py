"""Maps of colours: as matplotlib's, as palettes of images, and as gradients of a page."""

import io
from functools import cache

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_hex
from PIL import Image

from cmbml.sky.sht import Map

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

N_COLOURS = 254
MASKED, OUTSIDE = 254, 255
"""Colour numbers of what is hidden by the mask, and of what is not sky."""

_GREY = (217, 217, 217)
_STOPS = 13


@cache
def palette(cmap: str) -> bytes:
    """Red, green and blue of the 256 colour numbers of an image."""
    colours = COLOUR_MAPS[cmap](np.linspace(0, 1, N_COLOURS), bytes=True)[:, :3]
    return bytes(np.vstack([colours, _GREY, _GREY]).astype(np.uint8).tobytes())


def gradient(cmap: str) -> str:
    """The map of colours from left to right, in CSS."""
    stops = [to_hex(colour) for colour in COLOUR_MAPS[cmap](np.linspace(0, 1, _STOPS))]
    return f"linear-gradient(to right, {', '.join(stops)})"


def palette_chunk(cmap: str) -> bytes:
    """The part of a PNG that holds the palette: put into another of our images, it recolours that one."""
    png = indexed_png(np.zeros((1, 1), dtype=np.uint8), cmap)
    start = png.index(b"PLTE") - 4
    return png[start : start + 12 + 3 * 256]


def colour_numbers(picture: Map, span: float) -> np.ndarray:
    """Colour number of every point of a picture from -span to span; NaN is off the sky: uint8."""
    off = np.isnan(picture)
    scaled = np.where(off, 0, (picture / span + 1) / 2 * N_COLOURS)
    return np.where(off, OUTSIDE, np.clip(scaled, 0, N_COLOURS - 1)).astype(np.uint8)


def indexed_png(numbers: np.ndarray, cmap: str) -> bytes:
    """PNG of colour numbers ``(height, width)``, uint8, from the top left; transparent off the sky."""
    image = Image.fromarray(numbers, mode="P")
    image.putpalette(palette(cmap))
    out = io.BytesIO()
    image.save(out, format="PNG", transparency=OUTSIDE, compress_level=5)
    return out.getvalue()
