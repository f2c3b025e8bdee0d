"""Training with its files: states, checkpoints, curves."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import Dataset

from cmbml.core import Asset, AssetRef, BaseStageExecutor, StageConfig, generator
from cmbml.core.errors import ConfigError, DataError, StageError
from cmbml.core.files.progress import Progress
from cmbml.core.record.locks import die_with_parent
from cmbml.core.spec.params import Band
from cmbml.core.spec.pipeline import Stage
from cmbml.core.spec.repository import LOCAL
from cmbml.methods.nn.batches import Sample, SampleLoader
from cmbml.methods.nn.checkpoint import Result, check_checkpoint, load_weights
from cmbml.methods.nn.executors.samples import FileSamples
from cmbml.methods.nn.executors.watch import Watch
from cmbml.methods.nn.params import TrainingParams
from cmbml.methods.nn.ranks import RankError, joined, launch, n_ranks, own_device, rank
from cmbml.methods.nn.training import Loss, Schedule, State, TrainingError, Weights, seeded, train

LOG = logging.getLogger("cmbml")
Settings = TypeVar("Settings", bound=TrainingParams)
Checkpoint = TypeVar("Checkpoint", bound=Mapping[str, object])


@dataclass(frozen=True)
class Training:
    """All that a training needs, in this process or in several; picklable.

    Attributes
    ----------
    name
        What is said to be trained.
    model, loss
        The network with its first weights, and its loss.
    train, valid
        Samples.
    settings, schedule
        How to train.
    seed, threads
        Of every process.
    resume
        The state after the last epoch.
    live
        Folder of the curves that grow while it runs.
    """

    name: str
    model: nn.Module
    loss: Loss
    train: Dataset[Sample]
    valid: Dataset[Sample]
    settings: TrainingParams
    schedule: Schedule
    seed: int
    threads: int
    resume: Progress
    live: Path

    def saved(self) -> State:
        """The state after the last epoch; nothing before the first."""
        saved: State | None = self.resume.read()
        return saved or {}

    def run(self) -> State:
        """Train, in as many processes as the settings say; the last state.

        Raises
        ------
        TrainingError
            Where training cannot go on.
        """
        if self.settings.devices == 1:
            return self.run_here()
        check_devices(self.settings.devices)
        try:
            launch(self.settings.devices, _run_rank, self)
        except RankError as error:
            if error.kind in (TrainingError.__name__, DataError.__name__):
                raise TrainingError(error.reason) from error
            raise
        return self.saved()

    def run_here(self) -> State:
        """Train in this process, saving after every epoch; the first rank writes."""
        state, settings = self.saved(), self.settings
        place = {"rank": rank(), "n_ranks": n_ranks(), "workers": settings.workers, "batch": settings.batch}
        with seeded(self.seed + 1 + rank(), self.threads), self._watch(state) as watch:
            batches = watch.over(SampleLoader(self.train, seed=self.seed, **place))
            valid = SampleLoader(self.valid, **place)
            states = train(
                self.model,
                batches,
                valid,
                self.loss,
                self.schedule,
                device=own_device(),
                resume=state or None,
            )
            for state in states:
                if rank() == 0:
                    self.resume.write(state)
                    watch.epoch(state["curve"][-1], progress_line(self.name, state, settings.epochs))
        return state

    def _watch(self, state: State) -> Watch:
        folder = self.live if rank() == 0 else None
        return Watch(folder, self.name, self.settings.epochs, state.get("curve", []))


def _run_rank(training: Training) -> None:
    die_with_parent()
    _say_on_console()
    with joined():
        # what is sent to processes lies in memory that all of them share, the weights too
        deepcopy(training).run_here()


def _say_on_console() -> None:
    """Let a process that was just started say what its parent would."""
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    LOG.handlers = [logging.StreamHandler()]


def check_devices(wanted: int) -> None:
    """Refuse more GPUs than there are.

    Raises
    ------
    TrainingError
        Where there are GPUs, but too few.
    """
    found = torch.cuda.device_count()
    if 0 < found < wanted:
        raise TrainingError(f"devices: {wanted}: this machine has {found} GPU: lower it")


class TrainingExecutor(BaseStageExecutor, Generic[Settings]):
    """Trains a network; a stage's own executor gives samples, network, loss, and what goes with the weights.

    Outputs ``model`` (tag {epoch}: numbers and ``best``) and ``curve``; the input ``samples`` has one file
    for each simulation of train and valid.  After every epoch everything is saved in the stage's scratch
    folder; an interrupted training carries on from there.

    Parameters
    ----------
    cfg
        The stage's parameters.
    stage_str
        Key of the stage.
    """

    n_target = 1

    def __init__(self, cfg: StageConfig, stage_str: str) -> None:
        super().__init__(cfg, stage_str=stage_str)
        self.out_model: Asset[Mapping[str, object]] = self.assets_out["model"]
        self.out_curve: Asset[Sequence[Mapping[str, float]]] = self.assets_out["curve"]
        self.in_samples: Asset[NDArray[np.float32]] = self.assets_in["samples"]
        self.seed = cfg.seed
        self.settings: Settings = self.training_params(cfg)
        check_epochs(self.stage, self.settings)

    def training_params(self, cfg: StageConfig) -> Settings:
        """The block of parameters."""
        raise NotImplementedError

    def samples(self, split: str) -> Dataset[Sample]:
        """The samples of a split.

        Raises
        ------
        StageError
            Where the stage does not read that split.
        """
        sims = [sim for each in self.splits if each.name == split for sim in each.iter_sims()]
        if not sims:
            raise StageError(f"{self.stage.where}: no simulations of split '{split}': add it to 'splits'")
        files = tuple(self.in_samples.at(split=split, sim=sim) for sim in sims)
        return FileSamples(tuple(f"{split}/sim{sim:04d}" for sim in sims), files, self.n_target)

    def network_seed(self) -> int:
        """Seed of everything that this training draws."""
        drawn = generator(self.seed, "train", 0, "network", self.stage.key)
        return int(drawn.integers(2**31))

    def fit(self, build: Callable[[], nn.Module], loss: Callable[[nn.Module], Loss]) -> State:
        """Train, saving after every epoch; return the last state.

        Parameters
        ----------
        build
            Makes the network with its first weights.
        loss
            Makes the loss, given the network.
        """
        seed = self.network_seed()
        with seeded(seed, self.threads):
            model = build()
        training = Training(
            name=self.stage.key,
            model=model,
            loss=loss(model),
            train=self.samples("train"),
            valid=self.samples("valid"),
            settings=self.settings,
            schedule=schedule_of(self.stage, self.settings),
            seed=seed,
            threads=self.threads,
            resume=Progress(self.scratch / "resume.pt"),
            live=self._config.root / LOCAL / "live" / self._config.dataset / self.stage.key,
        )
        try:
            return training.run()
        except TrainingError as error:
            state = training.saved()
            kept = (
                f"the state after epoch {state['epoch']} is in {training.resume.path}"
                if state
                else "nothing was learned"
            )
            raise StageError(f"{error}; {kept}") from error

    def trained(self, state: State) -> dict[int | str, tuple[int, Weights]]:
        """Number and weights of every declared epoch, ``best`` among them."""
        kept: dict[int | str, tuple[int, Weights]] = {
            epoch: (epoch, weights) for epoch, weights in state["kept"].items()
        }
        kept["best"] = (state["best"]["epoch"], state["best"]["weights"])
        return {epoch: kept[epoch] for epoch in self.epochs}

    def write_models(self, state: State, make: Callable[[Weights, int], Mapping[str, object]]) -> None:
        """Write the checkpoint of every declared epoch, and the curve.

        Parameters
        ----------
        state
            The last state of training.
        make
            Makes a checkpoint from weights and the number of their epoch.
        """
        for epoch, (number, weights) in self.trained(state).items():
            with self.name_tracker.set_context("epoch", epoch):
                self.out_model.write(make(weights, number))
        self.out_curve.write(state["curve"])


def check_epochs(stage: Stage, settings: TrainingParams) -> None:
    """Refuse declared epochs that training never reaches.

    Raises
    ------
    ConfigError
        Where there are such.
    """
    beyond = [epoch for epoch in stage.epochs if epoch != "best" and not 1 <= epoch <= settings.epochs]
    if beyond:
        raise ConfigError(
            f"{stage.where}.epochs: epoch {beyond[0]} is never reached: training has {settings.epochs} epochs"
        )


def schedule_of(stage: Stage, settings: TrainingParams) -> Schedule:
    """How long and how fast, from the parameters and the stage's declared epochs."""
    return Schedule(
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        final_learning_rate=settings.final_learning_rate,
        patience=settings.patience,
        repeats=settings.repeats,
        kept=tuple(epoch for epoch in stage.epochs if epoch != "best"),
    )


