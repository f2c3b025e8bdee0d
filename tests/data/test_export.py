"""Exports: the numbers that leave are those of the dataset; what leaves as CMB-ML has it can come back."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

import cmbml
from cmbml.cli.entry import main
from cmbml.core.engine.context import run_stage
from cmbml.core.engine.make import Engine
from cmbml.core.errors import ConfigError
from cmbml.core.handlers import get_handler
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.config import load_config
from cmbml.core.spec.profile import overlay
from cmbml.core.spec.yamlio import dump_yaml, read_yaml
from cmbml.exchange.export import Exporter, Selection, export_fits, export_shards
from cmbml.sky.sht import alm2map
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Simulations and one method of a tiny dataset."""
    root = tmp_path_factory.mktemp("tiny")
    shutil.copytree(ROOT / "pipeline", root / "pipeline")
    shutil.copy(ROOT / "luigi.cfg", root)
    (root / "dvc.yaml").touch()
    params = overlay(read_yaml(ROOT / "params.yaml"), read_yaml(ROOT / "profiles/demo.yaml"))
    sizes = {
        "splits": {"train": {"n_sims": 2}, "test": {"n_sims": 1}},
        "instrument": {"nside": 16, "lmax": 40},
    }
    params = overlay(params, {**sizes, "dataset": "tiny", "methods": ["nilc"], "analysis": {"lmax": 40}})
    params["nilc"]["peaks"] = [20, 41]
    (root / "params.yaml").write_text(dump_yaml(params), encoding="utf-8")
    engine = Engine(Plan(load_config(root)))
    for key in ("cosmology", "theory", "cmb", "draws", "observations", "nilc"):
        run_stage(engine, engine.plan.stages[key])
    return root


def exporter(root: Path, into: Path, *methods: str, splits: tuple[str, ...] = ()) -> Exporter:
    return Exporter(Plan(load_config(root)), Selection(into, splits, methods))


def test_plain_fits_under_cmb_mls_names(dataset, tmp_path):
    count = export_fits(exporter(dataset, tmp_path / "out", "nilc"))
    names = sorted(
        str(path.relative_to(tmp_path / "out/tiny")) for path in (tmp_path / "out").rglob("*.fits")
    )
    assert len(names) == count
    assert "Simulation/Train/sim0001/obs_100_map.fits" in names
    assert "Simulation/Test/sim0000/cmb_map_fid.fits" in names
    assert "nilc/Shifted/sim0000/cmb_map_pred.fits" in names
    data = cmbml.open(dataset)
    here = data["observations"].obs.at(split="train", sim=1, freq="100").path
    there = tmp_path / "out/tiny/Simulation/Train/sim0001/obs_100_map.fits"
    assert there.read_bytes() == here.read_bytes()
    truth = alm2map(data["cmb"].cmb.at(split="test", sim=0).read().values, 16)
    sky = get_handler("HealpyMap").read(tmp_path / "out/tiny/Simulation/Test/sim0000/cmb_map_fid.fits")
    assert (sky.values == truth).all()
    assert sky.unit == "uK_CMB"


def test_shards_are_lossless_and_always_the_same(dataset, tmp_path):
    shards = export_shards(exporter(dataset, tmp_path / "a", "nilc"), 1)
    assert [path.name for path in shards][:3] == ["train-000000.tar", "train-000001.tar", "valid-000000.tar"]
    again = export_shards(exporter(dataset, tmp_path / "b", "nilc"), 1)
    assert [p.read_bytes() for p in shards] == [p.read_bytes() for p in again]
    with tarfile.open(tmp_path / "a/train-000001.tar") as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}
    assert set(members) == {
        f"train_0001.{name}" for name in ("cmb.npy", "cmb_alm.npy", "json", "nilc.npy", "obs.npy")
    }
    arrays = {n.split(".")[1]: np.load(io.BytesIO(c)) for n, c in members.items() if n.endswith("npy")}
    data = cmbml.open(dataset)
    facts = json.loads(members["train_0001.json"])
    for row, freq in enumerate(facts["bands"]):
        assert (
            arrays["obs"][row] == data["observations"].obs.at(split="train", sim=1, freq=freq).read().values
        ).all()
    assert (arrays["cmb_alm"] == data["cmb"].cmb.at(split="train", sim=1).read().values).all()
    assert (arrays["nilc"] == data["nilc"].cleaned.at(split="train", sim=1).read().values).all()
    assert arrays["obs"].dtype == np.float32


def test_shards_have_the_wanted_size(dataset, tmp_path):
    shards = export_shards(exporter(dataset, tmp_path / "a", splits=("train",)), 10**9)
    assert [path.name for path in shards] == ["train-000000.tar"]


def test_wrong_choices_are_told(dataset, tmp_path):
    with pytest.raises(ConfigError, match="no split 'tets': did you mean 'test'"):
        exporter(dataset, tmp_path / "x", splits=("tets",))
    with pytest.raises(ConfigError, match="no method 'nlic': did you mean 'nilc'"):
        exporter(dataset, tmp_path / "x", "nlic")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is not empty: choose another folder"):
        exporter(dataset, tmp_path)


def test_the_command(dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(dataset)
    main(["export", "cmb-ml", "--into", str(tmp_path / "a"), "--split", "test"])
    main(["export", "webdataset", "--into", str(tmp_path / "b"), "--split", "test", "--method", "nilc"])
    said = capsys.readouterr().out
    assert "11 files" in said
    assert "1 shard" in said
