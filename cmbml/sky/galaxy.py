"""The procedural Milky Way: foregrounds without a download, at any resolution, different in every simulation.

Large scales are a fixed analytic model (`galaxy_structure`).  Each component is multiplied by a log-normal
field with C_l ~ l^-2.9, and the spectral parameters vary smoothly over the sky; these fields are drawn per
simulation.  Brightness is calibrated on PySM 3's d1, s1, f1 and a1 at the same reference frequencies.
"""

from collections.abc import Sequence

import numpy as np

from cmbml.sky.bandpass import Band
from cmbml.sky.emission import Component, Law, band_alm, band_map, grey_body, squeeze
from cmbml.sky.foregrounds import ForegroundDraw
from cmbml.sky.galaxy_fields import gaussian_field, lognormal
from cmbml.sky.galaxy_polarisation import polarisation
from cmbml.sky.galaxy_structure import Disc, brightness
from cmbml.sky.grid import Array, GaussGrid, Grid, HealpixGrid
from cmbml.sky.instrument import PIXEL_LMAX
from cmbml.sky.sht import Alm, Map
from cmbml.sky.units import free_free, power_law, spinning_dust

REFERENCE_GHZ = {"dust": 545.0, "sync": 0.408, "freefree": 30.0, "ame": 22.8}  # as PySM's templates
GRID_MARGIN = 160  # multipoles beyond the band whose products reach into it; the rest is 1 to 3 % of the rms

DISCS = {
    "dust": Disc(
        plane=367.0,
        height=0.15,
        length=3.58,
        hole=3.12,
        arms=0.77,
        bubble=0.223,
        flare=0.04,
        bulge=118.0,
        floor=1.0,
        loops=18.0,
        clouds=837.0,
    ),
    "sync": Disc(
        plane=5630000.0,
        height=0.822,
        length=4.02,
        hole=0.516,
        arms=0.45,
        bubble=0.05,
        flare=0.026,
        bulge=93000000.0,
        floor=4300000.0,
        loops=10800000.0,
        clouds=1070000.0,
    ),
    "freefree": Disc(
        plane=260.0,
        height=0.085,
        length=2.2,
        hole=2.43,
        arms=1.4,
        bubble=0.235,
        flare=0.02,
        bulge=525.0,
        floor=3.38,
        loops=5.85,
        clouds=757.0,
    ),
    "ame": Disc(
        plane=144.0,
        height=0.15,
        length=2.81,
        hole=3.22,
        arms=0.675,
        bubble=0.157,
        flare=0.046,
        bulge=928.0,
        floor=3.66,
        loops=24.7,
        clouds=297.0,
    ),
}
SLOPE = -2.9  # of the log-normal fields
TURNOVER = {"dust": 6.0, "sync": 2.0, "freefree": 15.0, "ame": 8.0}  # multipole where they flatten
SMOOTH_SLOPE, SMOOTH_TURNOVER, SMOOTH_LMAX = -2.5, 1.0, 64  # of the spectral parameters' fields
SIGMA = {"dust": 0.65, "sync": 0.22, "freefree": 1.3, "ame": 0.6}  # of the logarithm
WITH_DUST = {"freefree": 0.6, "ame": 0.9}  # correlation of a component's logarithm with dust's
DUST_BETA, DUST_BETA_SD = 1.54, 0.03
DUST_TEMP_PLANE, DUST_TEMP_RISE, DUST_TEMP_SD = 18.7, 3.9, 1.0  # K; dust is warmer at high latitude
SYNC_BETA, SYNC_BETA_SD = -3.0, 0.05
AME_PEAK_PLANE, AME_PEAK_DROP = 31.0, 5.0  # GHz

_FIELDS = ("dust", "sync", "freefree", "ame", "dust_beta", "dust_temp", "sync_beta", "magnetic")


def _generators(rng: np.random.Generator) -> dict[str, np.random.Generator]:
    """One child generator a field, so that no field depends on which others are drawn."""
    return dict(zip(_FIELDS, rng.spawn(len(_FIELDS)), strict=True))


def _log_fields(generators: dict[str, np.random.Generator], grid: Grid, lmax: int) -> dict[str, Map]:
    """Unit Gaussian fields of the components' logarithms, correlated with dust's."""
    fields = {name: gaussian_field(SLOPE, TURNOVER[name], lmax, grid, generators[name]) for name in DISCS}
    for name, correlation in WITH_DUST.items():
        fields[name] *= np.sqrt(1 - correlation**2)
        fields[name] += correlation * fields["dust"]
    return fields


def _smooth(name: str, generators: dict[str, np.random.Generator], grid: Grid) -> Map:
    return gaussian_field(SMOOTH_SLOPE, SMOOTH_TURNOVER, SMOOTH_LMAX, grid, generators[name])


