"""One scoring convention: bring estimates and the truth to the same beam, band-limit, grid and mask.

The comparison of maps of unlike resolution measures the beams and little else: a perfect estimate at
20.6 arcmin differs from an unbeamed sky by 39.5 uK rms.  Everything that is scored passes through
`common`, which only ever smooths: a map that is blunter than the common beam is refused.
"""

from functools import lru_cache

import healpy as hp
import numpy as np
from numpy.typing import NDArray

from cmbml.sky.pixwin import pixel_window, polarisation_window
from cmbml.sky.sht import (
    Alm,
    Cl,
    Map,
    alm2map,
    almxfl,
    gaussian_beam,
    lmax_of,
    map2alm,
    nside_of,
    resize_alm,
)
from cmbml.sky.skymap import SkyAlm, SkyMap, is_unseen

BEAM_TOLERANCE = 1e-4
"""Relative excess of an input beam over the common one that passes for equal: below 1e-4 of the rms."""

UNIT = "uK_CMB"


def common(
    alm: Alm,
    fwhm_in: float | None,
    *,
    fwhm_arcmin: float,
    lmax: int,
    nside: int,
    mask: Map,
    threads: int = 1,
) -> Map:
    """Smooth, cut and synthesise a_lm as every scored map is, and remove monopole and dipole.

    Parameters
    ----------
    alm
        a_lm of T or T, E, B in uK_CMB, without pixel window: ``(n_stokes, nalm)`` or ``(nalm,)``.
    fwhm_in
        FWHM in arcmin of the Gaussian beam in `alm`; 0 for an unbeamed sky.
    fwhm_arcmin, lmax, nside
        The common beam, band-limit and grid.
    mask
        Weights in [0, 1] of the analysis mask at `nside`: ``(npix,)``.
    threads
        Number of threads of the transform.

    Returns
    -------
    Map
        Full-sky T or T, Q, U in uK_CMB, RING: ``(n_stokes, npix)`` or ``(npix,)``.  The mask has served
        for the fit of monopole and dipole only; the metrics apply it.

    Raises
    ------
    ValueError
        Where the beam is not known or blunter than the common one, where `alm` ends below `lmax`, or
        where `nside` cannot hold `lmax`.
    """
    return common_map(_smoothed(alm, fwhm_in, fwhm_arcmin, lmax), nside=nside, mask=mask, threads=threads)


def common_alm(sky: SkyAlm, *, fwhm_arcmin: float, lmax: int) -> Alm:
    """Bring a_lm with their header to the common beam and band-limit: ``(n_stokes, nalm)``.

    Raises
    ------
    ValueError
        As `common`, and where the unit is not uK_CMB.
    """
    _check_unit(sky.unit)
    return _smoothed(sky.values, sky.fwhm_arcmin, fwhm_arcmin, lmax)


def common_map(alm: Alm, *, nside: int, mask: Map, threads: int = 1) -> Map:
    """Synthesise what is at the common beam and band-limit, and remove monopole and dipole: see `common`."""
    _check_grid("the common map", nside, lmax_of(alm))
    return remove_dipole(alm2map(alm, nside, threads=threads), mask)


def common_from_map(
    sky: SkyMap, *, fwhm_arcmin: float, lmax: int, nside: int, mask: Map, threads: int = 1
) -> Map:
    """Bring a map with its header to the common convention: see `common`.

    The map may lie on another grid, if that grid holds `lmax`.  A map that is on the common grid, at the
    common beam and of the common band-limit is taken as it is, but for monopole and dipole.

    Raises
    ------
    ValueError
        As `common`, and where the unit is not uK_CMB, where pixels are invalid, or where the map's grid
        cannot hold `lmax`.
    """
    _check_unit(sky.unit)
    _check_pixels(sky.values)
    _check_band_limit(lmax if sky.lmax is None else sky.lmax, lmax)
    _check_grid("the estimate", sky.nside, lmax)
    ready = sky.nside == nside and sky.lmax == lmax and not sky.pixwin
    if ready and np.all(_smoothing(sky.fwhm_arcmin, fwhm_arcmin, lmax) == 1):
        return remove_dipole(np.asarray(sky.values, dtype=np.float64), mask)
    # What lies between the common lmax and the map's own would alias into a shorter analysis.
    limit = 3 * sky.nside - 1
    alm = map2alm(sky.values, min(sky.lmax or limit, limit), threads=threads)
    if sky.pixwin:
        alm = remove_pixel_window(alm, sky.nside)
    return common(
        alm, sky.fwhm_arcmin, fwhm_arcmin=fwhm_arcmin, lmax=lmax, nside=nside, mask=mask, threads=threads
    )


