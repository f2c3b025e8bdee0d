"""The stages of patch_nn: look-up table, statistics, choice of patches, training, and cleaned maps.

To begin a network of one's own, copy this folder and pipeline/patch_nn.yaml, and change the names.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from cmbml.core import Asset, AssetRef, BaseStageExecutor, Split, StageConfig, generator
from cmbml.core.errors import ConfigError, StageError
from cmbml.core.spec.repository import PARAMS
from cmbml.methods.executors import read_cmb, read_maps
from cmbml.methods.nn.batches import Sample
from cmbml.methods.nn.checkpoint import make_checkpoint
from cmbml.methods.nn.executors.training import (
    TrainingExecutor,
    described_result,
    expect_polarised,
    open_network,
)
from cmbml.methods.nn.linear_fit import LinearFit, fitted, left, moments, normalised, statistics_of
from cmbml.methods.nn.ranks import own_device
from cmbml.methods.nn.samples import target_map
from cmbml.methods.nn.training import Weights, seeded
from cmbml.methods.patch_nn.checkpoint import Architecture, Checkpoint
from cmbml.methods.patch_nn.cleaning import clean_patches
from cmbml.methods.patch_nn.network import UNet, check_side
from cmbml.methods.patch_nn.params import PatchNnParams
from cmbml.methods.patch_nn.patches import Index, choose_patches, patch_table
from cmbml.sky.instrument import described
from cmbml.sky.levels import common_levels
from cmbml.sky.sht import Map
from cmbml.sky.skymap import SkyAlm, SkyMap


class PatchNnTableExecutor(BaseStageExecutor):
    """Writes down which pixels belong to which patch."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="patch_nn_table")
        self.out_table: Asset[Index] = self.assets_out["table"]
        self.nside = cfg.instrument.nside
        self.nside_patches: int = cfg.patch_nn.nside_patches
        self.margin: int = cfg.patch_nn.margin
        try:
            check_side(self.nside // self.nside_patches + 2 * self.margin, cfg.patch_nn.depth)
        except ValueError as error:
            raise ConfigError(f"{PARAMS}: patch_nn: {error}") from None

    def execute(self) -> None:
        """Make the table."""
        self.out_table.write(patch_table(self.nside, self.nside_patches, self.margin))


@dataclass(frozen=True)
class _Sky:
    """Where one simulation lies, and how its CMB is to be: picklable."""

    bands: tuple[AssetRef[SkyMap], ...]
    cmb: AssetRef[SkyAlm]
    nside: int
    fwhm_arcmin: float
    lmax: int

    def read(self) -> Map:
        """Bands, then the target, RING, ``(n_bands * n_stokes + n_stokes, npix)``, uK_CMB."""
        bands, _ = read_maps(self.bands, self.nside)
        truth = target_map(read_cmb(self.cmb), self.nside, self.fwhm_arcmin, self.lmax)
        return np.concatenate([*bands, truth])


class _Skies:
    """Finds simulations.

    Parameters
    ----------
    executor
        The stage's executor, with the inputs ``obs``, ``cmb`` and ``mask``.
    cfg
        Its parameters.
    """

    def __init__(self, executor: BaseStageExecutor, cfg: StageConfig) -> None:
        self.obs: Asset[SkyMap] = executor.assets_in["obs"]
        self.cmb: Asset[SkyAlm] = executor.assets_in["cmb"]
        self.mask: Asset[SkyMap] = executor.assets_in["mask"]
        self.freqs = tuple(cfg.instrument.bands)
        self.n_stokes = len(cfg.instrument.fields)
        self.shape = (cfg.instrument.nside, cfg.analysis.fwhm_arcmin, cfg.instrument.lmax)

    def at(self, split: str, sim: int) -> _Sky:
        """One simulation."""
        bands = tuple(self.obs.at(split=split, sim=sim, freq=freq) for freq in self.freqs)
        return _Sky(bands, self.cmb.at(split=split, sim=sim), *self.shape)

    def kept(self) -> Map:
        """The mask, ``(npix,)``."""
        return np.asarray(self.mask.read(nside=self.shape[0]).values[0])


class PatchNnStatisticsExecutor(BaseStageExecutor):
    """Measures scales and linear fit on train, where the mask keeps; in one process or in several."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="patch_nn_statistics")
        self.out_statistics: Asset[LinearFit] = self.assets_out["statistics"]
        self.skies = _Skies(self, cfg)
        self.processes: int = cfg.patch_nn.processes

    def execute(self) -> None:
        """Combine the moments of all simulations; their order is fixed, so processes change nothing."""
        sims = [(split.name, sim) for split in self.splits for sim in split.iter_sims()]
        work = [self.skies.at(split, sim) for split, sim in sims]
        n_stokes = self.skies.n_stokes
        measure = partial(_moments, np.flatnonzero(self.skies.kept()), n_stokes)
        self.out_statistics.write(statistics_of(np.mean(list(self._map(measure, work)), axis=0), n_stokes))

    def _map(self, measure: Callable[[_Sky], Map], work: list[_Sky]) -> Iterator[Map]:
        if self.processes == 1:
            yield from map(measure, work)
            return
        with ProcessPoolExecutor(self.processes, mp_context=get_context("spawn")) as pool:
            yield from pool.map(measure, work)


def _moments(pixels: NDArray[np.intp], n_stokes: int, sky: _Sky) -> Map:
    rows = sky.read()[:, pixels].astype(np.float64)
    return moments(rows[:-n_stokes], rows[-n_stokes:])


class PatchNnSamplesExecutor(BaseStageExecutor):
    """Chooses patches of every simulation and puts bands and CMB together."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="patch_nn_samples")
        self.out_sample: Asset[NDArray[np.float32]] = self.assets_out["sample"]
        self.in_table: Asset[Index] = self.assets_in["table"]
        self.skies = _Skies(self, cfg)
        self.seed = cfg.seed
        self.n_patches: int = cfg.patch_nn.patches_per_sim

    def setup(self) -> None:
        """Read table and mask."""
        self.table = self.in_table.read()
        self.mask = self.skies.kept()

    def process_sim(self, split: Split, sim: int) -> None:
        """Prepare one simulation: ``(n_patches, n_bands * n_stokes + n_stokes, side, side)``, uK_CMB."""
        rng = generator(self.seed, split.stream, sim, "patches")
        try:
            chosen = choose_patches(self.table, self.mask, self.n_patches, rng)
        except ValueError as error:
            raise StageError(str(error)) from None
        rows = self.skies.at(split.name, sim).read()[:, self.table[chosen]]
        self.out_sample.write(np.swapaxes(rows, 0, 1).astype(np.float32))


@dataclass(frozen=True)
class PatchSamples(Dataset[Sample]):
    """Patches as samples: normalised features, and what the linear fit leaves of the target.

    Attributes
    ----------
    names
        Split and simulation of every file.
    files
        Patches of every simulation.
    per_file
        Patches in a file.
    statistics
        Scales and linear fit (see `cmbml.methods.nn.linear_fit.statistics_of`).
    """

    names: tuple[str, ...]
    files: tuple[AssetRef[NDArray[np.float32]], ...]
    per_file: int
    statistics: LinearFit

    def __len__(self) -> int:
        return self.per_file * len(self.files)

    def __getitem__(self, index: int) -> Sample:
        number, patch = divmod(index, self.per_file)
        rows = self.files[number].read()[patch]
        n_bands = len(self.statistics["mean"])
        features = normalised(rows[:n_bands], self.statistics)
        target = (rows[n_bands:] - fitted(rows[:n_bands], self.statistics)) / left(self.statistics)
        name = f"{self.names[number]}, patch {patch}"
        return Sample(name, *(torch.as_tensor(part, dtype=torch.float32) for part in (features, target)))


class PatchNnTrainingExecutor(TrainingExecutor[PatchNnParams]):
    """Trains the network on the chosen patches."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="patch_nn_training")
        expect_polarised("patch_nn", cfg.instrument.fields, cfg.instrument.bands)
        self.in_statistics: Asset[LinearFit] = self.assets_in["statistics"]
        self.instrument = described(cfg.instrument.bands)
        self.result = described_result(cfg)
        self.n_stokes = len(cfg.instrument.fields)

    def training_params(self, cfg: StageConfig) -> PatchNnParams:
        """The block patch_nn."""
        return cfg.patch_nn

    def samples(self, split: str) -> Dataset[Sample]:
        """The patches of a split."""
        files = super().samples(split)
        n_patches = min(len(ref.read()) for ref in files.files)
        return PatchSamples(files.names, files.files, n_patches, self.statistics)

    def execute(self) -> None:
        """Train."""
        self.statistics = self.in_statistics.read()
        build = lambda: network(self.settings, len(self.instrument["freq_ghz"]), self.n_stokes)  # noqa: E731
        state = self.fit(build, lambda _model: torch.nn.functional.l1_loss)
        self.write_models(state, self._checkpoint)

    def _checkpoint(self, weights: Weights, epoch: int) -> Mapping[str, object]:
        return make_checkpoint(
            weights,
            architecture=described_network(self.settings),
            bands=self.instrument,
            normalisation=self.statistics,
            layout={key: getattr(self.settings, key) for key in ("nside_patches", "margin", "batch")},
            result=self.result,
            epoch=epoch,
        )


class PatchNnExecutor(BaseStageExecutor):
    """Cleans every simulation patch by patch; margins overlap and are cut off, so that no seam shows."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="patch_nn")
        self.out_cleaned: Asset[SkyMap] = self.assets_out["cleaned"]
        self.in_obs: Asset[SkyMap] = self.assets_in["obs"]
        self.in_model: Asset[Checkpoint] = self.assets_in["model"]
        self.in_statistics: Asset[LinearFit] = self.assets_in["statistics"]
        self.in_table: Asset[Index] = self.assets_in["table"]
        self.settings: PatchNnParams = cfg.patch_nn
        self.instrument = described(cfg.instrument.bands)
        self.freqs = tuple(cfg.instrument.bands)
        self.nside = cfg.instrument.nside
        self.lmax = cfg.instrument.lmax
        self.fwhm = cfg.analysis.fwhm_arcmin
        self.n_stokes = len(cfg.instrument.fields)

    def setup(self) -> None:
        """Read table, statistics and network."""
        self.table = self.in_table.read()
        self.statistics = self.in_statistics.read()
        self.model, _ = open_network(
            lambda: network(self.settings, len(self.freqs), self.n_stokes),
            self.in_model.at(epoch="best"),
            architecture=described_network(self.settings),
            bands=self.instrument,
            normalisation=self.statistics,
        )

    def process_sim(self, split: Split, sim: int) -> None:
        """Clean one simulation."""
        maps, levels = read_maps([self.in_obs.at(freq=freq) for freq in self.freqs], self.nside)
        with seeded(0, self.threads):
            sky = clean_patches(
                self.model,
                maps,
                self.table,
                self.statistics,
                margin=self.settings.margin,
                batch=self.settings.batch,
                lmax=self.lmax,
                device=own_device(),
            )
        sky = common_levels(levels, self.instrument["freq_ghz"]).onto_map(sky, self.fwhm)
        self.out_cleaned.write(SkyMap(sky, "uK_CMB", self.fwhm, self.lmax, signal_preserving=False))


def network(settings: PatchNnParams, n_bands: int, n_stokes: int) -> UNet:
    """The network that the parameters describe."""
    return UNet(n_bands * n_stokes, n_stokes, settings.init, settings.depth)


def described_network(settings: PatchNnParams) -> Architecture:
    """What of the network must agree where its weights are used: plain values."""
    return {"name": "unet", "init": settings.init, "depth": settings.depth}
