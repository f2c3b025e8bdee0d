"""Needlet windows: functions h_j(l) whose squares sum to one at every multipole.

A map is cut into scales by multiplying its a_lm with h_j, and put together again by multiplying once more and
adding: nothing is lost as long as sum_j h_j(l)^2 = 1.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from cmbml.sky.sht import Cl


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
    return bands_between(np.reshape(edges, (len(peaks) - 1, lmax + 1)))


def bands_between(low_pass: Cl) -> Cl:
    """Windows from the squares of nested low-pass filters.

    Parameters
    ----------
    low_pass
        Squared low-pass filters from the narrowest to the widest, ``(n_scales - 1, lmax + 1)``, in [0, 1].

    Returns
    -------
    Cl
        Windows h_j(l), ``(n_scales, lmax + 1)``: the square of each is the step from one filter to the next.
    """
    nothing, everything = np.zeros((1, low_pass.shape[1])), np.ones((1, low_pass.shape[1]))
    return np.sqrt(np.diff(np.concatenate([nothing, low_pass, everything]), axis=0))


def _check_peaks(peaks: Sequence[int], lmax: int) -> None:
    if not peaks or peaks[0] <= 0 or any(a >= b for a, b in pairwise(peaks)):
        raise ValueError(f"needlet peaks {list(peaks)} must be positive and strictly increasing")
    if len(peaks) > 1 and peaks[-2] >= lmax:
        raise ValueError(
            f"the needlet scale of peak {peaks[-1]} has no multipole up to lmax {lmax}: "
            f"drop peaks above {lmax} but the first of them"
        )
