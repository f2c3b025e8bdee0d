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

import numpy as np
from numpy.typing import NDArray

from cmbml.methods import ilc
from cmbml.methods.nilc import covariance as cov
from cmbml.methods.nilc.scales import Scale, needlet_scales
from cmbml.sky.grid import GaussGrid
from cmbml.sky.sht import FWHM_PER_SIGMA, Alm, Map, alm_size, lmax_of, resize_alm

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class NeedletPrior:
    """Covariance of foregrounds and noise that is known beforehand.

    The covariance that gives the weights is (1 - shrinkage) u C + shrinkage N: C of the data, N the prior,
    and u the power of the data in units of the prior, at least 1 (see `cmbml.methods.ilc.unexpected_power`).
    On a sky unlike those of the prior u is large, and what is left is the plain needlet ILC.

    Attributes
    ----------
    covariance
        Mean of `nuisance_covariance` over simulations, ``(n_scales, n_pairs, nalm)``, uK_CMB^2.
    domain_deg
        FWHM of the Gaussian domain it was made with, degrees.
    shrinkage
        Weight of the prior, from 0 to 1.  At 1 the weights do not depend on the data.
    """

    covariance: Alm
    domain_deg: float
    shrinkage: float

    @property
    def sigma(self) -> float:
        """Standard deviation of the domain, radians."""
        return domain_sigma(self.domain_deg)


def domain_sigma(domain_deg: float) -> float:
    """Standard deviation in radians of a Gaussian domain, from its FWHM in degrees."""
    return float(np.radians(domain_deg) / FWHM_PER_SIGMA)


@dataclass(frozen=True)
class NilcOptions:
    """What departs from the plain needlet ILC.

    Attributes
    ----------
    needlets
        Kind of needlets: cosine, gaussian or mexican.
    nulled
        Response of the channels to the components that are nulled, ``(n_freq, n_nulled)``, uK_CMB at any
        amplitude (see `cmbml.methods.nilc.seds`).
    prior
        Known covariance, for the regularised variant.
    """

    needlets: str = "cosine"
    nulled: FloatArray | None = None
    prior: NeedletPrior | None = None


