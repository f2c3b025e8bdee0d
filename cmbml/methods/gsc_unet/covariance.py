"""Local covariance of what the network sees and of what it is to predict, on a coarse grid.

Maps are cut into needlet scales; products of maps of one scale are averaged over coarse pixels, and over a
Gaussian domain around each.  There is no CMB in what the network sees, so these covariances know nothing of
it, and a domain may be as small as the foregrounds ask for: there is no bias of the ILC.

T has covariances and weights of its own.  Q and U share theirs, so that a rotation of the coordinates
changes nothing: they are the second group of fields.
"""

from collections.abc import Sequence
from functools import cache, lru_cache

import healpy as hp
import numpy as np
from numpy.typing import NDArray

from cmbml.methods.nn.faces import ring_index, to_faces
from cmbml.sky.sht import FWHM_PER_SIGMA, Map

Array = NDArray[np.floating]


def field_groups(n_stokes: int) -> list[slice]:
    """Stokes fields that share weights: T, or T and then Q with U."""
    return [slice(0, 1)] if n_stokes == 1 else [slice(0, 1), slice(1, 3)]


def pair_products(maps: Map, nside: int) -> Array:
    """Products of all pairs of maps, averaged over coarse pixels.

    Parameters
    ----------
    maps
        T or T, Q, U, RING: ``(n_maps, n_stokes, npix)``.
    nside
        Of the coarse pixels.

    Returns
    -------
    Array
        Upper triangle row by row, ``(n_pairs, n_groups, 12, nside, nside)``, unit of `maps` squared.
    """
    rows, columns = np.triu_indices(len(maps))
    blocks = _blocks(maps, nside)
    groups = [blocks[:, :, fields].reshape(*blocks.shape[:2], -1) for fields in field_groups(maps.shape[1])]
    squares = [(group @ group.swapaxes(1, 2) / group.shape[-1])[:, rows, columns].T for group in groups]
    return np.stack(squares, axis=1).reshape(len(rows), len(groups), 12, nside, nside)


def _blocks(maps: Map, nside: int) -> Array:
    """``(n_maps, n_stokes, npix)`` to ``(12 nside^2, n_maps, n_stokes, pixels of a coarse pixel)``."""
    fine = hp.npix2nside(maps.shape[-1]) // nside
    faces = to_faces(maps).reshape(*maps.shape[:2], 12, nside, fine, nside, fine)
    pixels = faces.swapaxes(-2, -3).reshape(*maps.shape[:2], 12 * nside**2, fine**2)
    return np.moveaxis(pixels, 2, 0)


def domains_deg(peaks: Sequence[int], finest_deg: float) -> list[float]:
    """FWHM of the domain of every scale: coarser ones have fewer modes, and wider domains."""
    return [float(finest_deg * np.sqrt(peaks[-1] / peak)) for peak in peaks]


def local_covariances(products: Array, fwhm_deg: Sequence[float]) -> Array:
    """Average products of every scale over a Gaussian domain around every coarse pixel.

    Parameters
    ----------
    products
        ``(n_pairs, n_groups, n_scales, 12, nside, nside)``.
    fwhm_deg
        FWHM of the domain of every scale, degrees.

    Returns
    -------
    Array
        The same shape and unit.
    """
    return np.stack([averaged(products[:, :, k], fwhm) for k, fwhm in enumerate(fwhm_deg)], axis=2)


def averaged(products: Array, fwhm_deg: float) -> Array:
    """Average over a Gaussian domain around every coarse pixel, ``(..., 12, nside, nside)``.

    In pixel space, so that covariances stay positive: in harmonic space a bright plane rings.
    """
    flat = products.reshape(*products.shape[:-3], -1)
    return np.asarray(flat @ _kernel(products.shape[-1], fwhm_deg)).reshape(products.shape)


@cache
def _kernel(nside: int, fwhm_deg: float) -> Array:
    """Shares of all coarse pixels in the average around each."""
    axis = np.stack(hp.pix2vec(nside, ring_index(nside).ravel()))
    kernel = np.exp((axis.T @ axis - 1) / np.radians(fwhm_deg / FWHM_PER_SIGMA) ** 2)
    return np.asarray(kernel / kernel.sum(axis=0))


def combine(weights: Array, maps: Map) -> Map:
    """Add maps of one scale with weights that vary over the sky.

    Parameters
    ----------
    weights
        ``(n_groups, n_maps, 12, nside, nside)`` on coarse pixels; between them they are interpolated.
    maps
        T or T, Q, U, RING: ``(n_maps, n_stokes, npix)``.

    Returns
    -------
    Map
        RING, ``(n_stokes, npix)``.
    """
    total = np.zeros(maps.shape[1:])
    for group, fields in zip(weights, field_groups(maps.shape[1]), strict=True):
        for weight, sky in zip(spread(group, hp.npix2nside(maps.shape[-1])), maps, strict=True):
            total[fields] += weight * sky[fields]
    return total


def spread(coarse: Array, nside: int) -> Map:
    """Coarse faces at the pixels of a finer map: ``(n, 12, n_coarse, n_coarse)`` to RING ``(n, npix)``."""
    pixels, shares = _neighbours(coarse.shape[-1], nside)
    rings = np.empty((len(coarse), coarse[0].size))
    rings[:, ring_index(coarse.shape[-1]).ravel()] = coarse.reshape(len(coarse), -1)
    return np.asarray(sum(rings[:, corner] * share for corner, share in zip(pixels, shares, strict=True)))


@lru_cache(maxsize=1)
def _neighbours(coarse: int, nside: int) -> tuple[NDArray[np.intp], Array]:
    """Coarse pixels between which each fine one lies, and their shares, ``(4, npix)``."""
    pixels, shares = hp.get_interp_weights(coarse, *hp.pix2ang(nside, np.arange(12 * nside**2)))
    return pixels, shares
