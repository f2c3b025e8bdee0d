"""Gnomonic zooms: small regions of the sky, undistorted."""

from functools import lru_cache
from typing import Any

import healpy as hp
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cmbml.analysis.colours import COLOUR_MAPS
from cmbml.analysis.figures import STYLE, map_span
from cmbml.sky.sht import Map, nside_of


def gnomonic(sky: Map, lon: float, lat: float, size: float, *, width: int = 300) -> NDArray[np.float64]:
    """Gnomonic picture of a RING map, north up and longitude growing to the left.

    Parameters
    ----------
    sky
        Map of one field: ``(npix,)``.
    lon, lat
        Galactic coordinates of the centre in degrees.
    size
        Length of a side in degrees, below 180.
    width
        Length of a side in pixels.

    Returns
    -------
    ndarray
        Bilinear interpolation, row 0 in the south: ``(width, width)``.
    """
    pixels, weights = _neighbours(nside_of(sky), lon, lat, size, width)
    return np.asarray((sky[pixels] * weights).sum(axis=0)).reshape(width, width)


@lru_cache(maxsize=4)
def _neighbours(nside: int, lon: float, lat: float, size: float, width: int) -> tuple[Any, Any]:
    """The four pixels around every point of a picture, and their weights: ``(4, width * width)`` each."""
    half = np.tan(np.radians(size / 2))
    axis = (np.arange(width) + 0.5) / width * 2 * half - half
    east, north = np.meshgrid(-axis, axis)
    radial, eastward, northward = _frame(lon, lat)
    vectors = radial[:, None, None] + eastward[:, None, None] * east + northward[:, None, None] * north
    theta, phi = hp.vec2ang(vectors.reshape(3, -1).T)
    pixels, weights = hp.get_interp_weights(nside, theta, phi)
    return pixels, weights


def _frame(lon: float, lat: float) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors at a point of the sky: outward, east and north."""
    a, b = np.radians([lon, lat])
    radial = np.array([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)])
    east = np.array([-np.sin(a), np.cos(a), 0.0])
    return radial, east, np.cross(radial, east)


def zoom_triple(
    truth: Map,
    estimate: Map,
    centre: tuple[float, float],
    size: float,
    *,
    title: str,
    unit: str = "µK",
    cmap: str = "planck",
) -> Figure:
    """Truth, estimate and difference in one region, side by side.

    Parameters
    ----------
    truth, estimate
        Maps of one field: ``(npix,)``.
    centre
        Galactic longitude and latitude in degrees.
    size
        Length of a side in degrees.
    title
        Name of the estimate.
    unit
        Unit on the colour bars.
    cmap
        Name in `cmbml.analysis.colours.COLOUR_MAPS`.
    """
    difference = estimate - truth
    panels = [("truth", truth), (title, estimate), (f"{title} - truth", difference)]
    pictures = [(name, gnomonic(sky, *centre, size)) for name, sky in panels]
    spans = [map_span(pictures[0][1].ravel())] * 2 + [map_span(pictures[2][1].ravel())]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(12, 4.4), layout="constrained")
        for ax, (name, picture), span in zip(figure.subplots(1, 3), pictures, spans, strict=True):
            extent = (size / 2, -size / 2, -size / 2, size / 2)
            options = {"origin": "lower", "extent": extent, "cmap": COLOUR_MAPS[cmap]}
            image = ax.imshow(picture, vmin=-span, vmax=span, **options)
            ax.set(title=name, xlabel="Δ longitude · cos b [deg]", ylabel="Δ latitude [deg]")
            figure.colorbar(image, ax=ax, extend="both", label=unit, shrink=0.6)
        lon, lat = centre
        figure.suptitle(f"Galactic l = {lon:g}°, b = {lat:g}°")
    return figure
