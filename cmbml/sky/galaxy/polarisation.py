"""Polarisation of the procedural Milky Way by its magnetic field.

After Vansyngel et al. 2017 (arXiv:1611.02577): the field is the sum of a regular one and of three Gaussian
components; light is polarised across the field on the sky, less where the field points at us.

Such a field alone makes as many B modes as E modes, within 20 per cent.  In nature the field runs along the
filaments of the gas, so that there is more E, which follows the brightness (Planck intermediate results
XXXVIII, arXiv:1505.02779): that is added where a family has `OwnFields`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cmbml.sky.galaxy.fields import gaussian_field, unit_spectrum
from cmbml.sky.grid import Array, Grid
from cmbml.sky.sht import Alm, Map, almxfl, lmax_of, unit_alm

FIELD_LONGITUDE = np.radians(75.0)  # the local regular field runs along the local arm
TURBULENCE, TURBULENCE_SLOPE, TURBULENCE_TURNOVER = 0.7, -2.5, 4.0  # relative to the regular field
FRACTION = {"dust": 0.07, "sync": 0.30}  # where the field lies across the line of sight
PLANE_DEPOLARISATION, PLANE_DEGREES = 0.6, 8.0  # many turns of the field along lines of sight in the plane
PLANE_ORDER = 0.6  # share of the field of the distant disc in the plane: along it
OWN_SLOPE = -2.9  # of the turbulent fields that components have of their own
FILAMENT_SLOPE, FILAMENT_TURNOVER = -2.4, 4.0


@dataclass(frozen=True)
class OwnField:
    """The magnetic field that one component sees, and the E modes of its filaments.

    Attributes
    ----------
    fraction
        Degree of polarisation where the field lies across the line of sight.
    turbulence
        Strength of the turbulent field relative to the regular one.
    shared
        Correlation of the turbulent field with that of the near dust.
    filaments
        Degree of polarisation of the E modes of filaments, rms.
    following
        Their correlation with the logarithm of the component's brightness.
    """

    fraction: float
    turbulence: float
    shared: float
    filaments: float
    following: float


def _regular(longitude: Array, latitude: Array) -> tuple[Array, Array, Array]:
    """Unit regular field at every point: towards the south, towards the east, away from us."""
    angle = longitude - FIELD_LONGITUDE
    return np.sin(latitude) * np.cos(angle), -np.sin(angle), np.cos(latitude) * np.cos(angle)


def _turbulent(rng: np.random.Generator, slope: float, grid: Grid, lmax: int) -> Array:
    """Three Gaussian components of unit variance, ``(3, size)``."""
    children = rng.spawn(3)
    return np.stack([gaussian_field(slope, TURBULENCE_TURNOVER, lmax, grid, child) for child in children])


def _near_plane(latitude: Array) -> Array:
    return np.exp(-np.degrees(np.abs(latitude)) / PLANE_DEGREES)


def _across(turbulent: Array, turbulence: float, longitude: Array, latitude: Array) -> Array:
    """Q / I and U / I (COSMO) of light that is wholly polarised by the field across the line of sight."""
    strength = turbulence / np.sqrt(3)
    south, east, away = (
        part + strength * other for part, other in zip(_regular(longitude, latitude), turbulent, strict=True)
    )
    square = south**2 + east**2 + away**2
    across: Array = np.stack([east**2 - south**2, -2 * south * east]) / square
    near_plane = _near_plane(latitude)
    across *= 1 - PLANE_ORDER * near_plane
    across[0] += PLANE_ORDER * near_plane
    across *= 1 - PLANE_DEPOLARISATION * near_plane
    return across


def one_field(
    rng: np.random.Generator, grid: Grid, lmax: int, longitude: Array, latitude: Array
) -> dict[str, Map]:
    """Draw the one magnetic field that all components of a simulation see.

    Returns
    -------
    dict
        Q / I and U / I (COSMO) of 'dust', 'far_dust' and 'sync': ``(2, size)`` each.
    """
    turbulent = _turbulent(rng, TURBULENCE_SLOPE, grid, lmax)
    across = _across(turbulent, TURBULENCE, longitude, latitude)
    dust, sync = (FRACTION[name] * across for name in ("dust", "sync"))
    return {"dust": dust, "far_dust": dust, "sync": sync}


def own_fields(
    fields: Mapping[str, OwnField],
    rngs: Mapping[str, np.random.Generator],
    brightness: Mapping[str, Alm],
    grid: Grid,
    longitude: Array,
    latitude: Array,
) -> dict[str, Map]:
    """Draw the magnetic fields of a simulation whose components have fields of their own.

    Parameters
    ----------
    fields
        The fields of 'dust', 'far_dust' and 'sync'.
    rngs
        Their generators.
    brightness
        Deviates of unit variance of the logarithm of the brightness, by component: ``(nalm,)``.
    grid
        Where the result is wanted.
    longitude, latitude
        Directions of its points, radians.

    Returns
    -------
    dict
        As `one_field`.
    """
    lmax = lmax_of(brightness["dust"])
    children = {name: rng.spawn(2) for name, rng in rngs.items()}
    turbulent = {name: _turbulent(pair[0], OWN_SLOPE, grid, lmax) for name, pair in children.items()}
    depolarised = 1 - PLANE_DEPOLARISATION * _near_plane(latitude)
    fractions: dict[str, Map] = {}
    for name, field in fields.items():
        seen = field.shared * turbulent["dust"] + np.sqrt(1 - field.shared**2) * turbulent[name]
        across = _across(seen, field.turbulence, longitude, latitude)
        e_modes = _e_modes(field.following, brightness[name], children[name][1], grid)
        fractions[name] = field.fraction * across + field.filaments * depolarised * e_modes
    return fractions


def _e_modes(following: float, brightness: Alm, rng: np.random.Generator, grid: Grid) -> Map:
    """Q and U of E modes of unit degree of polarisation that follow the brightness: ``(2, size)``."""
    lmax = lmax_of(brightness)
    deviates = following * brightness + np.sqrt(1 - following**2) * unit_alm(lmax, rng)
    cl = unit_spectrum(FILAMENT_SLOPE, FILAMENT_TURNOVER)[: lmax + 1]
    e_mode = almxfl(deviates, np.sqrt(cl))
    return grid.synthesise(np.stack([e_mode, np.zeros_like(e_mode)]), spin=2)
