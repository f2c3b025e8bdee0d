"""Covariances of needlet coefficients in Gaussian domains, kept as a_lm.

A covariance of n channels is stored as the harmonics of its n (n + 1) / 2 maps: the upper triangle,
row by row.
"""

import numpy as np
from numpy.typing import NDArray

from cmbml.methods.nilc.scales import Scale
from cmbml.sky.grid import GaussGrid
from cmbml.sky.sht import Alm, Map, alm_size, almxfl, lmax_of

FloatArray = NDArray[np.floating]

# Harmonics of a kernel below this are cut: so few that covariances stay positive at faint poles beside a
# bright plane.
KERNEL_FLOOR = 1e-10


def domain_size(scale: Scale, n_kept: int, ilc_bias: float) -> float:
    """Width of the domain in which chance correlations take the fraction `ilc_bias` of the CMB's power.

    Parameters
    ----------
    scale
        Needlet scale.
    n_kept
        Number of constraints on the weights: 1, and 1 for each component that is nulled.
    ilc_bias
        Tolerated loss, a fraction.

    Returns
    -------
    float
        Standard deviation of the Gaussian, radians; the whole sky counts as a domain of sqrt(2).

    Raises
    ------
    ValueError
        Where there are too few modes for the channels.

    References
    ----------
    McCarthy & Hill 2024 (arXiv:2307.01043), section 3.4.
    """
    freedom = max(len(scale.channels) - n_kept, 0)
    in_domain = min(scale.n_modes, freedom / ilc_bias)
    if in_domain <= freedom and freedom:
        raise ValueError(
            f"singular covariance: needlet scale {scale.number} has {in_domain:.0f} modes in a domain "
            f"for {len(scale.channels)} channels: lower ilc_bias, or raise the scale's peak"
        )
    return float(np.sqrt(2 * in_domain / scale.n_modes)) if freedom else float(np.sqrt(2))


def kernel_lmax(sigma: float, scale: Scale) -> int:
    """Band-limit of a covariance map that is smoothed with a Gaussian of `sigma` radians."""
    ell = np.arange(2 * scale.lmax + 1)
    return int(np.flatnonzero(ell * (ell + 1) * sigma**2 < -2 * np.log(KERNEL_FLOOR))[-1])


def products(needlets: Map, grid: GaussGrid, lmax: int) -> Alm:
    """Harmonics of the products of all pairs of channels, ``(n_pairs, nalm)``."""
    rows, columns = np.triu_indices(len(needlets))
    alms = np.empty((len(rows), alm_size(lmax)), dtype=np.complex128)
    for alm, i, j in zip(alms, rows, columns, strict=True):
        alm[:] = grid.analyse((needlets[i] * needlets[j])[None], lmax)[0]
    return alms


def smooth(alms: Alm, sigma: float) -> Alm:
    """Average over a Gaussian domain of `sigma` radians around each point: products become covariances."""
    ell = np.arange(lmax_of(alms) + 1)
    return almxfl(alms, np.exp(-0.5 * ell * (ell + 1) * sigma**2))


def covariance_maps(alms: Alm, grid: GaussGrid) -> FloatArray:
    """Covariance at every point of `grid`, ``(size, n, n)``, from its harmonics."""
    n_channels = round(np.sqrt(2 * len(alms) + 0.25) - 0.5)
    covariance = np.empty((grid.size, n_channels, n_channels))
    for alm, i, j in zip(alms, *np.triu_indices(n_channels), strict=True):
        covariance[:, i, j] = covariance[:, j, i] = grid.synthesise(alm[None])[0]
    return covariance


def pairs_of(channels: NDArray[np.intp], n_channels: int) -> NDArray[np.intp]:
    """Rows of the upper triangle of `n_channels` that belong to pairs of `channels`, in increasing order."""
    index = np.empty((n_channels, n_channels), dtype=np.intp)
    rows, columns = np.triu_indices(n_channels)
    index[rows, columns] = np.arange(len(rows))
    return index[np.ix_(channels, channels)][np.triu_indices(len(channels))]


def part(learned: Alm, channels: NDArray[np.intp], n_channels: int) -> Alm:
    """Covariance of some channels, of that of `n_channels`: ``(n_scales, n_pairs, nalm)``.

    Raises
    ------
    ValueError
        Where it is of another number of channels.
    """
    if learned.shape[1] != n_channels * (n_channels + 1) // 2:
        raise ValueError(f"the known covariance is not of {n_channels} channels: learn it anew")
    return learned[:, pairs_of(channels, n_channels)]


def whole(learned: Alm, channels: NDArray[np.intp], n_channels: int) -> Alm:
    """Covariance of `n_channels`, of that of some of them; zero in all other pairs."""
    n_pairs = n_channels * (n_channels + 1) // 2
    everything = np.zeros((len(learned), n_pairs, learned.shape[-1]), learned.dtype)
    everything[:, pairs_of(channels, n_channels)] = learned
    return everything
