"""The algebra that every internal linear combination (ILC) shares: weights from a covariance of channels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cmbml.sky.sht import Alm, lmax_of

Array = NDArray[np.floating]

# Added to the correlation matrix: far below what noise leaves there, far above what rounding leaves of zero.
RIDGE = 1e-11
# A channel whose beam is this far below that of the output is left out.
BEAM_CRITERION = 1e-3


def weights(covariance: Array, mixing: Array) -> Array:
    """Weights of least variance that keep the first component and cancel the others.

    Parameters
    ----------
    covariance
        Covariances of the channels, ``(..., n_channels, n_channels)``, uK_CMB^2, positive semi-definite.
    mixing
        Response of the channels to each component, ``(n_channels, n_components)``: the first column is
        what is kept (ones for the CMB in uK_CMB), the others are nulled.

    Returns
    -------
    Array
        w = C^-1 A (A^T C^-1 A)^-1 e_1, ``(..., n_channels)``, so that w^T A = (1, 0, ..., 0).

    Raises
    ------
    ValueError
        Where there are fewer channels than components.

    References
    ----------
    Remazeilles, Delabrouille & Cardoso (arXiv:1006.5599), equation 22.
    """
    n_channels, n_components = mixing.shape
    if n_channels < n_components:
        raise ValueError(
            f"{n_channels} channels cannot keep 1 and null {n_components - 1} components: null fewer"
        )
    sigma, correlation, scaled = _normalise(covariance, mixing)
    inverse_scaled = np.linalg.solve(correlation, scaled)
    gram = np.swapaxes(scaled, -1, -2) @ inverse_scaled
    kept = np.zeros((n_components, 1))
    kept[0] = 1 / np.max(np.abs(mixing[:, 0]))
    return (inverse_scaled @ np.linalg.solve(gram, kept))[..., 0] / sigma


def unexpected_power(covariance: Array, expected: Array, mixing: Array) -> Array:
    """Power of the data in units of what is expected, where no component of `mixing` can be seen.

    Combinations of channels that cancel the CMB show foregrounds and noise alone.  This is the mean over all
    of them of observed by expected power: tr(Q C) / (n_channels - n_components), with
    Q = N^-1 - N^-1 A (A^T N^-1 A)^-1 A^T N^-1.

    Parameters
    ----------
    covariance
        Covariances of the data, ``(..., n_channels, n_channels)``, uK_CMB^2.
    expected
        Covariances of foregrounds and noise that are expected, the same shape and unit.
    mixing
        As for `weights`, with fewer components than channels.

    Returns
    -------
    Array
        1 where the data are as expected, ``(...)``.
    """
    sigma, correlation, scaled = _normalise(expected, mixing)
    inverse = np.linalg.inv(correlation)
    inverse_scaled = inverse @ scaled
    gram = np.swapaxes(scaled, -1, -2) @ inverse_scaled
    observed = covariance / (sigma[..., :, None] * sigma[..., None, :])
    seen = np.linalg.solve(gram, np.swapaxes(inverse_scaled, -1, -2) @ observed @ inverse_scaled)
    total = np.einsum("...ij,...ij->...", inverse, observed) - np.trace(seen, axis1=-2, axis2=-1)
    return total / (mixing.shape[0] - mixing.shape[1])


def _normalise(covariance: Array, mixing: Array) -> tuple[Array, Array, Array]:
    """Standard deviations, correlation with its ridge, and mixing in units of the standard deviations."""
    sigma = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    correlation = covariance / (sigma[..., :, None] * sigma[..., None, :])
    scaled = mixing / np.max(np.abs(mixing), axis=0) / sigma[..., :, None]
    return sigma, correlation + RIDGE * np.eye(len(mixing)), scaled


def known_beams(fwhm_arcmin: Sequence[float | None], n_channels: int) -> list[float]:
    """Beams of the channels, where each has one.

    Raises
    ------
    ValueError
        Where a beam is None, or their number is not that of the channels.
    """
    if len(fwhm_arcmin) != n_channels:
        raise ValueError(f"{len(fwhm_arcmin)} beams for {n_channels} channels: give one FWHM for each")
    known = [fwhm for fwhm in fwhm_arcmin if fwhm is not None]
    if len(known) < n_channels:
        raise ValueError(
            f"the beam of channel {list(fwhm_arcmin).index(None)} is unknown: give its FWHM in arcmin"
        )
    return known


def check_alms(alms: Alm, lmax: int) -> None:
    """Refuse channels that no combination can use.

    Raises
    ------
    ValueError
        Where a channel is zero or not finite, or `lmax` is beyond the band-limit of the a_lm.
    """
    for channel, alm in enumerate(alms):
        if not np.all(np.isfinite(alm)):
            raise ValueError(
                f"channel {channel} has values that are not finite: fill or mask its missing pixels"
            )
        if not np.any(alm):
            raise ValueError(f"channel {channel} is zero everywhere: leave it out")
    if lmax > lmax_of(alms):
        raise ValueError(f"lmax {lmax} is beyond the band-limit {lmax_of(alms)} of the input: lower lmax")
