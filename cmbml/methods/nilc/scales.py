"""Needlet scales of a set of channels: which of them a scale uses, and the filters there and back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmbml.methods.ilc import BEAM_CRITERION
from cmbml.methods.needlets import BANDS
from cmbml.sky.grid import GaussGrid
from cmbml.sky.sht import Alm, Cl, Map, almxfl, gaussian_beam, resize_alm

FloatArray = NDArray[np.floating]

# A window below this does not count as support.
WINDOW_FLOOR = 1e-3
# The CMB falls roughly as 1 / (l + 10)^2.
TURNOVER = 10


@dataclass(frozen=True)
class Scale:
    """One needlet scale.

    Inside the scale all multipoles of the CMB are given the same variance: chance correlations with
    foregrounds come from few bright modes otherwise.  The factor (l + 10) is
    taken back on the way to the map.

    Attributes
    ----------
    number
        Place in the list of scales, from 0.
    window
        Needlet window h_j(l) up to the scale's own band-limit, ``(lmax_j + 1,)``.
    channels
        Indices of the channels whose beam reaches the scale, ``(n_used,)``.
    rebeam
        Output beam over beam of each channel in use, ``(n_used, lmax_j + 1)``.
    """

    number: int
    window: Cl
    channels: NDArray[np.intp]
    rebeam: FloatArray

    @property
    def lmax(self) -> int:
        """Band-limit of the scale."""
        return len(self.window) - 1

    @property
    def n_modes(self) -> float:
        """Number of modes of the scale on the whole sky."""
        return float(np.sum((2 * np.arange(self.lmax + 1) + 1) * self.window**2))

    @property
    def _flatten(self) -> Cl:
        return (np.arange(self.lmax + 1) + TURNOVER) / (self.lmax + TURNOVER)

    def grid(self, lmax_weights: int, threads: int) -> GaussGrid:
        """Grid on which weights times needlets, analysed up to `lmax`, are exact."""
        return GaussGrid((2 * self.lmax + lmax_weights) // 2, threads)

    def needlets(self, alms: Alm, grid: GaussGrid) -> Map:
        """Needlet coefficients of the channels in use, at the output beam: ``(n_used, size)``."""
        short = resize_alm(alms[self.channels], self.lmax)
        filters = self.rebeam * self.window * self._flatten
        return grid.synthesise_scalars(
            np.array([almxfl(alm, fl) for alm, fl in zip(short, filters, strict=True)])
        )

    def synthesis(self, needlet: Map, grid: GaussGrid) -> Alm:
        """What one map of coefficients adds to the a_lm of the sky, ``(nalm,)`` up to `lmax`."""
        return almxfl(grid.analyse(needlet[None], self.lmax)[0], self.window / self._flatten)


def needlet_scales(
    lmax: int, *, peaks: Sequence[int], needlets: str, fwhm_arcmin: Sequence[float], fwhm_out: float
) -> list[Scale]:
    """Scales of one kind of needlets for channels with these beams.

    Parameters
    ----------
    lmax
        Band-limit.
    peaks, needlets
        Multipoles of the maxima, and the kind: one of `cmbml.methods.needlets.BANDS`.
    fwhm_arcmin, fwhm_out
        FWHM of the Gaussian beam of each channel and of the output, arcmin.

    Raises
    ------
    ValueError
        Where the kind is unknown, the peaks do not increase, or no channel reaches a scale.
    """
    if needlets not in BANDS:
        raise ValueError(f"unknown needlets {needlets}: choose {', '.join(BANDS)}")
    return [
        _scale(number, window[: np.flatnonzero(window)[-1] + 1], fwhm_arcmin, fwhm_out)
        for number, window in enumerate(BANDS[needlets](peaks, lmax))
    ]


def _scale(number: int, window: Cl, fwhm_arcmin: Sequence[float], fwhm_out: float) -> Scale:
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
    return Scale(number, window, channels, out / beams[channels])
