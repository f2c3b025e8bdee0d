"""Harmonic internal linear combination of temperature, or of E or B, in uK_CMB.

Channels are added in harmonic space with weights that depend on l only.  They come from covariances of the
data in bins of l, from covariances of foregrounds and noise learned from simulations, or from both.

References
----------
Tegmark, de Oliveira-Costa & Hamilton 2003 (arXiv:astro-ph/0302496), section III.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmbml.methods import ilc
from cmbml.sky.sht import Alm, alm2cl, almxfl, gaussian_beam, resize_alm

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class HilcOptions:
    """What departs from the plain harmonic ILC.

    Attributes
    ----------
    nulled
        Response of the channels to the components that are nulled, ``(n_freq, n_nulled)``, uK_CMB at any
        amplitude (see `cmbml.methods.nilc.seds`).
    prior
        Covariance of foregrounds and noise that is known beforehand, from `nuisance_covariance`.
    shrinkage
        Weight of the prior in the covariance, from 0 to 1.  At 1 the weights do not depend on the data, and
        there is no loss of CMB power by chance correlations.
    """

    nulled: FloatArray | None = None
    prior: FloatArray | None = None
    shrinkage: float = 0.0


@dataclass(frozen=True)
class HilcResult:
    """Cleaned map and the weights that made it.

    Attributes
    ----------
    alm
        a_lm of the cleaned CMB at the output beam, ``(nalm,)``, uK_CMB.
    weights
        Weights of the a_lm of the channels at their own beams, ``(n_freq, lmax + 1)``: sum_i w_i b_i is the
        output beam.
    covariance
        Covariance in bins of l, of channels at the output beam, ``(n_bins, n_freq, n_freq)``, uK_CMB^2.
    """

    alm: Alm
    weights: FloatArray
    covariance: FloatArray


def hilc(
    alms: Alm,
    *,
    fwhm_arcmin: Sequence[float | None],
    fwhm_out: float,
    lmax: int,
    bin_width: int,
    options: HilcOptions | None = None,
) -> HilcResult:
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
    bin_width
        Number of multipoles in a bin (see `bin_edges`).
    options
        Nulled components, a known covariance.

    Returns
    -------
    HilcResult
        a_lm at the output beam, and weights for `apply_weights`.

    Raises
    ------
    ValueError
        Where the input is zero, not finite or too short, a beam is unknown, or a bin has fewer modes than
        channels or fewer channels than components.
    """
    chosen = options or HilcOptions()
    ilc.check_alms(alms, lmax)
    beams = ilc.known_beams(fwhm_arcmin, len(alms))
    covariance = _binned_covariance(alms, _rebeam(beams, fwhm_out, lmax), bin_width)
    if chosen.prior is not None:
        covariance = (1 - chosen.shrinkage) * covariance + chosen.shrinkage * chosen.prior
    weights = _weights(covariance, _rebeam(beams, fwhm_out, lmax), bin_width, chosen.nulled)
    return HilcResult(apply_weights(weights, alms), weights, covariance)


def apply_weights(weights: FloatArray, alms: Alm) -> Alm:
    """Apply weights to a_lm of the same channels, such as those of one component.

    Parameters
    ----------
    weights
        The weights of a `HilcResult`, ``(n_freq, lmax + 1)``.
    alms
        a_lm of the channels, each at its own beam, ``(n_freq, nalm)``, any unit.

    Returns
    -------
    Alm
        What these a_lm add to the cleaned ones, ``(nalm,)`` up to the band-limit of the weights.
    """
    short = resize_alm(alms, weights.shape[1] - 1)
    return np.sum([almxfl(alm, weight) for alm, weight in zip(short, weights, strict=True)], axis=0)


def nuisance_covariance(
    alms: Alm, *, fwhm_arcmin: Sequence[float], fwhm_out: float, lmax: int, bin_width: int
) -> FloatArray:
    """Covariance of foregrounds and noise of one simulation, for `HilcOptions.prior`.

    The plain mean over simulations is the prior.

    Parameters
    ----------
    alms
        a_lm of observation minus CMB of each channel, at its own beam, ``(n_freq, nalm)``, uK_CMB.
    fwhm_arcmin, fwhm_out, lmax, bin_width
        As for `hilc`.

    Returns
    -------
    FloatArray
        Covariance in bins of l, of channels at the output beam, ``(n_bins, n_freq, n_freq)``, uK_CMB^2.
    """
    ilc.check_alms(alms, lmax)
    return _binned_covariance(alms, _rebeam(fwhm_arcmin, fwhm_out, lmax), bin_width)


