"""Spherical-harmonic transforms and the small algebra of a_lm, with a fixed number of threads.

Conventions, everywhere in the project: maps are RING, shape ``(n_stokes, npix)`` with T or T, Q, U (COSMO);
a_lm are complex128 in healpy's m-major order, shape ``(n_stokes, nalm)`` with T or T, E, B; spectra start at
l = 0.  A single map or a_lm may be passed without its first axis and comes back without it; two rows are Q, U
and E, B.
"""

from functools import lru_cache
from typing import Any

import ducc0
import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.floating]
Alm = NDArray[np.complexfloating]
Cl = NDArray[np.floating]

ARCMIN = np.pi / 180 / 60
FWHM_PER_SIGMA = np.sqrt(8 * np.log(2))


def alm_size(lmax: int) -> int:
    """Number of a_lm with m >= 0 up to and including `lmax`."""
    return (lmax + 1) * (lmax + 2) // 2


def lmax_of(alm: Alm) -> int:
    """Band-limit of an array of a_lm, from the length of its last axis."""
    lmax = int(np.sqrt(2 * alm.shape[-1] + 0.25) - 1.5)
    if alm_size(lmax) != alm.shape[-1]:
        raise ValueError(f"{alm.shape[-1]} is not a number of a_lm with mmax = lmax")
    return lmax


def nside_of(sky: Map) -> int:
    """Resolution of a map, from the length of its last axis."""
    nside = round(np.sqrt(sky.shape[-1] / 12))
    if 12 * nside**2 != sky.shape[-1] or nside & (nside - 1):
        raise ValueError(f"{sky.shape[-1]} is not a number of HEALPix pixels")
    return nside


@lru_cache(maxsize=16)
def _geometry(nside: int) -> dict[str, Any]:
    return dict(ducc0.healpix.Healpix_Base(nside, "RING").sht_info())


def _groups(n_stokes: int) -> list[tuple[slice, int]]:
    """Rows that are transformed together, with their spin."""
    known = {1: [(slice(0, 1), 0)], 2: [(slice(0, 2), 2)], 3: [(slice(0, 1), 0), (slice(1, 3), 2)]}
    if n_stokes not in known:
        raise ValueError(f"expected T; Q, U; or T, Q, U: 1 to 3 rows, got {n_stokes}")
    return known[n_stokes]


def alm2map(alm: Alm, nside: int, *, threads: int = 1) -> Map:
    """Synthesise maps from a_lm.

    Parameters
    ----------
    alm
        a_lm of T or T, E, B: ``(nalm,)``, ``(n_stokes, nalm)`` or, for several bands at once, which is
        faster than one by one, ``(n_freq, n_stokes, nalm)``.
    nside
        Resolution of the maps.
    threads
        Number of threads; results may differ in the last bits between numbers.

    Returns
    -------
    Map
        T or T, Q, U, float64, RING, ``(npix,)``, ``(n_stokes, npix)`` or ``(n_freq, n_stokes, npix)``; the
        unit of `alm`.
    """
    alms = np.asarray(alm, dtype=np.complex128).reshape((1,) * (3 - np.ndim(alm)) + np.shape(alm))
    lmax = lmax_of(alms)
    sky = np.empty((*alms.shape[:2], 12 * nside**2))
    for group, spin in _groups(alms.shape[1]):
        ducc0.sht.synthesis(
            alm=alms[:, group], map=sky[:, group], spin=spin, lmax=lmax, nthreads=threads, **_geometry(nside)
        )
    return sky.reshape(*np.shape(alm)[:-1], sky.shape[-1])


def _adjoint(sky: Map, lmax: int, threads: int) -> Alm:
    """Quadrature with equal weights: the transpose of `alm2map` times the pixel area."""
    geometry = _geometry(nside_of(sky))
    alm = np.empty((len(sky), alm_size(lmax)), dtype=np.complex128)
    for group, spin in _groups(len(sky)):
        ducc0.sht.adjoint_synthesis(
            map=sky[group], alm=alm[group], spin=spin, lmax=lmax, nthreads=threads, **geometry
        )
    return alm * (4 * np.pi / sky.shape[-1])


