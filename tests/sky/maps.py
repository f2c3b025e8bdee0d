"""Foregrounds on HEALPix pixels, where their laws hold point by point; the package makes coefficients."""

import numpy as np

from cmbml.sky.emission import band_map, squeeze
from cmbml.sky.foregrounds import ForegroundDraw
from cmbml.sky.galaxy.family import GALAXY
from cmbml.sky.galaxy.model import galaxy_components
from cmbml.sky.grid import HealpixGrid
from cmbml.sky.pysm.model import native_map


def galaxy_component_maps(bands, draw, rng, nside, *, n_stokes=1, threads=1):
    """Every component of the procedural Milky Way, with fields up to l = 2.5 nside."""
    grid = HealpixGrid(nside, threads)
    parts = galaxy_components(GALAXY, draw, rng, grid, int(2.5 * nside), n_stokes)
    return {
        name: squeeze([band_map(part, band, n_stokes, threads=threads) for band in bands])
        for name, part in parts.items()
    }


def galaxy_maps(*args, **options):
    """Their sum."""
    return np.sum(list(galaxy_component_maps(*args, **options).values()), axis=0)


def pysm_maps(presets, bands, draw=None, nside=64, *, n_stokes=1):
    """Presets of PySM whose templates have the same resolution, added up."""
    maps = [
        [native_map(preset, band, draw or ForegroundDraw(), nside, n_stokes) for band in bands]
        for preset in presets
    ]
    return squeeze(np.sum(maps, axis=0))
