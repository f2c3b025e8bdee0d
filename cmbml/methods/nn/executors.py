"""What the stages of all networks share: samples behind asset references, and training with its files."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from cmbml.core import AssetRef, BaseStageExecutor, StageConfig, generator
from cmbml.core.dataset import Dataset as Repository
from cmbml.core.errors import ConfigError, DataError, StageError
from cmbml.core.handlers import get_handler
from cmbml.core.pipeline import Stage
from cmbml.core.repository import PARAMS
from cmbml.methods.nn.batches import Sample, SampleLoader
from cmbml.methods.nn.checkpoint import check_checkpoint, load_weights
from cmbml.methods.nn.params import TrainingParams
from cmbml.methods.nn.training import Loss, Schedule, State, TrainingError, seeded, train
from cmbml.sky.sht import Alm, Map, alm2map, almxfl, gaussian_beam, resize_alm

LOG = logging.getLogger("cmbml")


@dataclass(frozen=True)
class SkyDataset(Dataset[Sample]):
    """Observed bands and the CMB of a split, for a PyTorch DataLoader; picklable.

    A sample has ``name``, ``features`` ``(n_freq, n_stokes, npix)`` and ``target`` ``(n_stokes, npix)``:
    float32, RING, uK_CMB; bands with their own beams, the CMB with beam `fwhm_arcmin` and band-limit `lmax`.

    Attributes
    ----------
    names
        Split and simulation of every sample.
    bands
        Files of the bands of every sample.
    cmbs
        File of the CMB of every sample.
    nside, fwhm_arcmin, lmax
        Resolution of the maps, and beam and band-limit of the target.
    """

    names: tuple[str, ...]
    bands: tuple[tuple[AssetRef, ...], ...]
    cmbs: tuple[AssetRef, ...]
    nside: int
    fwhm_arcmin: float
    lmax: int

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        features = [_float32(ref.read(nside=self.nside).values) for ref in self.bands[index]]
        cmb = self.cmbs[index].read().values
        target = target_map(cmb, self.nside, self.fwhm_arcmin, self.lmax)
        return Sample(self.names[index], torch.stack(features), _float32(target))


def sky_dataset(split: str, root: Path | str | None = None) -> SkyDataset:
    """Observed bands and CMB of a finished split, at the beam and band-limit of `analysis`.

    Parameters
    ----------
    split
        Name of the split.
    root
        The repository; by default the nearest folder upwards that holds dvc.yaml.

    Raises
    ------
    ConfigError
        Where there is no such split.
    DataError
        Where a file is missing, as soon as a sample is taken.
    """
    data = Repository.open(root)
    if split not in data.splits:
        raise ConfigError(f"{PARAMS}: splits: no split '{split}': known: {', '.join(data.splits)}")
    params, sims = data.config.params, list(data.splits[split].iter_sims())
    obs, cmb = data["observations"].obs, data["cmb"].cmb
    return SkyDataset(
        names=tuple(f"{split}/sim{sim:04d}" for sim in sims),
        bands=tuple(
            tuple(obs.at(split=split, sim=sim, freq=freq) for freq in params.instrument.bands) for sim in sims
        ),
        cmbs=tuple(cmb.at(split=split, sim=sim) for sim in sims),
        nside=params.instrument.nside,
        fwhm_arcmin=params.analysis.fwhm_arcmin,
        lmax=params.analysis.lmax,
    )


@dataclass(frozen=True)
class FileSamples(Dataset[Sample]):
    """Samples that a stage has prepared, one array each: first features, then target, along the first axis.

    Attributes
    ----------
    names
        Split and simulation of every sample.
    files
        Its file.
    n_target
        How many rows at the end are the target.
    """

    names: tuple[str, ...]
    files: tuple[AssetRef, ...]
    n_target: int

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        rows = _float32(self.files[index].read())
        if not torch.isfinite(rows).all():
            raise DataError(
                f"{self.names[index]}: its sample has values that are not finite: look at its maps"
            )
        return Sample(self.names[index], rows[: -self.n_target], rows[-self.n_target :])


def target_map(cmb: Alm, nside: int, fwhm_arcmin: float, lmax: int) -> Map:
    """The CMB that a network should find, from its a_lm without beam: RING, ``(n_stokes, npix)``."""
    return alm2map(almxfl(resize_alm(cmb, lmax), gaussian_beam(fwhm_arcmin, lmax)), nside)


def _float32(array: Any) -> torch.Tensor:
    return torch.as_tensor(array, dtype=torch.float32)


class TrainingExecutor(BaseStageExecutor):
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
        self.out_model = self.assets_out["model"]
        self.out_curve = self.assets_out["curve"]
        self.in_samples = self.assets_in["samples"]
        self.seed = cfg.seed
        self.settings: Any = self.training_params(cfg)
        check_epochs(self.stage, self.settings)

    def training_params(self, cfg: StageConfig) -> TrainingParams:
        """The block of parameters."""
        raise NotImplementedError

    def samples(self, split: str) -> FileSamples:
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
        seed, settings = self.network_seed(), self.settings
        handler, path = get_handler("PyTorchModel"), self.scratch / "resume.pt"
        state: State = handler.read(path) if path.is_file() else {}
        with seeded(seed, self.threads):
            model = build()
            batches = SampleLoader(
                self.samples("train"), batch=settings.batch, seed=seed, workers=settings.workers
            )
            valid = SampleLoader(self.samples("valid"), batch=settings.batch, workers=settings.workers)
            states = train(
                model,
                batches,
                valid,
                loss(model),
                schedule_of(self.stage, settings),
                device=device(),
                resume=state or None,
            )
            try:
                for state in states:
                    handler.write(path, state)
                    LOG.info(progress_line(self.stage.key, state, settings.epochs))
            except TrainingError as error:
                kept = (
                    f"the state after epoch {state['epoch']} is in {path}" if state else "nothing was learned"
                )
                raise StageError(f"{error}; {kept}") from error
        return state

    def write_models(self, state: State, make: Callable[[State, int], State]) -> None:
        """Write the checkpoint of every declared epoch, and the curve.

        Parameters
        ----------
        state
            The last state of training.
        make
            Makes a checkpoint from weights and the number of their epoch.
        """
        for epoch in self.epochs:
            number = state["best"]["epoch"] if epoch == "best" else epoch
            weights = state["best"]["weights"] if epoch == "best" else state["kept"][epoch]
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


def device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def progress_line(stage: str, state: State, epochs: int) -> str:
    """How far training is, in one line."""
    row = state["curve"][-1]
    bar = ("#" * round(10 * state["epoch"] / epochs)).ljust(10, ".")
    best = "  best so far" if state["best"]["epoch"] == state["epoch"] else ""
    return (
        f"{stage} [{bar}] epoch {state['epoch']}/{epochs}  "
        f"train {row['train']:.4g}  valid {row['valid']:.4g}{best}"
    )


def open_network(build: Callable[[], nn.Module], file: AssetRef, **expected: Any) -> tuple[nn.Module, State]:
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
    try:
        check_checkpoint(checkpoint, **expected)
        model = load_weights(build(), checkpoint)
    except ValueError as error:
        raise DataError(f"{file.path}: {error}") from None
    return model.eval(), checkpoint


def mean_and_deviation(arrays: Iterable[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of arrays of one shape, element by element, in one pass: float64."""
    count, mean, scatter = 0, torch.zeros(()), torch.zeros(())
    for array in arrays:
        value = array.double()
        count += 1
        change = value - mean
        mean = mean + change / count
        scatter = scatter + change * (value - mean)
    return mean, (scatter / max(count - 1, 1)).sqrt()
