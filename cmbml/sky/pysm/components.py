"""PySM's models as plain arrays, on the pixels of their templates or on a Gauss-Legendre grid."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from cmbml.sky.emission import Component, Law, grey_body
from cmbml.sky.foregrounds import ForegroundDraw
from cmbml.sky.grid import GaussGrid
from cmbml.sky.instrument import PIXEL_LMAX
from cmbml.sky.pysm.templates import check_preset, offline, preset_config, require_templates
from cmbml.sky.sht import Alm, Map, map2alm, nside_of, resize_alm
from cmbml.sky.units import power_law

if TYPE_CHECKING:
    from pysm3 import Model

PEAK_REFERENCE_GHZ = 30.0  # PySM keeps the peak of spinning dust in units of this
AMPLITUDES = {"d": "dust_amplitude", "s": "sync_amplitude", "f": "freefree_amplitude", "a": "ame_amplitude"}
OFFSETS = {"d": ("dust_beta", "dust_temp"), "s": ("sync_beta",), "f": (), "a": ("ame_peak",)}
FINE, LEAST_FINE = 4, 512  # averages over pixels so small take 1 per cent at l = 2.5 nside
PEAKS = 4096  # leaves 1e-6 of the emission, at the kinks of PySM's table


@dataclass(frozen=True)
class Leaf:
    """One PySM model of a law that is known here.

    Attributes
    ----------
    kind
        PySM's class.
    templates
        T, or T, Q, U: ``(n_stokes, n_points)`` in uK_RJ.
    references
        Reference frequencies of T and of Q and U, GHz.
    parameters
        Spectral parameters: numbers or ``(n_points,)``.
    """

    kind: str
    templates: Map
    references: tuple[float, float]
    parameters: Mapping[str, Map]


_PARAMETERS = {
    "ModifiedBlackBody": ("mbb_index", "mbb_temperature"),
    "PowerLaw": ("pl_index",),
    "CurvedPowerLaw": ("pl_index", "spectral_curvature", "freq_curve"),
    "SpDust": ("freq_peak",),
}


def _leaf(model: "Model", n_stokes: int) -> Leaf:
    """Arrays of a PySM model."""
    kind = type(model).__name__
    polarised = n_stokes == 3 and getattr(model, "has_polarization", False)
    parts = [model.I_ref, model.Q_ref, model.U_ref] if polarised else [model.I_ref]
    references = (model.freq_ref_I, model.freq_ref_P if polarised else model.freq_ref_I)
    parameters = {name: np.asarray(getattr(model, name).value, np.float64) for name in _PARAMETERS[kind]}
    if kind == "SpDust":
        parameters["emissivity"] = np.asarray(model.emissivity)
    return Leaf(
        kind,
        np.stack([np.asarray(part.value, np.float64) for part in parts]),
        (float(references[0].value), float(references[1].value)),
        parameters,
    )


def _leaves(model: "Model", n_stokes: int) -> list[Leaf] | None:
    """All parts of a model, or None where one has a law of its own."""
    parts = getattr(model, "components", [model])
    if any(type(part).__name__ not in _PARAMETERS for part in parts):
        return None
    return [_leaf(part, n_stokes) for part in parts]


def _at(values: Map, points: slice) -> Map:
    return values[points] if np.ndim(values) else values


def _dust_laws(leaf: Leaf, draw: ForegroundDraw) -> tuple[Law, Law]:
    index, temperature = np.broadcast_arrays(
        leaf.parameters["mbb_index"] + draw.dust_beta,
        leaf.parameters["mbb_temperature"] + draw.dust_temp,
        np.empty(leaf.templates.shape[-1]),
    )[:2]
    first = grey_body(leaf.references[0], index, temperature)
    if len(leaf.templates) == 1:
        return first, first
    return first, grey_body(leaf.references[1], index, temperature)


def _power_laws(leaf: Leaf, draw: ForegroundDraw) -> tuple[Law, Law]:
    index = leaf.parameters["pl_index"]

    def law_from(reference: float) -> Law:
        return lambda points, freq: power_law(freq, reference, _at(index, points) + draw.sync_beta)

    return law_from(leaf.references[0]), law_from(leaf.references[1])


def _curved_laws(leaf: Leaf, draw: ForegroundDraw) -> tuple[Law, Law]:
    index = leaf.parameters["pl_index"] + draw.sync_beta
    curvature, pivot = leaf.parameters["spectral_curvature"], leaf.parameters["freq_curve"]

    def law_from(reference: float) -> Law:
        return lambda points, freq: power_law(
            freq, reference, _at(index, points) + _at(curvature, points) * np.log(freq / pivot)
        )

    return law_from(leaf.references[0]), law_from(leaf.references[1])


def _spinning_laws(leaf: Leaf, draw: ForegroundDraw) -> tuple[Law, Law]:
    """The law depends on the peak alone: it is worked out for PEAKS of them, and points interpolate."""
    peak = leaf.parameters["freq_peak"] + draw.ame_peak / PEAK_REFERENCE_GHZ
    table, reference = leaf.parameters["emissivity"], leaf.references[0]
    peaks = np.linspace(peak.min(), peak.max() * (1 + 1e-9), PEAKS)
    position = (peak - peaks[0]) / (peaks[1] - peaks[0])

    @lru_cache(maxsize=64)
    def of_peak(freq: float) -> Map:
        ratio = np.interp(freq / peaks, *table) / np.interp(reference / peaks, *table)
        return (reference / freq) ** 2 * ratio

    def law(points: slice, freq: float) -> Map:
        here = _at(position, points)
        below = here.astype(np.intp)
        values = of_peak(freq)[below]
        return values + (here - below) * (of_peak(freq)[below + 1] - values)

    return law, law


_LAWS: dict[str, Callable[[Leaf, ForegroundDraw], tuple[Law, Law]]] = {
    "ModifiedBlackBody": _dust_laws,
    "PowerLaw": _power_laws,
    "CurvedPowerLaw": _curved_laws,
    "SpDust": _spinning_laws,
}


def component(leaf: Leaf, draw: ForegroundDraw, amplitude: float) -> Component:
    """Emission of a part with this simulation's spectral offsets."""
    return Component(leaf.templates, _LAWS[leaf.kind](leaf, draw), amplitude)


