"""Polarisation of the procedural Milky Way: one turbulent magnetic field seen by dust and by synchrotron.

After Vansyngel et al. 2017 (arXiv:1611.02577): the field is the sum of a regular one and of three Gaussian
components; light is polarised across the field on the sky, less where the field points at us.
"""

import numpy as np

from cmbml.sky.galaxy.fields import gaussian_field
from cmbml.sky.grid import Array, Grid
from cmbml.sky.sht import Map

FIELD_LONGITUDE = np.radians(75.0)  # the local regular field runs along the local arm
TURBULENCE, TURBULENCE_SLOPE, TURBULENCE_TURNOVER = 0.7, -2.5, 4.0  # relative to the regular field
FRACTION = {"dust": 0.07, "sync": 0.30}  # where the field lies across the line of sight
PLANE_DEPOLARISATION, PLANE_DEGREES = 0.6, 8.0  # many turns of the field along lines of sight in the plane
PLANE_ORDER = 0.6  # share of the field of the distant disc in the plane: along it


def _regular(longitude: Array, latitude: Array) -> tuple[Array, Array, Array]:
    """Unit regular field at every point: towards the south, towards the east, away from us."""
    angle = longitude - FIELD_LONGITUDE
    return np.sin(latitude) * np.cos(angle), -np.sin(angle), np.cos(latitude) * np.cos(angle)


def polarisation(
    rng: np.random.Generator, grid: Grid, lmax: int, longitude: Array, latitude: Array
) -> dict[str, Map]:
    """Draw the magnetic field of one simulation.

    Returns
    -------
    dict
        Q / I and U / I (COSMO) of 'dust' and 'sync': ``(2, size)`` each.
    """
    strength = TURBULENCE / np.sqrt(3)
    south, east, away = (
        part + strength * gaussian_field(TURBULENCE_SLOPE, TURBULENCE_TURNOVER, lmax, grid, child)
        for part, child in zip(_regular(longitude, latitude), rng.spawn(3), strict=True)
    )
    square = south**2 + east**2 + away**2
    across: Array = np.stack([east**2 - south**2, -2 * south * east]) / square
    near_plane = np.exp(-np.degrees(np.abs(latitude)) / PLANE_DEGREES)
    across *= 1 - PLANE_ORDER * near_plane
    across[0] += PLANE_ORDER * near_plane
    across *= 1 - PLANE_DEPOLARISATION * near_plane
    return {name: fraction * across for name, fraction in FRACTION.items()}
