"""Every profile that ships, from the first draw to the scores: coarse maps, few skies, hardly any training."""

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cmbml
from cmbml.core.engine.switch import apply_profile
from cmbml.core.handlers import get_handler
from cmbml.core.spec.config import Config, load_config
from cmbml.core.spec.yamlio import dump_yaml, read_yaml
from cmbml.sky.executors.cosmology import CHAINS
from cmbml.sky.pysm.templates import presets_of
from cmbml.sky.skymap import SkyMap
from tests.conftest import ROOT
from tests.data.sky_templates import write_chain, write_pysm
from tests.data.test_observed import put_planck_sky, sky_alm

PROFILES = sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))
NSIDE, LMAX = 32, 40
# What a block of a method says in place of its own value, where it has the key.
SMALL = {
    "fwhm_arcmin": 300.0,
    "peaks": [LMAX // 2, LMAX + 1],
    "domain_deg": 40.0,
    "epochs": 1,
    "architecture": "unet5",
    "channels": 2,
    "init": 2,
    "depth": 1,
    "margin": 2,
    "patches_per_sim": 4,
    "width": 4,
    "repeats": 1,
}
SHIPPED = "gsc_unet_shipped"


def reduced(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a profile at low resolution; what they switch on stays on."""
    small = {
        name: {key: SMALL.get(key, value) for key, value in block.items()}
        if isinstance(block, dict) and name not in ("instrument", "observed")
        else block
        for name, block in params.items()
    }
    # Networks learn from the scatter between skies, and an interval needs two.
    learns = any("epochs" in params.get(method, {}) for method in params["methods"])
    two = {"test", "train"} if learns else {"test"}
    small["splits"] = {
        name: split | {"n_sims": 2 if name in two else 1} for name, split in params["splits"].items()
    }
    small["instrument"] |= {"nside": NSIDE, "lmax": LMAX}
    small["analysis"] |= {"lmax": LMAX, "band_width": 10, "n_bootstrap": 100}
    small["gsc_unet"]["nside"] = 4
    return small


def put_raw_files(config: Config) -> None:
    """Write the chains, templates, mask and real skies that the parameters ask for."""
    raw, params = config.root / "data/raw", config.params
    for chain in {params.cosmology.source} & set(CHAINS):
        asset = config.pipeline.stage("wmap_chains").assets_out[chain]
        write_chain(Path(asset.path_template.format(src_root=raw, field="any")).parent, asset.fields)
    models = {
        params.foregrounds.model,
        *(m for each in params.populations.values() for m in each.models or ()),
    }
    write_pysm(raw / "pysm", {p for model in models for p in presets_of(model, params.foregrounds.presets)})
    if observed(config):
        bands = {name: band.model_dump() for name, band in params.instrument.bands.items()}
        put_planck_sky(raw, bands, params.observed.fwhm_arcmin, sky_alm())
    if params.mask.kind == "map":
        kept = np.abs(np.linspace(1, -1, 12 * 64**2)) > 0.2
        (raw / "mask").mkdir()
        get_handler("HealpyMap").write(raw / "mask/mask.fits", SkyMap(kept[None].astype(float), "1"))


def observed(config: Config) -> list[str]:
    """Splits of real skies."""
    return [name for name, split in config.params.splits.items() if split.source == "observed"]


class Repository:
    """A reduced profile with all that it reads from elsewhere."""

    def __init__(self, root: Path, profile: str) -> None:
        self.root = root
        apply_profile(ROOT, profile, root)
        (root / "dvc.yaml").touch()
        self.params = reduced(read_yaml(root / "params.yaml"))
        self.switch_on(self.params["methods"])
        put_raw_files(self.config)

    @property
    def config(self) -> Config:
        return load_config(self.root)

    def switch_on(self, methods: list[str]) -> None:
        text = dump_yaml(self.params | {"methods": methods})
        (self.root / "params.yaml").write_text(text, encoding="utf-8")

    def command(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "cmbml", *arguments],
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "PYSM_LOCAL_DATA": str(self.root / "data/raw/pysm"),
                # PySM compiles its kernels for 40 s; as plain numpy they give the same numbers at once.
                "NUMBA_DISABLE_JIT": "1",
            },
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self) -> None:
        """Run everything; in place of the network that ships stands one of the reduced instrument."""
        methods = self.params["methods"]
        if SHIPPED in methods:
            self.switch_on([name for name in methods if name != SHIPPED])
            self.command("run")
            training, folder = cmbml.open(self.root)["gsc_unet_training"], self.root / "data/raw/pretrained"
            shutil.copy(training.model.at(epoch="best").path, folder / "gsc_unet/model.pt")
            shutil.copy(training.normalisation.path, folder / "gsc_unet/normalisation.pt")
            self.switch_on(methods)
        self.command("run")

    def results(self) -> Iterator[tuple[str, str, dict[str, float]]]:
        """Split, method and numbers: scores, and on real skies comparisons with the published maps."""
        scores = json.loads(
            (self.root / "data" / self.config.dataset / "scores/scores.json").read_text(encoding="utf-8")
        )
        for split in self.config.splits:
            for method in self.params["methods"]:
                yield split, method, {key: each["mean"] for key, each in scores[split][method].items()}
        for split in observed(self.config):
            for method in self.params["methods"]:
                place = {"split": split, "sim": 0, "method": method}
                for summary in cmbml.open(self.root)["sky_comparison"].summary.at(**place).read().values():
                    yield split, method, summary


@pytest.mark.long
@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_runs_from_the_first_draw_to_the_scores(tmp_path, profile):
    repository = Repository(tmp_path, profile)
    repository.run()
    assert repository.command("status") == "everything is complete\n"
    results = list(repository.results())
    assert {split for split, _, _ in results} == set(repository.params["splits"])
    for split, method, numbers in results:
        assert numbers, (split, method)
        assert all(math.isfinite(number) for number in numbers.values()), (split, method, numbers)
