"""The reference rows of every table: the noise floor and the perfect estimate.

The perfect estimate is the truth itself, through `cmbml.analysis.postprocess`.  The noise floor is the best
unbiased linear combination of the bands where there are no foregrounds at all: what is left is noise only,
and no linear method that keeps the CMB whole can have less in their presence, as long as the noise of all
bands has one pattern on the sky: the weights depend on l alone.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cmbml.sky.sht import ARCMIN, FWHM_PER_SIGMA, Alm, Cl, almxfl, gaussian_beam

NOISE_FLOOR = "noise_floor"
PERFECT = "perfect_estimate"
REFERENCE_LABELS = {NOISE_FLOOR: "noise floor", PERFECT: "perfect estimate"}


def label(method: str) -> str:
    """Name of a method or reference row, as readers see it."""
    return REFERENCE_LABELS.get(method, method)


def noise_floor_weights(noise_cl: Cl, fwhm_arcmin: ArrayLike, lmax: int) -> NDArray[np.float64]:
    """Inverse-variance weights, at each l, of bands whose beams have been divided out.

    Parameters
    ----------
    noise_cl
        Noise spectra of the bands as observed, uK_CMB^2: ``(n_freq, lmax + 1)`` or longer.
    fwhm_arcmin
        Gaussian beams of the bands: ``(n_freq,)``.
    lmax
        Band-limit.

    Returns
    -------
    ndarray
        Weights, of sum 1 at every l: ``(n_freq, lmax + 1)``.

    Raises
    ------
    ValueError
        Where a spectrum is not positive or too short.
    """
    noise = np.asarray(noise_cl, dtype=np.float64)[:, : lmax + 1]
    beams = np.asarray(fwhm_arcmin, dtype=np.float64)
    if noise.shape != (len(beams), lmax + 1) or np.any(noise <= 0):
        raise ValueError(
            f"the noise floor needs a positive spectrum up to lmax {lmax} for each of {len(beams)} bands, "
            f"got shape {noise.shape} and minimum {noise.min(initial=np.inf):g}"
        )
    # In logarithms: a blunt beam at high l underflows when squared.
    log_weights = 2 * np.array([_log_beam(fwhm, lmax) for fwhm in beams]) - np.log(noise)
    weights = np.exp(log_weights - log_weights.max(axis=0))
    return weights / weights.sum(axis=0)


def combine(alms: Alm, weights: NDArray[np.floating], fwhm_arcmin: ArrayLike, fwhm_out: float) -> Alm:
    """Combine bands with weights for divided-out beams into a_lm of the beam `fwhm_out`.

    Parameters
    ----------
    alms
        a_lm of the bands, each with its beam: ``(n_freq, nalm)``.
    weights
        Weights at each l: ``(n_freq, lmax + 1)``.
    fwhm_arcmin
        Gaussian beams of the bands: ``(n_freq,)``.
    fwhm_out
        Beam of the result in arcmin.

    Returns
    -------
    Alm
        ``(nalm,)``, the unit of `alms`.
    """
    lmax = weights.shape[1] - 1
    out = gaussian_beam(fwhm_out, lmax)
    bands = zip(alms, weights, np.asarray(fwhm_arcmin), strict=True)
    return sum(
        (almxfl(alm, _ratio(weight * out, gaussian_beam(fwhm, lmax))) for alm, weight, fwhm in bands),
        start=np.zeros(alms.shape[1], dtype=np.complex128),
    )


def _log_beam(fwhm_arcmin: float, lmax: int) -> Cl:
    ell = np.arange(lmax + 1)
    return -0.5 * ell * (ell + 1) * (fwhm_arcmin * ARCMIN / FWHM_PER_SIGMA) ** 2


def _ratio(weight: Cl, beam: Cl) -> Cl:
    """Divide, giving 0 where the weight is 0: there the beam may have underflowed."""
    return np.divide(weight, beam, out=np.zeros_like(weight), where=weight > 0)
