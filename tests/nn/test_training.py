"""The training core: seeded, resumable to the bit, stopping where it should, plain in its messages."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from cmbml.core.handlers import get_handler
from cmbml.methods.nn.batches import EpochSampler, SampleLoader
from cmbml.methods.nn.checkpoint import check_checkpoint, load_weights, make_checkpoint
from cmbml.methods.nn.training import TrainingError, predict, seeded
from tests.conftest import ROOT
from tests.nn.toy_training import SCHEDULE, Line, Noisy, states


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_training_learns_and_says_how():
    *_, last = states()
    losses = [row["valid"] for row in last["curve"]]
    assert losses[-1] < 0.9 * losses[0]
    assert [row["epoch"] for row in last["curve"]] == list(range(1, 9))
    assert last["curve"][-1]["learning_rate"] == pytest.approx(1e-2, rel=0.1)
    assert last["best"]["loss"] == min(losses)
    assert set(last["kept"]) == {2}


def test_the_same_seed_gives_the_same_bits():
    *_, one = states()
    torch.rand(3)  # what others draw in between does not matter
    *_, other = states()
    assert same(one, other)


def test_the_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    list(states(schedule=replace(SCHEDULE, epochs=1)))
    assert torch.equal(before, torch.get_rng_state())


def test_resumed_training_ends_with_the_bits_of_one_that_was_not_interrupted(tmp_path):
    """Through the file, at every epoch."""
    handler = get_handler("PyTorchModel")
    all_states = list(states())
    for number in (1, 4, 7):
        handler.write(tmp_path / "resume.pt", all_states[number - 1])
        *_, last = states(handler.read(tmp_path / "resume.pt"))
        assert same(last, all_states[-1]), f"resumed after epoch {number}"


@pytest.mark.long
def test_a_killed_training_resumes_to_the_same_bits(tmp_path):
    def start(folder, pause):
        command = [sys.executable, "-m", "tests.nn.toy_training", str(folder), str(pause)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = start(tmp_path / "whole", 0)
    killed = start(tmp_path / "killed", 0.2)
    for _ in range(3):
        killed.stdout.readline()
    killed.kill()
    killed.communicate()
    again = start(tmp_path / "killed", 0)
    resumed = again.communicate()[0].split()
    whole.communicate()
    assert resumed[0] != "1", "it carries on"
    read = get_handler("PyTorchModel").read
    assert same(*(read(tmp_path / name / "resume.pt") for name in ("whole", "killed")))


def test_it_stops_early_but_not_before_the_last_kept_epoch():
    still = replace(SCHEDULE, epochs=50, learning_rate=1e-12, final_learning_rate=1e-12, patience=3)

    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return x + 0 * self.gain

    *_, last = states(schedule=still, model=Fixed)
    assert (last["epoch"], last["best"]["epoch"]) == (4, 1)
    *_, last = states(schedule=replace(still, kept=(6,)), model=Fixed)
    assert last["epoch"] == 6


def test_a_loss_that_is_no_number_names_the_simulation_and_keeps_the_last_state():
    good = []
    with pytest.raises(TrainingError, match=r"not finite in epoch 1 at train/sim0009: look at that"):
        good.extend(states(samples=Line(bad=9)))
    steep = replace(SCHEDULE, learning_rate=1e30, final_learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"not finite in epoch \d at train/sim.*, or lower learning_rate"):
        good.extend(states(schedule=steep))
    for state in good:
        assert all(torch.isfinite(w).all() for w in state["model"].values())


class Hungry(nn.Module):
    """Fits only so many samples."""

    limit = 2

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 8)
        self.seen = 0

    def forward(self, x):
        self.seen = max(self.seen, len(x))
        if len(x) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")
        return self.net(x)


def test_a_lack_of_memory_says_which_batch_would_fit(monkeypatch):
    with pytest.raises(TrainingError, match=r"memory is too small for batch: 8: batch: 2 fits"):
        list(states(model=Hungry, batch=8))
    monkeypatch.setattr(Hungry, "limit", 0)
    with pytest.raises(TrainingError, match=r"too small even for batch: 1"):
        list(states(model=Hungry, batch=8))
    with pytest.raises(TrainingError, match=r"memory is too small for batch: 4: lower it"):
        list(predict(Hungry(), torch.zeros(6, 8), batch=4))


def test_other_faults_of_a_network_are_not_called_memory():
    class Wrong(Noisy):
        def forward(self, x):
            raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        list(states(model=Wrong))


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="there are no samples: raise n_sims of the split"):
        SampleLoader(Line(0), batch=2)


def test_prediction_holds_few_samples_at_once():
    samples = torch.randn(7, 8)
    model = Hungry()
    said = torch.stack(list(predict(model, samples, batch=2)))
    assert model.seen == 2
    # float32: another batch sums in another order
    assert said == pytest.approx(model.net(samples).detach(), abs=1e-6)


def test_orders_differ_by_epoch_and_shares_are_disjoint():
    def order(epoch, **share):
        sampler = EpochSampler(range(10), 3, **share)
        sampler.epoch = epoch
        return list(sampler)

    assert sorted(order(1)) == sorted(order(2)) == list(range(10))
    assert order(1) != order(2)
    shares = [order(1, rank=rank, n_ranks=3) for rank in range(3)]
    assert [len(share) for share in shares] == [3, 3, 3]
    assert len({index for share in shares for index in share}) == 9


def test_worker_processes_change_nothing():
    short = replace(SCHEDULE, epochs=1, kept=())
    (one,), (other,) = states(schedule=short), states(schedule=short, workers=1)
    assert same(one["model"], other["model"])


BANDS = {"names": ["30", "44"], "freq_ghz": [30.0, 44.0], "fwhm_arcmin": [225.0, 195.0]}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"architecture": {"name": "unet8"}}, "another architecture: name was toy, is unet8"),
        (
            {"bands": BANDS | {"freq_ghz": [30.0, 70.0]}},
            r"another instrument: freq_ghz of band 44 was 44.0, is 70.0",
        ),
        ({"normalisation": {"mean": torch.ones(2)}}, "another normalisation: mean has other values"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(changed, message):
    parts = {"architecture": {"name": "toy"}, "bands": BANDS, "normalisation": {"mean": torch.zeros(2)}}
    checkpoint = make_checkpoint(Noisy().state_dict(), **parts)
    check_checkpoint(checkpoint, **parts)
    with pytest.raises(ValueError, match=message):
        check_checkpoint(checkpoint, **(parts | changed))


def test_what_is_no_checkpoint_is_refused():
    for thing in ({"weights": {}}, [1, 2], {"format": 99}):
        with pytest.raises(ValueError, match="is no checkpoint of format 1"):
            check_checkpoint(thing)
    with pytest.raises(ValueError, match="the weights are of another architecture: size mismatch"):
        load_weights(
            nn.Linear(8, 4), make_checkpoint(nn.Linear(8, 5).state_dict(), architecture={}, bands={})
        )


def test_seeding_also_fixes_the_threads():
    before = torch.get_num_threads()
    with seeded(1, threads=before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
