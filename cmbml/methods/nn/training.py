"""Training of any network: batches in, one state after every epoch out; no files.

A state holds everything: after an interruption, training that resumes from the last one ends with the same
bits as training that was never interrupted, on the same machine and number of threads.

Several processes may train one network (see `cmbml.methods.nn.ranks`): each gets its share of every batch,
and all of them yield the same states.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import TypedDict

import torch
from torch import Tensor, nn

from cmbml.methods.nn.batches import Batches, Sample
from cmbml.methods.nn.ranks import averaging, gathered, n_ranks, own_device, rank, summed, synchronised

Loss = Callable[[Tensor, Tensor], Tensor]
Weights = dict[str, Tensor]


class Best(TypedDict):
    """The epoch of the best loss on valid."""

    epoch: int
    loss: float
    weights: Weights


class State(TypedDict, total=False):
    """All of a training after an epoch; empty before the first."""

    epoch: int
    model: Weights
    optimizer: dict[str, object]
    scheduler: dict[str, object]
    scaler: dict[str, object]
    random: list[Weights]
    best: Best
    kept: dict[int, Weights]
    curve: list[dict[str, float]]


class TrainingError(ValueError):
    """Training cannot go on; the last state that was yielded is good."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn.

    Attributes
    ----------
    epochs
        At most so many.
    learning_rate, final_learning_rate
        Of Adam; it falls exponentially, step by step, from the first to the second in the last epoch.
    patience
        Epochs without a better loss on valid after which training stops.
    repeats
        Steps of the optimiser for every batch.
    kept
        Epochs whose weights are kept beside those of the best; training does not stop before the last one.
    """

    epochs: int
    learning_rate: float
    final_learning_rate: float
    patience: int
    repeats: int = 1
    kept: tuple[int, ...] = ()


@contextmanager
def seeded(seed: int, threads: int = 1) -> Iterator[None]:
    """Let PyTorch draw from `seed` and work with a number of threads; leave its own settings as they were."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng([own_device().index] if torch.cuda.is_available() else []):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)


def train(
    model: nn.Module,
    batches: Batches,
    valid: Batches,
    loss: Loss,
    schedule: Schedule,
    *,
    device: torch.device | str = "cpu",
    resume: State | None = None,
) -> Iterator[State]:
    """Train a network, within `seeded`.

    Parameters
    ----------
    model
        The network, with its first weights.
    batches, valid
        Samples to learn from, and those that say when to stop and which epoch is best.
    loss
        Mean loss of a batch, from what the network says and the target.
    schedule
        How long and how fast.
    device
        Where to compute; on a GPU with mixed precision.
    resume
        The last state that was yielded.

    Yields
    ------
    State
        After every epoch, tensors and plain values: ``epoch``, ``model``, ``optimizer``, ``scheduler``,
        ``scaler``, ``random`` (of every process), ``best`` (epoch, loss, weights), ``kept`` (weights by
        epoch) and ``curve`` (rows of epoch, train, valid, learning_rate).

    Raises
    ------
    TrainingError
        Where a loss is not finite, or memory is too small.
    """
    trainer = _Trainer(model, loss, schedule, len(batches), torch.device(device))
    if resume is not None:
        trainer.restore(resume)
    while not trainer.done:
        trainer.epoch += 1
        batches.set_epoch(trainer.epoch)
        learned = trainer.learn(batches)
        trainer.close_epoch(learned, trainer.evaluate(valid))
        yield trainer.state()


