"""Gaussian fields: the cosmic infrared background and the thermal Sunyaev-Zeldovich effect.

Their angular spectra are compact formulas for published ones.  Each field is the same at all frequencies but
for a factor, so that the background is wholly correlated between bands (Planck finds 0.91 to 0.98 between 353
and 857 GHz); neither knows of the other, nor of what lenses the CMB.
"""

from collections.abc import Callable, Sequence

import numpy as np

from cmbml.sky.passbands import Band, as_bandpass
from cmbml.sky.sht import Alm, Cl, draw_alm
from cmbml.sky.units import (
    MJYSR_PER_KELVIN_GHZ2,
    T_CMB,
    Factor,
    modified_blackbody,
    rj_to_cmb,
    thermal_sz,
)

CIB_GHZ = 217.0
CIB_BETA, CIB_TEMP = 1.75, 10.7  # McCarthy & Hill 2024 (arXiv:2308.16260)
CIB_CLUSTERED = 47.0  # uK_CMB^2, D_l of clustered galaxies at l = 3000: Planck 2018 V (arXiv:1907.12875)
CIB_SLOPE, CIB_TURN = 0.53, 105.0  # Mak et al. 2017 (arXiv:1609.08942); the turn is that of Planck's template
CIB_SHOT = 14.0  # Jy^2/sr: Maniyar, Bethermin & Lagache 2018 (arXiv:1801.10146)

# D_l of y, within 5 per cent of the best fit of Bolliet et al. 2018 (arXiv:1712.00788) from l = 10 to 2742.
TSZ_AMPLITUDE, TSZ_TURN, TSZ_SLOPE = 5.5e-16, 1800.0, 1.32


def _from_d_l(d_l: Cl) -> Cl:
    ell = np.arange(len(d_l), dtype=np.float64)
    cl = np.zeros(len(d_l))
    cl[2:] = d_l[2:] * 2 * np.pi / (ell * (ell + 1))[2:]
    return cl


def cib_spectrum(lmax: int) -> Cl:
    """C_l of the infrared background at 217 GHz, clustered galaxies and shot noise: ``(lmax + 1,)``, uK_RJ^2.

    D_l = 47 uK_CMB^2 (l / 3000)^0.53 / (1 + (105 / l)^2) for the clustered part.
    """
    ell = np.maximum(np.arange(lmax + 1, dtype=np.float64), 1)
    clustered = CIB_CLUSTERED * (ell / 3000) ** CIB_SLOPE / (1 + (CIB_TURN / ell) ** 2)
    cl = _from_d_l(clustered) / rj_to_cmb(CIB_GHZ) ** 2
    cl[2:] += CIB_SHOT / (MJYSR_PER_KELVIN_GHZ2 * CIB_GHZ**2) ** 2
    return cl


def tsz_spectrum(lmax: int) -> Cl:
    """C_l of the Compton parameter y, without unit: ``(lmax + 1,)``."""
    ell = np.arange(lmax + 1, dtype=np.float64)
    return _from_d_l(TSZ_AMPLITUDE * ell / (1 + (ell / TSZ_TURN) ** TSZ_SLOPE))


def _in_bands(field: Alm, law: Callable[[float], Factor], bands: Sequence[Band], n_stokes: int) -> Alm:
    """A field without polarisation in every band, by the law of its brightness in uK_RJ."""
    alms = np.zeros((len(bands), n_stokes, field.shape[-1]), dtype=np.complex128)
    for alm, band in zip(alms, bands, strict=True):
        alm[0] = as_bandpass(band).average(law) * field
    return alms if n_stokes == 3 else alms[:, 0]


def cib_alm(bands: Sequence[Band], rng: np.random.Generator, lmax: int, *, n_stokes: int = 1) -> Alm:
    """Draw the cosmic infrared background.

    Parameters
    ----------
    bands
        Frequencies in GHz, or bandpasses.
    rng
        Generator of this simulation's background.
    lmax
        Band-limit; the same sky at another is this one, cut.
    n_stokes
        1 for T, 3 for T, E, B, of which E and B are zero.

    Returns
    -------
    Alm
        Unbeamed, uK_CMB: ``(n_freq, nalm)``, or ``(n_freq, 3, nalm)``.
    """

    def law(freq: float) -> Factor:
        return modified_blackbody(freq, CIB_GHZ, CIB_BETA, CIB_TEMP)

    return _in_bands(draw_alm(cib_spectrum(lmax), rng), law, bands, n_stokes)


def tsz_alm(bands: Sequence[Band], rng: np.random.Generator, lmax: int, *, n_stokes: int = 1) -> Alm:
    """Draw the thermal Sunyaev-Zeldovich effect, not relativistic; parameters and result as of `cib_alm`."""
    return _in_bands(1e6 * T_CMB * draw_alm(tsz_spectrum(lmax), rng), thermal_sz, bands, n_stokes)
