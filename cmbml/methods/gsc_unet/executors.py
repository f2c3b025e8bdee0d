"""The stages of gsc_unet: covariances without CMB, training, cleaned maps with their errors."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from cmbml.core import Asset, BaseStageExecutor, Split, StageConfig
from cmbml.methods.executors import BandReader
from cmbml.methods.gsc_unet.covariance import (
    averaged,
    combine,
    domains_deg,
    field_groups,
    local_covariances,
    pair_products,
    spread,
)
from cmbml.methods.gsc_unet.differences import differences, scale_maps
from cmbml.methods.gsc_unet.network import GscUnet, calibration
from cmbml.methods.gsc_unet.params import GscUnetParams
from cmbml.methods.gsc_unet.statistics import regression, steady
from cmbml.methods.ilc import known_beams
from cmbml.methods.nn.checkpoint import make_checkpoint
from cmbml.methods.nn.executors.samples import FileSamples, mean_and_deviation, target_map
from cmbml.methods.nn.executors.training import TrainingExecutor, open_network
from cmbml.methods.nn.ranks import own_device
from cmbml.methods.nn.training import State, predict, seeded
from cmbml.sky.sht import Alm, Map, alm2map, map2alm
from cmbml.sky.skymap import SkyMap

Statistics = dict[str, torch.Tensor]


class _CmbFree:
    """The CMB-free maps of one simulation on every needlet scale, and their covariances.

    They are the differences of neighbouring bands, the brightest first, and at the end the difference of two
    linear estimates, `base` and `other`.

    Parameters
    ----------
    executor
        The stage's executor, with the inputs ``obs``, ``base`` and ``other``.
    cfg
        Its parameters.
    """

    def __init__(self, executor: BaseStageExecutor, cfg: StageConfig) -> None:
        self.bands = BandReader(executor.assets_in["obs"], cfg, executor.threads)
        self.base: Asset = executor.assets_in["base"]
        self.other: Asset = executor.assets_in["other"]
        self.peaks: tuple[int, ...] = cfg.gsc_unet.peaks
        self.nside: int = cfg.gsc_unet.nside
        self.domains_deg = domains_deg(self.peaks, cfg.gsc_unet.domain_deg)
        self.n_maps = len(self.bands.freqs)

    def read(self, split: str, sim: int) -> tuple[Map, SkyMap]:
        """Maps, ``(n_scales, n_maps, n_stokes, npix)``, and the base, uK_CMB."""
        bands = self.bands
        base, other = (
            asset.at(split=split, sim=sim).read(nside=bands.nside) for asset in (self.base, self.other)
        )
        fields = bands.read(split, sim)
        seen = np.stack(
            [differences(f.alms, known_beams(f.fwhm_arcmin, len(f.alms))) for f in fields], axis=1
        )
        apart = map2alm(base.values - other.values, bands.lmax, threads=bands.threads)
        return self.on_scales(np.concatenate([seen[::-1], apart[None]])), base

    def residual(self, cmb: Asset, split: str, sim: int, base: SkyMap) -> Map:
        """What is wrong with the base, RING, ``(n_stokes, npix)``."""
        (fwhm,) = known_beams([base.fwhm_arcmin], 1)
        alms = cmb.at(split=split, sim=sim).read().values
        return base.values - target_map(alms, self.bands.nside, fwhm, self.bands.lmax)

    def on_scales(self, alms: Alm) -> Map:
        """``(n, n_stokes, nalm)`` to ``(n_scales, n, n_stokes, npix)``."""
        maps = scale_maps(alms, self.peaks, self.bands.nside, threads=self.bands.threads)
        return maps.reshape(len(self.peaks), len(alms), *maps.shape[1:])

    def covariances(self, maps: Map) -> Map:
        """What the network reads, ``(n_pairs * n_scales, n_groups, 12, nside, nside)``, uK_CMB^2."""
        products = np.stack([pair_products(scale, self.nside) for scale in maps], axis=2)
        local = local_covariances(products, self.domains_deg).swapaxes(1, 2)
        return local.reshape(-1, *local.shape[2:])

    def said(self, model: GscUnet, maps: Map) -> tuple[Map, Map]:
        """Residual and uncalibrated sigma of maps, RING, ``(n_stokes, npix)`` each, uK_CMB."""
        covariances = torch.as_tensor(self.covariances(maps))
        (said,) = predict(model, covariances[None], batch=1, device=own_device())
        weights = said[:-1].movedim((2, 0), (0, 2)).numpy()
        residual = np.sum([combine(w, scale) for w, scale in zip(weights, maps, strict=True)], axis=0)
        sigma = model.cpu().variance(said[None])[0].sqrt().numpy()
        groups = enumerate(field_groups(maps.shape[2]))
        per_field = [sigma[group] for group, fields in groups for _ in range(fields.start, fields.stop)]
        return residual, spread(np.stack(per_field), self.bands.nside)


class GscUnetSamplesExecutor(BaseStageExecutor):
    """Prepares what the network learns from: covariances, and products with the residual of the base."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="gsc_unet_samples")
        self.out_sample = self.assets_out["sample"]
        self.in_cmb = self.assets_in["cmb"]
        self.seen = _CmbFree(self, cfg)

    def process_sim(self, split: Split, sim: int) -> None:
        """Prepare one simulation: covariances of maps, then all products of maps and residual, uK_CMB^2."""
        maps, base = self.seen.read(split.name, sim)
        wrong = self.seen.residual(self.in_cmb, split.name, sim, base)
        residual = self.seen.on_scales(map2alm(wrong, self.seen.bands.lmax, threads=self.threads)[None])
        everything = np.concatenate([maps, residual], axis=1).reshape(-1, *maps.shape[2:])
        products = pair_products(everything, self.seen.nside)
        self.out_sample.write(np.concatenate([self.seen.covariances(maps), products]).astype(np.float32))


