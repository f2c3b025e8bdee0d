"""Compare simulated skies with CAMB and PySM: the figures of codes.md.

Run as ``PYSM_LOCAL_DATA=... python docs/validation/codes.py``, with PySM's nside-64 templates.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pysm3
import pysm3.units as u
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cmbml.sky.cmb import draw_cmb, draw_lensed_cmb
from cmbml.sky.cosmology import fixed, theory_spectra
from cmbml.sky.foregrounds import ForegroundDraw
from cmbml.sky.pysm.model import native_map
from cmbml.sky.sht import Alm, alm2cl

Array = NDArray[np.floating[Any]]
HERE = Path(__file__).parent
LMAX, N_LENSED, N_GAUSSIAN, WIDTH = 400, 12, 60, 10
PAIRS = {"TT": (0, 0), "EE": (1, 1), "BB": (2, 2)}
FREQS = (28.4, 44.1, 70.4, 100.89, 142.876, 221.156, 357.5, 555.2, 866.8)
PRESETS = ("d1", "d2", "s1", "s3", "f1", "a1")


def generators(sim: int) -> list[np.random.Generator]:
    """Temperature, potential and polarisation of one sky."""
    return [np.random.default_rng([sim, i]) for i in range(3)]


def mean_spectra(skies: Iterable[Alm]) -> dict[str, Array]:
    """Mean over skies."""
    each = [{key: alm2cl(alm[i], alm[j]) for key, (i, j) in PAIRS.items()} for alm in skies]
    return {key: np.mean([spectra[key] for spectra in each], axis=0) for key in PAIRS}


def binned(ratio: Array, ell: Array) -> tuple[Array, Array]:
    """Mean of bins of multipoles, weighted by modes."""
    edges = np.arange(2, len(ell) - WIDTH, WIDTH)
    rows = [slice(first, first + WIDTH) for first in edges]
    weights = 2 * ell + 1
    return edges + WIDTH / 2, np.array([np.average(ratio[row], weights=weights[row]) for row in rows])


def draw_ratio(ax: Axes, mean: Array, theory: Array, n_sims: int, title: str) -> None:
    """Mean spectrum over CAMB's, with the scatter that this many skies should have."""
    ell = np.arange(LMAX + 1.0)
    ratio = np.divide(mean, theory, out=np.ones_like(mean), where=theory > 0)
    centre, value = binned(ratio, ell)
    sigma = np.sqrt(2 / ((2 * centre + 1) * WIDTH * n_sims))
    ax.fill_between(centre, 1 - 2 * sigma, 1 + 2 * sigma, color="#dcebff", label="2 sd of sample variance")
    ax.plot(centre, value, ".", color="#1c2128", markersize=4, label=f"mean of {n_sims} skies / CAMB")
    ax.axhline(1, color="#768390", linewidth=0.8)
    ax.set(title=title, xlabel="multipole l", ylim=(0.94, 1.06))


def camb_figure() -> Figure:
    """Gaussian and lensed skies."""
    spectra = theory_spectra(fixed("planck2018"), 2500)
    kinds = {
        "gaussian": mean_spectra(
            draw_cmb(spectra, LMAX, *generators(sim)[::2], n_stokes=3) for sim in range(N_GAUSSIAN)
        ),
        "lensed": mean_spectra(
            draw_lensed_cmb(spectra, LMAX, *generators(sim), n_stokes=3) for sim in range(N_LENSED)
        ),
    }
    figure = Figure(figsize=(10, 5.4), layout="constrained")
    axes = figure.subplots(2, 3, sharey=True)
    for row, (kind, means), n_sims in zip(axes, kinds.items(), (N_GAUSSIAN, N_LENSED), strict=True):
        for ax, key in zip(row, PAIRS, strict=True):
            draw_ratio(ax, means[key], spectra[key][: LMAX + 1], n_sims, f"{key}, {kind}")
        row[0].legend(fontsize=7, loc="lower right")
    return figure


def plain_pysm(preset: str, freq: float) -> Array:
    """PySM's own emission in temperature, uK_CMB: ``(npix,)``."""
    rj = pysm3.Sky(nside=64, preset_strings=[preset]).get_emission(freq * u.GHz)
    return np.asarray(rj.to_value(u.uK_CMB, equivalencies=u.cmb_equivalencies(freq * u.GHz))[0])


def pysm_figure() -> Figure:
    """Rms of the difference over the rms of the signal, by preset and band."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    ax = figure.subplots()
    for preset in PRESETS:
        ours = [native_map(preset, freq, ForegroundDraw(), 64, 1)[0] for freq in FREQS]
        pairs = zip(ours, (plain_pysm(preset, freq) for freq in FREQS), strict=True)
        # PySM's spinning dust ends at 500 GHz.
        ratios = [
            np.std(mine - theirs) / np.std(theirs) if theirs.any() else np.nan for mine, theirs in pairs
        ]
        ax.loglog(FREQS, ratios, "o-", markersize=4, label=preset)
    ax.axhline(1e-5, color="#768390", linewidth=0.8, linestyle="--", label="held by a test")
    ax.set(xlabel="frequency [GHz]", ylabel="rms of difference / rms", ylim=(1e-16, 1e-4))
    ax.legend(fontsize=7, ncols=4)
    return figure


if __name__ == "__main__":
    for name, figure in (("camb", camb_figure()), ("pysm", pysm_figure())):
        figure.savefig(HERE / f"{name}.png", dpi=110, metadata={"Software": None})
