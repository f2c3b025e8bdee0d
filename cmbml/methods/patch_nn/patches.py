"""Patches of the sky: pixels of a low resolution with a margin of true neighbours, by a look-up table."""

import numpy as np
from numpy.typing import NDArray

from cmbml.methods.nn.faces import Number, extended_index, from_faces, ring_index
from cmbml.sky.sht import Map

Index = NDArray[np.int64]


def patch_table(nside: int, nside_patches: int, margin: int) -> Index:
    """RING index of every pixel of every patch.

    Parameters
    ----------
    nside
        Resolution of the maps.
    nside_patches
        Resolution whose pixels are the patches.
    margin
        Width of the margin, in pixels of `nside`.

    Returns
    -------
    Index
        ``(12 nside_patches^2, side, side)`` with side = nside / nside_patches + 2 margin.

    Raises
    ------
    ValueError
        Where `nside` is no multiple of `nside_patches`, or the margin is wider than a face.
    """
    if nside % nside_patches:
        raise ValueError(f"nside {nside} has no patches of nside_patches {nside_patches}: take a power of 2")
    side = nside // nside_patches
    # beyond the corners where three faces meet, either way will do: margins are cut off
    extended = ring_index(nside).ravel()[extended_index(nside, margin)[0]]
    whole = side + 2 * margin
    starts = range(0, nside, side)
    windows = [extended[:, y : y + whole, x : x + whole] for y in starts for x in starts]
    return np.stack(windows, axis=1).reshape(-1, whole, whole)


def join_patches(patches: NDArray[Number], margin: int) -> NDArray[Number]:
    """RING maps of all patches without their margins.

    Parameters
    ----------
    patches
        In the order of `patch_table`: ``(n_patches, n_stokes, side, side)``.
    margin
        Width of the margin.

    Returns
    -------
    NDArray
        ``(n_stokes, npix)``.
    """
    inner = patches[..., margin : patches.shape[-2] - margin, margin : patches.shape[-1] - margin]
    n, n_stokes, side, _ = inner.shape
    per_side = round(np.sqrt(n / 12))
    blocks = inner.reshape(12, per_side, per_side, n_stokes, side, side)
    faces = blocks.transpose(3, 0, 1, 4, 2, 5)
    return from_faces(faces.reshape(n_stokes, 12, per_side * side, per_side * side))


def choose_patches(table: Index, mask: Map, n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw patches that the mask leaves whole, without repetition.

    Parameters
    ----------
    table
        From `patch_table`.
    mask
        Weights in [0, 1], RING, ``(npix,)``.
    n
        How many; fewer where there are fewer.
    rng
        Generator.

    Raises
    ------
    ValueError
        Where the mask leaves none whole.
    """
    whole = np.flatnonzero(mask[table].min(axis=(1, 2)) > 0.5)
    if len(whole) == 0:
        raise ValueError("the mask leaves no patch whole: lower mask.latitude_deg or patch_nn.margin")
    return np.sort(rng.choice(whole, size=min(n, len(whole)), replace=False))
