"""Foregrounds from PySM 3's templates, with the spectral parameters of every simulation.

PySM reads its templates and holds the models; the spectral laws are evaluated here, since PySM compiles its
own for 40 seconds in every process.  The tests compare the two.
"""

import os
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from cmbml.sky.emission import Component, band_alm, band_map, squeeze
from cmbml.sky.foregrounds import ForegroundDraw
from cmbml.sky.grid import GaussGrid
from cmbml.sky.instrument import PIXEL_LMAX
from cmbml.sky.passbands import Band, as_bandpass
from cmbml.sky.pysm.components import (
    AMPLITUDES,
    OFFSETS,
    check_draw,
    component,
    grid_leaves,
    load_model,
    native_leaves,
    native_nside,
)
from cmbml.sky.pysm.templates import check_preset, coarsest_nside, offline, require_templates
from cmbml.sky.sht import Alm, Map, alm_size, map2alm, nside_of, resize_alm

GRID_MARGIN = 160  # multipoles beyond the band whose products reach into it


def _own_emission(preset: str, band: Band, nside: int, n_stokes: int) -> Map:
    """Emission by PySM's own law, for models whose parameters are not varied: uK_CMB."""
    import pysm3.units as u  # import here: pipelines without PySM do without it

    model = load_model(preset, nside)
    with offline(preset):
        rows = np.atleast_2d(as_bandpass(band).average(lambda freq: model.get_emission(freq * u.GHz).value))
    sky = np.zeros((n_stokes, rows.shape[-1]))
    sky[: min(n_stokes, len(rows))] = rows[:n_stokes]
    return sky


def _amplitude(preset: str, draw: ForegroundDraw) -> float:
    return float(getattr(draw, AMPLITUDES[preset[0]])) if preset[0] in AMPLITUDES else 1.0


def _offsets_only(preset: str, draw: ForegroundDraw) -> ForegroundDraw:
    """The part of a draw that changes a preset's spectrum; all draws without offsets are alike."""
    return ForegroundDraw(**{key: getattr(draw, key) for key in OFFSETS.get(preset[0], ())})


def native_map(
    preset: str, band: Band, draw: ForegroundDraw, nside: int, n_stokes: int, threads: int = 1
) -> Map:
    """One preset in one band on the pixels of its templates: ``(n_stokes, npix)`` in uK_CMB.

    Templates far finer than `nside` are read coarser, and those without a resolution at `nside`.
    """
    leaves = native_leaves(preset, nside, n_stokes)
    check_draw(preset, leaves, draw)
    amplitude = _amplitude(preset, draw)
    if leaves is None:
        return amplitude * _own_emission(preset, band, nside, n_stokes)
    offsets = _offsets_only(preset, draw)
    return band_map([component(leaf, offsets, amplitude) for leaf in leaves], band, n_stokes, threads=threads)


def _check(presets: tuple[str, ...], nside: int) -> None:
    if not presets:
        raise ValueError("foregrounds: no PySM preset is named; name at least one, such as d1")
    for preset in presets:
        check_preset(preset)
    require_templates(presets, nside)


def _grid_parts(
    presets: tuple[str, ...], draw: ForegroundDraw, grid: GaussGrid, nside: int, n_stokes: int
) -> tuple[list[Component], list[str]]:
    """Parts that are evaluated on the grid, and presets that are evaluated on the pixels of their templates.

    The latter have a law of their own, or templates too coarse for the band: these have structure in every
    pixel, which only their own pixels hold.
    """
    parts, others = [], []
    for preset in presets:
        fine = PIXEL_LMAX * native_nside(preset, nside) >= grid.lmax
        leaves = grid_leaves(preset, grid, n_stokes) if fine else None
        if leaves is None:
            others.append(preset)
            continue
        offsets, amplitude = _offsets_only(preset, draw), _amplitude(preset, draw)
        parts += [component(leaf, offsets, amplitude) for leaf in leaves]
    return parts, others


