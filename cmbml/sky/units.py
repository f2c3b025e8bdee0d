"""Units of the sky as files spell them, their conversion, and the spectral laws of the foregrounds.

Formulas follow Planck 2015 results X (arXiv:1502.01588, table 4); frequencies in GHz, factors without unit.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Factor = Array | float
Kind = Literal["CMB", "RJ", "K", "brightness"]

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


@dataclass(frozen=True)
class Unit:
    """A unit of the sky.

    Attributes
    ----------
    kind
        CMB: thermodynamic temperature; RJ: Rayleigh-Jeans temperature; K: a temperature that does not say
        which of the two; brightness.
    scale
        uK, or MJy/sr, per unit.
    """

    kind: Kind
    scale: float

    @property
    def name(self) -> str:
        """The project's spelling, such as uK_CMB, where there is one."""
        prefix = _BY_SCALE.get(self.scale)
        if self.kind == "brightness":
            return _BRIGHTNESS.get(self.scale, f"{self.scale:g} MJy/sr")
        number = "" if prefix is not None else f"{self.scale:g} "
        return f"{number}{'u' if prefix is None else prefix}K{'' if self.kind == 'K' else f'_{self.kind}'}"

    def in_uk(self, freq_ghz: float | None) -> float:
        """uK_CMB per unit at the centre of a band, GHz.

        Raises
        ------
        ValueError
            Where the frequency is needed and not known, or the kind of temperature is not said.
        """
        if self.kind == "CMB":
            return self.scale
        if self.kind == "K":
            raise ValueError(f"the unit {self.name} does not say which temperature: {self.name}_CMB or _RJ")
        if freq_ghz is None:
            raise ValueError(f"the unit {self.name} needs the frequency of a band: bring the map to K_CMB")
        if self.kind == "RJ":
            return self.scale * float(rj_to_cmb(freq_ghz))
        return self.scale * 1e6 / mjysr_per_kelvin(freq_ghz)


_BY_SCALE = {1e6: "", 1e3: "m", 1.0: "u", 1e-3: "n"}
_BRIGHTNESS = {1.0: "MJy/sr", 1e-3: "kJy/sr", 1e-6: "Jy/sr"}
# What files write before K: capital M alone would be mega, so that it is left to whoever knows.
_KELVIN = {"": 1e6, "m": 1e3, "milli": 1e3, "n": 1e-3, "nano": 1e-3} | dict.fromkeys(
    ("u", "mu", "micro", "\u00b5", "\u03bc"), 1.0
)
_JANSKY = {"M": 1.0, "k": 1e-3, "K": 1e-3, "": 1e-6, "m": 1e-9, "mega": 1.0, "kilo": 1e-3}
_THERMODYNAMIC = ("cmb", "thermo", "therm", "thermodynamic", "thermodynamictemperature", "rmcmb", "tcmb")
_RAYLEIGH_JEANS = ("rj", "rayleighjeans", "antenna", "ant", "antennatemperature", "rmrj", "trj")
_TEMPERATURE = re.compile(
    r"(?P<prefix>[A-Za-z\u00b5\u03bc]*?)(?:[Kk]elvins?|KELVINS?|[Kk])(?P<rest>[\W_]*[A-Za-z\W_]*)"
)
_SCALED = re.compile(r"(?P<number>[+-]?\d[\d.]*(?:[eE][+-]?\d+)?) +(?P<unit>[A-Za-z\u00b5\u03bc].*)")
_SURFACE = re.compile(
    r"(?P<prefix>M|k|K||m|[Mm]ega|[Kk]ilo)(?P<jy>[Jj][Yy]|[Jj]ansky)[\s_./*]*(?:per)?[\s_]*\(?(?:sr|ster|steradian)\)?[\^*\s({]*(?P<power>-1)?[)}]*",
    re.IGNORECASE,
)


def parse_unit(text: str) -> Unit | None:
    """The unit that a header or a user spells; None for what is no unit of the sky.

    WMAP's "mK,thermodynamic" and Planck's "K_CMB", "Kcmb" and "MJy/sr" are known, and what astropy reads.
    """
    text = text.strip().strip("[]'\"")
    if (found := _SCALED.fullmatch(text)) and (unit := parse_unit(found["unit"])):
        return Unit(unit.kind, float(f"{float(found['number']) * unit.scale:.12g}"))
    found = _TEMPERATURE.fullmatch(text)
    if found and (found["prefix"] == "M" or (unit := _temperature(found["prefix"], found["rest"]))):
        return None if found["prefix"] == "M" else unit
    if found := _SURFACE.fullmatch(text):
        # "mjy" in small letters may be either of two units that differ by a thousand million.
        return None if found["prefix"] + found["jy"] == "mjy" else _surface(found["prefix"])
    return _by_astropy(text)


def _temperature(prefix: str, rest: str) -> Unit | None:
    known = prefix.lower()
    word = re.sub(r"[\W_]+", "", rest).lower()
    if known not in _KELVIN:
        return None
    if word in _THERMODYNAMIC:
        return Unit("CMB", _KELVIN[known])
    if word in _RAYLEIGH_JEANS:
        return Unit("RJ", _KELVIN[known])
    return None if re.sub(r"[\s_,()\[\]]", "", rest) else Unit("K", _KELVIN[known])


def _surface(prefix: str) -> Unit:
    return Unit("brightness", _JANSKY[prefix if prefix in _JANSKY else prefix.lower()])


def _by_astropy(text: str) -> Unit | None:
    from astropy import units

    try:
        unit = units.Unit(text)
    except (ValueError, TypeError):
        return None
    # An amount per wavelength is left out: it depends on the frequency.
    bases: dict[Kind, Any] = {"K": units.uK, "brightness": units.MJy / units.sr}
    return next(
        (
            Unit(kind, float(f"{unit.to(base):.12g}"))
            for kind, base in bases.items()
            if unit.is_equivalent(base)
        ),
        None,
    )


def parse_variance_unit(text: str) -> Unit | None:
    """The unit whose square a header spells, such as K_CMB^2, (K_CMB)^2 or mK**2; None for what is none."""
    squared = re.fullmatch(r"\s*\(?\s*(?P<unit>.*?)\s*\)?\s*(?:\^|\*\*)?\s*[({]?\s*\+?2\s*[)}]?\s*", text)
    return parse_unit(squared["unit"].rstrip("_ ")) if squared else None


def variance_in_uk(text: str, freq_ghz: float) -> float:
    """uK_CMB^2 per unit of a variance at the centre of a band, GHz.

    Raises
    ------
    ValueError
        Where it is no unit of a variance, or does not say which temperature.
    """
    unit = parse_variance_unit(text)
    if unit is None:
        raise ValueError(f"{text} is no unit of a variance: known are K_CMB^2, uK_CMB^2 and the like")
    return unit.in_uk(freq_ghz) ** 2


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


def thermal_sz(freq_ghz: float) -> float:
    """Thermal Sunyaev-Zeldovich effect, not relativistic: Rayleigh-Jeans temperature per y, over T_CMB."""
    x = freq_ghz / (GHZ_PER_KELVIN * T_CMB)
    return float((x / np.tanh(x / 2) - 4) / rj_to_cmb(freq_ghz))


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
