"""What the zero points of real maps hold: the infrared background, zodiacal light, and a rest of the dipole.

Their monopoles are those that Planck's maps have been given (Planck 2018 results III, arXiv:1807.06207, table
of the HFI maps).  Between and beyond these bands they follow the infrared background's spectrum as COBE
measured it (Fixsen et al. 1998, arXiv:astro-ph/9803021).  A gain that is wrong by a little leaves as much of
the Sun's dipole.
"""

import healpy as hp
import numpy as np
from numpy.typing import NDArray

from cmbml.sky.levels import Levels
from cmbml.sky.passbands import Band, as_bandpass
from cmbml.sky.units import GHZ_PER_KELVIN, MJYSR_PER_KELVIN_GHZ2

# Galactic longitude and latitude of the Sun's motion, degrees (Planck 2018 results I, arXiv:1807.06205).
SUN_LON_LAT_DEG = (264.021, 48.253)

HFI_GHZ = np.array([100.0, 143.0, 217.0, 353.0, 545.0, 857.0])
INFRARED_MJYSR = np.array([0.0030, 0.0079, 0.033, 0.13, 0.35, 0.64])
# Published as 0.43, 0.94, 3.8 and 34 uK_CMB up to 353 GHz.
ZODIACAL_MJYSR = np.array([1.05e-4, 3.5e-4, 1.84e-3, 9.8e-3, 0.04, 0.12])

# Fixsen et al.: 1.3e-5 (nu / 2998 GHz)^0.64 of a black body of 18.5 K.
COBE_LEVEL, COBE_GHZ, COBE_INDEX, COBE_KELVIN = 1.3e-5, 2997.92458, 0.64, 18.5


def monopole_uk_rj(freq_ghz: float) -> float:
    """Monopole of infrared background and zodiacal light, uK_RJ."""
    published = (INFRARED_MJYSR + ZODIACAL_MJYSR) * 1e6 / (MJYSR_PER_KELVIN_GHZ2 * HFI_GHZ**2)
    ratio = np.interp(np.log(freq_ghz), np.log(HFI_GHZ), np.log(published / _cobe_uk_rj(HFI_GHZ)))
    return float(np.exp(ratio) * _cobe_uk_rj(freq_ghz))


def _cobe_uk_rj(freq_ghz: float | NDArray[np.floating]) -> NDArray[np.floating]:
    """Infrared background as COBE measured it, uK_RJ."""
    scaled = np.asarray(freq_ghz) / GHZ_PER_KELVIN
    black_body = 1e6 * scaled / np.expm1(scaled / COBE_KELVIN)
    return np.asarray(COBE_LEVEL * (np.asarray(freq_ghz) / COBE_GHZ) ** COBE_INDEX * black_body)


def draw_zero_point(band: Band, dipole_uk: float, rng: np.random.Generator) -> Levels:
    """Draw the zero point of one band and simulation, uK_CMB.

    Parameters
    ----------
    band
        The band.
    dipole_uk
        Standard deviation of what is left of the dipole, along the Sun's motion, uK_CMB.
    rng
        Generator of this band and simulation.
    """
    monopole = float(as_bandpass(band).average(monopole_uk_rj))
    dipole = dipole_uk * rng.standard_normal() * hp.ang2vec(*SUN_LON_LAT_DEG, lonlat=True)
    return Levels(np.append(monopole, dipole))
