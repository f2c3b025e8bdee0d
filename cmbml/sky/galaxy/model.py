"""The procedural Milky Way: foregrounds without a download, at any resolution, different in every simulation.

Large scales are a fixed analytic model (`galaxy_structure`).  Each component is multiplied by a log-normal
field with C_l ~ l^-2.9, and the spectral parameters vary smoothly over the sky; these fields are drawn per
simulation.  Brightness is calibrated on PySM 3's d1, s1, f1 and a1 at the same reference frequencies.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from cmbml.sky.emission import Component, Law, band_alm, grey_body, squeeze
from cmbml.sky.foregrounds import ForegroundDraw
from cmbml.sky.galaxy.family import GALAXY, Family, Layer
from cmbml.sky.galaxy.fields import field_of, gaussian_field, lognormal
from cmbml.sky.galaxy.polarisation import one_field, own_fields
from cmbml.sky.galaxy.structure import brightness
from cmbml.sky.grid import Array, GaussGrid, Grid
from cmbml.sky.passbands import Band
from cmbml.sky.sht import Alm, Map, lmax_of, unit_alm
from cmbml.sky.units import free_free, power_law, spinning_dust

REFERENCE_GHZ = {"dust": 545.0, "sync": 0.408, "freefree": 30.0, "ame": 22.8}  # as PySM's templates
GRID_MARGIN = 160  # multipoles beyond the band whose products reach into it; the rest is 1 to 3 % of the rms

SMOOTH_SLOPE, SMOOTH_TURNOVER, SMOOTH_LMAX = -2.5, 1.0, 64  # of the spectral parameters' fields
DUST_BETA_SD = 0.03
DUST_TEMP_RISE, DUST_TEMP_SD = 3.9, 1.0  # K; dust is warmer at high latitude
SYNC_BETA, SYNC_BETA_SD, SYNC_PIVOT_GHZ = -3.0, 0.05, 23.0
AME_PEAK_DROP = 5.0  # GHz

COMPONENTS = ("dust", "sync", "freefree", "ame")
# Of several layers of dust, each has fields of its own.
_FIELDS = (
    *(*COMPONENTS, "dust_beta", "dust_temp", "sync_beta", "magnetic", "far_dust", "far_beta", "far_temp"),
    *("near_field", "far_field", "sync_field"),
)
_MAGNETIC = {"dust": "near_field", "far_dust": "far_field", "sync": "sync_field"}
_LAYERS = (("dust", "dust_beta", "dust_temp"), ("far_dust", "far_beta", "far_temp"))


_Generators = dict[str, np.random.Generator]


def _generators(rng: np.random.Generator) -> _Generators:
    """One child generator a field, so that no field depends on which others are drawn."""
    return dict(zip(_FIELDS, rng.spawn(len(_FIELDS)), strict=True))


def _log_fields(family: Family, deviates: Mapping[str, Alm], grid: Grid) -> dict[str, Map]:
    """Unit Gaussian fields of the components' logarithms, correlated with dust's."""
    turnover = {**family.turnover, "far_dust": family.turnover["dust"]}
    fields = {name: field_of(alm, family.slope, turnover[name], grid) for name, alm in deviates.items()}
    for name, correlation in family.with_dust.items():
        fields[name] *= np.sqrt(1 - correlation**2)
        fields[name] += correlation * fields["dust"]
    return fields


def _smooth(name: str, generators: _Generators, grid: Grid) -> Map:
    return gaussian_field(SMOOTH_SLOPE, SMOOTH_TURNOVER, SMOOTH_LMAX, grid, generators[name])


def _dust_law(
    layer: Layer,
    names: tuple[str, str],
    draw: ForegroundDraw,
    generators: _Generators,
    grid: Grid,
    sine: Array,
) -> Law:
    beta = layer.beta + draw.dust_beta + DUST_BETA_SD * _smooth(names[0], generators, grid)
    temperature = layer.temperature + draw.dust_temp + DUST_TEMP_RISE * np.sqrt(sine)
    temperature += DUST_TEMP_SD * _smooth(names[1], generators, grid)
    return grey_body(REFERENCE_GHZ["dust"], beta, temperature)


def _laws(
    family: Family, draw: ForegroundDraw, generators: _Generators, grid: Grid, sine: Array
) -> dict[str, Law]:
    """Spectral law of every component but dust, with this simulation's fields of spectral parameters."""
    sync_beta = SYNC_BETA + draw.sync_beta + SYNC_BETA_SD * _smooth("sync_beta", generators, grid)
    log_peak = np.log(family.ame_peak + draw.ame_peak - AME_PEAK_DROP * sine**2)
    at = REFERENCE_GHZ

    def curved(points: slice, freq: float) -> Map:
        # The index is that at the pivot; below it the spectrum is straight.
        bend = family.sync_curvature * max(np.log(freq / SYNC_PIVOT_GHZ), 0.0) ** 2
        return power_law(freq, at["sync"], sync_beta[points]) * np.exp(bend)

    return {
        "sync": curved,
        "freefree": lambda _, freq: free_free(freq, at["freefree"]),
        "ame": lambda points, freq: spinning_dust(freq, at["ame"], log_peak[points]),
    }


