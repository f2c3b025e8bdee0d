"""Rotation of maps to Galactic coordinates: skies in harmonic space, weights pixel by pixel."""

import healpy as hp
import numpy as np

from cmbml.sky.inpaint import inpaint
from cmbml.sky.sht import Map, alm2map, map2alm, nside_of
from cmbml.sky.skymap import UNSEEN, is_unseen


def rotate_sky(values: Map, system: str, lmax: int | None = None) -> Map:
    """Rotate a sky by its a_lm.

    Missing pixels are filled by diffusion first; the pixels that they come to are missing in the result.

    Parameters
    ----------
    values
        T or T, Q, U (COSMO), RING, ``(n_stokes, npix)``; missing pixels are UNSEEN.
    system
        Where it is given: C, equatorial (J2000), or E, ecliptic.
    lmax
        Band-limit of the map; 3 nside - 1 where it is not known.

    Returns
    -------
    Map
        ``(n_stokes, npix)``, float64, Galactic.

    Raises
    ------
    ValueError
        Where all pixels are missing.
    """
    nside = nside_of(values)
    highest = 3 * nside - 1
    missing = is_unseen(values)
    filled = np.array([inpaint(row, bad) for row, bad in zip(values, missing, strict=True)])
    alms = map2alm(filled, min(highest, highest if lmax is None else lmax))
    rotated = hp.Rotator(coord=[system, "G"]).rotate_alm(alms if len(alms) > 1 else alms[0])
    sky = alm2map(np.atleast_2d(rotated), nside)
    return np.where(missing[:, _pixels_below(nside, system)], UNSEEN, sky) if missing.any() else sky


def rotate_weights(weights: Map, system: str) -> Map:
    """Rotate a mask or variance ``(npix,)``: the value of the pixel that every pixel's centre comes from."""
    return np.asarray(weights[_pixels_below(nside_of(weights), system)])


def _pixels_below(nside: int, system: str) -> Map:
    """Pixel of the given system under the centre of every Galactic pixel."""
    centres = hp.pix2ang(nside, np.arange(12 * nside**2))
    return np.asarray(hp.ang2pix(nside, *hp.Rotator(coord=["G", system])(*centres)))
