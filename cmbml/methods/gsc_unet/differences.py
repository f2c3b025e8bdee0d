"""Differences of bands at common resolution: all that the network sees, and no CMB in it."""

from collections.abc import Sequence

import numpy as np

from cmbml.methods.needlets import cosine_bands
from cmbml.sky.sht import Alm, Map, alm2map, almxfl, gaussian_beam, lmax_of


def differences(alms: Alm, fwhm_arcmin: Sequence[float]) -> Alm:
    """Differences of neighbouring bands, the sharper smoothed to the beam of the blunter.

    Parameters
    ----------
    alms
        a_lm of the bands, each at its own beam, ``(n_freq, nalm)``, uK_CMB.
    fwhm_arcmin
        FWHM of the Gaussian beam of each band, ``(n_freq,)``, arcmin.

    Returns
    -------
    Alm
        Later minus earlier band, ``(n_freq - 1, nalm)``, uK_CMB: zero for the CMB, whose amplitude is the
        same in all bands.

    Raises
    ------
    ValueError
        Where there is only one band.
    """
    if len(alms) < 2:
        raise ValueError("differences need two bands or more: add one to instrument.bands")
    beams = [gaussian_beam(fwhm, lmax_of(alms)) for fwhm in fwhm_arcmin]
    pairs = zip(range(len(alms) - 1), range(1, len(alms)), strict=True)
    return np.stack([_difference(alms, beams, fwhm_arcmin, *pair) for pair in pairs])


def _difference(alms: Alm, beams: list[Map], fwhm_arcmin: Sequence[float], first: int, second: int) -> Alm:
    blunt, sharp = sorted((first, second), key=lambda band: -fwhm_arcmin[band])
    smoothed = almxfl(alms[sharp], beams[blunt] / beams[sharp])
    return smoothed - alms[blunt] if sharp == second else alms[blunt] - smoothed


def scale_maps(alms: Alm, peaks: Sequence[int], nside: int, *, threads: int = 1) -> Map:
    """Maps of differences on needlet scales, which add up to the differences.

    Parameters
    ----------
    alms
        T or T, E, B of the differences: ``(n_differences, n_stokes, nalm)``.
    peaks
        Peaks of the scales (see `cmbml.methods.needlets.cosine_bands`).
    nside
        Resolution of the maps.
    threads
        Number of threads.

    Returns
    -------
    Map
        T or T, Q, U, RING: ``(n_scales * n_differences, n_stokes, npix)``, the unit of `alms`.
    """
    windows = cosine_bands(peaks, lmax_of(alms)) ** 2
    scales = np.concatenate([almxfl(alms, window) for window in windows])
    return alm2map(scales, nside, threads=threads)
