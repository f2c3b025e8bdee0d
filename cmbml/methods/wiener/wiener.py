"""Wiener filter: the estimate of least error, where an unbiased one is at hand.

The filtered map is *not signal-preserving*: it lacks power wherever the residual is not small, so spectra and
cross-correlations must be divided by the window.
"""

from collections.abc import Mapping

import numpy as np

from cmbml.sky.sht import Cl, Map, alm2cl, gaussian_beam, map2alm

SPECTRA = ("TT", "EE", "BB")


def wiener_window(signal: Cl, residual: Cl) -> Cl:
    """Window S / (S + N).

    Theory gives the CMB no power at l = 0 and 1, because it does not predict monopole and dipole, not because
    maps have none.  There the window is 1: both stay as the unbiased method has left them, and a spectrum can
    be divided by the window at every l.

    Parameters
    ----------
    signal
        Power of the CMB at the beam of the map, ``(lmax + 1,)``, uK_CMB^2.
    residual
        Power of foregrounds and noise in the map, ``(lmax + 1,)``, uK_CMB^2; for instance the mean of
        `residual_power` over training simulations.

    Returns
    -------
    Cl
        W(l), ``(lmax + 1,)``; 1 where both are zero, and where the signal has no monopole or dipole.

    Raises
    ------
    ValueError
        Where a spectrum is negative or not finite, or their lengths differ.

    References
    ----------
    Wiener 1949; Bunn et al. 1994 (Astrophys. J. 432, L75) for CMB maps.
    """
    if signal.shape != residual.shape:
        raise ValueError(
            f"signal has {len(signal)} multipoles and residual {len(residual)}: give the same lmax"
        )
    for name, spectrum in (("signal", signal), ("residual", residual)):
        if not np.all(spectrum >= 0):
            raise ValueError(f"the {name} spectrum is negative or not finite: give a power spectrum")
    total = signal + residual
    window = np.divide(signal, total, out=np.ones_like(total), where=total > 0)
    window[:2][signal[:2] == 0] = 1.0
    return window


def signal_power(theory: Mapping[str, Cl], n_stokes: int, fwhm_arcmin: float, lmax: int) -> Cl:
    """Power of the CMB in a map.

    Parameters
    ----------
    theory
        C_l by name from l = 0, uK_CMB^2, up to `lmax` or beyond, as the spectra of a lensed CMB are.
    n_stokes
        1 for T, 3 for T, E, B.
    fwhm_arcmin
        FWHM of the map's Gaussian beam, arcmin.
    lmax
        Band-limit of the result.

    Returns
    -------
    Cl
        ``(n_stokes, lmax + 1)``, uK_CMB^2.

    Raises
    ------
    ValueError
        Where the theory ends below `lmax`.
    """
    if len(theory["TT"]) <= lmax:
        raise ValueError(f"theory ends at l = {len(theory['TT']) - 1}: compute it to lmax {lmax}")
    beam = gaussian_beam(fwhm_arcmin, lmax)
    return np.array([theory[name][: lmax + 1] * beam**2 for name in SPECTRA[:n_stokes]])


def residual_power(estimate: Map, truth: Map, mask: Map, lmax: int, *, threads: int = 1) -> Cl:
    """Power of what is wrong in an estimate, outside a mask.

    Parameters
    ----------
    estimate, truth
        T or T, Q, U at the same beam, RING: ``(n_stokes, npix)``.
    mask
        Apodised weights in [0, 1]: ``(npix,)``.
    lmax
        Band-limit of the result.
    threads
        Number of threads.

    Returns
    -------
    Cl
        Power of T or T, E, B, ``(n_stokes, lmax + 1)``, the unit of the maps squared: that of the masked
        difference over the mean of the squared mask, so steps of the spectrum are washed out by the mask.

    References
    ----------
    Hivon et al. 2002 (astro-ph/0105302), equation 20 with a diagonal coupling.
    """
    alm = map2alm((estimate - truth) * mask, lmax, threads=threads)
    return np.array([alm2cl(row) for row in alm]) / np.mean(mask**2)