class _Trainer:
    def __init__(
        self, model: nn.Module, loss: Loss, schedule: Schedule, n_batches: int, device: torch.device
    ) -> None:
        self.loss, self.schedule, self.device = loss, schedule, device
        self.model = synchronised(model.to(device), device)
        # what learns; the model itself evaluates, since there the ranks need not keep step
        self.learner = averaging(self.model, device)
        self.epoch = 0
        self.best: Best = {"epoch": 0, "loss": float("inf"), "weights": {}}
        self.kept: dict[int, Weights] = {}
        self.curve: list[dict[str, float]] = []
        # fused: its square root is IEEE's on every processor, which that of MKL is not
        self.optimizer = torch.optim.Adam(model.parameters(), lr=schedule.learning_rate, fused=True)
        steps = max(schedule.epochs * n_batches * schedule.repeats - 1, 1)
        gamma = (schedule.final_learning_rate / schedule.learning_rate) ** (1 / steps)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, gamma)
        self.scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")

    @property
    def done(self) -> bool:
        waited = self.epoch - self.best["epoch"]
        tired = waited >= self.schedule.patience and self.epoch >= max(self.schedule.kept, default=0)
        return self.epoch >= self.schedule.epochs or (self.epoch > 0 and tired)

    def learn(self, batches: Batches) -> float:
        self.model.train()
        total, count = 0.0, 0
        for sample in batches:
            for _ in range(self.schedule.repeats):
                value = self._step(sample)
            total, count = total + value * len(sample.name), count + len(sample.name)
        return self._mean(total, count)

    def _step(self, sample: Sample) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        value = self._loss_of(sample, self.learner)
        try:
            self.scaler.scale(value).backward()
        except RuntimeError as error:
            raise self._too_large(sample, error) from error
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scheduler.step()
        return float(value.detach())

    def _loss_of(self, sample: Sample, model: nn.Module) -> Tensor:
        try:
            value = self._forward(sample, model)
        except RuntimeError as error:
            raise self._too_large(sample, error) from error
        if not torch.isfinite(value):
            raise TrainingError(
                f"the loss is not finite in epoch {self.epoch} at {self._culprit(sample)}: "
                "look at that simulation, or lower learning_rate"
            )
        return value

    def _forward(self, sample: Sample, model: nn.Module) -> Tensor:
        features, target = sample.features.to(self.device), sample.target.to(self.device)
        with torch.autocast(self.device.type, enabled=self.device.type == "cuda"):
            said = model(features)
        return self.loss(said.float() if said.dtype != target.dtype else said, target)

    def evaluate(self, valid: Batches) -> float:
        self.model.eval()
        total, count = 0.0, 0
        with torch.no_grad():
            for sample in valid:
                total += float(self._loss_of(sample, self.model)) * len(sample.name)
                count += len(sample.name)
        return self._mean(total, count)

    def _mean(self, total: float, count: float) -> float:
        total, count = summed([total, count], self.device)
        return total / count

    def _culprit(self, sample: Sample) -> str:
        """The first simulation of a batch whose loss is not finite; all, where the weights are at fault."""
        self.model.eval()
        for name, features, target in zip(*sample, strict=True):
            with torch.no_grad():
                value = self._forward(Sample([name], features[None], target[None]), self.model)
            if not torch.isfinite(value):
                return str(name)
        return ", ".join(map(str, sample.name))

    def _too_large(self, sample: Sample, error: RuntimeError) -> Exception:
        """Say which batch would fit, where `error` is a lack of memory; else the error itself."""
        if not is_memory(error):
            return error
        self.optimizer.zero_grad(set_to_none=True)
        size = len(sample.name)
        while size > 1:
            size //= 2
            if self._fits(Sample(*(part[:size] for part in sample))):
                whole, fits = len(sample.name) * n_ranks(), size * n_ranks()
                return TrainingError(f"memory is too small for batch: {whole}: batch: {fits} fits")
        return TrainingError(
            f"memory is too small even for batch: {n_ranks()}: take a smaller network or nside"
        )

    def _fits(self, sample: Sample) -> bool:
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        try:
            # not backward(), for which the other ranks would be waited for
            torch.autograd.grad(self._forward(sample, self.model), weights, allow_unused=True)
        except RuntimeError as error:
            if is_memory(error):
                return False
            raise
        return True

    def close_epoch(self, learned: float, checked: float) -> None:
        weights = _copied(self.model.state_dict())
        if checked < self.best["loss"]:
            self.best = {"epoch": self.epoch, "loss": checked, "weights": weights}
        if self.epoch in self.schedule.kept:
            self.kept[self.epoch] = weights
        rate = self.optimizer.param_groups[0]["lr"]
        self.curve.append({"epoch": self.epoch, "train": learned, "valid": checked, "learning_rate": rate})

    def state(self) -> State:
        return {
            "epoch": self.epoch,
            "model": _copied(self.model.state_dict()),
            # its tensors are those that the next step changes
            "optimizer": deepcopy(self.optimizer.state_dict()),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": gathered(self._random()),
            "best": self.best,
            "kept": dict(self.kept),
            "curve": list(self.curve),
        }

    def _random(self) -> Weights:
        state = {"cpu": torch.get_rng_state()}
        return state | ({"cuda": torch.cuda.get_rng_state(self.device)} if self.device.type == "cuda" else {})

    def restore(self, state: State) -> None:
        self.epoch, self.best = state["epoch"], state["best"]
        self.kept, self.curve = dict(state["kept"]), list(state["curve"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        random = state["random"][rank()]
        torch.set_rng_state(random["cpu"].cpu())
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(random["cuda"].cpu(), self.device)


def is_memory(error: RuntimeError) -> bool:
    """Whether an error of PyTorch is a lack of memory, on a GPU or not."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _copied(weights: Weights) -> Weights:
    return {name: value.detach().cpu().clone() for name, value in weights.items()}


def predict(
    model: nn.Module, samples: Sequence[Tensor] | Tensor, *, batch: int, device: torch.device | str = "cpu"
) -> Iterator[Tensor]:
    """What a network says, sample by sample; never more than `batch` of them are in it at once.

    Raises
    ------
    TrainingError
        Where memory is too small for `batch`.
    """
    model = model.to(device).eval()
    for start in range(0, len(samples), batch):
        some = torch.stack(list(samples[start : start + batch])).to(device)
        try:
            with torch.no_grad():
                said = model(some)
        except RuntimeError as error:
            if is_memory(error):
                raise TrainingError(f"memory is too small for batch: {batch}: lower it") from error
            raise
        yield from said.cpu()
