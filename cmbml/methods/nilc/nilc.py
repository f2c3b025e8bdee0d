"""Needlet internal linear combination of temperature, or of E or B, in uK_CMB.

Every channel is brought to the beam of the output and cut into needlet scales; on each scale the channels are
added with weights that vary over the sky, taken from their covariance in a Gaussian domain around each point.
The weights sum to one everywhere, so the CMB goes through unchanged.

Needlet coefficients live on Gauss-Legendre grids that are just fine enough to make every product exact;
weights are smooth, so they are computed on a coarse grid and kept as a_lm.

References
----------
Delabrouille et al. 2009 (arXiv:0807.0773); McCarthy & Hill 2024 (arXiv:2307.01043), section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmbml.methods import ilc
from cmbml.methods.needlets import cosine_bands
from cmbml.methods.nilc.grid import Grid
from cmbml.sky.sht import Alm, Cl, Map, almxfl, gaussian_beam, lmax_of, resize_alm

FloatArray = NDArray[np.floating[Any]]

# A window below this does not count as support; a channel this far below the output beam is dropped.
WINDOW_FLOOR = 1e-3
BEAM_CRITERION = 1e-3
# Harmonics of the smoothing kernel below this are cut: small enough to keep covariances positive between a
# bright plane and faint poles.
KERNEL_FLOOR = 1e-10


@dataclass(frozen=True)
class ScaleWeights:
    """Weights of one needlet scale.

    Attributes
    ----------
    window
        Needlet window h_j(l) up to the scale's own band-limit, ``(lmax_j + 1,)``.
    channels
        Indices of the channels in use, ``(n_used,)``.
    rebeam
        Output beam over beam of each channel in use, ``(n_used, lmax_j + 1)``.
    alm
        Harmonics of the weight maps, ``(n_used, nalm)``, no unit; their sum is one everywhere.
    """

    window: Cl
    channels: NDArray[np.intp]
    rebeam: FloatArray
    alm: Alm

    @property
    def lmax(self) -> int:
        """Band-limit of the scale."""
        return len(self.window) - 1

    def needlets(self, alms: Alm, grid: Grid, threads: int) -> Map:
        """Needlet coefficients of the channels in use, at the output beam, on `grid`."""
        return _needlets(alms[self.channels], self.rebeam * self.window, grid, threads)

    def combine(self, needlets: Map, grid: Grid, threads: int) -> Alm:
        """Add the channels with their weights, and filter once more: ``(nalm,)`` up to `lmax`."""
        total = np.zeros(grid.shape)
        for weight, needlet in zip(self.alm, needlets, strict=True):
            total += grid.synthesis(weight[None], threads)[0] * needlet
        return almxfl(grid.analysis(total[None], self.lmax, threads)[0], self.window)


@dataclass(frozen=True)
class NilcResult:
    """Cleaned map and the weights that made it.

    Attributes
    ----------
    alm
        a_lm of the cleaned CMB at the output beam, ``(nalm,)``, uK_CMB.
    weights
        One entry for each needlet scale.
    """

    alm: Alm
    weights: tuple[ScaleWeights, ...]


def nilc(
    alms: Alm,
    *,
    fwhm_arcmin: Sequence[float | None],
    fwhm_out: float,
    lmax: int,
    peaks: Sequence[int],
    ilc_bias: float,
    threads: int = 1,
) -> NilcResult:
    """Clean one field, temperature or E or B.

    Parameters
    ----------
    alms
        a_lm of the channels, each at its own beam, ``(n_freq, nalm)``, uK_CMB.
    fwhm_arcmin
        FWHM of the Gaussian beam of each channel, ``(n_freq,)``, arcmin; None (unknown) is refused.
    fwhm_out
        FWHM of the beam of the output, arcmin.
    lmax
        Band-limit of the output, at most that of `alms`.
    peaks
        Multipoles where the cosine needlets peak (see `cosine_bands`).
    ilc_bias
        Tolerated loss of CMB power by chance correlations, a fraction; sets the covariance domain.
    threads
        Number of threads.

    Returns
    -------
    NilcResult
        a_lm at the output beam, and weights for `apply_weights`.

    Raises
    ------
    ValueError
        Where the input is zero, not finite or too short, a beam is unknown, or a scale has fewer modes than
        channels.
    """
    beams = _known_beams(alms, fwhm_arcmin)
    _check_alms(alms, lmax)
    cut = resize_alm(alms, lmax)
    cleaned = np.zeros(cut.shape[-1], dtype=np.complex128)
    scales = []
    for number, window in enumerate(cosine_bands(peaks, lmax)):
        part, weights = _clean_scale(cut, window, number, beams, fwhm_out, ilc_bias, threads)
        cleaned += resize_alm(part, lmax)
        scales.append(weights)
    return NilcResult(cleaned, tuple(scales))


def apply_weights(weights: Sequence[ScaleWeights], alms: Alm, *, lmax: int, threads: int = 1) -> Alm:
    """Apply weights to other a_lm of the same channels, such as those of one component.

    Parameters
    ----------
    weights
        The weights of a `NilcResult`.
    alms
        a_lm of the channels, each at its own beam, ``(n_freq, nalm)``, any unit.
    lmax
        Band-limit of the output.
    threads
        Number of threads.

    Returns
    -------
    Alm
        What this component adds to the cleaned a_lm, ``(nalm,)``, the unit of `alms`.
    """
    out = np.zeros(resize_alm(alms[:1], lmax).shape[-1], dtype=np.complex128)
    for scale in weights:
        grid = _grid(scale.lmax, lmax_of(scale.alm))
        out += resize_alm(scale.combine(scale.needlets(alms, grid, threads), grid, threads), lmax)
    return out


def _clean_scale(
    alms: Alm,
    window: Cl,
    number: int,
    fwhm_arcmin: Sequence[float],
    fwhm_out: float,
    ilc_bias: float,
    threads: int,
) -> tuple[Alm, ScaleWeights]:
    window = window[: np.flatnonzero(window)[-1] + 1]
    channels, rebeam = _select_channels(window, number, fwhm_arcmin, fwhm_out)
    sigma = _domain_size(window, number, len(channels), ilc_bias)
    lmax_cov = _kernel_lmax(sigma, 2 * (len(window) - 1))
    grid = _grid(len(window) - 1, lmax_cov)
    needlets = _needlets(alms[channels], rebeam * window, grid, threads)
    covariance = _smoothed_covariance(needlets, grid, sigma, lmax_cov, threads)
    weights = ScaleWeights(window, channels, rebeam, _weight_alm(covariance, lmax_cov, threads))
    return weights.combine(needlets, grid, threads), weights


def _known_beams(alms: Alm, fwhm_arcmin: Sequence[float | None]) -> list[float]:
    if len(fwhm_arcmin) != len(alms):
        raise ValueError(f"{len(fwhm_arcmin)} beams for {len(alms)} channels: give one FWHM for each")
    known = [fwhm for fwhm in fwhm_arcmin if fwhm is not None]
    if len(known) < len(alms):
        raise ValueError(
            f"the beam of channel {list(fwhm_arcmin).index(None)} is unknown: give its FWHM in arcmin"
        )
    return known


def _check_alms(alms: Alm, lmax: int) -> None:
    for channel, alm in enumerate(alms):
        if not np.all(np.isfinite(alm)):
            raise ValueError(
                f"channel {channel} has values that are not finite: fill or mask its missing pixels"
            )
        if not np.any(alm):
            raise ValueError(f"channel {channel} is zero everywhere: leave it out")
    if lmax > lmax_of(alms):
        raise ValueError(f"lmax {lmax} is beyond the band-limit {lmax_of(alms)} of the input: lower lmax")


def _select_channels(
    window: Cl, number: int, fwhm_arcmin: Sequence[float], fwhm_out: float
) -> tuple[NDArray[np.intp], FloatArray]:
    """Channels whose beam still sees the scale, and what brings them to the output beam."""
    lmax = len(window) - 1
    top = np.flatnonzero(window > WINDOW_FLOOR)[-1]
    out = gaussian_beam(fwhm_out, lmax)
    beams = np.array([gaussian_beam(fwhm, lmax) for fwhm in fwhm_arcmin])
    channels = np.flatnonzero(beams[:, top] >= BEAM_CRITERION * out[top])
    if not len(channels):
        raise ValueError(
            f"no channel's beam reaches needlet scale {number} (l up to {top}): "
            "lower lmax or widen the output beam"
        )
    return channels, out / beams[channels]


def _domain_size(window: Cl, number: int, n_channels: int, ilc_bias: float) -> float:
    """Width in radians of the Gaussian domain where the bias is `ilc_bias` (arXiv:2307.01043, sec. 3.4)."""
    n_modes = float(np.sum((2 * np.arange(len(window)) + 1) * window**2))
    in_domain = min(n_modes, (n_channels - 1) / ilc_bias)
    if in_domain <= n_channels - 1:
        raise ValueError(
            f"singular covariance: needlet scale {number} has {in_domain:.0f} modes in a domain "
            f"for {n_channels} channels: lower ilc_bias, or raise the scale's peak"
        )
    return float(min(np.sqrt(2 * in_domain / n_modes), np.pi))


def _kernel_lmax(sigma: float, highest: int) -> int:
    ell = np.arange(highest + 1)
    return int(np.flatnonzero(ell * (ell + 1) * sigma**2 < -2 * np.log(KERNEL_FLOOR))[-1])


def _grid(lmax: int, lmax_weights: int) -> Grid:
    """Grid on which weights times needlets, analysed up to `lmax`, are exact."""
    return Grid(2 * lmax + lmax_weights)


def _needlets(alms: Alm, filters: FloatArray, grid: Grid, threads: int) -> Map:
    short = resize_alm(alms, filters.shape[1] - 1)
    filtered = np.array([almxfl(alm, fl) for alm, fl in zip(short, filters, strict=True)])
    return grid.synthesis(filtered, threads)


def _smoothed_covariance(needlets: Map, grid: Grid, sigma: float, lmax: int, threads: int) -> FloatArray:
    """Covariances in a Gaussian domain around each point of the coarse grid, ``(n_rings, n_phi, n, n)``."""
    ell = np.arange(lmax + 1)
    kernel = np.exp(-0.5 * ell * (ell + 1) * sigma**2)
    coarse = _coarse_grid(lmax)
    n_channels = len(needlets)
    covariance = np.empty((*coarse.shape, n_channels, n_channels))
    for i, j in combinations_with_replacement(range(n_channels), 2):
        product = grid.analysis((needlets[i] * needlets[j])[None], lmax, threads)[0]
        covariance[..., i, j] = coarse.synthesis(almxfl(product, kernel)[None], threads)[0]
        covariance[..., j, i] = covariance[..., i, j]
    return covariance


def _coarse_grid(lmax: int) -> Grid:
    """Grid on which weights are computed: finer than their band-limit, for they are no polynomials."""
    return Grid(3 * lmax)


def _weight_alm(covariance: FloatArray, lmax: int, threads: int) -> Alm:
    mixing = np.ones((covariance.shape[-1], 1))
    weights = ilc.weights(covariance, mixing)
    return _coarse_grid(lmax).analysis(np.ascontiguousarray(np.moveaxis(weights, -1, 0)), lmax, threads)
