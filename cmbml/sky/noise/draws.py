"""Instrumental noise, drawn in harmonic space so that a realisation does not depend on nside."""

from dataclasses import dataclass

import healpy as hp
import numpy as np

from cmbml.sky.grid import GaussGrid
from cmbml.sky.instrument import PIXEL_LMAX, pixel_size_arcmin, white_noise_cl
from cmbml.sky.sht import Alm, Cl, Map, draw_alm, map2alm, nside_of, resize_alm

POLARISATION_FACTOR = np.sqrt(2)  # a detector pair splits its photons between two Stokes parameters
MODULATION_MARGIN = 100  # multipoles by which a map of depths mixes white noise into the band
SCAN_OPENING = np.radians(80.0)  # angle between spin axis and telescope of the built-in scan
SCAN_PRECESSION = np.radians(7.5)  # of the spin axis around the anti-solar direction


@dataclass(frozen=True)
class Knee:
    """Correlated noise 1 + (l_knee / l)^slope on top of white; `l_knee` 0 is white.

    Attributes
    ----------
    l_knee
        Multipole where correlated and white noise are equal.
    slope
        Steepness; 1 to 3 for destriped maps.
    """

    l_knee: float = 0.0
    slope: float = 1.0

    def shape(self, lmax: int) -> Cl:
        """Spectrum in units of the white one, ``(lmax + 1,)``; the monopole is as l = 1."""
        return 1 + (self.l_knee / np.maximum(np.arange(lmax + 1), 1)) ** self.slope


WHITE = Knee()


def stokes_depths(depth: float, n_stokes: int, polarised: float | None = None) -> list[float]:
    """Depth of T, or of T, E, B: the latter have `polarised`, or are sqrt(2) noisier."""
    other = depth * POLARISATION_FACTOR if polarised is None else polarised
    return [depth, other, other][:n_stokes]


def _draw(spectra: list[Cl], rng: np.random.Generator) -> Alm:
    """Independent rows, each from its own child generator: T is the same with and without polarisation."""
    children = rng.spawn(3)[: len(spectra)]
    return np.stack([draw_alm(cl, child) for cl, child in zip(spectra, children, strict=True)])


def draw_white_noise(
    depth_uk_arcmin: float,
    lmax: int,
    rng: np.random.Generator,
    *,
    n_stokes: int = 1,
    knee: Knee = WHITE,
    depth_p_uk_arcmin: float | None = None,
) -> Alm:
    """Draw isotropic noise, white or with a 1/f knee.

    Parameters
    ----------
    depth_uk_arcmin
        White depth of temperature in uK_CMB arcmin.
    lmax
        Band-limit; a draw at a lower one is this draw, cut.
    rng
        Generator of this channel and simulation; T, E and B use children of it.
    n_stokes
        1 for T, 3 for T, E, B.
    knee
        Correlation on large scales.
    depth_p_uk_arcmin
        White depth of E and B; by default sqrt(2) times that of temperature.

    Returns
    -------
    Alm
        ``(n_stokes, nalm)`` in uK_CMB.
    """
    shape = knee.shape(lmax)
    depths = stokes_depths(depth_uk_arcmin, n_stokes, depth_p_uk_arcmin)
    return _draw([white_noise_cl(depth, lmax) * shape for depth in depths], rng)


def depth_from_variance(variance_uk2: Map) -> Map:
    """Depth in uK arcmin at every pixel from the variance of the pixels in uK^2 (Planck's II, QQ, UU).

    Raises
    ------
    ValueError
        Where a variance is negative or no number, or all are 0.
    """
    if not (np.isfinite(variance_uk2).all() and variance_uk2.min() >= 0 and variance_uk2.max() > 0):
        raise ValueError("noise: variances must be finite and 0 or more, and not all of them 0")
    return np.sqrt(variance_uk2) * pixel_size_arcmin(nside_of(variance_uk2))


