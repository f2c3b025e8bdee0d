"""Stripes along a scan: what 1/f noise leaves in maps, an offset for every ring of a spinning satellite.

The spin axis goes round the ecliptic once, and the telescope sees rings of opening angle `SCAN_OPENING`
around it.  The mean of the white noise of one ring has the same power at all m cycles for each turn of the
axis; 1/f noise adds (m_knee / m)^slope of it.  At ecliptic longitude phi and latitude beta two rings cross,
those of the axes phi - D and phi + D with cos D = cos(opening) / cos(beta), and a map is their mean.  So a
cycle m of the offsets becomes a cycle m of the map, times cos(m D) at each latitude.  No ring comes near the
poles; there the map goes on smoothly.

Rings measure Q and U along their own direction, whose angle to the meridian is +psi for one of the two and
-psi for the other: cos(m D - 2 psi) in place of cos(m D).
"""

from dataclasses import dataclass
from functools import lru_cache

import ducc0
import healpy as hp
import numpy as np
from numpy.typing import NDArray

from cmbml.sky.grid import GaussGrid
from cmbml.sky.instrument import white_noise_cl
from cmbml.sky.noise.draws import SCAN_OPENING
from cmbml.sky.sht import Alm, Cl, alm_size

FloatArray = NDArray[np.floating]

MARGIN = 100  # multipoles by which the grid is finer than the band-limit: rings have sharp edges


@dataclass(frozen=True)
class Stripes:
    """The spectrum of the offsets of rings.

    Attributes
    ----------
    m_knee
        Cycles for each turn of the spin axis where 1/f and white noise are equal; 0 for none.
    slope
        Steepness.
    """

    m_knee: float
    slope: float

    def power(self, depth_uk_arcmin: float, lmax: int) -> Cl:
        """Power of the offsets by m, ``(lmax + 1,)`` in uK^2, for maps of some white depth.

        The mean of a map of depth w has the variance w^2 / 4 pi, and so has each cycle of the offsets; the
        mean offset itself is left out.
        """
        cycles = np.arange(lmax + 1)
        red = np.where(cycles > 0, (self.m_knee / np.maximum(cycles, 1)) ** self.slope, 0.0)
        return np.asarray(white_noise_cl(depth_uk_arcmin, lmax) / (4 * np.pi) * red)

    def spectra(self, depths: tuple[float, ...], lmax: int, *, threads: int = 1) -> Cl:
        """Mean spectra of T, or of T, E, B: ``(n_stokes, lmax + 1)`` in uK^2."""
        temperature, polarised = _responses(lmax, len(depths) == 3, threads)
        rows = [_mean_spectrum(temperature, self.power(depths[0], lmax))]
        if len(depths) == 3:
            # Offsets of Q and of U make both E and B.
            each = [[_mean_spectrum(row, self.power(depths[-1], lmax)) for row in part] for part in polarised]
            rows += list(np.sum(each, axis=0))
        return np.stack(rows)

    def draw(
        self, depths: tuple[float, ...], lmax: int, rng: np.random.Generator, *, threads: int = 1
    ) -> Alm:
        """Draw the stripes of one band and simulation.

        Parameters
        ----------
        depths
            White depth of T, or of T, E, B, in uK_CMB arcmin.
        lmax
            Band-limit.
        rng
            Generator of this band and simulation.
        threads
            Number of threads.

        Returns
        -------
        Alm
            ``(n_stokes, nalm)`` in uK_CMB, Galactic.
        """
        temperature, polarised = _responses(lmax, len(depths) == 3, threads)
        order = _orders(lmax)
        offsets = [
            self._offsets(depth, lmax, child)
            for depth, child in zip((depths[0], depths[-1], depths[-1]), rng.spawn(3), strict=True)
        ]
        alm = np.zeros((len(depths), alm_size(lmax)), dtype=np.complex128)
        alm[0] = temperature * offsets[0][order]
        for response, offset in zip(polarised, offsets[1:], strict=False):
            alm[1:] += response * offset[order]
        return _to_galactic(alm, lmax, threads)

    def _offsets(self, depth: float, lmax: int, rng: np.random.Generator) -> NDArray[np.complexfloating]:
        """Fourier coefficients of the offsets, m = 0 to lmax: those of a lower band-limit are these, cut."""
        deviates = rng.standard_normal((lmax + 1, 2)) @ np.array([1, 1j])
        return np.asarray(deviates * np.sqrt(self.power(depth, lmax) / 2))


