"""HEALPix pixel windows, computed from the shapes of the pixels: no table and no download.

A pixel is the mean of the sky over its area, so the power of a pixelised sky is that of the sky times

    W_l^2 = < P_l(cos gamma) >,

the mean over pairs of points of one pixel and over all pixels.  As P_l is a polynomial in
s = sin^2(gamma / 2), the means of s^k are all that is needed; for spin 2 it is d^l_22 in place of P_l.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_POINTS = 5
"""Gauss-Legendre points along each side of a pixel."""

_SAMPLES = 64
"""Pixels sampled along each side of a base pixel, where it has more."""

_TERMS = 40
"""Powers of s: 4e-14 is left at l = 4 nside."""


def pixel_window(nside: int, lmax: int) -> NDArray[np.float64]:
    """Pixel window of temperature, averaged over pixels.

    Parameters
    ----------
    nside
        HEALPix resolution.
    lmax
        Band-limit, at most 4 nside.

    Returns
    -------
    ndarray
        Window w_l, 1 at l = 0, by which the a_lm of a pixelised sky are smaller: ``(lmax + 1,)``.

    Raises
    ------
    ValueError
        Where `lmax` is above 4 nside, which no map of that resolution holds.

    References
    ----------
    Gorski et al. 2005, ApJ 622, 759 (astro-ph/0409513), appendix A.
    """
    _check(nside, lmax)
    temperature, _ = _moments(nside)
    ell = np.arange(lmax + 1)
    return np.sqrt(_hypergeometric(-ell, ell + 1, temperature))


def polarisation_window(nside: int, lmax: int) -> NDArray[np.float64]:
    """Pixel window of E and B, averaged over pixels; 1 below l = 2, where there is neither.

    Parameters, errors and source are those of `pixel_window`.
    """
    _check(nside, lmax)
    _, polarisation = _moments(nside)
    ell = np.arange(2, lmax + 1)
    window = np.ones(lmax + 1)
    window[2:] = np.sqrt(_hypergeometric(2 - ell, ell + 3, polarisation))
    return window


def _check(nside: int, lmax: int) -> None:
    if lmax > 4 * nside:
        raise ValueError(f"the pixel window of nside {nside} ends at l = {4 * nside}, not {lmax}")


def _hypergeometric(
    a: NDArray[np.int_], b: NDArray[np.int_], moments: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean of 2F1(a, b; 1; s), of which each a <= 0 makes a polynomial, from the means of s^k."""
    coefficient = np.ones(len(a))
    total = np.zeros(len(a))
    for k, moment in enumerate(moments):
        total += coefficient * moment
        coefficient = coefficient * (a + k) * (b + k) / (k + 1) ** 2
    return total


@lru_cache(maxsize=8)
def _moments(nside: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means over pairs of points of s^k, and of (1 - s)^2 s^k, for k below `_TERMS`."""
    total = np.zeros((2, _TERMS))
    # Faces 0 to 3 and 8 to 11 are turned or mirrored copies of one, and so are 4 to 7.
    for face, share in ((0, 2 / 3), (4, 1 / 3)):
        for x in _sampled(nside):
            total += share * _face_row(nside, face, x)
    return total[0], total[1]


def _sampled(nside: int) -> NDArray[np.float64]:
    """Lower edges of pixels spread along the side of a base pixel, of length 1: all, if they are few."""
    count = min(nside, _SAMPLES)
    return (np.arange(count) + 0.5) / count - 0.5 / nside


def _face_row(nside: int, face: int, x: float) -> NDArray[np.float64]:
    """Share of one row of pixels of a face in its means: ``(2, _TERMS)``."""
    nodes, weights = np.polynomial.legendre.leggauss(_POINTS)
    offset, weights = (nodes + 1) / 2 / nside, weights / 2
    pair = np.outer(np.outer(weights, weights), np.outer(weights, weights))
    rows = _sampled(nside)
    fx, fy = np.meshgrid(x + offset, offset, indexing="ij")
    points = _unit_vector(face, fx[None], fy[None] + rows[:, None, None])
    points = points.reshape(len(rows), -1, 3)
    # Half the chord, squared: no cancellation for near points.
    s = np.sum((points[:, :, None] - points[:, None]) ** 2, axis=-1) / 4
    out = np.empty((2, _TERMS))
    power = np.broadcast_to(pair.reshape(s.shape[1:]), s.shape) / len(rows) ** 2
    for k in range(_TERMS):
        out[:, k] = power.sum(), (power * (1 - s) ** 2).sum()
        power = power * s
    return out


def _unit_vector(face: int, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Point of the sphere at (x, y) in [0, 1]^2 of a base pixel of the northern cap or the equator.

    The map keeps areas (Gorski et al. 2005, section 5): means over (x, y) are means over the pixel.
    """
    cap = face < 4
    ring = (2.0 if cap else 3.0) - x - y
    polar = (
        np.where(ring < 1, ring, 1.0) if cap else np.where(ring < 1, ring, np.where(ring > 3, 4 - ring, 1.0))
    )
    z = np.where(ring < 1, 1 - ring**2 / 3, np.where(ring > 3, (4 - ring) ** 2 / 3 - 1, (2 - ring) * 2 / 3))
    phi = np.pi / 4 * ((1.0 if cap else 0.0) * polar + x - y) / polar
    sin = np.sqrt(1 - z**2)
    return np.stack([sin * np.cos(phi), sin * np.sin(phi), z], axis=-1)
