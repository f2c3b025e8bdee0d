"""Compare the procedural Milky Way with PySM 3's templates: the figures of galaxy.md.

Run as ``PYSM_LOCAL_DATA=... python docs/validation/galaxy.py``, with PySM's nside-64 templates.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import healpy as hp
import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from cmbml.sky.emission import band_map
from cmbml.sky.foregrounds import ForegroundDraw
from cmbml.sky.galaxy.family import GALAXY
from cmbml.sky.galaxy.model import REFERENCE_GHZ, galaxy_components
from cmbml.sky.grid import HealpixGrid
from cmbml.sky.mask import apodise, galactic_mask
from cmbml.sky.pysm.model import native_map
from cmbml.sky.sht import alm2cl, map2alm
from cmbml.sky.units import rj_to_cmb

Array = NDArray[np.float64]

NSIDE, N_SIMS, LMAX = 64, 8, 128
FREQS = (28.4, 44.1, 70.4, 100.89, 142.876, 221.156, 357.5, 555.2, 866.8)
PRESETS = {"dust": "d1", "sync": "s1", "freefree": "f1", "ame": "a1"}
TITLES = {"dust": "thermal dust", "sync": "synchrotron", "freefree": "free-free", "ame": "spinning dust"}
HERE = Path(__file__).parent
LATITUDE = np.degrees(HealpixGrid(NSIDE).directions()[1])
HIGH = np.abs(LATITUDE) > 20


@lru_cache(maxsize=2 * N_SIMS)
def skies(freqs: tuple[float, ...], seed: int) -> dict[str, Array]:
    """One simulation of ours, by component: ``(n_freq, npix)`` in uK_RJ."""
    rng, grid = np.random.default_rng(seed), HealpixGrid(NSIDE)
    parts = galaxy_components(GALAXY, ForegroundDraw(), rng, grid, int(2.5 * NSIDE), 1)
    return {
        name: np.array([band_map(part, freq, 1)[0] / rj_to_cmb(freq) for freq in freqs])
        for name, part in parts.items()
    }


def templates(freqs: tuple[float, ...], name: str) -> Array:
    """PySM's component: ``(n_freq, npix)`` in uK_RJ."""
    maps = [
        native_map(PRESETS[name], freq, ForegroundDraw(), NSIDE, 1)[0] / rj_to_cmb(freq) for freq in freqs
    ]
    return np.array(maps)


def at_reference(name: str) -> tuple[list[Array], Array]:
    """Our simulations and PySM's template at a component's reference frequency."""
    freqs = tuple(REFERENCE_GHZ.values())
    row = freqs.index(REFERENCE_GHZ[name])
    ours = [skies(freqs, seed)[name][row] for seed in range(N_SIMS)]
    return ours, templates((REFERENCE_GHZ[name],), name)[0]


def spectrum(sky: Array, mask: Array) -> Array:
    """Spectrum at high latitudes, per unit of mean squared mask."""
    centred = (sky - np.average(sky, weights=mask)) * mask
    return alm2cl(map2alm(centred, LMAX)) / np.mean(mask**2)


def latitude_profile(sky: Array, edges: Array) -> Array:
    """Mean in bins of absolute latitude."""
    which = np.digitize(np.abs(LATITUDE), edges) - 1
    return np.bincount(which, sky, len(edges) - 1) / np.bincount(which, minlength=len(edges) - 1)


def panels(draw: Callable[[Any, str], None], filename: str) -> None:
    """One figure with a panel for every component."""
    figure, axes = plt.subplots(2, 2, figsize=(8, 6), layout="constrained")
    for axis, name in zip(axes.flat, PRESETS, strict=True):
        draw(axis, name)
        axis.set_title(TITLES[name], fontsize=10)
    axes.flat[0].legend(fontsize=8)
    figure.savefig(HERE / filename, dpi=70, pil_kwargs={"optimize": True})
    plt.close(figure)