def bin_edges(lmax: int, width: int, n_channels: int) -> NDArray[np.intp]:
    """First multipole of every bin, and lmax + 1 at the end.

    A bin is widened until it has twice as many modes as there are channels (its covariance would be singular
    otherwise); what is left at the end joins the last bin where it has fewer.

    Raises
    ------
    ValueError
        Where there are not that many modes up to `lmax`.
    """
    needed = 2 * n_channels
    if (lmax + 1) ** 2 < needed:
        raise ValueError(
            f"singular covariance: {(lmax + 1) ** 2} modes up to lmax {lmax} for {n_channels} channels: "
            "raise lmax"
        )
    edges = [0]
    while (lmax + 1) ** 2 - edges[-1] ** 2 >= needed:
        edges.append(min(max(edges[-1] + width, int(np.ceil(np.sqrt(edges[-1] ** 2 + needed)))), lmax + 1))
    return np.array([*edges[:-1], lmax + 1])


def _rebeam(fwhm_arcmin: Sequence[float], fwhm_out: float, lmax: int) -> FloatArray:
    """Output beam over beam of each channel; zero where the channel sees nothing, ``(n_freq, lmax + 1)``."""
    beams = np.array([gaussian_beam(fwhm, lmax) for fwhm in fwhm_arcmin])
    out = gaussian_beam(fwhm_out, lmax)
    return np.where(beams >= ilc.BEAM_CRITERION * out, out / np.maximum(beams, np.finfo(float).tiny), 0.0)


def _binned_covariance(alms: Alm, rebeam: FloatArray, bin_width: int) -> FloatArray:
    lmax = rebeam.shape[1] - 1
    filtered = [almxfl(alm, fl) for alm, fl in zip(resize_alm(alms, lmax), rebeam, strict=True)]
    edges = bin_edges(lmax, bin_width, len(alms))
    degrees = 2 * np.arange(lmax + 1) + 1
    modes = np.add.reduceat(degrees, edges[:-1])
    covariance = np.empty((len(modes), len(alms), len(alms)))
    for i, j in zip(*np.triu_indices(len(alms)), strict=True):
        binned = np.add.reduceat(degrees * alm2cl(filtered[i], filtered[j]), edges[:-1]) / modes
        covariance[:, i, j] = covariance[:, j, i] = binned
    return covariance


def _weights(
    covariance: FloatArray, rebeam: FloatArray, bin_width: int, nulled: FloatArray | None
) -> FloatArray:
    n_freq, n_ell = rebeam.shape
    mixing = np.column_stack([np.ones(n_freq), *([] if nulled is None else nulled.T)])
    weights = np.zeros((n_freq, n_ell))
    edges = bin_edges(n_ell - 1, bin_width, n_freq)
    for binned, low, high in zip(covariance, edges[:-1], edges[1:], strict=True):
        used = np.flatnonzero(rebeam[:, high - 1])
        if len(used) < mixing.shape[1]:
            raise ValueError(
                f"the beams of {len(used)} channels reach l = {high - 1}, too few to keep the CMB and null "
                f"{mixing.shape[1] - 1} components: lower lmax or null fewer"
            )
        solved = ilc.weights(binned[np.ix_(used, used)], mixing[used])
        weights[used, low:high] = solved[:, None] * rebeam[used, low:high]
    return weights


def part(learned: FloatArray, channels: NDArray[np.intp], n_channels: int) -> FloatArray:
    """Covariance of some channels, of that of `n_channels`: ``(n_bins, n_channels, n_channels)``.

    Raises
    ------
    ValueError
        Where it is of another number of channels.
    """
    if learned.shape[-1] != n_channels:
        raise ValueError(f"the known covariance is not of {n_channels} channels: learn it anew")
    return learned[:, channels[:, None], channels]


def whole(learned: FloatArray, channels: NDArray[np.intp], n_channels: int) -> FloatArray:
    """Covariance of `n_channels`, of that of some of them; zero in all other pairs."""
    everything = np.zeros((len(learned), n_channels, n_channels), learned.dtype)
    everything[:, channels[:, None], channels] = learned
    return everything
