"""What travels between stages: sky maps and harmonic coefficients with the facts that give them meaning."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cmbml.sky.sht import Alm, Map, lmax_of, nside_of
from cmbml.sky.units import Passband, parse_unit

UNSEEN = -1.6375e30  # HEALPix's mark of a missing pixel


def is_unseen(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Tell which pixels are missing: marked as such, whatever rounding or a change of unit made of the mark.

    NaN and infinities are no marks but errors of whoever made the map.
    """
    return np.isfinite(values) & (values < 0.5 * UNSEEN)


@dataclass(frozen=True)
class SkyMap:
    """Maps of one band, RING and Galactic.

    Attributes
    ----------
    values
        T or T, Q, U (COSMO): ``(n_stokes, npix)``.
    unit
        For instance ``uK_CMB``; never empty.
    fwhm_arcmin
        FWHM of the Gaussian beam in the map; None where it is not known, 0 where there is none.
    lmax
        Band-limit of the map; None where it is not known.
    pixwin
        Whether the pixel window is in the map.
    signal_preserving
        Whether the CMB in the map has its full power; False after a Wiener filter.
    assumed
        What the file that it was read from did not say, and was assumed.
    """

    values: Map
    unit: str
    fwhm_arcmin: float | None = None
    lmax: int | None = None
    pixwin: bool = False
    signal_preserving: bool = True
    assumed: tuple[str, ...] = ()

    @property
    def nside(self) -> int:
        """HEALPix resolution."""
        return nside_of(self.values)

    def to(self, unit: str, *, band: Passband | None = None) -> "SkyMap":
        """Convert between thermodynamic units: K_CMB, mK_CMB, uK_CMB; missing pixels stay as they are.

        Rayleigh-Jeans temperature and brightness are converted too where the passband of the band is given.

        Raises
        ------
        ValueError
            Where either unit is not one of these, or the band is needed.
        """
        factor = _in_uk(self.unit, band) / _in_uk(unit, band)
        values = np.where(is_unseen(self.values), self.values, self.values * factor)
        return replace(self, values=values, unit=unit)


def _in_uk(unit: str, band: Passband | None) -> float:
    """uK_CMB per unit."""
    known = parse_unit(unit)
    if known is None:
        raise ValueError(
            f"cannot convert from or to the unit {unit}: known are K_CMB, mK_CMB, uK_CMB, K_RJ, MJy/sr"
        )
    return known.in_uk(band)


@dataclass(frozen=True)
class SkyAlm:
    """Harmonic coefficients with their unit and beam.

    Attributes
    ----------
    values
        T or T, E, B in healpy's order: ``(n_stokes, nalm)``.
    unit
        For instance ``uK_CMB``.
    fwhm_arcmin
        FWHM of the Gaussian beam that was applied, 0 where there is none.
    """

    values: Alm
    unit: str
    fwhm_arcmin: float | None = None

    @property
    def lmax(self) -> int:
        """Band-limit."""
        return lmax_of(self.values)
