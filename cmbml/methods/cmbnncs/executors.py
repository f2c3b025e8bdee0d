"""The stages of cmbnncs: scale, preprocess, train, predict, postprocess."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cmbml.core import Asset, BaseStageExecutor, Split, StageConfig
from cmbml.core.errors import ConfigError, did_you_mean
from cmbml.core.spec.repository import PARAMS
from cmbml.methods.cmbnncs.checkpoint import Architecture, Checkpoint, Scale
from cmbml.methods.cmbnncs.features import (
    cmb_planes,
    feature_planes,
    robust_scale,
    rows_of,
    sky_of,
    target_planes,
)
from cmbml.methods.cmbnncs.network import KERNELS, UNet, check_plane
from cmbml.methods.cmbnncs.params import CmbnncsParams
from cmbml.methods.cmbnncs.plane import to_plane
from cmbml.methods.executors import mean, read_cmb, read_maps
from cmbml.methods.nn.checkpoint import make_checkpoint
from cmbml.methods.nn.executors.training import (
    TrainingExecutor,
    described_result,
    expect_polarised,
    open_network,
)
from cmbml.methods.nn.linear_fit import LinearFit, moments, statistics_of
from cmbml.methods.nn.ranks import own_device
from cmbml.methods.nn.samples import target_map
from cmbml.methods.nn.training import Loss, Weights, predict, seeded
from cmbml.sky.instrument import described
from cmbml.sky.levels import Levels, common_levels
from cmbml.sky.sht import Map
from cmbml.sky.skymap import SkyAlm, SkyMap


class _Features:
    """The bands that the network sees.

    Parameters
    ----------
    obs
        The input asset of the bands.
    cfg
        The stage's parameters.

    Raises
    ------
    ConfigError
        Where the instrument has no such band.
    """

    def __init__(self, obs: Asset[SkyMap], cfg: StageConfig) -> None:
        self.obs = obs
        self.bands: tuple[str, ...] = cfg.cmbnncs.bands
        self.nside = cfg.instrument.nside
        known = cfg.instrument.bands
        for band in self.bands:
            if band not in known:
                raise ConfigError(f"{PARAMS}: cmbnncs.bands: no band '{band}': {did_you_mean(band, known)}")
        self.taken = {band: known[band] for band in self.bands}
        self.instrument = described(self.taken)

    def maps(self, split: str, sim: int) -> Map:
        """RING maps of the bands without levels, ``(n_bands, n_stokes, npix)``, uK_CMB."""
        return self.levelled(split, sim)[0]

    def levelled(self, split: str, sim: int) -> tuple[Map, Levels]:
        """The maps, and what of their levels is the CMB's."""
        files = [self.obs.at(split=split, sim=sim, freq=band) for band in self.bands]
        maps, levels = read_maps(files, self.nside)
        return maps, common_levels(levels, self.instrument["freq_ghz"])


class _Truth:
    """What it is to find, and where.

    Parameters
    ----------
    executor
        The stage's executor, with the inputs ``cmb`` and ``mask``.
    cfg
        Its parameters.
    """

    def __init__(self, executor: BaseStageExecutor, cfg: StageConfig) -> None:
        self.cmb: Asset[SkyAlm] = executor.assets_in["cmb"]
        self.mask: Asset[SkyMap] = executor.assets_in["mask"]
        self.shape = (cfg.instrument.nside, cfg.analysis.fwhm_arcmin, cfg.instrument.lmax)

    def map(self, split: str, sim: int) -> Map:
        """RING, ``(n_stokes, npix)``, uK_CMB."""
        return target_map(read_cmb(self.cmb.at(split=split, sim=sim)), *self.shape)

    def kept(self) -> NDArray[np.bool_]:
        """Pixels that the mask keeps, ``(npix,)``."""
        return np.asarray(self.mask.read(nside=self.shape[0]).values[0] > 0)


class CmbnncsScaleExecutor(BaseStageExecutor):
    """Settles the scale of features and target, and the linear fit; from train alone."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="cmbnncs_scale")
        self.out_scale: Asset[Scale] = self.assets_out["scale"]
        self.features = _Features(self.assets_in["obs"], cfg)
        self.truth = _Truth(self, cfg)
        self.n_stokes = len(cfg.instrument.fields)
        self.settings: CmbnncsParams = cfg.cmbnncs

    def execute(self) -> None:
        """Take the declared scale, or measure it."""
        settings, fixed = self.settings, self.settings.feature_scale
        fit = self._fit() if settings.linear_fit else None
        n_rows = len(self.features.bands) * self.n_stokes
        self.out_scale.write(
            {
                "features": self._measured(fit) if fixed is None else [fixed] * n_rows,
                "compression": settings.compression,
                "target": settings.target_scale,
                "fit": fit,
            }
        )

    def _sims(self) -> Iterator[tuple[str, int]]:
        return ((split.name, sim) for split in self.splits for sim in split.iter_sims())

    def _fit(self) -> LinearFit:
        kept = np.flatnonzero(self.truth.kept())
        return statistics_of(mean(self._moments(kept, *sim) for sim in self._sims()), self.n_stokes)

    def _moments(self, kept: NDArray[np.intp], split: str, sim: int) -> Map:
        maps = self.features.maps(split, sim)[..., kept].astype(np.float64)
        return moments(maps.reshape(-1, kept.size), self.truth.map(split, sim)[:, kept])

    def _measured(self, fit: LinearFit | None) -> list[float]:
        return mean(robust_scale(rows_of(self.features.maps(*sim), fit)) for sim in self._sims()).tolist()


class CmbnncsSamplesExecutor(BaseStageExecutor):
    """Lays bands and CMB out in the plane, in units of their scale."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="cmbnncs_samples")
        self.out_sample: Asset[NDArray[np.float32]] = self.assets_out["sample"]
        self.in_scale: Asset[Scale] = self.assets_in["scale"]
        self.features = _Features(self.assets_in["obs"], cfg)
        self.truth = _Truth(self, cfg)

    def setup(self) -> None:
        """Read scale and mask."""
        self.scale = self.in_scale.read()
        self.kept = self.truth.kept()

    def process_sim(self, split: Split, sim: int) -> None:
        """Prepare one simulation: ``(n_bands * n_stokes + n_stokes, 4 nside, 3 nside)``, float32."""
        maps, truth = self.features.maps(split.name, sim), self.truth.map(split.name, sim)
        target = target_planes(truth, maps, self.kept, self.scale).astype(np.float32)
        self.out_sample.write(np.concatenate([feature_planes(maps, self.scale), target]))


