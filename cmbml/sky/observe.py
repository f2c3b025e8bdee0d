"""From sky components to what every band sees, in harmonic space."""

from collections.abc import Sequence

import numpy as np

from cmbml.sky.sht import Alm, Map, almxfl, gaussian_beam, map2alm, resize_alm


def combine_alm(
    cmb_alm: Alm, foreground_alms: Alm, noise_alms: Alm, fwhm_arcmin: Sequence[float], lmax: int
) -> Alm:
    """Add CMB and foregrounds, convolve with the beams and add noise; no transform is needed.

    No pixel window is applied: the maps synthesised from the result are samples of a band-limited sky.

    Parameters
    ----------
    cmb_alm
        T or T, E, B of the CMB in uK_CMB: ``(n_stokes, nalm)``.
    foreground_alms
        Unbeamed foregrounds of every band in uK_CMB: ``(n_freq, nalm)``, or ``(n_freq, 3, nalm)``.
    noise_alms
        Noise of every band: as the foregrounds.
    fwhm_arcmin
        Gaussian beam of every band: ``(n_freq,)``.
    lmax
        Band-limit of the result.

    Returns
    -------
    Alm
        ``(n_freq, nalm)``, or ``(n_freq, 3, nalm)``, in uK_CMB.
    """
    cmb = resize_alm(cmb_alm, lmax)
    foregrounds = resize_alm(foreground_alms, lmax)
    observed = resize_alm(noise_alms, lmax).copy()
    for band, fwhm in enumerate(fwhm_arcmin):
        sky = cmb.reshape(foregrounds[band].shape) + foregrounds[band]
        observed[band] += almxfl(sky, gaussian_beam(float(fwhm), lmax))
    return observed


def observe_alm(
    cmb_alm: Alm,
    foreground_maps: Map,
    noise_alms: Alm,
    fwhm_arcmin: Sequence[float],
    lmax: int,
    *,
    threads: int = 1,
) -> Alm:
    """Analyse foreground maps, ``(n_freq, npix)`` or ``(n_freq, 3, npix)``, then as `combine_alm`."""
    alms = np.stack([map2alm(sky, lmax, threads=threads) for sky in foreground_maps])
    return combine_alm(cmb_alm, alms, noise_alms, fwhm_arcmin, lmax)