def _laws(
    draw: ForegroundDraw, generators: dict[str, np.random.Generator], grid: Grid, latitude: Array
) -> dict[str, Law]:
    """Spectral law of every component, with this simulation's fields of spectral parameters."""
    sine = np.abs(np.sin(latitude))
    beta = DUST_BETA + draw.dust_beta + DUST_BETA_SD * _smooth("dust_beta", generators, grid)
    temperature = DUST_TEMP_PLANE + draw.dust_temp + DUST_TEMP_RISE * np.sqrt(sine)
    temperature += DUST_TEMP_SD * _smooth("dust_temp", generators, grid)
    sync_beta = SYNC_BETA + draw.sync_beta + SYNC_BETA_SD * _smooth("sync_beta", generators, grid)
    log_peak = np.log(AME_PEAK_PLANE + draw.ame_peak - AME_PEAK_DROP * sine**2)
    at = REFERENCE_GHZ
    return {
        "dust": grey_body(at["dust"], beta, temperature),
        "sync": lambda points, freq: power_law(freq, at["sync"], sync_beta[points]),
        "freefree": lambda _, freq: free_free(freq, at["freefree"]),
        "ame": lambda points, freq: spinning_dust(freq, at["ame"], log_peak[points]),
    }


def _components(
    draw: ForegroundDraw, rng: np.random.Generator, grid: Grid, lmax: int, n_stokes: int
) -> dict[str, Component]:
    """All components of one simulation on a grid, with fields up to `lmax`."""
    generators = _generators(rng)
    longitude, latitude = grid.directions()
    fields = _log_fields(generators, grid, lmax)
    laws = _laws(draw, generators, grid, latitude)
    fractions = polarisation(generators["magnetic"], grid, lmax, longitude, latitude) if n_stokes == 3 else {}
    components = {}
    for name, disc in DISCS.items():
        sky = lognormal(fields[name], SIGMA[name] * draw.small_scale)
        sky *= brightness(disc, grid)
        sky *= getattr(draw, f"{name}_amplitude")
        rows = sky[np.newaxis]
        if name in fractions:
            rows = np.concatenate([rows, sky * fractions[name]])
        components[name] = Component(rows, (laws[name], laws[name]))
    return components


def galaxy_component_alm(
    bands: Sequence[Band],
    draw: ForegroundDraw,
    rng: np.random.Generator,
    lmax: int,
    *,
    n_stokes: int = 1,
    threads: int = 1,
) -> dict[str, Alm]:
    """Simulate every component; their sum is `galaxy_alm` with the same arguments.

    Returns
    -------
    dict
        'dust', 'sync', 'freefree', 'ame': as `galaxy_alm` each.
    """
    grid = GaussGrid(lmax + GRID_MARGIN, threads)
    parts = _components(draw, rng, grid, grid.lmax, n_stokes)
    return {
        name: squeeze([band_alm([part], band, n_stokes, grid, lmax) for band in bands])
        for name, part in parts.items()
    }


def galaxy_alm(
    bands: Sequence[Band],
    draw: ForegroundDraw,
    rng: np.random.Generator,
    lmax: int,
    *,
    n_stokes: int = 1,
    threads: int = 1,
) -> Alm:
    """Simulate the procedural Milky Way, band-limited.

    Parameters
    ----------
    bands
        Frequencies in GHz, or bandpasses.
    draw
        This simulation's amplitudes, spectral offsets and small-scale strength.
    rng
        Generator of this simulation's random fields.
    lmax
        Band-limit of the result.  The same sky at another band-limit differs by 1 to 3 per cent of its rms.
    n_stokes
        1 for T, 3 for T, E, B; T is the same with both.
    threads
        Number of threads.

    Returns
    -------
    Alm
        Unbeamed, Galactic, uK_CMB: ``(n_freq, nalm)``, or ``(n_freq, 3, nalm)``.
    """
    grid = GaussGrid(lmax + GRID_MARGIN, threads)
    parts = list(_components(draw, rng, grid, grid.lmax, n_stokes).values())
    return squeeze([band_alm(parts, band, n_stokes, grid, lmax) for band in bands])


def galaxy_component_maps(
    bands: Sequence[Band],
    draw: ForegroundDraw,
    rng: np.random.Generator,
    nside: int,
    *,
    n_stokes: int = 1,
    threads: int = 1,
) -> dict[str, Map]:
    """Simulate every component; their sum is `galaxy_maps` with the same arguments.

    Returns
    -------
    dict
        'dust', 'sync', 'freefree', 'ame': as `galaxy_maps` each.
    """
    parts = _components(draw, rng, HealpixGrid(nside, threads), int(PIXEL_LMAX * nside), n_stokes)
    return {
        name: squeeze([band_map([part], band, n_stokes, threads=threads) for band in bands])
        for name, part in parts.items()
    }


def galaxy_maps(
    bands: Sequence[Band],
    draw: ForegroundDraw,
    rng: np.random.Generator,
    nside: int,
    *,
    n_stokes: int = 1,
    threads: int = 1,
) -> Map:
    """Simulate the procedural Milky Way at HEALPix pixel centres; `galaxy_alm` is its band-limited form.

    Parameters
    ----------
    bands, draw, rng, n_stokes, threads
        As for `galaxy_alm`.
    nside
        Resolution; the random fields reach to l = 2.5 nside.

    Returns
    -------
    Map
        Unbeamed, RING, Galactic, uK_CMB: ``(n_freq, npix)``, or ``(n_freq, 3, npix)`` with Q and U (COSMO).
    """
    grid = HealpixGrid(nside, threads)
    parts = list(_components(draw, rng, grid, int(PIXEL_LMAX * nside), n_stokes).values())
    return squeeze([band_map(parts, band, n_stokes, threads=threads) for band in bands])
