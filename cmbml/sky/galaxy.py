"""The procedural Milky Way: foregrounds without a download, at any nside, different in every simulation.

Large scales are a fixed analytic model (`galaxy_structure`).  Each component is multiplied by a log-normal
field with C_l ~ l^-2.9, and the spectral parameters vary smoothly over the sky; these fields are drawn per
simulation.  Brightness is calibrated on PySM 3's d1, s1, f1 and a1 at the same reference frequencies.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from cmbml.sky.foregrounds import ForegroundDraw
from cmbml.sky.galaxy_fields import TOTAL_LMAX, gaussian_field, lognormal
from cmbml.sky.galaxy_structure import Disc, brightness, directions
from cmbml.sky.sht import Map
from cmbml.sky.units import free_free, modified_blackbody, power_law, rj_to_cmb, spinning_dust

REFERENCE_GHZ = {"dust": 545.0, "sync": 0.408, "freefree": 30.0, "ame": 22.8}  # as PySM's templates

DISCS = {
    "dust": Disc(
        plane=367.0,
        height=0.15,
        length=3.58,
        hole=3.12,
        arms=0.77,
        bubble=0.223,
        flare=0.04,
        bulge=118.0,
        floor=1.0,
        loops=18.0,
        clouds=837.0,
    ),
    "sync": Disc(
        plane=5630000.0,
        height=0.822,
        length=4.02,
        hole=0.516,
        arms=0.45,
        bubble=0.05,
        flare=0.026,
        bulge=93000000.0,
        floor=4300000.0,
        loops=10800000.0,
        clouds=1070000.0,
    ),
    "freefree": Disc(
        plane=200.0,
        height=0.085,
        length=2.2,
        hole=2.43,
        arms=1.4,
        bubble=0.235,
        flare=0.02,
        bulge=404.0,
        floor=2.6,
        loops=4.5,
        clouds=582.0,
    ),
    "ame": Disc(
        plane=144.0,
        height=0.15,
        length=2.81,
        hole=3.22,
        arms=0.675,
        bubble=0.157,
        flare=0.046,
        bulge=928.0,
        floor=3.66,
        loops=24.7,
        clouds=297.0,
    ),
}

SLOPE, TURNOVER = -2.9, 8.0  # of the log-normal fields
SMOOTH_SLOPE, SMOOTH_LMAX = -2.5, 64  # of the spectral parameters' fields
SIGMA = {"dust": 0.55, "sync": 0.22, "freefree": 0.85, "ame": 0.5}  # of the logarithm
WITH_DUST = {"freefree": 0.6, "ame": 0.9}  # correlation of a component's logarithm with dust's
DUST_BETA, DUST_BETA_SD = 1.54, 0.03
DUST_TEMP_PLANE, DUST_TEMP_RISE, DUST_TEMP_SD = 18.7, 3.9, 1.0  # K; dust is warmer at high latitude
SYNC_BETA, SYNC_BETA_SD = -3.0, 0.05
AME_PEAK_PLANE, AME_PEAK_DROP = 31.0, 5.0  # GHz

Spectrum = Callable[[float], Map]


def _fields(rng: np.random.Generator, nside: int, threads: int) -> dict[str, Map]:
    """All random fields of one simulation, unit Gaussian; each from its own child generator."""
    rough = ("dust", "sync", "freefree", "ame")
    smooth = ("dust_beta", "dust_temp", "sync_beta")
    children = iter(rng.spawn(len(rough) + len(smooth)))
    fields = {
        name: gaussian_field(SLOPE, TURNOVER, TOTAL_LMAX, nside, next(children), threads=threads)
        for name in rough
    }
    for name in smooth:
        fields[name] = gaussian_field(SMOOTH_SLOPE, 1.0, SMOOTH_LMAX, nside, next(children), threads=threads)
    for name, correlation in WITH_DUST.items():
        own = np.sqrt(1 - correlation**2)
        fields[name] = correlation * fields["dust"] + own * fields[name]
    return fields


def _templates(draw: ForegroundDraw, fields: Mapping[str, Map], nside: int) -> dict[str, Map]:
    """Brightness of every component at its reference frequency, uK_RJ."""
    return {
        name: getattr(draw, f"{name}_amplitude")
        * brightness(disc, nside)
        * lognormal(fields[name], SIGMA[name] * draw.small_scale)
        for name, disc in DISCS.items()
    }


def _spectra(draw: ForegroundDraw, fields: Mapping[str, Map], nside: int) -> dict[str, Spectrum]:
    """Spectral law of every component: a map of the factor from its reference to another frequency."""
    sine = np.sin(directions(nside)[1])
    dust_beta = DUST_BETA + draw.dust_beta + DUST_BETA_SD * fields["dust_beta"]
    dust_temp = DUST_TEMP_PLANE + DUST_TEMP_RISE * np.sqrt(np.abs(sine)) + DUST_TEMP_SD * fields["dust_temp"]
    dust_temp += draw.dust_temp
    sync_beta = SYNC_BETA + draw.sync_beta + SYNC_BETA_SD * fields["sync_beta"]
    peak = AME_PEAK_PLANE - AME_PEAK_DROP * sine**2 + draw.ame_peak
    at = REFERENCE_GHZ
    return {
        "dust": lambda freq: modified_blackbody(freq, at["dust"], dust_beta, dust_temp),
        "sync": lambda freq: power_law(freq, at["sync"], sync_beta),
        "freefree": lambda freq: free_free(freq, at["freefree"]),
        "ame": lambda freq: spinning_dust(freq, at["ame"], peak),
    }


def galaxy_component_maps(
    freqs_ghz: Sequence[float],
    draw: ForegroundDraw,
    rng: np.random.Generator,
    nside: int,
    *,
    threads: int = 1,
) -> dict[str, Map]:
    """Simulate every foreground component; their sum is `galaxy_maps` with the same arguments.

    Returns
    -------
    dict
        'dust', 'sync', 'freefree', 'ame': ``(n_freq, npix)`` each, in uK_CMB.
    """
    fields = _fields(rng, nside, threads)
    templates = _templates(draw, fields, nside)
    spectra = _spectra(draw, fields, nside)
    return {
        name: np.stack([rj_to_cmb(freq) * templates[name] * spectra[name](freq) for freq in freqs_ghz])
        for name in DISCS
    }


def galaxy_maps(
    freqs_ghz: Sequence[float],
    draw: ForegroundDraw,
    rng: np.random.Generator,
    nside: int,
    *,
    threads: int = 1,
) -> Map:
    """Simulate the procedural Milky Way.

    Parameters
    ----------
    freqs_ghz
        Centres of the bands, GHz.
    draw
        This simulation's amplitudes, spectral offsets and small-scale strength.
    rng
        Generator of this simulation's random fields.
    nside
        Resolution; the fields are the same at every nside up to its band-limit of 2.5 nside.
    threads
        Number of threads of the transforms.

    Returns
    -------
    Map
        Unbeamed temperature, RING, Galactic, ``(n_freq, npix)`` in uK_CMB.
    """
    return np.sum(list(galaxy_component_maps(freqs_ghz, draw, rng, nside, threads=threads).values()), axis=0)
