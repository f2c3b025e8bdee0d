"""Gnomonic pictures: small regions of the sky, undistorted."""

from functools import lru_cache
from typing import Any

import healpy as hp
import numpy as np
from numpy.typing import NDArray

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
