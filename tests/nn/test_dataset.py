"""Skies as a PyTorch dataset: picklable references, the right maps, one line where something is missing."""

import pickle

import pytest
import torch
from torch.utils.data import DataLoader

import cmbml
from cmbml.core.errors import CmbmlError, ConfigError
from cmbml.methods.nn.executors.samples import FileSamples
from cmbml.sky.sht import alm2map, almxfl, gaussian_beam
from tests.small_run import finished, repository


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return cmbml.open(finished(tmp_path_factory.getbasetemp(), "T"))


def test_samples_are_the_bands_and_the_cmb(data):
    skies = cmbml.torch_dataset("train", data.config.root)
    name, features, target = skies[1]
    assert (name, features.shape, features.dtype) == ("train/sim0001", (9, 1, 3072), torch.float32)
    band = data["observations"].obs.at(split="train", sim=1, freq="143").read().values
    assert features[4].numpy() == pytest.approx(band)
    alm = data["cmb"].cmb.at(split="train", sim=1).read().values
    expected = alm2map(almxfl(alm, gaussian_beam(300.0, 40)), 16)
    assert target.numpy() == pytest.approx(expected, abs=1e-4)


@pytest.mark.long
def test_they_go_to_worker_processes(data):
    skies = cmbml.torch_dataset("train", data.config.root)
    assert len(pickle.dumps(skies)) < 100_000
    pair = torch.utils.data.Subset(skies, [0, 1])
    loader = DataLoader(pair, batch_size=2, num_workers=1, multiprocessing_context="spawn")
    (batch,) = loader
    assert list(batch.name) == ["train/sim0000", "train/sim0001"]
    assert torch.equal(batch.features[1], skies[1].features)


def test_mistakes_about_samples_are_one_line(data, tmp_path):
    with pytest.raises(ConfigError, match=r"no split 'trian': known: train, valid"):
        cmbml.torch_dataset("trian", data.config.root)
    with pytest.raises(CmbmlError, match=r"obs_30.fits: no such file: run the stage that makes it"):
        cmbml.torch_dataset("train", repository(tmp_path).root)[1]
    assert len(FileSamples((), (), 1)) == 0


def test_they_are_shown_in_one_short_line(data):
    skies = cmbml.torch_dataset("train", data.config.root)
    last = skies.names[-1]
    assert repr(skies) == f"<SkyDataset: {len(skies)} samples, train/sim0000 to {last}, 9 bands, nside 16>"
    prepared = FileSamples(skies.names, skies.cmbs, 1)
    assert repr(prepared) == f"<FileSamples: {len(skies)} samples, train/sim0000 to {last}, 1 rows of target>"
    assert repr(FileSamples((), (), 1)) == "<FileSamples: 0 samples, 1 rows of target>"
