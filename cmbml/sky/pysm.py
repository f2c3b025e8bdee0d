"""Foregrounds from PySM 3's templates, with the spectral parameters of every simulation.

PySM reads its templates and holds the models; the spectral laws are evaluated here, since PySM compiles its
own for 40 seconds in every process.  The tests compare the two.
"""

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from cmbml.sky.foregrounds import ForegroundDraw
from cmbml.sky.instrument import PIXEL_LMAX
from cmbml.sky.pysm_templates import preset_config, require_templates
from cmbml.sky.sht import Map, alm2map, map2alm, nside_of
from cmbml.sky.units import modified_blackbody, power_law, rj_to_cmb

PEAK_REFERENCE_GHZ = 30.0  # PySM keeps the peak of spinning dust in units of this
_AMPLITUDES = {"d": "dust_amplitude", "s": "sync_amplitude", "f": "freefree_amplitude", "a": "ame_amplitude"}
_OFFSETS = {"d": ("dust_beta", "dust_temp"), "s": ("sync_beta",), "f": (), "a": ("ame_peak",)}
_CMB = ("c1", "c2", "c3", "c4")
_RANDOM = ("d6", "d11", "s6")  # these draw from numpy's global generator


def _stokes(model: Any, n_stokes: int) -> list[tuple[Any, float]]:
    """Templates of T or T, Q, U with their reference frequency in GHz."""
    rows = [(model.I_ref.value, model.freq_ref_I.value)]
    if n_stokes == 3 and model.has_polarization:
        rows += [(part.value, model.freq_ref_P.value) for part in (model.Q_ref, model.U_ref)]
    return rows


def _dust(model: Any, draw: ForegroundDraw, freq_ghz: float, n_stokes: int) -> list[Map]:
    index = model.mbb_index.value + draw.dust_beta
    temperature = model.mbb_temperature.value + draw.dust_temp
    return [
        template * modified_blackbody(freq_ghz, reference, index, temperature)
        for template, reference in _stokes(model, n_stokes)
    ]


def _power_law(model: Any, draw: ForegroundDraw, freq_ghz: float, n_stokes: int) -> list[Map]:
    """Free-free has an index too, but only synchrotron is offered an offset."""
    index = model.pl_index.value + (draw.sync_beta if model.has_polarization else 0.0)
    return [
        template * power_law(freq_ghz, reference, index) for template, reference in _stokes(model, n_stokes)
    ]


def _curved_power_law(model: Any, draw: ForegroundDraw, freq_ghz: float, n_stokes: int) -> list[Map]:
    curvature = model.spectral_curvature.value * np.log(freq_ghz / model.freq_curve.value)
    index = model.pl_index.value + curvature + draw.sync_beta
    return [
        template * power_law(freq_ghz, reference, index) for template, reference in _stokes(model, n_stokes)
    ]


def _spinning_dust(model: Any, draw: ForegroundDraw, freq_ghz: float, n_stokes: int) -> list[Map]:
    del n_stokes  # not polarised
    peak = model.freq_peak.value + draw.ame_peak / PEAK_REFERENCE_GHZ
    reference = model.freq_ref_I.value
    emissivity = [
        np.interp(freq / peak, model.emissivity[0], model.emissivity[1]) for freq in (freq_ghz, reference)
    ]
    return [model.I_ref.value * (reference / freq_ghz) ** 2 * emissivity[0] / emissivity[1]]


_LAWS: dict[str, Callable[[Any, ForegroundDraw, float, int], list[Map]]] = {
    "ModifiedBlackBody": _dust,
    "PowerLaw": _power_law,
    "CurvedPowerLaw": _curved_power_law,
    "SpDust": _spinning_dust,
}


def _emission(model: Any, draw: ForegroundDraw, freq_ghz: float, n_stokes: int) -> Map:
    """Emission of one model in uK_RJ: ``(n_stokes, npix)``."""
    if hasattr(model, "components"):
        return np.sum([_emission(part, draw, freq_ghz, n_stokes) for part in model.components], axis=0)
    law = _LAWS.get(type(model).__name__)
    if law is None:
        return _own_emission(model, freq_ghz, n_stokes)
    rows = law(model, draw, freq_ghz, n_stokes)
    sky = np.zeros((n_stokes, rows[0].shape[-1]))
    sky[: len(rows)] = rows
    return sky


def _own_emission(model: Any, freq_ghz: float, n_stokes: int) -> Map:
    """Emission by PySM's own law, for models whose parameters are not varied."""
    import pysm3.units as u

    rows = np.atleast_2d(model.get_emission(freq_ghz * u.GHz).value)
    sky = np.zeros((n_stokes, rows.shape[-1]))
    sky[: min(n_stokes, len(rows))] = rows[:n_stokes]
    return sky