@lru_cache(maxsize=2)
def _responses(lmax: int, polarised: bool, threads: int) -> tuple[Alm, Alm]:
    """Ecliptic a_lm of offsets whose Fourier coefficients are all 1.

    Returns
    -------
    tuple
        Of T, ``(nalm,)``; of offsets of Q and of U as E and B, ``(2, 2, nalm)``, or ``(0, 2, nalm)`` for T.
    """
    grid = GaussGrid(lmax + MARGIN, threads)
    cycles = np.arange(lmax + 1)
    sky = _synthesise(_crossing(grid.colatitudes[:, None], cycles, spin=0), grid)
    temperature = grid.analyse(sky[None], lmax)[0]
    if not polarised:
        return temperature, np.zeros((0, 2, temperature.size), dtype=np.complex128)
    # An offset of Q that is real has both signs of m; the two differ by the direction of the rings.
    ahead, behind = (_crossing(grid.colatitudes[:, None], sign * cycles, spin=2) for sign in (1, -1))
    even, odd = (ahead + behind) / 2, (ahead - behind) / 2j
    of_q = np.stack([_synthesise(even, grid), _synthesise(odd, grid)])
    of_u = np.stack([-of_q[1], of_q[0]])
    return temperature, np.stack([grid.analyse(one, lmax, spin=2) for one in (of_q, of_u)])


def _crossing(colatitude: FloatArray, cycles: NDArray[np.integer], spin: int) -> FloatArray:
    """Mean over the two rings that cross at a colatitude, for offsets of some cycles: ``(n_theta, n_m)``."""
    reach = np.cos(SCAN_OPENING) / np.sin(colatitude)
    half = np.arccos(np.minimum(reach, 1))
    seen = np.cos(cycles * half - spin * _scan_angle(colatitude, half))
    edge = np.cos(spin * np.pi / 2)
    return np.where(reach < 1, seen, edge * np.minimum(1 / reach, 1) ** (np.abs(cycles) + spin))


def _scan_angle(colatitude: FloatArray, half: FloatArray) -> FloatArray:
    """Angle of the rings' direction to the meridian, from south towards east, radians."""
    return np.asarray(np.arctan2(np.cos(colatitude) * np.cos(half), np.sin(half)))


def _synthesise(rows: NDArray[np.inexact], grid: GaussGrid) -> FloatArray:
    """Real map on a grid of the Fourier coefficients of its rings, ``(n_theta, n_m)``: ``(size,)``."""
    n_phi = grid.shape[1]
    return np.asarray(np.fft.irfft(rows, n_phi, axis=1) * n_phi).ravel()


def _mean_spectrum(response: Alm, power: Cl) -> Cl:
    """Spectrum of a response to offsets of some power: the mean over m of what each adds at an l."""
    lmax = len(power) - 1
    each = np.abs(response) ** 2 * (power * np.where(np.arange(lmax + 1) > 0, 2, 1))[_orders(lmax)]
    degree = np.concatenate([np.arange(m, lmax + 1) for m in range(lmax + 1)])
    return np.bincount(degree, each, lmax + 1) / (2 * np.arange(lmax + 1) + 1)


def _orders(lmax: int) -> NDArray[np.intp]:
    """Order m of every a_lm."""
    return np.repeat(np.arange(lmax + 1), np.arange(lmax + 1, 0, -1))


def _to_galactic(alm: Alm, lmax: int, threads: int) -> Alm:
    """Rotate ecliptic a_lm, ``(n_stokes, nalm)``."""
    angles = _euler_angles()
    return np.stack([ducc0.sht.rotate_alm(row, lmax, *angles, nthreads=threads) for row in alm])


@lru_cache(maxsize=1)
def _euler_angles() -> tuple[float, float, float]:
    """Rotations around z, y and z, in this order, that turn ecliptic into Galactic coordinates, radians."""
    turn = hp.Rotator(coord=["E", "G"]).mat
    first, last = np.arctan2(turn[2, 1], -turn[2, 0]), np.arctan2(turn[1, 2], turn[0, 2])
    return float(first), float(np.arccos(turn[2, 2])), float(last)
