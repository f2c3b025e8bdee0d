"""What the network sees of a sky, and what it says of it: planes in units of a scale."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmbml.methods.cmbnncs.plane import from_plane, to_plane
from cmbml.sky.sht import Map, alm2map, map2alm

# The median of |x| times this is the deviation of Gaussian x.
MEDIAN_TO_DEVIATION = 1.4826


def robust_scale(maps: Map) -> NDArray[np.float64]:
    """Deviation of most of the sky, which the Galactic plane does not set: ``(..., npix)`` to ``(...)``."""
    return MEDIAN_TO_DEVIATION * np.median(np.abs(maps), axis=-1)


def feature_planes(maps: Map, scale: dict[str, Any]) -> NDArray[np.float32]:
    """Planes of all bands and fields, ``(n_bands * n_stokes, 4 nside, 3 nside)``.

    Parameters
    ----------
    maps
        RING maps of the bands, ``(n_bands, n_stokes, npix)``, uK_CMB.
    scale
        ``features``, uK_CMB per unit, ``(n_bands, n_stokes)``; and ``compression``: beyond so many units
        features grow like their logarithm, so that the Galactic plane, thousands of times brighter than the
        rest, stays in sight of a network that learns in few steps; None leaves them as they are.
    """
    scaled = maps / np.array(scale["features"])[..., None]
    bend = scale["compression"]
    seen = scaled if bend is None else bend * np.arcsinh(scaled / bend)
    return to_plane(seen.reshape(-1, seen.shape[-1])).astype(np.float32)


def sky_of(plane: NDArray[Any], scale: dict[str, Any], lmax: int) -> Map:
    """RING maps, uK_CMB, with nothing beyond lmax, of the planes that a network said."""
    sky = from_plane(plane.astype(np.float64)) * scale["target"]
    return alm2map(map2alm(sky, lmax), round(np.sqrt(sky.shape[-1] / 12)))
