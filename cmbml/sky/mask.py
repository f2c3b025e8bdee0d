"""Masks: Galactic cuts and apodisation.  A mask is 1 where the sky is kept and 0 where it is not, RING."""

from typing import Literal

import healpy as hp
import numpy as np
from scipy.spatial import cKDTree

from cmbml.sky.sht import ARCMIN, FWHM_PER_SIGMA, Map, alm2map, almxfl, gaussian_beam, map2alm, nside_of
from cmbml.sky.skymap import is_unseen

Apodisation = Literal["C1", "C2", "gaussian"]
GAUSSIAN_REACH = 2.5  # NaMaster cuts this many scales away before smoothing, so that the taper ends at zero


def galactic_mask(nside: int, latitude_deg: float) -> Map:
    """Keep pixels whose centre is at a Galactic latitude of at least `latitude_deg`, north or south."""
    z = hp.pix2vec(nside, np.arange(12 * nside**2))[2]
    return (np.abs(z) >= np.sin(np.radians(latitude_deg))).astype(np.float64)


def galactic_mask_fsky(nside: int, fsky: float) -> Map:
    """Keep the fraction `fsky` of the sky that is farthest from the Galactic plane.

    Raises
    ------
    ValueError
        Where `fsky` is not in (0, 1].
    """
    if not 0 < fsky <= 1:
        raise ValueError(f"mask: fsky must be above 0 and at most 1, got {fsky:g}")
    return galactic_mask(nside, float(np.degrees(np.arcsin(1 - fsky))))


def threshold_mask(weights: Map, nside: int, threshold: float) -> Map:
    """Mask from a map column: kept where the mean weight of a pixel's area is at least `threshold`.

    Parameters
    ----------
    weights
        Column of any resolution, RING, such as a confidence mask; UNSEEN counts as 0.
    nside
        Resolution of the mask.
    threshold
        Least weight that is kept, such as 0.9.

    Returns
    -------
    Map
        ``(npix,)`` of 0 and 1.

    Raises
    ------
    ValueError
        Where nothing is kept.
    """
    mask = (regrade(np.where(is_unseen(weights), 0.0, weights), nside) >= threshold).astype(float)
    if not mask.any():
        raise ValueError(
            f"mask: no pixel reaches the threshold {threshold:g}; the largest is {weights.max():g}"
        )
    return mask


def regrade(weights: Map, nside: int) -> Map:
    """Bring a RING map to another resolution: means inside larger pixels, copies in smaller ones."""
    native = nside_of(weights)
    nested = hp.reorder(weights, r2n=True)
    if nside <= native:
        nested = nested.reshape(12 * nside**2, -1).mean(axis=1)
    else:
        nested = np.repeat(nested, (nside // native) ** 2)
    return np.asarray(hp.reorder(nested, n2r=True))


def _chord_to_masked(mask: Map, reach: float) -> Map:
    """Straight distance on the unit sphere to the nearest masked pixel centre; infinite beyond `reach`.

    Of the masked pixels only those on the border matter: one inside always has a masked neighbour that is
    nearer.
    """
    nside = nside_of(mask)
    kept = np.flatnonzero(mask > 0)
    masked = np.flatnonzero(mask <= 0)
    neighbours = hp.get_all_neighbours(nside, masked)
    on_border = ((mask[neighbours] > 0) & (neighbours >= 0)).any(axis=0)
    border = masked[on_border]
    distance = np.full(mask.shape, np.inf)
    distance[masked] = 0.0
    if border.size and kept.size:
        tree = cKDTree(np.stack(hp.pix2vec(nside, border), axis=1))
        centres = np.stack(hp.pix2vec(nside, kept), axis=1)
        distance[kept] = tree.query(centres, distance_upper_bound=reach)[0]
    return distance


def _smooth_gaussian(mask: Map, sigma: float, threads: int) -> Map:
    """NaMaster's "Smooth": cut wider, smooth, restore the zeros."""
    nside = nside_of(mask)
    reach = 2 * np.sin(GAUSSIAN_REACH * sigma / 2)
    inner = mask * (_chord_to_masked(mask, reach) > reach)
    lmax = 3 * nside - 1
    alm = almxfl(map2alm(inner, lmax, threads=threads), gaussian_beam(sigma * FWHM_PER_SIGMA / ARCMIN, lmax))
    return np.where(mask > 0, np.clip(alm2map(alm, nside, threads=threads), 0, 1), 0)


def apodise(mask: Map, scale_arcmin: float, kind: Apodisation = "C1", *, threads: int = 1) -> Map:
    """Taper a mask towards its border, as NaMaster's ``mask_apodization``.

    Parameters
    ----------
    mask
        ``(npix,)``, RING; pixels at or below 0 are masked and stay so.
    scale_arcmin
        Width theta* of the taper; for "gaussian" the standard deviation of the smoothing kernel.
    kind
        With x = sqrt((1 - cos theta) / (1 - cos theta*)) of the distance theta to the nearest masked pixel:
        "C1" is x - sin(2 pi x) / (2 pi), "C2" is (1 - cos(pi x)) / 2 (Grain, Tristram & Stompor 2009,
        arXiv:0903.2350); "gaussian" cuts 2.5 scales more and smooths.
    threads
        Number of threads of the transforms ("gaussian" only).

    Returns
    -------
    Map
        ``(npix,)``, between 0 and `mask`.

    Raises
    ------
    ValueError
        Where the scale is not positive or the kind is unknown.
    """
    if scale_arcmin <= 0:
        raise ValueError(f"mask: the apodisation scale must be positive, got {scale_arcmin:g} arcmin")
    scale = scale_arcmin * ARCMIN
    if kind == "gaussian":
        return _smooth_gaussian(mask, scale, threads)
    if kind not in ("C1", "C2"):
        raise ValueError(f"mask: unknown apodisation {kind!r}; known are C1, C2, gaussian")
    chord = 2 * np.sin(scale / 2)
    x = np.minimum(_chord_to_masked(mask, chord) / chord, 1.0)
    taper = x - np.sin(2 * np.pi * x) / (2 * np.pi) if kind == "C1" else (1 - np.cos(np.pi * x)) / 2
    return np.maximum(mask, 0) * taper
