"""Spectra that an ILC can null: foregrounds as the bands see them, and their first moments.

A moment is the derivative of a spectrum by one of its parameters.  Nulling it as well removes what spatial
variation of the parameter leaves, to first order (Chluba, Hill & Abitbol 2017, arXiv:1701.00274;
Remazeilles et al. 2021, arXiv:2006.08628).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmbml.sky.passbands import Band, Emission, as_bandpass
from cmbml.sky.units import GHZ_PER_KELVIN, T_CMB, free_free, modified_blackbody, power_law, rj_to_cmb

FloatArray = NDArray[np.floating]

REFERENCE_GHZ = 353.0
REFERENCE_LOW_GHZ = 30.0
# Relative step of numerical derivatives: the cube root of double precision.
STEP = 6e-6


@dataclass(frozen=True)
class SpectralParameters:
    """Spectral parameters about which moments are taken.

    Defaults are means over the sky: dust and synchrotron of Planck 2015 results X (arXiv:1502.01588), CIB of
    McCarthy & Hill 2024 (arXiv:2308.16260).

    Attributes
    ----------
    dust_beta, dust_temp
        Index and temperature (K) of thermal dust.
    sync_beta
        Index of synchrotron in Rayleigh-Jeans temperature.
    cib_beta, cib_temp
        Effective index and temperature (K) of the cosmic infrared background.
    """

    dust_beta: float = 1.55
    dust_temp: float = 20.0
    sync_beta: float = -3.1
    cib_beta: float = 1.75
    cib_temp: float = 10.7


def _dust(freq: float, p: SpectralParameters) -> float:
    return float(modified_blackbody(freq, REFERENCE_GHZ, p.dust_beta, p.dust_temp))


def _synchrotron(freq: float, p: SpectralParameters) -> float:
    return float(power_law(freq, REFERENCE_LOW_GHZ, p.sync_beta))


def _cib(freq: float, p: SpectralParameters) -> float:
    return float(modified_blackbody(freq, REFERENCE_GHZ, p.cib_beta, p.cib_temp))


def _free_free(freq: float, _: SpectralParameters) -> float:
    return free_free(freq, REFERENCE_LOW_GHZ)


def _tsz(freq: float, _: SpectralParameters) -> float:
    """Thermal Sunyaev-Zeldovich effect, not relativistic: per unit of y, in T_CMB where thermodynamic."""
    x = freq / (GHZ_PER_KELVIN * T_CMB)
    return float((x / np.tanh(x / 2) - 4) / rj_to_cmb(freq))


# In Rayleigh-Jeans temperature, by GHz.
Spectrum = Callable[[float, SpectralParameters], float]


def _moment(spectrum: Spectrum, name: str) -> Spectrum:
    def derivative(freq: float, p: SpectralParameters) -> float:
        value = getattr(p, name)
        step = STEP * abs(value)
        up, down = (SpectralParameters(**(vars(p) | {name: value + sign * step})) for sign in (1, -1))
        return (spectrum(freq, up) - spectrum(freq, down)) / (2 * step)

    return derivative


SPECTRA: dict[str, Spectrum] = {
    "dust": _dust,
    "dust_dbeta": _moment(_dust, "dust_beta"),
    "dust_dtemp": _moment(_dust, "dust_temp"),
    "synchrotron": _synchrotron,
    "synchrotron_dbeta": _moment(_synchrotron, "sync_beta"),
    "freefree": _free_free,
    "tsz": _tsz,
    "cib": _cib,
    "cib_dbeta": _moment(_cib, "cib_beta"),
    "cib_dtemp": _moment(_cib, "cib_temp"),
}


def mixing_columns(
    components: Sequence[str], bands: Sequence[Band], parameters: SpectralParameters | None = None
) -> FloatArray:
    """Response of channels to components, for `NilcOptions.nulled`.

    Parameters
    ----------
    components
        Names in `SPECTRA`.
    bands
        Each band's passband, or its centre, GHz, where it is narrow.
    parameters
        Spectral parameters; None for the defaults.

    Returns
    -------
    FloatArray
        Responses in uK_CMB at an arbitrary amplitude, ``(n_freq, len(components))``.

    Raises
    ------
    ValueError
        Where a component is unknown.
    """
    for name in components:
        if name not in SPECTRA:
            raise ValueError(f"no spectrum of component {name}: choose from {', '.join(SPECTRA)}")
    chosen = parameters or SpectralParameters()

    def seen(name: str, band: Band) -> Emission:
        return as_bandpass(band).average(lambda freq: SPECTRA[name](freq, chosen))

    columns = [[seen(name, band) for name in components] for band in bands]
    return np.array(columns).reshape(len(bands), len(components))