def map2alm(sky: Map, lmax: int, *, iterations: int = 3, threads: int = 1) -> Alm:
    """Analyse maps into a_lm with Jacobi iterations, as healpy's ``map2alm(iter=...)``.

    Parameters
    ----------
    sky
        T or T, Q, U, RING: ``(n_stokes, npix)`` or ``(npix,)``.
    lmax
        Band-limit of the result.
    iterations
        Corrections by the residual map; 3 leave 2e-4 of a white sky of band-limit 2.5 nside.
    threads
        Number of threads.

    Returns
    -------
    Alm
        T or T, E, B: ``(n_stokes, nalm)`` or ``(nalm,)``; the unit of `sky`.
    """
    rows = np.ascontiguousarray(np.atleast_2d(sky), dtype=np.float64)
    nside = nside_of(rows)
    alm = _adjoint(rows, lmax, threads)
    for _ in range(iterations):
        alm += _adjoint(rows - alm2map(alm, nside, threads=threads), lmax, threads)
    return alm if np.ndim(sky) == 2 else alm[0]


@lru_cache(maxsize=8)
def _degrees(lmax: int) -> NDArray[np.intp]:
    """Degree l of every a_lm."""
    return np.concatenate([np.arange(m, lmax + 1) for m in range(lmax + 1)])


def almxfl(alm: Alm, fl: Cl) -> Alm:
    """Multiply a_lm by a function of l, shape ``(lmax + 1,)`` or longer."""
    return alm * fl[_degrees(lmax_of(alm))]


def alm2cl(alm: Alm, other: Alm | None = None) -> Cl:
    """Auto-spectrum, or cross-spectrum with `other`, of one set of a_lm: ``(lmax + 1,)`` from l = 0."""
    lmax = lmax_of(alm)
    power = (alm * np.conj(alm if other is None else other)).real
    weights = np.full(alm.shape[-1], 2.0)
    weights[: lmax + 1] = 1.0
    degrees = _degrees(lmax)
    return np.bincount(degrees, power * weights, minlength=lmax + 1) / (2 * np.arange(lmax + 1) + 1)


def resize_alm(alm: Alm, lmax: int) -> Alm:
    """Cut a_lm at `lmax`, or pad them with zeros up to it."""
    old = lmax_of(alm)
    if old == lmax:
        return alm
    common = min(old, lmax)
    out = np.zeros((*alm.shape[:-1], alm_size(lmax)), dtype=alm.dtype)
    for m in range(common + 1):
        source = m * (2 * old + 1 - m) // 2
        target = m * (2 * lmax + 1 - m) // 2
        out[..., target + m : target + common + 1] = alm[..., source + m : source + common + 1]
    return out


def gaussian_beam(fwhm_arcmin: float, lmax: int) -> Cl:
    """Window b_l of a Gaussian beam, ``(lmax + 1,)``, normalised to 1 at l = 0."""
    sigma = fwhm_arcmin * ARCMIN / FWHM_PER_SIGMA
    ell = np.arange(lmax + 1)
    return np.exp(-0.5 * ell * (ell + 1) * sigma**2)


def draw_alm(cl: Cl, rng: np.random.Generator) -> Alm:
    """Draw Gaussian a_lm of spectrum `cl`, shape ``(lmax + 1,)``.

    Deviates are taken l by l, so the draw at a lower band-limit is the draw at a higher one, cut: a
    realisation depends on the generator only.
    """
    return unit_alm(len(cl) - 1, rng) * np.sqrt(cl)[_degrees(len(cl) - 1)]


@lru_cache(maxsize=4)
def _deviate_order(lmax: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Places of every a_lm's real and imaginary deviates among those taken l by l; m = 0 is real."""
    degrees = _degrees(lmax)
    orders = np.concatenate([np.full(lmax + 1 - m, m) for m in range(lmax + 1)])
    return (degrees**2 + np.maximum(2 * orders - 1, 0)).astype(np.int32), (degrees**2 + 2 * orders).astype(
        np.int32
    )


def unit_alm(lmax: int, rng: np.random.Generator) -> Alm:
    """Draw a_lm of unit variance up to `lmax`, deviates taken l by l (see `draw_alm`)."""
    deviates = rng.standard_normal((lmax + 1) ** 2)
    alm = np.empty(alm_size(lmax), dtype=np.complex128)
    alm.real, alm.imag = (deviates[places] for places in _deviate_order(lmax))
    alm[: lmax + 1].imag = 0
    alm[lmax + 1 :] /= np.sqrt(2)
    return alm
