"""Large-scale structure of the procedural Milky Way: emission integrated along every line of sight.

The disc and its spiral arms are analytic emissivities in Galactocentric cylindrical coordinates; the local
bubble takes away what is near the Sun; a bulge, an isotropic floor, loops and nearby clouds are added on the
sky.  Shapes were fitted to the latitude and longitude profiles of PySM's d1, s1, f1 and a1 templates; no
template is stored.  Everything here is deterministic.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cmbml.sky.grid import Array, GaussGrid, Grid
from cmbml.sky.sht import Alm, Map

SUN_RADIUS = 8.2  # kpc from the Galactic centre
SUN_HEIGHT = 0.02  # kpc above the plane
DISTANCES = np.geomspace(0.03, 30.0, 72)  # kpc from the Sun, along the plane; steps of 10 per cent
ARM_PITCH = np.tan(np.radians(12.5))  # Vallee 2017 (arXiv:1711.05228): four logarithmic arms
BULGE_DEGREES = 8.0
ARM_WIDTH = 0.45  # kpc, one standard deviation
STRUCTURE_LMAX = 256  # the disc is resolved at 0.7 degrees; below that there are the log-normal fields


@dataclass(frozen=True)
class Disc:
    """Emissivity of one component and what is added to it on the sky.

    Attributes
    ----------
    plane
        Brightness scale of the disc, uK_RJ per kpc at the Sun.
    height, flare
        Scale height in kpc at the Sun, and its growth per kpc outwards.
    length
        Radial scale length, kpc.
    hole
        Radius inside which the disc fades, kpc.
    arms
        Contrast of the spiral arms over the smooth disc.
    bulge
        Brightness at the Galactic centre's direction, uK_RJ, falling over 8 degrees.
    bubble
        Radius of the evacuated bubble around the Sun, kpc.
    floor
        Isotropic brightness, uK_RJ.
    loops
        Peak brightness of the radio loops' shells, uK_RJ.
    clouds
        Peak brightness of nearby clouds, uK_RJ.
    """

    plane: float
    height: float
    length: float
    hole: float
    arms: float
    bubble: float
    flare: float
    bulge: float
    floor: float
    loops: float
    clouds: float


@dataclass(frozen=True)
class Patch:
    """A shell or a cloud on the sky: centre, radius and width in degrees, relative brightness."""

    lon: float
    lat: float
    radius: float
    width: float
    weight: float


# Berkhuijsen 1971 (A&A 14, 359), table 1: centres and radii of loops I to IV.
LOOPS = (
    Patch(329.0, 17.5, 58.0, 4.0, 1.0),
    Patch(100.0, -32.5, 45.5, 4.0, 0.35),
    Patch(124.0, 15.5, 32.5, 4.0, 0.35),
    Patch(315.0, 48.5, 19.75, 3.0, 0.3),
)
# Directions and extents of nearby complexes (Dame, Hartmann & Thaddeus 2001, arXiv:astro-ph/0009217).
CLOUDS = (
    Patch(209.0, -19.0, 0.0, 4.0, 1.0),  # Orion
    Patch(172.0, -15.0, 0.0, 5.0, 0.8),  # Taurus
    Patch(159.0, -20.0, 0.0, 3.0, 0.6),  # Perseus
    Patch(354.0, 17.0, 0.0, 5.0, 1.0),  # Ophiuchus
    Patch(6.0, 23.0, 0.0, 5.0, 0.6),  # zeta Ophiuchi
    Patch(28.0, 4.0, 0.0, 7.0, 1.2),  # Aquila rift
    Patch(300.0, -16.0, 0.0, 4.0, 0.5),  # Chamaeleon
    Patch(110.0, 15.0, 0.0, 7.0, 0.6),  # Cepheus and the Polaris flare
    Patch(80.0, 1.0, 0.0, 4.0, 2.0),  # Cygnus X
    Patch(258.0, -3.0, 0.0, 9.0, 0.6),  # Gum nebula
)


def _arms(radius: Array, azimuth: Array) -> Array:
    """Density of four logarithmic spiral arms, 1 on their ridges."""
    phase = azimuth - np.log(radius / SUN_RADIUS) / ARM_PITCH + np.pi / 6
    offset = radius * np.abs((2 * phase / np.pi + 0.5) % 1 - 0.5) * (np.pi / 2) * ARM_PITCH
    return np.exp(-0.5 * (offset / ARM_WIDTH) ** 2)


def emissivity_in_plane(disc: Disc, radius: Array, azimuth: Array) -> Array:
    """Emissivity in the plane at Galactocentric positions, relative to the smooth disc at the Sun."""
    smooth = np.exp(-(radius - SUN_RADIUS) / disc.length - disc.hole / radius + disc.hole / SUN_RADIUS)
    return smooth * (1 + disc.arms * _arms(radius, azimuth))


def _integrate(disc: Disc, longitudes: Array, latitudes: Array) -> Map:
    """Brightness of the disc on rings, ``(n_rings, n_points)``: emissivity times bubble along lines of sight.

    Steps are in the distance projected on the plane, so that what happens in the plane is worked out once for
    all latitudes.
    """
    x = SUN_RADIUS - DISTANCES * np.cos(longitudes)[:, None]
    y = -DISTANCES * np.sin(longitudes)[:, None]
    radius = np.hypot(x, y) + 1e-3
    weight = emissivity_in_plane(disc, radius, np.arctan2(y, x))
    weight *= DISTANCES * np.log(DISTANCES[1] / DISTANCES[0])
    inverse_height = 1 / (disc.height * (1 + disc.flare * (radius - SUN_RADIUS)))
    sky = np.empty((len(latitudes), len(longitudes)))
    for ring, latitude in enumerate(latitudes):
        height = np.abs(SUN_HEIGHT + DISTANCES * np.tan(latitude))
        outside = -np.expm1(-((DISTANCES / np.cos(latitude) / disc.bubble) ** 4)) / np.cos(latitude)
        sky[ring] = (weight * np.exp(-height * inverse_height)) @ outside
    return disc.plane * sky


def _patches(patches: tuple[Patch, ...], longitude: Array, latitude: Array) -> Array:
    """Sum of shells (radius > 0) and clouds (radius 0) on the sky."""
    total = np.zeros_like(longitude)
    for patch in patches:
        lon, lat = np.radians(patch.lon), np.radians(patch.lat)
        cosine = np.sin(lat) * np.sin(latitude) + np.cos(lat) * np.cos(latitude) * np.cos(longitude - lon)
        separation = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        total += patch.weight * np.exp(-0.5 * ((separation - patch.radius) / patch.width) ** 2)
    return total


@lru_cache(maxsize=16)
def _log_brightness(disc: Disc) -> Alm:
    """Harmonic coefficients of the logarithm of the large-scale brightness: ``(1, nalm)``."""
    grid = GaussGrid(STRUCTURE_LMAX)
    longitude, latitude = grid.directions()
    centre = np.degrees(np.arccos(np.clip(np.cos(latitude) * np.cos(longitude), -1, 1)))
    sky = _integrate(disc, grid.longitudes, np.pi / 2 - grid.colatitudes).ravel()
    sky += disc.floor + disc.bulge * np.exp(-centre / BULGE_DEGREES)
    sky += disc.loops * _patches(LOOPS, longitude, latitude)
    sky += disc.clouds * _patches(CLOUDS, longitude, latitude)
    return grid.analyse(np.log(sky)[np.newaxis], STRUCTURE_LMAX)


@lru_cache(maxsize=8)
def brightness(disc: Disc, grid: Grid) -> Map:
    """Large-scale brightness of a component, ``(size,)`` in uK_RJ at a grid's points; read-only."""
    sky = np.exp(grid.synthesise(_log_brightness(disc))[0])
    sky.flags.writeable = False
    return sky
