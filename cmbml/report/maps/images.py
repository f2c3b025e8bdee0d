"""Maps as plain images for the report: pixels only, fit to be zoomed; the page draws the colour scale."""

import numpy as np

from cmbml.report.html import Picture, Scale
from cmbml.report.maps.colours import MASKED, colour_numbers, indexed_png
from cmbml.report.maps.gnomonic import gnomonic
from cmbml.report.maps.mollweide import mollweide
from cmbml.sky.sht import Map

ZOOM_WIDTH = 280


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
        Name in `cmbml.report.maps.colours.COLOUR_MAPS`.
    mask
        Pixels where it is 0 are grey: ``(npix,)``.
    width
        Width in pixels.
    caption
        Text below the picture.
    """
    numbers = colour_numbers(mollweide(sky, width=width), span)
    if mask is not None:
        covered = mollweide((mask <= 0).astype(np.float64), width=width) > 0
        numbers[covered] = MASKED
    # Pictures begin at the top, projections in the south.
    return Picture(indexed_png(numbers[::-1], cmap), alt, caption, scale=Scale(span, unit))


def zoom_picture(
    sky: Map,
    alt: str,
    *,
    centre: tuple[float, float],
    size: float,
    span: float,
    unit: str = "µK",
    cmap: str = "planck",
) -> Picture:
    """Gnomonic zoom as a picture of the report.

    Parameters
    ----------
    centre
        Galactic longitude and latitude in degrees.
    size
        Length of a side in degrees.
    sky, alt, span, unit, cmap
        As for `map_picture`.
    """
    numbers = colour_numbers(gnomonic(sky, *centre, size, width=ZOOM_WIDTH), span)[::-1]
    return Picture(indexed_png(numbers, cmap), alt, scale=Scale(span, unit))
