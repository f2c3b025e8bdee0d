"""HEALPix maps as twelve square faces, and which pixels lie beyond the edges of each.

Faces are indexed ``[face, y, x]``: x runs to the north-east and y to the north-west, as in NESTED order.
Pooling 2 x 2 pixels of a face is therefore pooling of NESTED children.
"""

from functools import lru_cache
from typing import TypeVar

import healpy as hp
import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]
Number = TypeVar("Number", bound=np.generic)

N_FACES = 12
# Columns of healpy's neighbours (SW, W, NW, N, NE, E, SE, S) that share an edge with the pixel.
_SW, _NW, _NE, _SE = 0, 2, 4, 6


@lru_cache(maxsize=8)
def ring_index(nside: int) -> Index:
    """RING index of every pixel of the faces, ``(12, nside, nside)``."""
    face, y, x = np.indices((N_FACES, nside, nside))
    return np.asarray(hp.xyf2pix(nside, x, y, face), dtype=np.int64)


def to_faces(sky: NDArray[Number]) -> NDArray[Number]:
    """Faces of RING maps: ``(..., npix)`` to ``(..., 12, nside, nside)``."""
    return sky[..., ring_index(hp.npix2nside(sky.shape[-1]))]


def from_faces(faces: NDArray[Number]) -> NDArray[Number]:
    """RING maps of faces: ``(..., 12, nside, nside)`` to ``(..., npix)``."""
    order = ring_index(faces.shape[-1]).ravel()
    sky = np.empty((*faces.shape[:-3], order.size), dtype=faces.dtype)
    sky[..., order] = faces.reshape(*faces.shape[:-3], order.size)
    return sky


@lru_cache(maxsize=16)
def extended_index(nside: int, margin: int) -> Index:
    """Pixels of every face and of a margin around it, from the true neighbours across the edges.

    Beyond an edge one walks on, pixel by pixel, into the neighbouring face, however that one is turned.
    Beyond a corner there are two ways: along y first, or along x first.  They meet in the same pixel, but at
    the eight points where only three faces meet; there each leads into one of the other two faces.

    Parameters
    ----------
    nside
        Resolution.
    margin
        Width of the margin in pixels, at most `nside`.

    Returns
    -------
    Index
        Flat indices into ``(12, nside, nside)``, by way: ``(2, 12, nside + 2 margin, nside + 2 margin)``.

    Raises
    ------
    ValueError
        Where the margin is wider than a face.
    """
    if not 0 <= margin <= nside:
        raise ValueError(f"a margin of {margin} pixels around faces of {nside}: at most {nside}")
    return np.stack([_extended(nside, margin, x_first=first) for first in (False, True)])


def _extended(nside: int, margin: int, *, x_first: bool) -> Index:
    size = nside + 2 * margin
    index = np.full((N_FACES, size, size), -1, dtype=np.int64)
    inner = slice(margin, margin + nside)
    index[:, inner, inner] = np.arange(N_FACES * nside**2).reshape(N_FACES, nside, nside)
    neighbours = _edge_neighbours(nside)
    for along_x in (x_first, not x_first):
        # The second pass also fills the corners, from the strips that the first one made.
        view = index if along_x else np.swapaxes(index, 1, 2)
        rows = inner if along_x == x_first else slice(None)
        for step in range(margin):
            low, high = margin - step, margin + nside - 1 + step
            view[:, rows, low - 1] = _walk_on(neighbours, view[:, rows, low + 1], view[:, rows, low])
            view[:, rows, high + 1] = _walk_on(neighbours, view[:, rows, high - 1], view[:, rows, high])
    return index


def _walk_on(neighbours: Index, before: Index, here: Index) -> Index:
    """The pixel opposite to that where one comes from."""
    around = neighbours[here]
    came_from = np.argmax(around == before[..., None], axis=-1)
    return np.take_along_axis(around, ((came_from + 2) % 4)[..., None], axis=-1)[..., 0]


@lru_cache(maxsize=8)
def _edge_neighbours(nside: int) -> Index:
    """Pixels that share an edge with each, in order around it, ``(12 nside^2, 4)``; indices of faces."""
    ring = ring_index(nside).ravel()
    place = np.empty_like(ring)
    place[ring] = np.arange(ring.size)
    around = hp.get_all_neighbours(nside, ring)[[_SW, _NW, _NE, _SE]]
    return np.asarray(place[around].T)
