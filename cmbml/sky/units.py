"""Conversion from Rayleigh-Jeans to thermodynamic temperature, and the spectral laws of the foregrounds.

Formulas follow Planck 2015 results X (arXiv:1502.01588, table 4); frequencies in GHz, factors without unit.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Factor = Array | float

T_CMB = 2.7255  # K, Fixsen 2009 (arXiv:0911.1955)
GHZ_PER_KELVIN = 20.836619123327576  # k_B / h, CODATA 2018
MJYSR_PER_KELVIN_GHZ2 = 0.0307235837  # 2 k_B / c^2, CODATA 2018: brightness of 1 K_RJ at 1 GHz

# MJy/sr (nu I_nu constant, at the nominal frequency) per K_CMB of Planck's bands in that unit, by the range
# of centres, GHz: Planck 2013 results IX (arXiv:1303.5070), from the measured transmissions.
PLANCK_MJYSR = {(540.0, 560.0): 58.0356, (850.0, 870.0): 2.2681}


def rj_to_cmb(freq_ghz: float | Array) -> Factor:
    """Thermodynamic temperature per Rayleigh-Jeans temperature (uK_CMB / uK_RJ) for small fluctuations."""
    x = np.asarray(freq_ghz, dtype=np.float64) / (GHZ_PER_KELVIN * T_CMB)
    return (np.expm1(x) / x) ** 2 * np.exp(-x)


def mjysr_per_kelvin(freq_ghz: float) -> float:
    """MJy/sr per K_CMB for small fluctuations: Planck's factors at 545 and 857 GHz, else at the centre."""
    for (low, high), factor in PLANCK_MJYSR.items():
        if low <= freq_ghz <= high:
            return factor
    return float(MJYSR_PER_KELVIN_GHZ2 * freq_ghz**2 / rj_to_cmb(freq_ghz))


def power_law(freq_ghz: float, reference_ghz: float, index: float | Array) -> Factor:
    """Power law in Rayleigh-Jeans temperature, 1 at the reference."""
    return np.exp(np.log(freq_ghz / reference_ghz) * np.asarray(index))


def modified_blackbody(
    freq_ghz: float, reference_ghz: float, index: float | Array, temperature: float | Array
) -> Factor:
    """Grey body nu^index B_nu(temperature in K) in Rayleigh-Jeans temperature, 1 at the reference."""
    scale = 1 / (GHZ_PER_KELVIN * np.asarray(temperature))
    planck = np.expm1(reference_ghz * scale) / np.expm1(freq_ghz * scale)
    return power_law(freq_ghz, reference_ghz, np.asarray(index) + 1) * planck


def free_free(freq_ghz: float, reference_ghz: float, electron_temperature: float = 7000.0) -> float:
    """Free-free emission in Rayleigh-Jeans temperature, 1 at the reference (Draine 2011, optically thin)."""

    def gaunt_over_square(freq: float) -> float:
        argument = 5.960 - np.sqrt(3) / np.pi * np.log(freq * (electron_temperature / 1e4) ** -1.5)
        return float(np.log(np.exp(argument) + np.e) / freq**2)

    return gaunt_over_square(freq_ghz) / gaunt_over_square(reference_ghz)


# Widths in ln(frequency) below and above the peak: SPDUST's cold neutral medium (Ali-Haimoud, Hirata &
# Dickinson 2009, arXiv:0812.2904), which falls faster above its peak than below.
SPINNING_WIDTHS = (0.52, 0.36)


def spinning_dust(freq_ghz: float, reference_ghz: float, log_peak: float | Array) -> Factor:
    """Spinning dust in Rayleigh-Jeans temperature, 1 at the reference: log-normal in flux around its peak.

    `log_peak` is the logarithm of the peak frequency in GHz.
    """
    below, above = (0.5 / width**2 for width in SPINNING_WIDTHS)

    def log_flux(freq: float) -> Factor:
        offset = np.log(freq) - np.asarray(log_peak)
        return offset**2 * np.where(offset < 0, -below, -above)

    return (reference_ghz / freq_ghz) ** 2 * np.exp(log_flux(freq_ghz) - log_flux(reference_ghz))
