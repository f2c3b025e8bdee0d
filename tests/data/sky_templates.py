"""Files that a dataset reads from elsewhere, small and made up: PySM's templates, WMAP's chains."""

from collections.abc import Iterable
from pathlib import Path

import healpy as hp
import numpy as np

from cmbml.sky.pysm.templates import preset_config, template_files

NSIDE = 32
# WMAP's files by their parameter: a viable cosmology, and how far its rows scatter.
CHAIN = {
    "H0": (70.0, 2.0),
    "omegabh2": (0.0226, 4e-4),
    "omegach2": (0.114, 4e-3),
    "tau": (0.089, 0.01),
    "ns002": (0.972, 0.01),
    "a002": (2.41, 0.1),
    "mnu": (0.2, 0.02),
}
# Models whose templates PySM names in code, one a frequency: typical brightness and unit.
WEBSKY = {"WebSkyCIB": (0.1, "MJy/sr"), "WebSkyRadioGalaxies": (1e3, "Jy/sr")}


def write_pysm(folder: Path, presets: Iterable[str]) -> None:
    """Write every template of some presets of PySM: a bright plane, polarised to 5 per cent."""
    for name in template_files(tuple(presets)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".txt":
            freq = np.geomspace(0.05, 500, 400)
            np.savetxt(path, np.column_stack([freq, 1e-17 * freq**2 * np.exp(-freq / 15)]))
        elif "nu_peak" in name:
            _write(path, np.full(12 * NSIDE**2, 25.0), "GHz")
        else:
            level = 1e-6 if "tsz" in name else 1.0 if "ksz" in name else 100.0
            _write(path, level * np.array([1.0, 0.05, 0.02])[:, None] * _plane(), "uK_RJ")
    for model in {preset_config(preset).get("class") for preset in presets} & set(WEBSKY):
        _write_websky(folder, model)


def _write_websky(folder: Path, model: str) -> None:
    from pysm3 import models  # takes seconds

    level, unit = WEBSKY[model]
    for name in getattr(models, model)(nside=NSIDE).maps.values():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, level * _plane(), unit)


def _plane() -> np.ndarray:
    """A sky that is bright in the plane, and not the same along it: RING, Galactic."""
    x, y, z = hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2))
    return (1 + 0.5 * x + 0.2 * np.sin(7 * y)) / (0.1 + np.abs(z))


def _write(path: Path, sky: np.ndarray, unit: str) -> None:
    hp.write_map(path, sky, column_units=unit, dtype=np.float32)


def write_chain(folder: Path, names: Iterable[str], rows: int = 50) -> None:
    """Write parameters of a Markov chain as LAMBDA has them: row number and value, in rows of one width."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(9)
    for name in names:
        mean, sd = CHAIN[name]
        lines = [f"{i:10d} {value:16.8e}\n" for i, value in enumerate(rng.normal(mean, sd, rows))]
        (folder / name).write_text("".join(lines), encoding="utf-8")
