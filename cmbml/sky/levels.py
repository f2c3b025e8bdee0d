"""Zero levels: monopole and dipole of every band, taken off before it is cleaned, the CMB's put back after.

What a map calls zero depends on how it was made: an instrument that measures differences knows no monopole,
the cosmic infrared background has its own in every band, and the Sun's motion adds a dipole of 3.4 mK that
some maps keep.  All of it would enter the covariances: weights vary over the sky, and so does what they leave
of a constant.

The fit is by least squares, beyond a Galactic latitude and where nothing is missing, on the sky at one blunt
beam.  The CMB then has the same share in the levels of every band, whatever its beam.  That share is found by
weights that add up to one, and is put back at the end: so the CMB stays whole at every l.  The levels of a
sum are the sum of levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import ducc0
import numpy as np
from numpy.typing import NDArray

from cmbml.sky.sht import (
    Alm,
    Map,
    alm_size,
    almxfl,
    gaussian_beam,
    lmax_of,
    map2alm,
    nside_of,
    resize_alm,
)
from cmbml.sky.units import modified_blackbody, power_law, rj_to_cmb

FloatArray = NDArray[np.floating]

# The Galactic plane is left out.
LATITUDE_DEG = 20.0
# Beam of the fit, blunter than any instrument's, and where it has fallen to 1e-4.
FWHM_ARCMIN = 600.0
LMAX = 60
NSIDE = 32
# On less of the sky than this a dipole cannot be told from other multipoles: only the mean is fitted.
LEAST_SKY = 0.1

# Of our Galaxy there, uK_CMB at 353 and at 30 GHz, and how well its spectra are known.
DUST_UK, SYNCHROTRON_UK = 700.0, 100.0
SPECTRA_KNOWN = 0.1
# Of the CMB itself, uK_CMB: its l >= 2 put some 10 into the fit, and hardly ever 40.
MOST_UK = 100.0

# a_00, a_10 and a_11 of a monopole of 1, and of dipoles of 1 along x, y and z.
HARMONICS = np.array(
    [
        [np.sqrt(4 * np.pi), 0, 0],
        [0, 0, -np.sqrt(2 * np.pi / 3)],
        [0, 0, 1j * np.sqrt(2 * np.pi / 3)],
        [0, np.sqrt(4 * np.pi / 3), 0],
    ]
)


@dataclass(frozen=True)
class Levels:
    """Monopole and dipole of a sky without beam.

    Attributes
    ----------
    values
        Monopole, and the dipole's components along x, y and z, ``(4,)``, in the unit of the sky.
    """

    values: FloatArray

    @property
    def monopole(self) -> float:
        """The monopole."""
        return float(self.values[0])

    @property
    def dipole(self) -> float:
        """Amplitude of the dipole."""
        return float(np.linalg.norm(self.values[1:]))

    @property
    def direction(self) -> tuple[float, float]:
        """Galactic longitude and latitude where the dipole is largest, degrees."""
        x, y, z = self.values[1:]
        lon, lat = np.degrees([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))])
        return float(lon % 360), float(lat)

    def facts(self) -> dict[str, float | list[float]]:
        """Plain values of levels in uK_CMB, for a record."""
        return {
            "monopole_uk": self.monopole,
            "dipole_uk": self.dipole,
            "dipole_lon_lat_deg": list(self.direction),
        }

    def alm(self, lmax: int, fwhm_arcmin: float) -> Alm:
        """Their a_lm with a Gaussian beam, ``(nalm,)``."""
        out = np.zeros(alm_size(lmax), dtype=np.complex128)
        out[_places(lmax)] = self.values @ HARMONICS
        return almxfl(out, gaussian_beam(fwhm_arcmin, lmax))

    def map(self, nside: int, fwhm_arcmin: float) -> Map:
        """Their map with a Gaussian beam, RING, ``(npix,)``."""
        return np.asarray(self.values * gaussian_beam(fwhm_arcmin, 1)[[0, 1, 1, 1]] @ _basis(nside))

    def off_alm(self, alm: Alm, fwhm_arcmin: float) -> Alm:
        """Take them off T, the first row of a_lm with a Gaussian beam, ``(n_stokes, nalm)``."""
        return np.concatenate([alm[:1] - self.alm(lmax_of(alm), fwhm_arcmin), alm[1:]])

    def onto_alm(self, alm: Alm, fwhm_arcmin: float) -> Alm:
        """Put them back onto T, the first row of a_lm with a Gaussian beam, ``(n_stokes, nalm)``."""
        return Levels(-self.values).off_alm(alm, fwhm_arcmin)

    def off_map(self, sky: Map, fwhm_arcmin: float) -> Map:
        """Take them off T, the first row of a map with a Gaussian beam, RING, ``(n_stokes, npix)``."""
        return np.concatenate([sky[:1] - self.map(nside_of(sky), fwhm_arcmin), sky[1:]])

    def onto_map(self, sky: Map, fwhm_arcmin: float) -> Map:
        """Put them back onto T, the first row of a map with a Gaussian beam, RING, ``(n_stokes, npix)``."""
        return Levels(-self.values).off_map(sky, fwhm_arcmin)


@dataclass(frozen=True)
class LevelFit:
    """A least-squares fit of levels on some of the sky.

    Attributes
    ----------
    vectors
        A level is the sum of a_lm without beam times one of them: ``(4, nalm)`` up to `LMAX`.
    """

    vectors: Alm

    def measure(self, alm: Alm, fwhm_arcmin: float) -> Levels:
        """Levels of T, the first row of a_lm with a Gaussian beam, ``(n_stokes, nalm)``."""
        sharp = almxfl(resize_alm(alm[0], LMAX), 1 / gaussian_beam(fwhm_arcmin, LMAX))
        return Levels((self.vectors @ np.conj(sharp)).real)

    def measure_map(self, sky: Map, fwhm_arcmin: float) -> Levels:
        """Levels of T, the first row of a map with a Gaussian beam, RING, ``(n_stokes, npix)``."""
        alm = map2alm(sky[:1], min(LMAX, 2 * nside_of(sky)), iterations=1)
        return self.measure(alm, fwhm_arcmin)


def level_fit(kept: Map) -> LevelFit:
    """The fit where a mask keeps, beyond the Galactic latitude that is always left out.

    Where the mask keeps no such sky, the fit is on what it keeps; where that is little, the dipole is zero.

    Parameters
    ----------
    kept
        Weights in [0, 1], RING, ``(npix,)``; not all zero.
    """
    nside = nside_of(kept)
    basis = _basis(nside)
    weights = kept * (np.abs(basis[3]) >= np.sin(np.radians(LATITUDE_DEG)))
    if not weights.any():
        weights = kept
    n_levels = 4 if weights.mean() >= LEAST_SKY else 1
    # the plain quadrature: what it errs by stands in the normal matrix too
    alms = [map2alm(weights * row, min(LMAX, 2 * nside), iterations=0) for row in basis[:n_levels]]
    integrals = almxfl(resize_alm(np.stack(alms), LMAX), gaussian_beam(FWHM_ARCMIN, LMAX))
    # a_lm of m > 0 stand for those of m < 0 as well
    integrals[:, LMAX + 1 :] *= 2
    normal = (integrals[:, _places(LMAX)] @ np.conj(HARMONICS[:n_levels]).T).real
    vectors = np.zeros((4, alm_size(LMAX)), dtype=np.complex128)
    vectors[:n_levels] = np.linalg.solve(normal, integrals)
    return LevelFit(vectors)


def common_levels(levels: Sequence[Levels], freq_ghz: Sequence[float]) -> Levels:
    """What is the CMB's of the levels of bands: that which is the same in all of them.

    It is their sum with weights that add up to one and make least of a Galaxy whose dust and synchrotron have
    the usual spectra, to `SPECTRA_KNOWN`.  Above `MOST_UK` it comes from the Sun's motion or the mean
    temperature, and stays off.

    Parameters
    ----------
    levels
        Of every band, uK_CMB.
    freq_ghz
        Their centres.
    """
    galaxy = np.array([galaxy_uk(freq) for freq in freq_ghz])
    covariance = galaxy @ galaxy.T + np.diag(1 + (SPECTRA_KNOWN * galaxy.sum(axis=1)) ** 2)
    weights = np.linalg.solve(covariance, np.ones(len(freq_ghz)))
    share = Levels(weights / weights.sum() @ np.array([one.values for one in levels]))
    sizes = np.array([abs(share.monopole), *[share.dipole] * 3])
    return Levels(np.where(sizes > MOST_UK, 0.0, share.values))


def galaxy_uk(freq_ghz: float) -> tuple[float, float]:
    """Dust and synchrotron of our Galaxy beyond the latitude of the fit, uK_CMB."""
    dust = modified_blackbody(freq_ghz, 353.0, 1.6, 20.0) * rj_to_cmb(freq_ghz) / rj_to_cmb(353.0)
    synchrotron = power_law(freq_ghz, 30.0, -3.0) * rj_to_cmb(freq_ghz) / rj_to_cmb(30.0)
    return float(DUST_UK * dust), float(SYNCHROTRON_UK * synchrotron)


@lru_cache(maxsize=1)
def full_sky_fit() -> LevelFit:
    """The fit of skies without missing pixels: that of the pipeline, and of all that is learned."""
    return level_fit(np.ones(12 * NSIDE**2))


def _places(lmax: int) -> list[int]:
    """Places of a_00, a_10 and a_11."""
    return [0, 1, lmax + 1]


@lru_cache(maxsize=4)
def _basis(nside: int) -> FloatArray:
    """One, and the three components of the direction of every pixel: ``(4, npix)``."""
    pixels = np.arange(12 * nside**2)
    vectors = ducc0.healpix.Healpix_Base(nside, "RING").pix2vec(pixels)
    return np.vstack([np.ones(pixels.size), vectors.T])