def both(axis: Any, x: Array, ours: list[Array], theirs: Array) -> None:
    """Our simulations, thin, and PySM's, thick."""
    for row in ours:
        axis.plot(x, row, color="C0", lw=0.6, label="galaxy, 8 simulations" if row is ours[0] else None)
    axis.plot(x, theirs, color="k", lw=1.5, label="PySM")


def draw_spectra(axis: Any, name: str) -> None:
    """Angular power spectra at high latitude, with the slope of the small scales."""
    mask = apodise(galactic_mask(NSIDE, 20.0), 600.0, "C2")
    ours, theirs = at_reference(name)
    ell = np.arange(2, LMAX + 1)
    both(axis, ell, [spectrum(sky, mask)[2:] for sky in ours], spectrum(theirs, mask)[2:])
    axis.plot(ell, spectrum(theirs, mask)[30] * (ell / 30.0) ** -2.9, "k:", lw=1, label="$\\ell^{-2.9}$")
    axis.set(xscale="log", yscale="log", xlabel="$\\ell$", ylabel="$C_\\ell$ [uK$_{RJ}^2$]")


def draw_profiles(axis: Any, name: str) -> None:
    """Mean brightness against latitude."""
    edges = np.array([0.0, 2, 4, 6, 8, 10, 15, 20, 30, 40, 50, 60, 75, 90])
    ours, theirs = at_reference(name)
    centres = (edges[1:] + edges[:-1]) / 2
    both(axis, centres, [latitude_profile(sky, edges) for sky in ours], latitude_profile(theirs, edges))
    axis.set(yscale="log", xlabel="|b| [degrees]", ylabel="mean [uK$_{RJ}$]")


def draw_one_point(axis: Any, name: str) -> None:
    """Histograms of the logarithm of the brightness at high latitude."""
    ours, theirs = at_reference(name)
    low, high = np.percentile(np.log10(np.maximum(theirs[HIGH], 1e-3)), [0.5, 99.9])
    edges = np.linspace(low - 0.2, high + 0.2, 41)
    counts = [
        np.histogram(np.log10(np.maximum(sky[HIGH], 1e-3)), edges, density=True)[0] for sky in [*ours, theirs]
    ]
    both(axis, (edges[1:] + edges[:-1]) / 2, counts[:-1], counts[-1])
    axis.set(xlabel="log10 brightness [uK$_{RJ}$]", ylabel="density")


def draw_seds(axis: Any, name: str) -> None:
    """Rms at high latitude against frequency."""
    ours = [skies(FREQS, seed)[name][:, HIGH].std(axis=1) for seed in range(N_SIMS)]
    both(axis, np.array(FREQS), ours, templates(FREQS, name)[:, HIGH].std(axis=1))
    if name == "ame":
        axis.set_ylim(1e-5, None)
    axis.set(xscale="log", yscale="log", xlabel="GHz", ylabel="rms at |b| > 20 deg [uK$_{RJ}$]")


def draw_maps() -> None:
    """One simulation beside PySM's templates."""
    figure = plt.figure(figsize=(8, 10))
    for row, name in enumerate(PRESETS):
        ours, theirs = at_reference(name)
        low, high = np.percentile(np.log10(np.maximum(theirs, 1e-3)), [5, 99.5])
        for column, (sky, who) in enumerate(((ours[0], "galaxy"), (theirs, "PySM"))):
            hp.mollview(
                np.log10(np.maximum(sky, 1e-3)),
                fig=figure.number,
                sub=(4, 2, 2 * row + column + 1),
                title=f"{TITLES[name]}, {who}",
                min=low,
                max=high,
                cmap="inferno",
                xsize=300,
                cbar=False,
            )
    figure.savefig(HERE / "galaxy_maps.png", dpi=50, pil_kwargs={"optimize": True})
    plt.close(figure)


def main() -> None:
    """Write all figures beside this file."""
    mpl.use("agg")
    mpl.rcParams["font.size"] = 8
    panels(draw_spectra, "galaxy_spectra.png")
    panels(draw_profiles, "galaxy_latitude.png")
    panels(draw_one_point, "galaxy_one_point.png")
    panels(draw_seds, "galaxy_sed.png")
    draw_maps()


if __name__ == "__main__":
    main()