def expect_polarised(method: str, fields: str, bands: Mapping[str, Band]) -> None:
    """Refuse bands without Q and U to a network that sees all fields of all of its bands.

    Raises
    ------
    ConfigError
        Where there are such.
    """
    lacking = [name for name, band in bands.items() if not band.polarised]
    if fields == "TQU" and lacking:
        raise ConfigError(
            f"methods: {method} takes bands that have Q and U, and {', '.join(lacking)} has none: switch "
            "it off, leave such bands out, or set instrument.fields to T"
        )


def described_result(cfg: StageConfig) -> Result:
    """What a network says, for its checkpoint: plain values."""
    instrument = cfg.instrument
    return {
        "fields": instrument.fields,
        "nside": instrument.nside,
        "lmax": instrument.lmax,
        "fwhm_arcmin": cfg.analysis.fwhm_arcmin,
    }


def progress_line(stage: str, state: State, epochs: int) -> str:
    """How far training is, in one line."""
    row = state["curve"][-1]
    bar = ("#" * round(10 * state["epoch"] / epochs)).ljust(10, ".")
    best = "  best so far" if state["best"]["epoch"] == state["epoch"] else ""
    return (
        f"{stage} [{bar}] epoch {state['epoch']}/{epochs}  "
        f"train {row['train']:.4g}  valid {row['valid']:.4g}{best}"
    )


def open_network(
    build: Callable[[], nn.Module], file: AssetRef[Checkpoint], **expected: object
) -> tuple[nn.Module, Checkpoint]:
    """A network with the weights of a checkpoint, ready to predict, and the checkpoint.

    Parameters
    ----------
    build
        Makes the network.
    file
        The checkpoint.
    expected
        What its parts must be (see `cmbml.methods.nn.checkpoint.check_checkpoint`).

    Raises
    ------
    DataError
        Where the file is damaged, or belongs to something else.
    """
    checkpoint = file.read()
    with naming(file):
        check_checkpoint(checkpoint, **expected)
        model = load_weights(build(), checkpoint)
    return model.eval(), checkpoint


@contextmanager
def naming(file: AssetRef[Checkpoint]) -> Iterator[None]:
    """Say of what is wrong with a checkpoint in which file it is."""
    try:
        yield
    except ValueError as error:
        raise DataError(f"{file.path}: {error}") from None
