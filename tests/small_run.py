"""The real pipeline at low resolution: its repository, and finished runs that tests share."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from cmbml.core.engine.context import run_stage
from cmbml.core.engine.make import Engine
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.config import Config, load_config
from cmbml.core.spec.yamlio import dump_yaml, read_yaml
from cmbml.core.views.dataset import Dataset

ROOT = Path(__file__).parent.parent

METHODS = ["nilc", "hilc", "hilc_plain", "nilc_regularised", "wiener"]
SIZES = {
    "dataset": "stages",
    "methods": METHODS,
    "instrument.nside": 16,
    "instrument.lmax": 40,
    "analysis.lmax": 40,
    "analysis.fwhm_arcmin": 300.0,
    "splits": {
        name: {"n_sims": n, "population": "nominal"} for name, n in (("train", 2), ("valid", 1), ("test", 1))
    },
    "nilc.peaks": [20, 41],
    "nilc_regularised.peaks": [20, 41],
    "nilc_regularised.domain_deg": 40.0,
    "components": {"write": True},
}
UPSTREAM = ("cosmology", "theory", "cmb", "draws", "observations", "components", "mask")
LEARNED = ("nilc", "hilc_covariance", "hilc", "hilc_plain", "nilc_covariance", "nilc_regularised", "wiener_window", "wiener", "nilc_components", "nilc_regularised_components")  # fmt: skip
# By field: a lensed CMB, whose theory goes far beyond the band-limit, costs CAMB ten times as long.
VARIANTS = {
    "T": {"instrument.fields": "T", "cmb.kind": "gaussian"},
    "TQU": {"instrument.fields": "TQU", "cmb.kind": "lensed"},
}


def repository(folder: Path, **overrides: object) -> Config:
    """The real pipeline at low resolution, or with other values by key, ``__`` for the dot: its configuration."""
    shutil.copytree(ROOT / "pipeline", folder / "pipeline", dirs_exist_ok=True)
    values = read_yaml(ROOT / "params.yaml")
    for key, value in (SIZES | {key.replace("__", "."): v for key, v in overrides.items()}).items():
        *blocks, name = key.split(".")
        place = values
        for block in blocks:
            place = place[block]
        place[name] = value
    (folder / "params.yaml").write_text(dump_yaml(values), encoding="utf-8")
    return load_config(folder)


def run(config: Config, *keys: str) -> Dataset:
    """Run some stages, or all, where they are not finished."""
    engine = Engine(Plan(config))
    for key in keys or engine.plan.stages:
        run_stage(engine, engine.plan.stages[key])
    return Dataset(config)


def finished(base: Path, fields: str) -> Path:
    """The run of all classical methods on some fields, for reading only."""

    def make(folder: Path) -> None:
        overrides = {key.replace(".", "__"): value for key, value in VARIANTS[fields].items()}
        run(repository(folder, **overrides), *UPSTREAM, *LEARNED)

    return made_once(base, f"stages_{fields}", make)


def continued(start: Path, folder: Path, fields: str, **overrides: object) -> Config:
    """A copy of a finished run with other values: what they leave valid is not made again."""
    shutil.copytree(start, folder, dirs_exist_ok=True)
    variant = {key.replace(".", "__"): value for key, value in VARIANTS[fields].items()}
    return repository(folder, **variant | overrides)


def made_once(base: Path, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that one of the workers of a test run makes; others who want it wait for it.

    Parameters
    ----------
    base
        pytest's folder of this worker.
    name
        Name of the folder, the same in all workers.
    make
        Fills a new folder.
    """
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, unfinished = shared / name, shared / f"{name}.unfinished"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(folder)
    return folder