class CmbnncsTrainingExecutor(TrainingExecutor[CmbnncsParams]):
    """Trains the U-Net by the published recipe: L1, Adam from 0.1 to 1e-6, three steps for each batch."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="cmbnncs_training")
        self.in_scale: Asset[Scale] = self.assets_in["scale"]
        self.n_target = len(cfg.instrument.fields)
        features = _Features(self.assets_in["samples"], cfg)
        expect_polarised("cmbnncs", cfg.instrument.fields, features.taken)
        self.instrument = features.instrument
        self.result = described_result(cfg)
        try:
            check_plane(self.settings.architecture, cfg.instrument.nside)
        except ValueError as error:
            raise ConfigError(f"{PARAMS}: cmbnncs.architecture: {error}") from None

    def training_params(self, cfg: StageConfig) -> CmbnncsParams:
        """The block cmbnncs."""
        return cfg.cmbnncs

    def execute(self) -> None:
        """Train."""
        scale = self.in_scale.read()
        state = self.fit(lambda: network(self.settings, self.n_target), _l1)
        self.write_models(state, lambda weights, epoch: self._checkpoint(scale, weights, epoch))

    def _checkpoint(self, scale: Scale, weights: Weights, epoch: int) -> Mapping[str, object]:
        return make_checkpoint(
            weights,
            architecture=described_network(self.settings),
            bands=self.instrument,
            normalisation=scale,
            result=self.result,
            epoch=epoch,
        )


class CmbnncsPredictionExecutor(BaseStageExecutor):
    """Lets the network say the CMB in the plane."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="cmbnncs_prediction")
        self.out_plane: Asset[NDArray[np.float32]] = self.assets_out["plane"]
        self.in_scale: Asset[Scale] = self.assets_in["scale"]
        self.in_model: Asset[Checkpoint] = self.assets_in["model"]
        self.features = _Features(self.assets_in["obs"], cfg)
        self.n_stokes = len(cfg.instrument.fields)
        self.fwhm = cfg.analysis.fwhm_arcmin
        self.settings: CmbnncsParams = cfg.cmbnncs

    def setup(self) -> None:
        """Read scale and network."""
        self.scale = self.in_scale.read()
        self.model, _ = open_network(
            lambda: network(self.settings, self.n_stokes),
            self.in_model.at(epoch="best"),
            architecture=described_network(self.settings),
            bands=self.features.instrument,
            normalisation=self.scale,
        )

    def process_sim(self, split: Split, sim: int) -> None:
        """Predict one simulation, uK_CMB."""
        maps, common = self.features.levelled(split.name, sim)
        planes = torch.as_tensor(feature_planes(maps, self.scale))
        with seeded(0, self.threads):
            (said,) = predict(self.model, planes[None], batch=1, device=own_device())
        levels = to_plane(common.map(self.features.nside, self.fwhm))
        plane = cmb_planes(said.numpy(), maps, self.scale)
        plane[0] += levels
        self.out_plane.write(plane.astype(np.float32))


class CmbnncsExecutor(BaseStageExecutor):
    """Brings planes back to the sphere, with nothing beyond the band-limit."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="cmbnncs")
        self.out_cleaned: Asset[SkyMap] = self.assets_out["cleaned"]
        self.in_plane: Asset[NDArray[np.float32]] = self.assets_in["plane"]
        self.lmax = cfg.instrument.lmax
        self.fwhm = cfg.analysis.fwhm_arcmin

    def process_sim(self, split: Split, sim: int) -> None:
        """Postprocess one simulation."""
        sky = sky_of(self.in_plane.read().astype(np.float64), self.lmax)
        self.out_cleaned.write(SkyMap(sky, "uK_CMB", self.fwhm, self.lmax, signal_preserving=False))


def network(settings: CmbnncsParams, n_stokes: int) -> UNet:
    """The U-Net that the parameters describe."""
    kernels = KERNELS[settings.architecture]
    return UNet(len(settings.bands) * n_stokes, n_stokes, settings.channels, kernels)


def described_network(settings: CmbnncsParams) -> Architecture:
    """What of the network must agree where its weights are used: plain values."""
    return {"name": settings.architecture, "channels": settings.channels}


def _l1(_model: nn.Module) -> Loss:
    return nn.functional.l1_loss
