"""The instrument: what is learned belongs to one; depth to noise spectrum, and beams against pixels."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from typing_extensions import TypedDict

from cmbml.sky.sht import ARCMIN, Cl

PIXEL_LMAX = 2.5  # in units of nside: up to here a map's a_lm come back to 1e-6 with three iterations


class Instrument(TypedDict):
    """The bands that something was learned from, in their order: plain values, for records."""

    names: list[str]
    freq_ghz: list[float]
    fwhm_arcmin: list[float]
    response: list[str]
    depth_uk_arcmin: list[float]
    depth_p_uk_arcmin: list[float | None]


class Described(Protocol):
    """A band as parameters describe it."""

    @property
    def freq_ghz(self) -> float:
        """Its centre, GHz."""

    @property
    def fwhm_arcmin(self) -> float:
        """Its beam, arcmin."""

    @property
    def response(self) -> str:
        """What tells its passband from another."""

    @property
    def depth_uk_arcmin(self) -> float:
        """Its depth in temperature, uK_CMB arcmin."""

    @property
    def depth_p_uk_arcmin(self) -> float | None:
        """That in polarisation."""


def described(bands: Mapping[str, Described]) -> Instrument:
    """What belongs to these bands alone: weights, windows and networks that were learned from them."""
    each = bands.values()
    return {
        "names": list(bands),
        "freq_ghz": [band.freq_ghz for band in each],
        "fwhm_arcmin": [band.fwhm_arcmin for band in each],
        "response": [band.response for band in each],
        "depth_uk_arcmin": [band.depth_uk_arcmin for band in each],
        "depth_p_uk_arcmin": [band.depth_p_uk_arcmin for band in each],
    }


def unlike(learned: object, here: object) -> str:
    """Say what of an instrument is not as it was where something was learned; nothing where all is the same.

    Parameters
    ----------
    learned
        What the record of that says, an `Instrument` if it is whole.
    here
        The `Instrument` in hand.
    """
    if not isinstance(learned, Mapping) or not isinstance(here, Mapping):
        return "it is not said which"
    then, now = _listed(learned, "names"), _listed(here, "names")
    if then != now:
        return f"bands were {', '.join(map(str, then))}, are {', '.join(map(str, now))}"
    for key in here:
        values = dict(zip(now, _listed(here, key), strict=True))
        if len(was := _listed(learned, key)) != len(now):
            return f"{key} is not said"
        for band, value in zip(now, was, strict=True):
            if value != values[band]:
                return f"{key} of band {band} was {value}, is {values[band]}"
    return ""


def _listed(record: Mapping[object, object], key: object) -> list[object]:
    values = record.get(key)
    return list(values) if isinstance(values, list | tuple) else []


def white_noise_cl(depth_uk_arcmin: float, lmax: int) -> Cl:
    """Spectrum of white noise, ``(lmax + 1,)`` in uK^2, from its depth in uK arcmin."""
    return np.full(lmax + 1, (depth_uk_arcmin * ARCMIN) ** 2)


def pixel_size_arcmin(nside: int) -> float:
    """Side of a square as large as one pixel, in arcmin."""
    return float(np.sqrt(4 * np.pi / 12) / nside / ARCMIN)


def beam_warnings(fwhm_arcmin: Mapping[str, float], nside: int, lmax: int) -> list[str]:
    """Name the bands whose beam is narrower than a pixel.

    Parameters
    ----------
    fwhm_arcmin
        FWHM of every band, by the band's name.
    nside, lmax
        Resolution and band-limit of the maps.

    Returns
    -------
    list of str
        One line a band.  A narrow beam is harmless while the maps are band-limited within what the pixels
        carry.

    Raises
    ------
    ValueError
        Where `lmax` is above 2.5 `nside`: the pixels cannot carry what a narrow beam leaves there.
    """
    pixel = pixel_size_arcmin(nside)
    narrow = {band: fwhm for band, fwhm in fwhm_arcmin.items() if fwhm < pixel}
    if narrow and lmax > PIXEL_LMAX * nside:
        names = ", ".join(narrow)
        raise ValueError(
            f"instrument: beams of {names} are below the pixel ({pixel:.1f} arcmin) and lmax {lmax} is above "
            f"{PIXEL_LMAX} nside; lower lmax to {int(PIXEL_LMAX * nside)} or raise nside"
        )
    return [
        f"beam of band {band} ({fwhm:g} arcmin) is below the pixel ({pixel:.1f} arcmin)"
        for band, fwhm in narrow.items()
    ]
