"""Every method behind one call: channels in, the cleaned field and its weights out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from cmbml.methods.hilc.configured import configured_hilc
from cmbml.methods.hilc.hilc import FloatArray, bin_edges
from cmbml.methods.hilc.hilc import apply_weights as apply_harmonic
from cmbml.methods.hilc.hilc import part as harmonic_part
from cmbml.methods.hilc.params import HilcParams, PlainHilcParams
from cmbml.methods.nilc.configured import configured_nilc
from cmbml.methods.nilc.covariance import part as needlet_part
from cmbml.methods.nilc.nilc import ScaleWeights
from cmbml.methods.nilc.nilc import apply_weights as apply_needlets
from cmbml.methods.nilc.params import NilcParams, RegularisedNilcParams
from cmbml.methods.nilc.scales import WINDOW_FLOOR
from cmbml.sky.passbands import Band
from cmbml.sky.sht import Alm, alm2cl, gaussian_beam

# Peaks of the default needlets, in units of the band-limit.
PEAK_FRACTIONS = (1 / 12, 1 / 6, 1 / 3, 1 / 2, 3 / 4)

Settings = TypeVar("Settings", bound=BaseModel)
Learned = TypeVar("Learned", bound=np.inexact)
WeightRow = dict[str, float | str]


@dataclass(frozen=True)
class Channels:
    """One field, T or E or B, in all bands.

    Attributes
    ----------
    alms
        a_lm of each band at its own beam, ``(n_freq, nalm)``, uK_CMB.
    names
        Names of the bands.
    freq_ghz, fwhm_arcmin
        Centres, GHz, and beams, arcmin.
    passbands
        What each band makes of a spectrum.
    """

    alms: Alm
    names: Sequence[str]
    freq_ghz: Sequence[float]
    fwhm_arcmin: Sequence[float]
    passbands: Sequence[Band]


@dataclass(frozen=True)
class Target:
    """Beam, arcmin, and band-limit of the result."""

    fwhm_arcmin: float
    lmax: int


@dataclass(frozen=True)
class Cleaned:
    """A cleaned field.

    Attributes
    ----------
    alm
        a_lm at the output beam, ``(nalm,)``, uK_CMB.
    apply
        The same weights on a_lm of the same channels, ``(n_freq, nalm)`` to ``(nalm,)``.
    weights
        Rows of a table: number and range of l of a needlet scale or a bin, band, and mean and scatter over
        the sky of its weight, for channels at the output beam; the means of all bands add up to one.
    """

    alm: Alm
    apply: Callable[[Alm], Alm]
    weights: list[WeightRow]


@dataclass(frozen=True)
class Method(Generic[Settings, Learned]):
    """How a method is called.

    Attributes
    ----------
    params
        Model of its settings.
    clean
        Cleans channels: settings, the result's beam and band-limit, learned covariance of this field (None
        without), threads.
    defaults
        Values of settings.
    part
        The covariance of some channels, of a learned one of all; None where it learns nothing.
    """

    params: type[Settings]
    clean: Callable[[Channels, Settings, Target, NDArray[Learned] | None, int], Cleaned]
    defaults: Mapping[str, object]
    part: Callable[[NDArray[Learned], NDArray[np.intp], int], NDArray[Learned]] | None = None

    @property
    def learned(self) -> bool:
        """Whether it needs what its pipeline stage has learned."""
        return self.part is not None


def default_peaks(lmax: int) -> list[int]:
    """Needlet peaks for a band-limit: 50, 100, 200, 300, 450, 601 at 600."""
    return sorted({max(1, round(lmax * fraction)) for fraction in PEAK_FRACTIONS} | {lmax + 1})


def _clean_nilc(
    channels: Channels, settings: NilcParams, target: Target, learned: Alm | None, threads: int
) -> Cleaned:
    result = configured_nilc(
        channels.alms,
        settings,
        fwhm_arcmin=channels.fwhm_arcmin,
        fwhm_out=target.fwhm_arcmin,
        passbands=channels.passbands,
        lmax=target.lmax,
        learned=learned,
        threads=threads,
    )
    rows = [row for entry in result.weights for row in _needlet_rows(entry, channels.names)]
    apply = partial(apply_needlets, result.weights, lmax=target.lmax, threads=threads)
    return Cleaned(result.alm, apply, rows)


def _needlet_rows(entry: ScaleWeights, names: Sequence[str]) -> list[WeightRow]:
    inside = np.flatnonzero(entry.scale.window > WINDOW_FLOOR)
    rows = []
    for channel, alm in zip(entry.scale.channels, entry.alm, strict=True):
        cl = alm2cl(alm)
        scatter = np.sqrt(np.sum((2 * np.arange(len(cl)) + 1)[1:] * cl[1:]) / (4 * np.pi))
        mean = alm[0].real / np.sqrt(4 * np.pi)
        rows.append(_row(entry.scale.number, (inside[0], inside[-1]), names[channel], mean, scatter))
    return rows


def _clean_hilc(
    channels: Channels, settings: PlainHilcParams, target: Target, learned: FloatArray | None, _: int
) -> Cleaned:
    lmax = target.lmax
    result = configured_hilc(
        channels.alms,
        settings,
        fwhm_arcmin=channels.fwhm_arcmin,
        fwhm_out=target.fwhm_arcmin,
        lmax=lmax,
        learned=learned,
    )
    edges = bin_edges(lmax, settings.bin_width, len(channels.alms))
    beams = np.array([gaussian_beam(fwhm, lmax) for fwhm in channels.fwhm_arcmin])
    weights = result.weights * beams / gaussian_beam(target.fwhm_arcmin, lmax)
    rows = [
        _row(number, (low, high - 1), name, weight[low], 0.0)
        for number, (low, high) in enumerate(pairwise(edges))
        for name, weight in zip(channels.names, weights, strict=True)
    ]
    return Cleaned(result.alm, partial(apply_harmonic, result.weights), rows)


def _row(scale: int, ell: Sequence[int], band: str, mean: float, scatter: float) -> WeightRow:
    return {
        "scale": scale,
        "ell_min": int(ell[0]),
        "ell_max": int(ell[1]),
        "band": band,
        "mean": float(mean),
        "scatter": float(scatter),
    }


# Values of settings where neither the user nor a model gives them.
METHODS: dict[str, Method[Any, Any]] = {
    "nilc": Method(NilcParams, _clean_nilc, {"ilc_bias": 0.001}),
    "nilc_regularised": Method(
        RegularisedNilcParams, _clean_nilc, {"ilc_bias": 0.001, "shrinkage": 0.999}, needlet_part
    ),
    "hilc": Method(HilcParams, _clean_hilc, {"shrinkage": 1.0}, harmonic_part),
    "hilc_plain": Method(PlainHilcParams, _clean_hilc, {"bin_width": 10}),
}


def settings_of(
    method: Method[Settings, Learned],
    *,
    lmax: int,
    learned: Mapping[str, object],
    chosen: Mapping[str, object],
) -> Settings:
    """Settings of a method: the user's, else those that the model was learned with, else the defaults.

    Parameters
    ----------
    method
        The method.
    lmax
        Band-limit of the result.
    learned
        What the model was made with, by name.
    chosen
        The user's values, by name.

    Raises
    ------
    ValueError
        Where a value is unknown or out of range (pydantic's).
    """
    known = {"peaks": default_peaks(lmax), **method.defaults, **learned}
    mine = {key: value for key, value in known.items() if key in method.params.model_fields}
    return method.params(**(mine | dict(chosen)))
