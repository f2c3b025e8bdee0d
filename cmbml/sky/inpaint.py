"""Inpainting: missing pixels are filled so smoothly that they do not ring into the rest of the sky."""

import ducc0
import numpy as np
from numpy.typing import NDArray

from cmbml.sky.sht import Map, nside_of

# Sweeps at every resolution: coarser ones have settled all that is larger than a few pixels.
SWEEPS = 20


def inpaint(sky: Map, missing: NDArray[np.bool_]) -> Map:
    """Fill missing pixels by diffusion: each becomes the mean of its neighbours, again and again.

    The first guess comes from coarser maps, so that large holes take as many sweeps as small ones.

    Parameters
    ----------
    sky
        One map, RING, ``(npix,)``, any unit; what stands in missing pixels is not looked at.
    missing
        Which pixels are missing, ``(npix,)``.

    Returns
    -------
    Map
        The map with the missing pixels filled, ``(npix,)``; the others are as they were.

    Raises
    ------
    ValueError
        Where all pixels are missing.

    References
    ----------
    Diffuse inpainting as described by Starck, Fadili & Rassat 2013 (A&A 550, A15, section 1); Gruetjen et
    al. 2017 (arXiv:1510.03103).
    """
    if missing.all():
        raise ValueError("all pixels are missing: leave this map out")
    if not missing.any():
        return sky
    order = ducc0.healpix.Healpix_Base(nside_of(sky), "RING").ring2nest(np.arange(sky.size))
    nested = np.empty(sky.size)
    holes = np.empty(sky.size, dtype=np.bool_)
    nested[order], holes[order] = sky, missing
    return np.asarray(_fill(nested, holes)[order])


def _fill(nested: Map, holes: NDArray[np.bool_]) -> Map:
    """Fill a NESTED map: holes as wide as a coarser pixel are filled there first."""
    wide: NDArray[np.bool_] = np.zeros(1, dtype=np.bool_)
    if holes.size > 12:
        wide = np.all(holes.reshape(-1, 4), axis=1)
    filled = np.where(holes, nested[~holes].mean(), nested)
    if wide.any():
        seen = np.maximum((~holes).reshape(-1, 4).sum(axis=1), 1)
        coarse = _fill(np.where(holes, 0.0, nested).reshape(-1, 4).sum(axis=1) / seen, wide)
        filled = np.where(holes, np.repeat(coarse, 4), nested)
    return _diffuse(filled, np.flatnonzero(holes))


def _diffuse(nested: Map, holes: NDArray[np.intp]) -> Map:
    neighbours = ducc0.healpix.Healpix_Base(nside_of(nested), "NEST").neighbors(holes)
    # a few pixels have seven neighbours: the eighth counts as the pixel itself
    neighbours = np.where(neighbours < 0, holes[:, None], neighbours)
    for _ in range(SWEEPS):
        nested[holes] = nested[neighbours].mean(axis=1)
    return nested
