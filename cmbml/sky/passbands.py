"""Bandpasses: how emission of many frequencies becomes one number in uK_CMB.

A detector integrates power, so with transmission tau the band's thermodynamic temperature is

    T_CMB = int tau nu^2 T_RJ dnu / int tau nu^2 (dT_RJ / dT_CMB) dnu

(Planck 2013 results IX, arXiv:1303.5070; PySM's convention too).  A table may give the response to
Rayleigh-Jeans temperature instead, tau nu^2, as those of Planck's LFI do (Planck 2015 results X,
arXiv:1502.01588, section 4.2).  The CMB itself is the same in every band.
Any band is held as a few Gauss quadrature nodes of this integral: thousands of tabulated rows cost as little
as six frequencies.  For Planck's tables that leaves 2e-5 at most, and 5e-5 at 857 GHz.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cmbml.sky.units import rj_to_cmb

Array = NDArray[np.floating]
Emission = Array | float
NODES = 6
FLOOR = 1e-6  # of the highest transmission; below it tables hold extrapolations up to 18 THz
NOISE = 0.1  # of the highest transmission: what is further below zero is no noise
HIGHEST_GHZ = 2e4  # the limit of `rj_to_cmb`

Convention = Literal["power", "rj"]


@dataclass(frozen=True)
class Bandpass:
    """Quadrature of one band.

    Attributes
    ----------
    freqs_ghz
        Nodes, GHz.
    weights
        Contribution of 1 uK_RJ at each node to the band, uK_CMB.
    nominal_ghz
        Where the brightness of a source with nu I_nu constant is quoted, GHz.
    """

    freqs_ghz: tuple[float, ...]
    weights: tuple[float, ...]
    nominal_ghz: float

    def average(self, law: Callable[[float], Emission]) -> Emission:
        """Band average in uK_CMB of an emission law, a function of GHz in uK_RJ."""
        terms = (weight * law(freq) for freq, weight in zip(self.freqs_ghz, self.weights, strict=True))
        return sum(terms)


Band = float | Bandpass
"""A band: its frequency in GHz, where the passband does not matter, or its bandpass."""


def as_bandpass(band: Band) -> Bandpass:
    """Bandpass of one frequency, or the bandpass itself."""
    if isinstance(band, Bandpass):
        return band
    return Bandpass((float(band),), (float(rj_to_cmb(band)),), float(band))


class Table(Protocol):
    """A passband as its file gives it."""

    @property
    def convention(self) -> Convention:
        """What the response weighs."""

    @property
    def nominal_ghz(self) -> float | None:
        """Where brightness is quoted, GHz; None: at the centre."""

    @property
    def freq_ghz(self) -> Sequence[float]:
        """Frequencies, GHz."""

    @property
    def response(self) -> Sequence[float]:
        """Response at these."""


class Described(Protocol):
    """A band as an instrument describes it."""

    @property
    def freq_ghz(self) -> float:
        """Its centre, GHz."""

    @property
    def bandwidth_ghz(self) -> float | None:
        """Full width of a top hat, GHz."""

    @property
    def passband(self) -> Table | None:
        """Its table."""


def passband_of(band: Described) -> Bandpass:
    """What a band makes of a sky: its table, else a top hat over its bandwidth, else its centre.

    Raises
    ------
    ValueError
        As `tabulated`.
    """
    table, centre = band.passband, band.freq_ghz
    if table is not None:
        return tabulated(
            np.array(table.freq_ghz),
            np.array(table.response),
            centre,
            convention=table.convention,
            nominal_ghz=table.nominal_ghz,
        )
    if band.bandwidth_ghz is not None:
        return top_hat(centre - band.bandwidth_ghz / 2, centre + band.bandwidth_ghz / 2)
    return as_bandpass(centre)


def top_hat(low_ghz: float, high_ghz: float) -> Bandpass:
    """Constant transmission between two frequencies.

    Raises
    ------
    ValueError
        Where the edges are not positive and in order.
    """
    if not 0 < low_ghz < high_ghz:
        raise ValueError(f"bandpass: the top hat from {low_ghz:g} to {high_ghz:g} GHz is empty")
    x, weights = np.polynomial.legendre.leggauss(16)
    freqs = low_ghz + (high_ghz - low_ghz) * (x + 1) / 2
    return _compress(freqs, weights, (low_ghz + high_ghz) / 2)


def tabulated(
    freqs_ghz: Array,
    transmission: Array,
    centre_ghz: float,
    *,
    convention: Convention = "power",
    nominal_ghz: float | None = None,
) -> Bandpass:
    """Bandpass from a table, by the trapezium rule.

    Parameters
    ----------
    freqs_ghz
        Frequencies in GHz, increasing.
    transmission
        Response at these, in any unit; a little noise below zero counts as zero.
    centre_ghz
        Centre of the band, for the check that this is its table.
    convention
        What the response weighs: power, or Rayleigh-Jeans temperature.
    nominal_ghz
        As for `Bandpass`; None for the centre.

    Raises
    ------
    ValueError
        Where the table is ragged, unsorted, empty, not finite, clearly negative, or does not cover its band.
    """
    freqs, response = np.asarray(freqs_ghz, dtype=np.float64), np.asarray(transmission, dtype=np.float64)
    try:
        _check_table(freqs, response)
        response = response / response.max()
        _check_coverage(freqs, response, centre_ghz)
    except ValueError as error:
        raise ValueError(f"bandpass of {centre_ghz:g} GHz: {error}") from None
    response = np.where(response > FLOOR, response, 0)
    if convention == "rj":
        response = response / freqs**2
    steps = np.diff(freqs)
    widths = np.concatenate([steps, [0]]) / 2 + np.concatenate([[0], steps]) / 2
    return _compress(freqs, response * widths, centre_ghz if nominal_ghz is None else nominal_ghz)


def _check_table(freqs: Array, response: Array) -> None:
    if freqs.shape != response.shape or freqs.ndim != 1 or len(freqs) < 2:
        raise ValueError("needs two columns of equal length, at least two rows")
    bad = np.flatnonzero(~np.isfinite(freqs) | ~np.isfinite(response))
    if len(bad):
        raise ValueError(f"row {bad[0] + 1} is not finite: leave it out")
    if freqs[0] <= 0 or not (np.diff(freqs) > 0).all():
        raise ValueError("frequencies must be positive and increasing, each once")
    if response.max() <= 0:
        raise ValueError("the transmission is zero everywhere")
    if response.min() < -NOISE * response.max():
        raise ValueError(f"the transmission is negative at {freqs[response.argmin()]:g} GHz")


def _check_coverage(freqs: Array, response: Array, centre_ghz: float) -> None:
    low, high = freqs[response > 0.01][[0, -1]]
    if not low <= centre_ghz <= high:
        raise ValueError(
            f"the table transmits {low:g} to {high:g} GHz only and does not cover its band: is it in GHz?"
        )
    if (highest := freqs[response > FLOOR][-1]) > HIGHEST_GHZ:
        raise ValueError(f"the table transmits at {highest:g} GHz: cut it off below {HIGHEST_GHZ:g} GHz")


def _compress(freqs: Array, response: Array, nominal_ghz: float) -> Bandpass:
    """Gauss nodes in ln(frequency) of the measure response nu^2 dnu, normalised to the CMB."""
    kept = response > 0
    freqs, response = freqs[kept], response[kept]
    measure = response * freqs**2
    measure /= measure.sum()
    x = np.log(freqs)
    nodes, weights = _gauss_rule(x - x.mean(), measure, min(NODES, len(x)))
    freqs = np.exp(nodes + x.mean())
    weights /= np.sum(weights / rj_to_cmb(freqs))
    return Bandpass(tuple(freqs.tolist()), tuple(weights.tolist()), nominal_ghz)


def _gauss_rule(x: Array, measure: Array, n: int) -> tuple[Array, Array]:
    """Gauss quadrature of a discrete measure: Stieltjes' recurrence and the eigenvalues of its matrix.

    Golub & Welsch 1969 (Math. Comp. 23, 221); exact for polynomials up to degree 2n - 1.
    """
    previous, current = np.zeros_like(x), np.ones_like(x)
    alphas, norms = [], []
    for _ in range(n):
        norms.append(np.sum(measure * current**2))
        alphas.append(np.sum(measure * x * current**2) / norms[-1])
        beta = norms[-1] / norms[-2] if len(norms) > 1 else 0.0
        previous, current = current, (x - alphas[-1]) * current - beta * previous
    off = np.sqrt(np.array(norms[1:]) / np.array(norms[:-1]))
    nodes, vectors = np.linalg.eigh(np.diag(alphas) + np.diag(off, 1) + np.diag(off, -1))
    return nodes, norms[0] * vectors[0] ** 2
