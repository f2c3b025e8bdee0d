"""What the instrument does to a sky in harmonic space: depth to noise spectrum, and beams against pixels."""

from collections.abc import Mapping

import numpy as np

from cmbml.sky.sht import ARCMIN, Cl

PIXEL_LMAX = 2.5  # in units of nside: up to here a map's a_lm come back to 1e-6 with three iterations


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