@dataclass(frozen=True)
class ScaleWeights:
    """Weights of one needlet scale.

    Attributes
    ----------
    scale
        The scale and its channels.
    alm
        Harmonics of the weight maps, ``(n_used, nalm)``, no unit; their sum is one everywhere.
    covariance
        Harmonics of the covariance of the data, upper triangle row by row, ``(n_pairs, nalm)``, uK_CMB^2 (see
        `cmbml.methods.nilc.covariance.covariance_maps`).
    """

    scale: Scale
    alm: Alm
    covariance: Alm

    def grid(self, threads: int) -> GaussGrid:
        """Grid on which weights and needlets are multiplied."""
        return self.scale.grid(lmax_of(self.alm), threads)

    def combine(self, needlets: Map, threads: int) -> Alm:
        """Add the channels with their weights: ``(n_used, size)`` to ``(nalm,)``."""
        grid = self.grid(threads)
        total = np.zeros(grid.size)
        for weight, needlet in zip(self.alm, needlets, strict=True):
            total += grid.synthesise(weight[None])[0] * needlet
        return self.scale.synthesis(total, grid)


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
    options: NilcOptions | None = None,
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
        Multipoles where the needlets peak (see `cmbml.methods.needlets`).
    ilc_bias
        Tolerated loss of CMB power by chance correlations, a fraction; sets the covariance domain.
    options
        Other needlets, nulled components, a known covariance.
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
        channels or fewer channels than components.
    """
    chosen = options or NilcOptions()
    ilc.check_alms(alms, lmax)
    scales = needlet_scales(
        lmax,
        peaks=peaks,
        needlets=chosen.needlets,
        fwhm_arcmin=ilc.known_beams(fwhm_arcmin, len(alms)),
        fwhm_out=fwhm_out,
    )
    if chosen.prior is not None:
        _check_prior(chosen.prior, len(scales), len(alms))
    parts = [_clean_scale(alms, scale, ilc_bias, chosen, threads) for scale in scales]
    alm = np.sum([resize_alm(part, lmax) for part, _ in parts], axis=0)
    return NilcResult(alm, tuple(weights for _, weights in parts))


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
    out = np.zeros(alm_size(lmax), dtype=np.complex128)
    for entry in weights:
        out += resize_alm(entry.combine(entry.scale.needlets(alms, entry.grid(threads)), threads), lmax)
    return out


def nuisance_covariance(
    alms: Alm,
    *,
    fwhm_arcmin: Sequence[float],
    fwhm_out: float,
    lmax: int,
    peaks: Sequence[int],
    domain_deg: float,
    needlets: str = "cosine",
    threads: int = 1,
) -> Alm:
    """Covariance of foregrounds and noise of one simulation, for a `NeedletPrior`.

    There is no CMB in it, so the domain may be small: averaged over many simulations (a plain mean of
    what this returns) it describes the foregrounds in detail.

    Parameters
    ----------
    alms
        a_lm of observation minus CMB of each channel, at its own beam, ``(n_freq, nalm)``, uK_CMB.
    fwhm_arcmin, fwhm_out, lmax, peaks, needlets, threads
        As for `nilc`.
    domain_deg
        FWHM of the Gaussian domain, degrees.

    Returns
    -------
    Alm
        Harmonics of the smoothed covariance maps, ``(n_scales, n_pairs, nalm)``, uK_CMB^2: upper triangle
        row by row; zero where a scale does not use a channel.
    """
    ilc.check_alms(alms, lmax)
    scales = needlet_scales(lmax, peaks=peaks, needlets=needlets, fwhm_arcmin=fwhm_arcmin, fwhm_out=fwhm_out)
    sigma = domain_sigma(domain_deg)
    lmax_out = max(cov.kernel_lmax(sigma, scale) for scale in scales)
    return np.array([_nuisance_of_scale(alms, scale, sigma, lmax_out, threads) for scale in scales])


def _check_prior(prior: NeedletPrior, n_scales: int, n_channels: int) -> None:
    expected = (n_scales, n_channels * (n_channels + 1) // 2)
    if prior.covariance.shape[:2] != expected:
        raise ValueError(
            f"the known covariance has {prior.covariance.shape[:2]} scales and pairs of channels, this run "
            f"{expected}: make it with the same peaks and channels"
        )


def _nuisance_of_scale(alms: Alm, scale: Scale, sigma: float, lmax_out: int, threads: int) -> Alm:
    lmax = cov.kernel_lmax(sigma, scale)
    grid = scale.grid(lmax, threads)
    products = cov.products(scale.needlets(alms, grid), grid, lmax)
    out = np.zeros((len(alms) * (len(alms) + 1) // 2, alm_size(lmax_out)), dtype=np.complex128)
    out[cov.pairs_of(scale.channels, len(alms))] = resize_alm(cov.smooth(products, sigma), lmax_out)
    return out


def _clean_scale(
    alms: Alm, scale: Scale, ilc_bias: float, options: NilcOptions, threads: int
) -> tuple[Alm, ScaleWeights]:
    mixing = mixing_matrix(scale, options.nulled)
    sigma = cov.domain_size(scale, mixing.shape[1], ilc_bias)
    lmax_cov = cov.kernel_lmax(sigma, scale)
    lmax = lmax_cov if options.prior is None else max(lmax_cov, cov.kernel_lmax(options.prior.sigma, scale))
    grid = scale.grid(lmax, threads)
    needlets = scale.needlets(alms, grid)
    products = cov.products(needlets, grid, lmax)
    coarse = GaussGrid(lmax, threads)
    covariance = cov.covariance_maps(cov.smooth(products, sigma), coarse)
    if options.prior is not None:
        covariance = _regularise(covariance, products, scale, mixing, options.prior, coarse)
    maps = np.ascontiguousarray(np.moveaxis(ilc.weights(covariance, mixing), -1, 0))
    weights = ScaleWeights(scale, coarse.analyse_scalars(maps, lmax), cov.smooth(products, sigma))
    return weights.combine(needlets, threads), weights


def _regularise(
    covariance: FloatArray,
    products: Alm,
    scale: Scale,
    mixing: FloatArray,
    prior: NeedletPrior,
    coarse: GaussGrid,
) -> FloatArray:
    """Covariance shrunk towards the prior, less where the data have power that the prior does not know."""
    if len(mixing) == mixing.shape[1]:
        return covariance  # the constraints leave no freedom
    lmax = lmax_of(products)
    n_channels = round(np.sqrt(2 * prior.covariance.shape[1] + 0.25) - 0.5)
    rows = cov.pairs_of(scale.channels, n_channels)
    known = cov.covariance_maps(resize_alm(prior.covariance[scale.number, rows], lmax), coarse)
    local = cov.covariance_maps(cov.smooth(products, prior.sigma), coarse)
    unexpected = np.maximum(ilc.unexpected_power(local, known, mixing), 1.0)[..., None, None]
    return (1 - prior.shrinkage) * unexpected * covariance + prior.shrinkage * known


def mixing_matrix(scale: Scale, nulled: FloatArray | None) -> FloatArray:
    """Response of a scale's channels to the CMB and to what is nulled, ``(n_used, 1 + n_nulled)``.

    Raises
    ------
    ValueError
        Where the scale has too few channels.
    """
    columns = [] if nulled is None else list(nulled[scale.channels].T)
    if len(columns) >= len(scale.channels):
        raise ValueError(
            f"needlet scale {scale.number} has {len(scale.channels)} channels and cannot null {len(columns)} "
            "components: null fewer, or lower lmax"
        )
    return np.column_stack([np.ones(len(scale.channels)), *columns])
