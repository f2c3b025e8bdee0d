"""Sums of foreground components through bandpasses, on any set of points."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cmbml.sky.grid import GaussGrid
from cmbml.sky.passbands import Band, as_bandpass
from cmbml.sky.sht import Alm, Map
from cmbml.sky.units import GHZ_PER_KELVIN, power_law

Number = TypeVar("Number", bound=np.generic)
Law = Callable[[slice, float], Map | float]
CHUNK = 1 << 15  # points evaluated at once: their arrays stay in cache


@dataclass(frozen=True)
class Component:
    """Emission of one component on some points.

    Attributes
    ----------
    templates
        Brightness at the reference frequencies, T or T, Q, U: ``(n_stokes, n_points)`` in uK_RJ.
    laws
        Factor from the reference to another frequency: given the points and GHz, that of T and that of Q, U.
    amplitude
        Factor on everything.
    """

    templates: Map
    laws: tuple[Law, Law]
    amplitude: float = 1.0

    def add_to(self, total: Map, points: slice, band: Band) -> None:
        """Add this component's band average in uK_CMB on some points to ``(n_stokes, n_points)``."""
        passband = as_bandpass(band)
        for law, rows in zip(self.laws, (slice(0, 1), slice(1, len(total))), strict=True):
            if len(self.templates[rows]):
                factor = self.amplitude * passband.average(partial(law, points))
                total[rows] += self.templates[rows, points] * factor


def band_map(components: Iterable[Component], band: Band, n_stokes: int, *, threads: int = 1) -> Map:
    """Sum of components in one band: ``(n_stokes, n_points)`` in uK_CMB; the same for any `threads`."""
    parts = list(components)
    n_points = parts[0].templates.shape[-1]
    total = np.zeros((n_stokes, n_points))

    def fill(first: int) -> None:
        points = slice(first, first + CHUNK)
        for part in parts:
            part.add_to(total[:, points], points, band)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(fill, range(0, n_points, CHUNK)))
    return total


def band_alm(components: Sequence[Component], band: Band, n_stokes: int, grid: GaussGrid, lmax: int) -> Alm:
    """Sum of components in one band, analysed: ``(n_stokes, nalm)`` of T or T, E, B in uK_CMB."""
    sky = band_map(components, band, n_stokes, threads=grid.threads)
    temperature = grid.analyse(sky[:1], lmax)
    if n_stokes == 1:
        return temperature
    return np.concatenate([temperature, grid.analyse(sky[1:], lmax, spin=2)])


def squeeze(rows: Sequence[NDArray[Number]]) -> NDArray[Number]:
    """Bands as the first axis; the axis of Stokes parameters only where there are three."""
    return np.stack([row[0] if len(row) == 1 else row for row in rows])


def grey_body(reference_ghz: float, index: Map, temperature: Map) -> Law:
    """Law of `units.modified_blackbody`, with what does not depend on the band worked out once."""
    scale = 1 / (GHZ_PER_KELVIN * np.asarray(temperature, dtype=np.float64))
    at_reference = np.expm1(reference_ghz * scale)

    def law(points: slice, freq_ghz: float) -> Map:
        factor = power_law(freq_ghz, reference_ghz, index[points] + 1)
        factor *= at_reference[points]
        factor /= np.expm1(freq_ghz * scale[points])
        return factor

    return law
