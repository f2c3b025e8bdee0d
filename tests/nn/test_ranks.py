"""Training in several processes, and what one sees of any training while it runs."""

import io
import logging
import os
import pickle
import signal
from dataclasses import replace

import pytest
import torch
from torch import nn

from cmbml.core.engine.make import Engine
from cmbml.core.files.progress import Progress
from cmbml.core.handlers import get_handler
from cmbml.core.plan.fingerprints import Plan
from cmbml.methods.nn.executors import training
from cmbml.methods.nn.executors.training import Training, check_devices
from cmbml.methods.nn.params import TrainingParams
from cmbml.methods.nn.ranks import RankError
from cmbml.methods.nn.training import Schedule, TrainingError, seeded
from tests.nn.test_training import same
from tests.nn.toy_training import Line, Noisy
from tests.small_run import UPSTREAM, continued, finished, run


def toy(folder, devices, model=Noisy, samples=None, epochs=3):
    rates = {"learning_rate": 5e-2, "final_learning_rate": 1e-2, "patience": 8}
    with seeded(3):
        network = model()
    return Training(
        name="toy",
        model=network,
        loss=nn.functional.l1_loss,
        train=samples or Line(12),
        # an odd number: the shares of the two processes differ
        valid=Line(5, start=100),
        settings=TrainingParams(epochs=epochs, batch=4, devices=devices, **rates),
        schedule=Schedule(epochs=epochs, **rates),
        seed=3,
        threads=1,
        resume=Progress(folder / "resume.pt"),
        live=folder / "live",
    )


def plain():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))


class Mortal(Line):
    """Kills the process that takes its eleventh sample, as long as a file is there."""

    def __init__(self, file):
        super().__init__(12)
        self.file, self.taken = file, 0

    def __getitem__(self, index):
        self.taken += 1
        if self.taken > 10 and self.file.is_file():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


@pytest.mark.long
def test_two_processes_learn_what_one_learns(tmp_path):
    one, two = (toy(tmp_path / str(n), n, model=plain).run() for n in (1, 2))
    for alone, together in zip(one["curve"], two["curve"], strict=True):
        # float32, summed in another order
        assert together == pytest.approx(alone, rel=1e-5)
    for name, weights in one["model"].items():
        assert two["model"][name] == pytest.approx(weights, abs=1e-5)
    assert len(two["random"]) == 2
    # the second process has written nothing
    assert len(list((tmp_path / "2/live").glob("events*"))) == 1
    assert {path.name for path in (tmp_path / "2").iterdir()} == {"resume.pt", "live"}


@pytest.mark.long
def test_processes_that_were_killed_resume_to_the_same_bits(tmp_path):
    """With dropout, whose random states differ between the two."""
    whole = toy(tmp_path / "whole", 2).run()
    assert not torch.equal(*(state["cpu"] for state in whole["random"]))
    mortal = tmp_path / "mortal"
    mortal.touch()
    killed = toy(tmp_path / "killed", 2, samples=Mortal(mortal))
    with pytest.raises(RankError, match="SIGKILL"):
        killed.run()
    assert killed.saved()["epoch"] == 1
    mortal.unlink()
    assert same(killed.run(), whole)


@pytest.mark.long
def test_a_mistake_is_told_in_its_own_words(tmp_path, capfd):
    with pytest.raises(TrainingError, match=r"^the loss is not finite in epoch 1 at train/sim0009: look at"):
        toy(tmp_path, 2, samples=Line(12, bad=9)).run()
    assert "Traceback" not in capfd.readouterr().err


def test_more_gpus_than_there_are_is_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(TrainingError, match=r"^devices: 2: this machine has 1 GPU: lower it"):
        check_devices(2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    check_devices(2)


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match="batch: 3 cannot be shared by devices: 2: take a multiple"):
        TrainingParams(epochs=1, batch=3, devices=2, learning_rate=1.0, final_learning_rate=1.0, patience=1)


def test_curves_grow_while_it_runs(tmp_path):
    """DVCLive's files and TensorBoard's, anew from the state where training was interrupted."""
    from tensorboardX.proto.event_pb2 import Event

    toy(tmp_path, 1, epochs=2).run()
    longer = toy(tmp_path, 1, epochs=4)
    state = longer.run()
    (tmp_path / "live/plots/metrics/train.tsv").write_text("")
    longer.run()  # nothing is left to learn
    for name in ("train", "valid", "learning_rate"):
        rows = get_handler("Text").read(tmp_path / f"live/plots/metrics/{name}.tsv").splitlines()
        assert rows == [f"step\t{name}", *(f"{row['epoch']}\t{row[name]}" for row in state["curve"])]
    (events,) = (tmp_path / "live").glob("events*")
    seen = [value for record in records(events) for value in Event.FromString(record).summary.value]
    assert len(seen) == 3 * 4
    valid = [value.simple_value for value in seen if value.tag == "valid"]
    assert valid == pytest.approx([row["valid"] for row in state["curve"]], rel=1e-6)


def test_every_epoch_is_one_line(tmp_path, monkeypatch, caplog, capfd):
    said = io.StringIO()
    monkeypatch.setattr(training.LOG, "handlers", [logging.StreamHandler(said)])
    monkeypatch.setattr(training.LOG, "propagate", False)
    caplog.set_level(logging.INFO, "cmbml")
    toy(tmp_path, 1, epochs=2).run()
    first, second = said.getvalue().splitlines()
    assert first.startswith("toy [#####.....] epoch 1/2  train ")
    assert second.startswith("toy [##########] epoch 2/2  train ")
    assert "epoch" not in capfd.readouterr().err


def records(path):
    """Records of a TensorBoard file: length, its checksum, content, its checksum."""
    content, start = path.read_bytes(), 0
    while start < len(content):
        length = int.from_bytes(content[start : start + 8], "little")
        yield content[start + 12 : start + 12 + length]
        start += 16 + length


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    sizes = {"instrument__nside": 32, "cmbnncs__channels": 2, "cmbnncs__epochs": 2, "cmbnncs__batch": 2}
    methods = {"methods": ["nilc", "cmbnncs"], "cmbnncs__devices": 2}
    start = finished(tmp_path_factory.getbasetemp(), "T")
    config = continued(start, tmp_path_factory.mktemp("ranks"), "T", **sizes, **methods)
    return run(config, *UPSTREAM, "cmbnncs_scale", "cmbnncs_samples", "cmbnncs_training")


@pytest.mark.long
def test_a_stage_trains_in_two_processes(data):
    curve = get_handler("Csv").read(data.config.root / "plots/cmbnncs_training.csv")
    assert [row["epoch"] for row in curve] == [1, 2]
    assert set(data["cmbnncs_training"].model.at(epoch="best").read()["weights"])
    live = data.config.root / ".cmbml/live/stages/cmbnncs_training"
    assert (live / "plots/metrics/valid.tsv").is_file()


@pytest.mark.long
def test_what_a_stage_trains_goes_to_other_processes(data, monkeypatch):
    sent = []
    monkeypatch.setattr(training, "launch", lambda n, function, *arguments: sent.extend(arguments))
    executor = Engine(Plan(data.config)).make_executor("cmbnncs_training", None)
    executor.scratch = data.config.root / "none"
    executor.fit(Noisy, lambda model: nn.functional.l1_loss)
    (job,) = sent
    assert len(pickle.dumps(replace(job, model=plain()))) < 100_000