def _resampled(leaf: Leaf, grid: GaussGrid) -> Leaf:
    """The same part at a grid's points, by its harmonic coefficients up to what template and grid carry."""
    lmax = min(grid.lmax, int(PIXEL_LMAX * nside_of(leaf.templates)))

    def scalar(sky: Map) -> Map:
        return grid.synthesise(_cut_alm(sky[np.newaxis], lmax, grid.threads))[0]

    templates = scalar(leaf.templates[0])[np.newaxis]
    if len(leaf.templates) == 3:
        alm = _cut_alm(leaf.templates, lmax, grid.threads)
        templates = np.concatenate([templates, grid.synthesise(alm[1:], spin=2)])
    n_points = leaf.templates.shape[-1]
    parameters = {
        name: scalar(values) if values.shape == (n_points,) else values
        for name, values in leaf.parameters.items()
    }
    return Leaf(leaf.kind, templates, leaf.references, parameters)


def _cut_alm(sky: Map, lmax: int, threads: int) -> Alm:
    """Coefficients up to `lmax`, solved for up to what the pixels carry so that nothing is aliased."""
    return resize_alm(map2alm(sky, int(PIXEL_LMAX * nside_of(sky)), threads=threads), lmax)


def native_nside(preset: str, nside: int) -> int:
    """Resolution that a preset is evaluated at: its finest template's, or `nside` where it has none.

    Templates far finer than the maps are read at `FINE` times their resolution, as PySM averages them: one of
    nside 8192 is 6 GB.
    """
    from astropy.io import fits  # import here: pipelines without PySM do without it

    paths = require_templates((preset,), nside)
    headers = [fits.getheader(path, 1) for path in paths if path.name.endswith((".fits", ".fits.gz"))]
    finest = max((int(header["NSIDE"]) for header in headers), default=nside)
    return min(finest, max(LEAST_FINE, FINE * (1 << (nside - 1).bit_length())))


@lru_cache(maxsize=8)
def _load(preset: str, nside: int, data_folder: str) -> "Model":  # noqa: ARG001  (part of the key)
    from pysm3.sky import create_components_from_config

    with offline(preset):
        return create_components_from_config({preset: preset_config(preset)}, nside=nside)[0]


def _data_folder() -> str:
    return os.environ.get("PYSM_LOCAL_DATA", "")


def load_model(preset: str, nside: int) -> "Model":
    """PySM's model of one preset at the resolution of its templates, loaded once per process."""
    check_preset(preset)
    return _load(preset, native_nside(preset, nside), _data_folder())


def native_leaves(preset: str, nside: int, n_stokes: int) -> list[Leaf] | None:
    """Parts of a preset on the pixels of its templates; None where PySM's own law is needed."""
    return _leaves(load_model(preset, nside), n_stokes)


@lru_cache(maxsize=8)
def _grid_leaves(preset: str, grid: GaussGrid, n_stokes: int, data_folder: str) -> list[Leaf] | None:  # noqa: ARG001
    leaves = native_leaves(preset, int(np.ceil(grid.lmax / PIXEL_LMAX)), n_stokes)
    return None if leaves is None else [_resampled(leaf, grid) for leaf in leaves]


def grid_leaves(preset: str, grid: GaussGrid, n_stokes: int) -> list[Leaf] | None:
    """Parts of a preset at a grid's points, kept per process; None where PySM's own law is needed."""
    return _grid_leaves(preset, grid, n_stokes, _data_folder())


def check_draw(preset: str, leaves: list[Leaf] | None, draw: ForegroundDraw) -> None:
    """Refuse spectral offsets for a model that has no such parameter.

    Raises
    ------
    ValueError
        Naming the preset and the offsets.
    """
    varied = [key for key in OFFSETS.get(preset[0], ()) if getattr(draw, key) != 0]
    if varied and leaves is None:
        raise ValueError(
            f"PySM preset {preset} has no parameter that {', '.join(varied)} could shift; set it to 0"
        )