def _check_preset(preset: str) -> None:
    preset_config(preset)
    if preset in _CMB:
        raise ValueError(f"PySM preset {preset} is a CMB, not a foreground; remove it")
    if preset in _RANDOM:
        raise ValueError(f"PySM preset {preset} draws from numpy's global generator; choose another")


def _check_draw(preset: str, model: Any, draw: ForegroundDraw) -> None:
    parts = getattr(model, "components", [model])
    varied = [key for key in _OFFSETS.get(preset[0], ()) if getattr(draw, key) != 0]
    if varied and any(type(part).__name__ not in _LAWS for part in parts):
        raise ValueError(
            f"PySM preset {preset} has no parameter that {', '.join(varied)} could shift; set it to 0"
        )


def native_nside(preset: str, nside: int) -> int:
    """Resolution that a preset is evaluated at: its finest template's, or `nside` where it has none."""
    from astropy.io import fits

    paths = require_templates((preset,), nside)
    headers = [fits.getheader(path, 1) for path in paths if path.name.endswith((".fits", ".fits.gz"))]
    return max((int(header["NSIDE"]) for header in headers), default=nside)


@lru_cache(maxsize=8)
def _load(preset: str, nside: int, data_folder: str | None) -> Any:  # noqa: ARG001  (part of the key)
    from pysm3.sky import create_components_from_config

    return create_components_from_config({preset: preset_config(preset)}, nside=nside)[0]


def load_model(preset: str, nside: int) -> Any:
    """PySM's model of one preset at the resolution of its templates, loaded once per process.

    Raises
    ------
    ValueError
        Where the preset is unknown, not a foreground, not reproducible, or has no templates here.
    """
    _check_preset(preset)
    return _load(preset, native_nside(preset, nside), os.environ.get("PYSM_LOCAL_DATA"))


def _regrade(sky: Map, nside: int, threads: int) -> Map:
    """Bring a map to another resolution in harmonic space, where no pixel window is involved."""
    native = nside_of(sky)
    if native == nside:
        return sky
    lmax = int(PIXEL_LMAX * min(native, nside))
    return alm2map(map2alm(sky, lmax, threads=threads), nside, threads=threads)


def pysm_component_maps(
    preset: str,
    freqs_ghz: Sequence[float],
    draw: ForegroundDraw,
    nside: int,
    *,
    n_stokes: int = 1,
    threads: int = 1,
) -> Map:
    """Maps of one preset: ``(n_freq, npix)``, or ``(n_freq, 3, npix)``, in uK_CMB (see `pysm_maps`)."""
    model = load_model(preset, nside)
    _check_draw(preset, model, draw)
    amplitude = getattr(draw, _AMPLITUDES[preset[0]]) if preset[0] in _AMPLITUDES else 1.0
    maps = [
        _regrade(amplitude * rj_to_cmb(freq) * _emission(model, draw, freq, n_stokes), nside, threads)
        for freq in freqs_ghz
    ]
    return np.stack(maps) if n_stokes == 3 else np.concatenate(maps)


def pysm_maps(
    presets: tuple[str, ...],
    freqs_ghz: Sequence[float],
    draw: ForegroundDraw,
    nside: int,
    *,
    n_stokes: int = 1,
    threads: int = 1,
) -> Map:
    """Simulate foregrounds with PySM 3.

    Parameters
    ----------
    presets
        PySM's names of foreground models, such as ``("d1", "s1", "f1", "a1")``.
    freqs_ghz
        Centres of the bands, GHz.
    draw
        This simulation's amplitudes and spectral offsets.
    nside
        Resolution of the maps.  Models are evaluated at the resolution of their templates and brought to this
        one in harmonic space up to l = 2.5 nside of the coarser.
    n_stokes
        1 for T, 3 for T, Q, U.
    threads
        Number of threads of the transforms.

    Returns
    -------
    Map
        Unbeamed, RING, Galactic, uK_CMB: ``(n_freq, npix)``, or ``(n_freq, 3, npix)`` with Q and U (COSMO).

    Raises
    ------
    ValueError
        Where a preset is unknown or unfit, or its templates are not on this machine.
    """
    for preset in presets:
        _check_preset(preset)
    require_templates(presets, nside)
    return np.sum(
        [
            pysm_component_maps(preset, freqs_ghz, draw, nside, n_stokes=n_stokes, threads=threads)
            for preset in presets
        ],
        axis=0,
    )
