"""Compare the polarised families of the Galaxy with PySM 3's d1 and s1 and with published numbers.

Run as ``PYSM_LOCAL_DATA=... python docs/validation/polarisation.py``, with PySM's templates: it prints the
table of polarisation.md and writes its figure.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from cmbml.analysis.spectra.bands import Bands
from cmbml.analysis.spectra.master import Master, Spectra, masked_alm, master, pseudo_spectra
from cmbml.sky.foregrounds import ForegroundDraw
from cmbml.sky.galaxy.family import FAMILIES
from cmbml.sky.galaxy.model import galaxy_component_alm
from cmbml.sky.mask import apodise, galactic_mask
from cmbml.sky.pysm.model import pysm_component_alm
from cmbml.sky.sht import Alm, alm2map

Array = NDArray[np.float64]

NSIDE, LMAX, N_SIMS = 128, 256, 8
FREQS = (30.0, 217.0, 353.0)
MASK = apodise(galactic_mask(NSIDE, 20.0), 300.0, "C2")
BANDS = Bands((2, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200))
MIDDLE = slice(2, 6)  # l of 40 to 119, where Planck's numbers are
HERE = Path(__file__).parent

PUBLISHED = {
    "dust BB/EE": "0.53 (1)",
    "dust TE/sqrt(TT EE)": "0.36 (1)",
    "dust EE, uK^2": "315 on 71 % of the sky (1)",
    "dust BB, 217 x 353 GHz": "above 0.991 (1)",
    "synchrotron BB/EE": "0.35 (2)",
    "dust x synchrotron, EE": "0.1 to 0.2 (3)",
    "mean cos 2(angle of dust - angle of synchrotron)": "",
}


def spectra(decoupling: Master, first: Array, second: Array) -> Spectra:
    """Band powers at high latitudes of two skies of T, Q, U."""
    one, other = (masked_alm(sky, MASK, BANDS.lmax) for sky in (first, second))
    return decoupling.decouple(pseudo_spectra(one, other))


def statistics(decoupling: Master, components: Mapping[str, Alm]) -> dict[str, float]:
    """The numbers of the table for one sky, by the names of `PUBLISHED`."""
    dust, sync = ([alm2map(alm, NSIDE) for alm in components[name]] for name in ("dust", "sync"))
    own, low, both = (
        spectra(decoupling, *pair) for pair in ((dust[2], dust[2]), (dust[1], dust[1]), (dust[1], dust[2]))
    )
    radio, cross = spectra(decoupling, sync[0], sync[0]), spectra(decoupling, dust[2], sync[0])
    mean = {name: value[MIDDLE].mean() for name, value in own.items()}
    ratio = np.mean((both["BB"] / np.sqrt(own["BB"] * low["BB"]))[MIDDLE])
    turn = np.arctan2(dust[2][2], dust[2][1]) - np.arctan2(sync[0][2], sync[0][1])
    values = (
        mean["BB"] / mean["EE"],
        mean["TE"] / np.sqrt(mean["TT"] * mean["EE"]),
        mean["EE"],
        ratio,
        radio["BB"][MIDDLE].mean() / radio["EE"][MIDDLE].mean(),
        cross["EE"][MIDDLE].mean() / np.sqrt(mean["EE"] * radio["EE"][MIDDLE].mean()),
        np.cos(turn)[MASK > 0].mean(),
    )
    return dict(zip(PUBLISHED, map(float, values), strict=True))


def simulated(family: str) -> list[dict[str, Alm]]:
    """Dust and synchrotron of several simulations of a family."""
    return [
        galaxy_component_alm(
            FREQS, ForegroundDraw(), np.random.default_rng(seed), LMAX, family=FAMILIES[family], n_stokes=3
        )
        for seed in range(N_SIMS)
    ]


def templates() -> list[dict[str, Alm]]:
    """PySM's d1 and s1."""
    presets = {"dust": "d1", "sync": "s1"}
    none = ForegroundDraw()
    return [
        {name: pysm_component_alm(preset, FREQS, none, LMAX, n_stokes=3) for name, preset in presets.items()}
    ]


def table(columns: Mapping[str, list[dict[str, float]]]) -> str:
    """Means over skies, with their standard errors, as Markdown."""
    lines = [f"| | {' | '.join(columns)} | published |", "|---" * (len(columns) + 2) + "|"]
    for name, published in PUBLISHED.items():
        cells = []
        for rows in columns.values():
            values = [row[name] for row in rows]
            digits = 0 if abs(values[0]) > 10 else 4 if "217" in name else 2
            spread = f" ± {np.std(values, ddof=1) / len(values) ** 0.5:.{digits}f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.{digits}f}{spread}")
        lines.append(f"| {name} | {' | '.join(cells)} | {published} |")
    return "\n".join(lines)


def draw(decoupling: Master, skies: Mapping[str, list[dict[str, Alm]]]) -> None:
    """E and B modes of dust at 353 GHz and of synchrotron at 30 GHz, family by family."""
    figure, axes = plt.subplots(
        2, len(skies), figsize=(9, 5), layout="constrained", sharex=True, sharey="row"
    )
    centres = (np.array(BANDS.edges[1:]) + np.array(BANDS.edges[:-1])) / 2
    for column, (who, drawn) in enumerate(skies.items()):
        for row, (component, band) in enumerate((("dust", 2), ("sync", 0))):
            axis = axes[row, column]
            for sky in drawn:
                own = [alm2map(sky[component][band], NSIDE)] * 2
                powers = spectra(decoupling, *own)
                for name, colour in (("EE", "C0"), ("BB", "C1")):
                    axis.loglog(
                        centres, powers[name], colour, lw=0.8, label=name if sky is drawn[0] else None
                    )
            axis.set_title(f"{component} at {FREQS[band]:g} GHz, {who}", fontsize=9)
    axes[0, 0].legend()
    for axis in axes[:, 0]:
        axis.set_ylabel("$D_\\ell$ [uK$_{CMB}^2$]")
    for axis in axes[1]:
        axis.set_xlabel("$\\ell$")
    figure.savefig(HERE / "polarisation.png", dpi=70, pil_kwargs={"optimize": True})
    plt.close(figure)


def main() -> None:
    """Print the table and write the figure beside this file."""
    mpl.use("agg")
    mpl.rcParams["font.size"] = 8
    decoupling = master(MASK, BANDS, polarised=True, dipole_removed=False)
    skies = {"polarised": simulated("polarised"), "galaxy": simulated("galaxy"), "PySM d1, s1": templates()}
    text = table({who: [statistics(decoupling, sky) for sky in drawn] for who, drawn in skies.items()})
    sys.stdout.write(text + "\n")
    draw(decoupling, skies)


if __name__ == "__main__":
    main()
