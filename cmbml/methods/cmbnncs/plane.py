"""The sphere in a plane: twelve faces of HEALPix in four strips from pole to pole.

Every strip has three faces, north, equator and south, which join true neighbours; strips beside each other do
not: of the 17 seams in the plane, the 9 between strips are false.  That is how the method was published.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cmbml.methods.nn.faces import Number, ring_index

# Faces of every strip, from the bottom to the top of the plane, each from the north to the south pole.
STRIPS = ((1, 5, 8), (0, 4, 11), (3, 7, 10), (2, 6, 9))


@lru_cache(maxsize=8)
def plane_index(nside: int) -> NDArray[np.int64]:
    """RING index of every point of the plane, ``(4 nside, 3 nside)``."""
    faces = ring_index(nside)[..., ::-1]
    return np.block([[faces[face] for face in strip] for strip in STRIPS])


def to_plane(sky: NDArray[Number]) -> NDArray[Number]:
    """Lay RING maps out: ``(..., npix)`` to ``(..., 4 nside, 3 nside)``."""
    return sky[..., plane_index(round(np.sqrt(sky.shape[-1] / 12)))]


def from_plane(plane: NDArray[Number]) -> NDArray[Number]:
    """RING maps of planes: ``(..., 4 nside, 3 nside)`` to ``(..., npix)``."""
    order = plane_index(plane.shape[-1] // 3).ravel()
    sky = np.empty((*plane.shape[:-2], order.size), dtype=plane.dtype)
    sky[..., order] = plane.reshape(*plane.shape[:-2], order.size)
    return sky