def _fractions(
    family: Family, generators: _Generators, deviates: Mapping[str, Alm], grid: Grid
) -> dict[str, Map]:
    """Q / I and U / I of what is polarised, by field."""
    longitude, latitude = grid.directions()
    if family.magnetic is None:
        lmax = lmax_of(deviates["dust"])
        return one_field(generators["magnetic"], grid, lmax, longitude, latitude)
    rngs = {name: generators[child] for name, child in _MAGNETIC.items()}
    return own_fields(family.magnetic, rngs, deviates, grid, longitude, latitude)


def galaxy_components(
    family: Family, draw: ForegroundDraw, rng: np.random.Generator, grid: Grid, lmax: int, n_stokes: int
) -> dict[str, list[Component]]:
    """All parts of every component of one simulation on a grid, with fields up to `lmax`."""
    generators = _generators(rng)
    sine = np.abs(np.sin(grid.directions()[1]))
    names = COMPONENTS if len(family.layers) == 1 else (*COMPONENTS, "far_dust")
    deviates = {name: unit_alm(lmax, generators[name]) for name in names}
    fields = _log_fields(family, deviates, grid)
    laws = _laws(family, draw, generators, grid, sine)
    fractions = _fractions(family, generators, deviates, grid) if n_stokes == 3 else {}

    def part(name: str, field: str, law: Law, share: float = 1.0) -> Component:
        sky = lognormal(fields[field], family.sigma[name] * draw.small_scale)
        sky *= brightness(family.discs[name], grid)
        sky *= share * getattr(draw, f"{name}_amplitude")
        rows = sky[np.newaxis]
        if field in fractions:
            rows = np.concatenate([rows, sky * fractions[field]])
        return Component(rows, (law, law))

    parts = {name: [part(name, name, law)] for name, law in laws.items()}
    for layer, (field, *smooth) in zip(family.layers, _LAYERS, strict=False):
        law = _dust_law(layer, (smooth[0], smooth[1]), draw, generators, grid, sine)
        parts.setdefault("dust", []).append(part("dust", field, law, layer.share))
    return {name: parts[name] for name in COMPONENTS}


def galaxy_component_alm(
    bands: Sequence[Band],
    draw: ForegroundDraw,
    rng: np.random.Generator,
    lmax: int,
    *,
    family: Family = GALAXY,
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
    parts = galaxy_components(family, draw, rng, grid, grid.lmax, n_stokes)
    return {
        name: squeeze([band_alm(part, band, n_stokes, grid, lmax) for band in bands])
        for name, part in parts.items()
    }


def galaxy_alm(
    bands: Sequence[Band],
    draw: ForegroundDraw,
    rng: np.random.Generator,
    lmax: int,
    *,
    family: Family = GALAXY,
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
    family
        Which kind of Milky Way.
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
    components = galaxy_components(family, draw, rng, grid, grid.lmax, n_stokes)
    parts = [part for group in components.values() for part in group]
    return squeeze([band_alm(parts, band, n_stokes, grid, lmax) for band in bands])
