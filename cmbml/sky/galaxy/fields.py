"""Random fields of the procedural Milky Way, drawn anew for every simulation."""

from functools import lru_cache

import numpy as np

from cmbml.sky.grid import Grid
from cmbml.sky.sht import Alm, Cl, Map, almxfl, lmax_of, unit_alm

TOTAL_LMAX = (
    20000  # where the variance of a field counts as complete, so that it does not depend on resolution
)


@lru_cache(maxsize=16)
def unit_spectrum(slope: float, turnover: float) -> Cl:
    """Spectrum (l + turnover)^slope for l >= 2, scaled to unit variance: ``(TOTAL_LMAX + 1,)``."""
    ell = np.arange(TOTAL_LMAX + 1, dtype=np.float64)
    cl = (ell + turnover) ** slope
    cl[:2] = 0
    cl /= np.sum((2 * ell + 1) * cl) / (4 * np.pi)
    cl.flags.writeable = False
    return cl


def gaussian_field(slope: float, turnover: float, lmax: int, grid: Grid, rng: np.random.Generator) -> Map:
    """Draw a Gaussian field of zero mean and unit variance with C_l ~ (l + turnover)^slope.

    The realisation does not depend on the grid, nor on `lmax` but for what is beyond it: ``(size,)``.
    """
    return field_of(unit_alm(lmax, rng), slope, turnover, grid)


def field_of(deviates: Alm, slope: float, turnover: float, grid: Grid) -> Map:
    """The field of `gaussian_field` from its deviates of unit variance, ``(nalm,)``: ``(size,)``."""
    cl = unit_spectrum(slope, turnover)[: lmax_of(deviates) + 1]
    return grid.synthesise(almxfl(deviates, np.sqrt(cl))[np.newaxis])[0]


def lognormal(field: Map, sigma: float) -> Map:
    """Positive factor of unit mean from a unit Gaussian field."""
    factor = field * sigma
    factor -= sigma**2 / 2
    return np.exp(factor, out=factor)