def remove_pixel_window(alm: Alm, nside: int) -> Alm:
    """Divide a_lm of T or T, E, B, ``(n_stokes, nalm)``, by the pixel windows of `nside`."""
    lmax = lmax_of(alm)
    temperature, polarisation = pixel_window(nside, lmax), polarisation_window(nside, lmax)
    windows = [temperature, polarisation, polarisation]
    return np.stack([almxfl(row, 1 / window) for row, window in zip(alm, windows, strict=False)])


def remove_dipole(sky: Map, mask: Map) -> Map:
    """Remove monopole and dipole from temperature, fitted by least squares with the mask as weights.

    Parameters
    ----------
    sky
        T or T, Q, U: ``(n_stokes, npix)`` or ``(npix,)``; Q and U have neither and are returned as they are.
    mask
        Weights in [0, 1]: ``(npix,)``.

    Raises
    ------
    ValueError
        Where the mask is on another grid or leaves too little sky to fit.
    """
    if np.shape(mask) != (sky.shape[-1],):
        raise ValueError(
            f"the mask has {np.size(mask)} pixels and the map {sky.shape[-1]}: give a mask at the map's nside"
        )
    basis = dipole_basis(nside_of(sky))
    normal = (basis * mask) @ basis.T
    if np.linalg.matrix_rank(normal) < len(basis):
        raise ValueError("the mask leaves too little sky to fit monopole and dipole: open it")
    rows = np.array(sky, dtype=np.float64, ndmin=2)
    rows[0] -= np.linalg.solve(normal, basis @ (mask * rows[0])) @ basis
    return rows if np.ndim(sky) == 2 else rows[0]


@lru_cache(maxsize=1)
def dipole_basis(nside: int) -> NDArray[np.float64]:
    """Monopole and the three dipoles, ``(4, npix)``."""
    return np.vstack([np.ones(12 * nside**2), hp.pix2vec(nside, np.arange(12 * nside**2))])


def _smoothed(alm: Alm, fwhm_in: float | None, fwhm_arcmin: float, lmax: int) -> Alm:
    """Take a_lm to a blunter beam and a lower band-limit."""
    window = _smoothing(fwhm_in, fwhm_arcmin, lmax)
    _check_band_limit(lmax_of(alm), lmax)
    return almxfl(resize_alm(alm, lmax), window)


def _smoothing(fwhm_in: float | None, fwhm_arcmin: float, lmax: int) -> Cl:
    """Window that takes a Gaussian beam to a blunter one, ``(lmax + 1,)``."""
    if fwhm_in is None:
        raise ValueError("the estimate does not say its beam: write fwhm_arcmin into it (0 for none)")
    if fwhm_in > fwhm_arcmin * (1 + BEAM_TOLERANCE):
        raise ValueError(
            f"the estimate has a beam of {fwhm_in:g} arcmin, blunter than the common {fwhm_arcmin:g}: "
            "deconvolving is refused, raise analysis.fwhm_arcmin"
        )
    return gaussian_beam(float(np.sqrt(max(fwhm_arcmin**2 - fwhm_in**2, 0.0))), lmax)


def _check_unit(unit: str) -> None:
    if unit != UNIT:
        raise ValueError(f"scores are taken in {UNIT}, the estimate is in {unit or 'no unit'}: convert it")


def _check_band_limit(lmax_in: int, lmax: int) -> None:
    if lmax_in < lmax:
        raise ValueError(f"the estimate ends at lmax {lmax_in}, below the common {lmax}: lower analysis.lmax")


def _check_grid(name: str, nside: int, lmax: int) -> None:
    if lmax > 3 * nside - 1:
        raise ValueError(f"{name} at nside {nside} cannot hold lmax {lmax}: at most {3 * nside - 1}")


def _check_pixels(sky: Map) -> None:
    bad = ~np.isfinite(sky) | is_unseen(sky)
    if bad.any():
        raise ValueError(
            f"the estimate has {int(bad.sum())} invalid pixels (NaN, inf or UNSEEN): "
            "estimates are full-sky, the mask is applied by the metrics"
        )
