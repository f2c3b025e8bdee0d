"""Needlet windows: functions h_j(l) whose squares sum to one at every multipole.

A map is cut into scales by multiplying its a_lm with h_j, and put together again by multiplying once more and
adding: nothing is lost as long as sum_j h_j(l)^2 = 1.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from cmbml.sky.sht import Cl

# Windows below this are cut to zero, and the rest is normalised anew: each scale then has a band-limit.
FLOOR = 1e-3


def cosine_bands(peaks: Sequence[int], lmax: int) -> Cl:
    """Cosine needlets, one scale for each peak.

    Scale j rises as a cosine from zero at the peak before to one at its own, and falls to zero at the next.
    The first scale is one below its peak, the last one is one above its own.

    Parameters
    ----------
    peaks
        Multipoles of the maxima, strictly increasing, the first above zero.  The last may lie above `lmax`.
    lmax
        Band-limit.

    Returns
    -------
    Cl
        Windows h_j(l), ``(len(peaks), lmax + 1)``, with sum_j h_j^2 = 1 at every l.

    Raises
    ------
    ValueError
        Where the peaks do not increase, or a scale has no multipole at or below `lmax`.

    References
    ----------
    Planck 2018 results IV, appendix B (arXiv:1807.06208); Basak & Delabrouille (arXiv:1204.0292), equation 6.
    """
    _check_peaks(peaks, lmax)
    ell = np.arange(lmax + 1)
    # fraction of power below scale j + 1: falls from one to zero between peak j and peak j + 1
    edges = [
        np.cos(0.5 * np.pi * np.clip((ell - low) / (high - low), 0, 1)) ** 2 for low, high in pairwise(peaks)
    ]
    return _bands_between(np.reshape(edges, (len(peaks) - 1, lmax + 1)))


def gaussian_bands(peaks: Sequence[int], lmax: int) -> Cl:
    """Needlets that are differences of Gaussian beams, one scale for each peak.

    The beam between scales j and j + 1 is exp(-l (l + 1) / (p_j p_{j+1})) in power: each window has
    its maximum near its own peak.

    Parameters
    ----------
    peaks, lmax
        As for `cosine_bands`.

    Returns
    -------
    Cl
        Windows h_j(l), ``(len(peaks), lmax + 1)``, with sum_j h_j^2 = 1 at every l.

    Raises
    ------
    ValueError
        As `cosine_bands`.

    References
    ----------
    Planck intermediate results XLVIII (arXiv:1605.09387), equations A.29 to A.32.
    """
    _check_peaks(peaks, lmax)
    ell = np.arange(lmax + 1)
    edges = [np.exp(-ell * (ell + 1) / (low * high)) for low, high in pairwise(peaks)]
    return _with_band_limits(_bands_between(np.reshape(edges, (len(peaks) - 1, lmax + 1))))


def mexican_bands(peaks: Sequence[int], lmax: int) -> Cl:
    """Mexican needlets, one scale for each peak: x exp(1 - x) with x = (l / peak)^2, normalised.

    Compared with cosines they are better localised on the sky and worse in l.  The first scale is one below
    its peak and the last one above its own, before the squares are made to sum to one; that shifts maxima a
    little.

    Parameters
    ----------
    peaks, lmax
        As for `cosine_bands`.

    Returns
    -------
    Cl
        Windows h_j(l), ``(len(peaks), lmax + 1)``, with sum_j h_j^2 = 1 at every l.

    Raises
    ------
    ValueError
        As `cosine_bands`.

    References
    ----------
    Geller & Mayeli 2009 (arXiv:0706.3642); Narcowich, Petrushev & Ward 2006.
    """
    _check_peaks(peaks, lmax)
    x = (np.arange(lmax + 1) / np.reshape(peaks, (-1, 1))) ** 2
    windows = x * np.exp(1 - x)
    windows[0, x[0] < 1] = 1
    windows[-1, x[-1] > 1] = 1
    return _with_band_limits(windows)


BANDS: dict[str, Callable[[Sequence[int], int], Cl]] = {
    "cosine": cosine_bands,
    "gaussian": gaussian_bands,
    "mexican": mexican_bands,
}


def _bands_between(low_pass: Cl) -> Cl:
    """Windows from the squares of nested low-pass filters, from the narrowest to the widest."""
    nothing, everything = np.zeros((1, low_pass.shape[1])), np.ones((1, low_pass.shape[1]))
    return np.sqrt(np.diff(np.concatenate([nothing, low_pass, everything]), axis=0))


def _with_band_limits(windows: Cl) -> Cl:
    windows = windows / np.sqrt(np.sum(windows**2, axis=0))
    windows[windows < FLOOR] = 0
    return windows / np.sqrt(np.sum(windows**2, axis=0))


def _check_peaks(peaks: Sequence[int], lmax: int) -> None:
    if not peaks or peaks[0] <= 0 or any(a >= b for a, b in pairwise(peaks)):
        raise ValueError(f"needlet peaks {list(peaks)} must be positive and strictly increasing")
    if len(peaks) > 1 and peaks[-2] >= lmax:
        raise ValueError(
            f"the needlet scale of peak {peaks[-1]} has no multipole up to lmax {lmax}: "
            f"drop peaks above {lmax} but the first of them"
        )
