"""Random fields of the procedural Milky Way, drawn anew for every simulation."""

from functools import lru_cache

import numpy as np

from cmbml.sky.instrument import PIXEL_LMAX
from cmbml.sky.sht import Cl, Map, alm2map, draw_alm

TOTAL_LMAX = 20000  # where the variance of a field counts as complete, so that it does not depend on nside


@lru_cache(maxsize=16)
def unit_spectrum(slope: float, turnover: float) -> Cl:
    """Spectrum (l + turnover)^slope for l >= 2, scaled to unit variance: ``(TOTAL_LMAX + 1,)``."""
    ell = np.arange(TOTAL_LMAX + 1, dtype=np.float64)
    cl = (ell + turnover) ** slope
    cl[:2] = 0
    cl /= np.sum((2 * ell + 1) * cl) / (4 * np.pi)
    cl.flags.writeable = False
    return cl


def gaussian_field(
    slope: float, turnover: float, lmax: int, nside: int, rng: np.random.Generator, *, threads: int = 1
) -> Map:
    """Draw a Gaussian field of zero mean and unit variance with C_l ~ (l + turnover)^slope.

    The realisation is the same at every nside, up to the band-limit min(`lmax`, 2.5 `nside`).
    """
    band = min(lmax, int(PIXEL_LMAX * nside))
    return alm2map(draw_alm(unit_spectrum(slope, turnover)[: band + 1], rng), nside, threads=threads)


def lognormal(field: Map, sigma: float) -> Map:
    """Positive factor of unit mean from a unit Gaussian field."""
    return np.exp(sigma * field - sigma**2 / 2)
