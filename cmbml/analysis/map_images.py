"""Maps as plain images for the report: pixels only, fit to be zoomed; the page draws the colour scale."""

import struct
import zlib

import numpy as np
from matplotlib.colors import to_hex

from cmbml.analysis.figures import COLOUR_MAPS, mollweide
from cmbml.analysis.report import Picture, Scale
from cmbml.sky.sht import Map

_COLOURS = 254
_MASKED, _OUTSIDE = 254, 255
_GREY = (217, 217, 217)
_STOPS = 13
"""Colours that stand for a whole map of colours in a gradient."""


def map_picture(
    sky: Map,
    alt: str,
    *,
    span: float,
    unit: str = "µK",
    cmap: str = "planck",
    mask: Map | None = None,
    width: int = 800,
    caption: str = "",
) -> Picture:
    """Mollweide map as a picture of the report, with its colour scale.

    Parameters
    ----------
    sky
        Map of one field, RING and Galactic: ``(npix,)``.
    alt
        What the picture shows, for those who do not see it.
    span
        The colours go from -span to span.
    unit
        Unit of the map.
    cmap
        Name in `cmbml.analysis.figures.COLOUR_MAPS`.
    mask
        Pixels where it is 0 are grey: ``(npix,)``.
    width
        Width in pixels.
    caption
        Text below the picture.
    """
    stops = [to_hex(colour) for colour in COLOUR_MAPS[cmap](np.linspace(0, 1, _STOPS))]
    png = map_png(sky, span=span, cmap=cmap, mask=mask, width=width)
    return Picture(png, alt, caption, Scale(span, unit, tuple(stops)))


def map_png(
    sky: Map, *, span: float, cmap: str = "planck", mask: Map | None = None, width: int = 800
) -> bytes:
    """Mollweide map as a PNG of 256 colours, transparent off the sky; arguments as for `map_picture`."""
    index = _indices(mollweide(sky, width=width), span)
    if mask is not None:
        covered = mollweide((mask <= 0).astype(np.float64), width=width) > 0
        index[covered] = _MASKED
    colours = COLOUR_MAPS[cmap](np.linspace(0, 1, _COLOURS), bytes=True)[:, :3]
    palette = np.vstack([colours, _GREY, _GREY]).astype(np.uint8)
    # Pictures begin at the top, projections in the south.
    return indexed_png(index[::-1], palette, transparent=_OUTSIDE)


def _indices(picture: Map, span: float) -> np.ndarray:
    """Colour number of every point of a picture, NaN being off the sky."""
    off = np.isnan(picture)
    scaled = np.where(off, 0, (picture / span + 1) / 2 * _COLOURS)
    return np.where(off, _OUTSIDE, np.clip(scaled, 0, _COLOURS - 1)).astype(np.uint8)


def indexed_png(index: np.ndarray, palette: np.ndarray, *, transparent: int) -> bytes:
    """PNG of an array of colour numbers.

    Parameters
    ----------
    index
        Colour numbers from the top left, uint8: ``(height, width)``.
    palette
        Red, green and blue of every number, uint8: ``(256, 3)``.
    transparent
        Number that is not drawn.

    References
    ----------
    W3C, Portable Network Graphics, sections 5 and 11.
    """
    height, width = index.shape
    # Every row begins with the number of its filter: none.
    rows = np.pad(index, ((0, 0), (1, 0)))
    opacity = bytes(0 if number == transparent else 255 for number in range(256))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.tobytes()),
        (b"tRNS", opacity),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
