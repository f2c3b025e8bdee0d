"""What travels between stages: sky maps and harmonic coefficients with the facts that give them meaning."""

from dataclasses import dataclass, replace

from cmbml.sky.sht import Alm, Map, lmax_of, nside_of

THERMODYNAMIC_UNITS = {"K_CMB": 1e6, "mK_CMB": 1e3, "uK_CMB": 1.0}


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
    """

    values: Map
    unit: str
    fwhm_arcmin: float | None = None
    lmax: int | None = None
    pixwin: bool = False
    signal_preserving: bool = True

    @property
    def nside(self) -> int:
        """HEALPix resolution."""
        return nside_of(self.values)

    def to(self, unit: str) -> "SkyMap":
        """Convert between thermodynamic units: K_CMB, mK_CMB, uK_CMB.

        Raises
        ------
        ValueError
            Where either unit is not one of these.
        """
        for name in (self.unit, unit):
            if name not in THERMODYNAMIC_UNITS:
                known = ", ".join(THERMODYNAMIC_UNITS)
                raise ValueError(f"cannot convert {self.unit} to {unit}: known units are {known}")
        factor = THERMODYNAMIC_UNITS[self.unit] / THERMODYNAMIC_UNITS[unit]
        return replace(self, values=self.values * factor, unit=unit)


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
