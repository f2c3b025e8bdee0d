"""Training of any network: batches in, one state after every epoch out; no files.

A state holds everything: after an interruption, training that resumes from the last one ends with the same
bits as training that was never interrupted, on the same machine and number of threads.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cmbml.methods.nn.batches import Batches, Sample

Loss = Callable[[Tensor, Tensor], Tensor]
State = dict[str, Any]


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
        with torch.random.fork_rng():
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
        ``scaler``, ``random``, ``best`` (epoch, loss, weights), ``kept`` (weights by epoch) and ``curve``
        (rows of epoch, train, valid, learning_rate).

    Raises
    ------
    TrainingError
        Where a loss is not finite, or memory is too small.
    """
    trainer = _Trainer(model.to(device), loss, schedule, len(batches), torch.device(device))
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
        self.model, self.loss, self.schedule, self.device = model, loss, schedule, device
        self.epoch = 0
        self.best: State = {"epoch": 0, "loss": float("inf"), "weights": {}}
        self.kept: dict[int, State] = {}
        self.curve: list[dict[str, float]] = []
        self.optimizer = torch.optim.Adam(model.parameters(), lr=schedule.learning_rate)
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
        return total / count

    def _step(self, sample: Sample) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        value = self._loss_of(sample)
        try:
            self.scaler.scale(value).backward()
        except RuntimeError as error:
            raise self._too_large(sample, error) from error
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scheduler.step()
        return float(value.detach())

    def _loss_of(self, sample: Sample) -> Tensor:
        try:
            value = self._forward(sample)
        except RuntimeError as error:
            raise self._too_large(sample, error) from error
        if not torch.isfinite(value):
            raise TrainingError(
                f"the loss is not finite in epoch {self.epoch} at {self._culprit(sample)}: "
                "look at that simulation, or lower learning_rate"
            )
        return value

    def _forward(self, sample: Sample) -> Tensor:
        features, target = sample.features.to(self.device), sample.target.to(self.device)
        with torch.autocast(self.device.type, enabled=self.device.type == "cuda"):
            said = self.model(features)
        return self.loss(said.float() if said.dtype != target.dtype else said, target)

    def evaluate(self, valid: Batches) -> float:
        self.model.eval()
        total, count = 0.0, 0
        with torch.no_grad():
            for sample in valid:
                total += float(self._loss_of(sample)) * len(sample.name)
                count += len(sample.name)
        return total / count

    def _culprit(self, sample: Sample) -> str:
        """The first simulation of a batch whose loss is not finite; all, where the weights are at fault."""
        self.model.eval()
        for name, features, target in zip(*sample, strict=True):
            with torch.no_grad():
                value = self._forward(Sample([name], features[None], target[None]))
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
                return TrainingError(f"memory is too small for batch: {len(sample.name)}: batch: {size} fits")
        return TrainingError("memory is too small even for batch: 1: take a smaller network or nside")

    def _fits(self, sample: Sample) -> bool:
        try:
            self._forward(sample).backward()
        except RuntimeError as error:
            if is_memory(error):
                return False
            raise
        finally:
            self.optimizer.zero_grad(set_to_none=True)
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
        cuda = torch.cuda.get_rng_state_all() if self.device.type == "cuda" else []
        return {
            "epoch": self.epoch,
            "model": _copied(self.model.state_dict()),
            # its tensors are those that the next step changes
            "optimizer": deepcopy(self.optimizer.state_dict()),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": {"cpu": torch.get_rng_state(), "cuda": cuda},
            "best": self.best,
            "kept": dict(self.kept),
            "curve": list(self.curve),
        }

    def restore(self, state: State) -> None:
        self.epoch, self.best = state["epoch"], state["best"]
        self.kept, self.curve = dict(state["kept"]), list(state["curve"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"]["cpu"].cpu())
        if self.device.type == "cuda":
            torch.cuda.set_rng_state_all([s.cpu() for s in state["random"]["cuda"]])


def is_memory(error: RuntimeError) -> bool:
    """Whether an error of PyTorch is a lack of memory, on a GPU or not."""
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)


def _copied(weights: State) -> State:
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