def depth_from_hits(hits: Map, depth_uk_arcmin: float) -> Map:
    """Depth at every pixel from hits in any unit: its square goes as 1 / hits.

    Over the pixels that are hit the mean of its square is that of `depth_uk_arcmin`.  The others are missing:
    their depth is that of the noisiest.

    Raises
    ------
    ValueError
        Where hits are negative or no numbers, or all are 0.
    """
    if not (np.isfinite(hits).all() and hits.min() >= 0 and hits.max() > 0):
        raise ValueError("noise: hits must be finite and 0 or more, and not all of them 0")
    seen = hits > 0
    variance = 1 / hits[seen]
    depth = np.full(hits.shape, depth_uk_arcmin * np.sqrt(variance.max() / variance.mean()))
    depth[seen] = depth_uk_arcmin * np.sqrt(variance / variance.mean())
    return depth


def scanning_hits(nside: int) -> Map:
    """Built-in hits map of a spinning satellite that precesses around the anti-solar direction.

    Rings of opening angle `SCAN_OPENING` around axes within `SCAN_PRECESSION` of the ecliptic plane: density
    1 / sqrt(sin^2(opening) - sin^2(latitude)) averaged over the axes, deepest where rings crowd near the
    ecliptic poles.

    Returns
    -------
    Map
        ``(npix,)``, RING, Galactic, of mean 1.
    """
    vectors = np.stack(hp.pix2vec(nside, np.arange(12 * nside**2)))
    pole = hp.Rotator(coord=["E", "G"])(np.array([0.0, 0.0, 1.0]))
    latitude = np.arcsin(np.clip(pole @ vectors, -1, 1))
    grid = np.radians(np.linspace(-90, 90, 721))
    hits = np.interp(latitude, grid, _hits_at(grid))
    return hits / hits.mean()


def _hits_at(latitude: Map) -> Map:
    """Hits at ecliptic latitudes: samples of rings around precessing axes, per solid angle."""
    phase, spin = np.meshgrid(*(np.linspace(0, 2 * np.pi, n, endpoint=False) for n in (360, 2000)))
    axis = SCAN_PRECESSION * np.sin(phase)
    height = np.sin(axis) * np.cos(SCAN_OPENING) + np.cos(axis) * np.sin(SCAN_OPENING) * np.cos(spin)
    edges = np.linspace(-1, 1, 401)
    density = np.histogram(height, bins=edges)[0].astype(np.float64)
    centres = (edges[1:] + edges[:-1]) / 2
    seen = density > 0
    return np.interp(np.sin(latitude), centres[seen], density[seen])


def depths_on_grid(depth_maps: Map, lmax: int, *, threads: int = 1) -> Map:
    """Bring maps of depths to the grid on which `draw_modulated_noise` draws.

    Parameters
    ----------
    depth_maps
        Depth in uK_CMB arcmin at every pixel, RING: ``(1, npix)``, or ``(3, npix)`` of T, Q, U.
    lmax
        Band-limit of the noise.
    threads
        Number of threads.

    Returns
    -------
    Map
        ``(n_stokes, size)``, never negative.
    """
    grid = GaussGrid(lmax + MODULATION_MARGIN, threads)
    carried = int(PIXEL_LMAX * nside_of(depth_maps))
    alms = [map2alm(sky, carried, threads=threads) for sky in depth_maps]
    rows = [grid.synthesise(resize_alm(alm, min(carried, grid.lmax))[np.newaxis]) for alm in alms]
    return np.maximum(np.concatenate(rows), 0)


def draw_modulated_noise(
    depths: Map, lmax: int, rng: np.random.Generator, *, knee: Knee = WHITE, threads: int = 1
) -> Alm:
    """Draw noise whose depth varies over the sky: an isotropic draw of unit depth, times the depths.

    Parameters
    ----------
    depths
        From `depths_on_grid` with the same `lmax`: ``(n_stokes, size)``.
    lmax
        Band-limit of the result.
    rng
        Generator of this channel and simulation.
    knee
        Correlation on large scales.
    threads
        Number of threads.

    Returns
    -------
    Alm
        ``(n_stokes, nalm)`` in uK_CMB; its spectrum is that of the mean variance.
    """
    grid = GaussGrid(lmax + MODULATION_MARGIN, threads)
    unit = _draw([white_noise_cl(1.0, grid.lmax) * knee.shape(grid.lmax)] * len(depths), rng)
    temperature = grid.analyse(grid.synthesise(unit[:1]) * depths[:1], lmax)
    if len(depths) == 1:
        return temperature
    polarised = grid.analyse(grid.synthesise(unit[1:], spin=2) * depths[1:], lmax, spin=2)
    return np.concatenate([temperature, polarised])
