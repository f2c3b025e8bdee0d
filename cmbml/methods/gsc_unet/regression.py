"""Where the network starts: statistics of train skies, and a linear regression around every pixel."""

from collections.abc import Iterable

import healpy as hp
import numpy as np
from numpy.typing import NDArray

from cmbml.methods.nn.faces import from_faces, to_faces
from cmbml.sky.sht import alm2map, almxfl, gaussian_beam, map2alm

Array = NDArray[np.float64]

# The regression's domains are far wider than a pixel of this resolution.
COARSE = 16
# Of the variance of a difference: keeps weights finite where differences are nearly the same.
RIDGE = 1e-3


def smooth_deviation(deviation: Array, fwhm_deg: float) -> Array:
    """Standard deviations from few skies, smoothed in their logarithm.

    Parameters
    ----------
    deviation
        Faces, ``(n, 12, nside, nside)``, any unit.
    fwhm_deg
        FWHM of the smoothing, degrees.

    Returns
    -------
    Array
        The same shape and unit, positive.
    """
    floor = 1e-6 * np.max(deviation, axis=(-3, -2, -1), keepdims=True) + np.finfo(np.float32).tiny
    maps = from_faces(np.log(np.maximum(deviation, floor)))
    lmax = 2 * deviation.shape[-1]
    beam = gaussian_beam(60 * fwhm_deg, lmax)
    smoothed = [alm2map(almxfl(map2alm(sky, lmax), beam), deviation.shape[-1]) for sky in maps]
    return np.asarray(np.exp(to_faces(np.stack(smoothed))))


def local_regression(skies: Iterable[tuple[Array, Array]], domain_deg: float) -> Array:
    """Weights of least squares of a target on inputs, in a Gaussian domain around every pixel.

    Parameters
    ----------
    skies
        Normalised inputs ``(n_inputs, 12, nside, nside)`` and target ``(12, nside, nside)`` of every sky.
    domain_deg
        FWHM of the domain, degrees.

    Returns
    -------
    Array
        Weights, ``(n_inputs, 12, nside, nside)``.
    """
    products, nside = None, 0
    for inputs, target in skies:
        rows = np.concatenate([inputs, target[None]])
        nside = rows.shape[-1]
        here = np.stack(
            [_pooled(rows[i] * rows[j]) for i, j in zip(*np.triu_indices(len(rows)), strict=True)]
        )
        products = here if products is None else products + here
    if products is None:
        raise ValueError("there are no train skies: raise splits.train.n_sims")
    return _spread(_solve(_gathered(products, domain_deg)), nside)


def _pooled(face: Array) -> Array:
    """Mean over the pixels of a coarse map: ``(12, nside, nside)`` to RING ``(npix,)``."""
    nside = face.shape[-1]
    coarse = min(COARSE, nside)
    blocks = face.reshape(12, coarse, nside // coarse, coarse, nside // coarse)
    return np.asarray(from_faces(blocks.mean(axis=(2, 4))))


def _gathered(products: Array, domain_deg: float) -> Array:
    """Sums over a Gaussian domain: ``(n_pairs, npix)``."""
    nside = hp.npix2nside(products.shape[-1])
    axis = np.stack(hp.pix2vec(nside, np.arange(products.shape[-1])))
    width = np.radians(domain_deg) / np.sqrt(8 * np.log(2))
    # in pixel space, so that covariances stay positive beside a bright plane
    kernel = np.exp((axis.T @ axis - 1) / width**2)
    return np.asarray(products @ (kernel / kernel.sum(axis=0)))


def _solve(gathered: Array) -> Array:
    """Least squares at every coarse pixel: ``(n_pairs, npix)`` to ``(n_inputs, npix)``."""
    size = round(np.sqrt(2 * len(gathered) + 0.25) - 0.5)
    matrix = np.empty((gathered.shape[-1], size, size))
    rows, columns = np.triu_indices(size)
    matrix[:, rows, columns] = matrix[:, columns, rows] = gathered.T
    covariance, target = matrix[:, :-1, :-1], matrix[:, :-1, -1:]
    ridge = RIDGE * np.eye(size - 1) * np.maximum(covariance, 0)
    return np.asarray(np.linalg.solve(covariance + ridge, target)[..., 0].T)


def _spread(weights: Array, nside: int) -> Array:
    """Coarse maps, interpolated at the pixels of the faces."""
    theta, phi = hp.pix2ang(nside, np.arange(12 * nside**2))
    return np.stack([to_faces(hp.get_interp_val(sky, theta, phi)) for sky in weights])