def _evaluated_alm(
    presets: tuple[str, ...],
    bands: tuple[Band, ...],
    draw: ForegroundDraw,
    lmax: int,
    n_stokes: int,
    threads: int,
) -> Alm:
    """Presets of one simulation, with one analysis a band: ``(n_freq, nalm)`` or ``(n_freq, 3, nalm)``."""
    nside = coarsest_nside(lmax)
    grid = GaussGrid(lmax + GRID_MARGIN, threads)
    parts, others = _grid_parts(presets, draw, grid, nside, n_stokes)
    alms = []
    for band in bands:
        terms = [band_alm(parts, band, n_stokes, grid, lmax)] if parts else []
        maps = [native_map(each, band, draw, nside, n_stokes, threads) for each in others]
        terms += [
            resize_alm(map2alm(sky, int(PIXEL_LMAX * nside_of(sky)), threads=threads), lmax)
            for sky in _sums_by_nside(maps)
        ]
        alms.append(np.sum(terms, axis=0))
    return squeeze(alms)


def _sums_by_nside(maps: list[Map]) -> list[Map]:
    """Maps of equal resolution added up, so that each resolution is analysed once."""
    sizes = {sky.shape for sky in maps}
    return [np.sum([sky for sky in maps if sky.shape == size], axis=0) for size in sizes]


@lru_cache(maxsize=8)
def _plain_alm(
    preset: str,
    bands: tuple[Band, ...],
    lmax: int,
    n_stokes: int,
    threads: int,
    data_folder: str,  # noqa: ARG001  (part of the key)
) -> Alm:
    """Coefficients without spectral offsets, kept per process: only amplitudes are left to vary."""
    return _evaluated_alm((preset,), bands, ForegroundDraw(), lmax, n_stokes, threads)


def pysm_component_alm(
    preset: str,
    bands: Sequence[Band],
    draw: ForegroundDraw,
    lmax: int,
    *,
    n_stokes: int = 1,
    threads: int = 1,
) -> Alm:
    """Coefficients of one preset, ``(n_freq, nalm)`` or ``(n_freq, 3, nalm)`` in uK_CMB (see `pysm_alm`)."""
    return pysm_alm((preset,), bands, draw, lmax, n_stokes=n_stokes, threads=threads)


def pysm_alm(
    presets: tuple[str, ...],
    bands: Sequence[Band],
    draw: ForegroundDraw,
    lmax: int,
    *,
    n_stokes: int = 1,
    threads: int = 1,
) -> Alm:
    """Simulate foregrounds with PySM 3, band-limited.

    Fine templates are brought to a Gauss-Legendre grid once per process; a simulation evaluates their spectra
    there and analyses every band once.  Presets without spectral offsets are analysed once per process.

    Parameters
    ----------
    presets
        PySM's names of foreground models, such as ``("d1", "s1", "f1", "a1")``.
    bands
        Frequencies in GHz, or bandpasses.
    draw
        This simulation's amplitudes and spectral offsets.
    lmax
        Band-limit of the result.
    n_stokes
        1 for T, 3 for T, E, B.
    threads
        Number of threads of the transforms.

    Returns
    -------
    Alm
        Unbeamed, Galactic, uK_CMB: ``(n_freq, nalm)``, or ``(n_freq, 3, nalm)`` of T, E, B.

    Raises
    ------
    ValueError
        Where a preset is unknown or unfit, or its templates are not on this machine.
    """
    _check(presets, coarsest_nside(lmax))
    plain = [preset for preset in presets if _offsets_only(preset, draw) == ForegroundDraw()]
    varied = tuple(preset for preset in presets if preset not in plain)
    passbands, folder = tuple(bands), os.environ.get("PYSM_LOCAL_DATA", "")
    shape = (len(bands), n_stokes, alm_size(lmax))
    total = np.zeros(shape if n_stokes == 3 else shape[::2], dtype=np.complex128)
    if varied:
        total += _evaluated_alm(varied, passbands, draw, lmax, n_stokes, threads)
    for preset in plain:
        alm = _plain_alm(preset, passbands, lmax, n_stokes, threads, folder)
        for band in range(len(bands)):
            total[band] += _amplitude(preset, draw) * alm[band]
    return total