class GscUnetTrainingExecutor(TrainingExecutor):
    """Trains the network: statistics and weights from train, choice of epoch and calibration from valid."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="gsc_unet_training")
        self.out_normalisation = self.assets_out["normalisation"]
        self.in_cmb = self.assets_in["cmb"]
        self.seen = _CmbFree(self, cfg)
        n_all = (self.seen.n_maps + 1) * len(self.settings.peaks)
        self.n_target = n_all * (n_all + 1) // 2

    def training_params(self, cfg: StageConfig) -> GscUnetParams:
        """The block gsc_unet."""
        return cfg.gsc_unet

    def execute(self) -> None:
        """Learn statistics, train, calibrate."""
        statistics = learned_statistics(self.samples("train"), self.settings)
        self.out_normalisation.write(statistics)
        state = self.fit(lambda: _network(self.settings, statistics), lambda model: model.loss)
        with seeded(self.network_seed(), self.threads):
            self.write_models(state, lambda weights, epoch: self._checkpoint(statistics, weights, epoch))

    def _checkpoint(self, statistics: Statistics, weights: State, epoch: int) -> State:
        model = _network(self.settings, statistics)
        model.load_state_dict(weights)
        return make_checkpoint(
            weights,
            architecture=_architecture(self.settings),
            bands=self.seen.bands.described(),
            normalisation=_digest(statistics),
            epoch=epoch,
            calibration=self._calibration(model),
        )

    def _calibration(self, model: GscUnet) -> float:
        wrong, sigma = [], []
        valid = next(split for split in self.splits if split.name == "valid")
        for sim in valid.iter_sims():
            maps, base = self.seen.read(valid.name, sim)
            said, width = self.seen.said(model, maps)
            wrong.append(torch.as_tensor(self.seen.residual(self.in_cmb, valid.name, sim, base) - said))
            sigma.append(torch.as_tensor(width))
        return calibration(torch.stack(wrong), torch.stack(sigma))


class GscUnetExecutor(BaseStageExecutor):
    """Cleans every simulation: the base minus what the network says of its residual."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="gsc_unet")
        self.out_cleaned = self.assets_out["cleaned"]
        self.out_uncertainty = self.assets_out["uncertainty"]
        self.in_model = self.assets_in["model"]
        self.in_normalisation = self.assets_in["normalisation"]
        self.seen = _CmbFree(self, cfg)
        self.settings: GscUnetParams = cfg.gsc_unet

    def setup(self) -> None:
        """Read the network."""
        statistics = self.in_normalisation.read()
        self.model, checkpoint = open_network(
            lambda: _network(self.settings, statistics),
            self.in_model.at(epoch="best"),
            architecture=_architecture(self.settings),
            bands=self.seen.bands.described(),
            normalisation=_digest(statistics),
        )
        self.calibration = checkpoint["calibration"]

    def process_sim(self, split: Split, sim: int) -> None:
        """Clean one simulation; what is subtracted has nothing beyond the band-limit."""
        bands = self.seen.bands
        maps, base = self.seen.read(split.name, sim)
        with seeded(0, self.threads):
            residual, sigma = self.seen.said(self.model, maps)
        removed = map2alm(residual, bands.lmax, threads=bands.threads)
        cleaned = base.values - alm2map(removed, bands.nside, threads=bands.threads)
        self.out_cleaned.write(replace(base, values=cleaned))
        self.out_uncertainty.write(replace(base, values=self.calibration * sigma))


def learned_statistics(samples: FileSamples, settings: GscUnetParams) -> Statistics:
    """What `GscUnet.normalise` takes, from samples of train."""
    products, _ = mean_and_deviation(samples[index].target for index in range(len(samples)))
    widths = domains_deg(settings.peaks, settings.domain_deg)
    # one domain for all scales, so that the covariance of all of them together stays positive
    gathered = averaged(products.numpy(), widths[len(widths) // 2])
    statistics = regression(torch.as_tensor(gathered), len(widths))
    model = _blank(settings, statistics)
    model.normalise(statistics)
    mean, deviation = mean_and_deviation(_read(model, samples))
    statistics |= {"mean": mean, "deviation": steady(deviation)}
    model.normalise(statistics)
    farthest = [_farthest(model.departure(read)) for read in _read(model, samples)]
    statistics["farthest"] = torch.stack(farthest).amax(dim=0)
    return {name: value.float().contiguous() for name, value in statistics.items()}


def _read(model: GscUnet, samples: FileSamples) -> Iterator[torch.Tensor]:
    for index in range(len(samples)):
        yield model.read(model.triangle(samples[index].features[None]))[0]


def _farthest(departure: torch.Tensor) -> torch.Tensor:
    return departure.square().mean(dim=0).amax(dim=(-3, -2, -1))


def _blank(settings: GscUnetParams, statistics: Statistics) -> GscUnet:
    n_maps, n_groups, n_scales, _, nside, _ = statistics["regression"].shape
    return GscUnet(n_groups, n_scales, n_maps, nside, settings.width, settings.levels)


def _network(settings: GscUnetParams, statistics: Statistics) -> GscUnet:
    model = _blank(settings, statistics)
    model.normalise(statistics)
    return model


def _architecture(settings: GscUnetParams) -> dict[str, Any]:
    return {
        "name": "gsc_unet",
        **settings.model_dump(include={"width", "levels", "nside", "domain_deg"}),
        "peaks": list(settings.peaks),
    }


def _digest(statistics: Statistics) -> dict[str, str]:
    return {
        name: hashlib.sha256(value.numpy().tobytes()).hexdigest()[:16]
        for name, value in sorted(statistics.items())
    }
