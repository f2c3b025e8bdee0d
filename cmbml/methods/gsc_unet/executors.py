"""The stages of gsc_unet: covariances without CMB, training, cleaned maps with their errors."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cmbml.core import Asset, AssetRef, BaseStageExecutor, Split, StageConfig
from cmbml.core.errors import ConfigError, DataError
from cmbml.methods.executors import BandReader, Described
from cmbml.methods.gsc_unet.cleaning import (
    NAME,
    Checkpoint,
    Cleaner,
    CmbFree,
    Statistics,
    described,
    digest,
    network,
    open_cleaner,
)
from cmbml.methods.gsc_unet.covariance import averaged, domains_deg, pair_products
from cmbml.methods.gsc_unet.network import GscUnet, calibration
from cmbml.methods.gsc_unet.params import GscUnetParams
from cmbml.methods.gsc_unet.statistics import regression, steady
from cmbml.methods.ilc import known_beams
from cmbml.methods.nn.checkpoint import check_checkpoint, load_weights, make_checkpoint
from cmbml.methods.nn.executors.samples import FileSamples
from cmbml.methods.nn.executors.training import TrainingExecutor, expect_polarised, naming
from cmbml.methods.nn.ranks import own_device
from cmbml.methods.nn.samples import mean_and_deviation, target_map
from cmbml.methods.nn.training import Weights, seeded
from cmbml.sky.levels import full_sky_fit
from cmbml.sky.sht import Alm, Map, map2alm
from cmbml.sky.skymap import SkyAlm, SkyMap


@dataclass(frozen=True)
class _Sky:
    """One simulation: a_lm of its bands, ``(n_stokes, n_freq, nalm)``, their beams, and two estimates."""

    alms: Alm
    fwhm_arcmin: list[float]
    base: SkyMap
    other: SkyMap


class _Skies:
    """Reads simulations.

    Parameters
    ----------
    executor
        The stage's executor, with the inputs ``obs``, ``base`` and ``other``.
    cfg
        Its parameters.
    """

    def __init__(self, executor: BaseStageExecutor, cfg: StageConfig) -> None:
        self.bands = BandReader(executor.assets_in["obs"], cfg, executor.threads)
        self.base: Asset[SkyMap] = executor.assets_in["base"]
        self.other: Asset[SkyMap] = executor.assets_in["other"]
        self.result = {"fields": cfg.instrument.fields, "nside": self.bands.nside, "lmax": self.bands.lmax}

    def free(self, settings: GscUnetParams) -> CmbFree:
        """How these skies are taken apart."""
        bands, (peaks, nside) = self.bands, (settings.peaks, settings.nside)
        return CmbFree(peaks, nside, settings.domain_deg, bands.nside, bands.lmax, bands.threads)

    def estimates(self, split: str, sim: int) -> tuple[SkyMap, SkyMap]:
        """Base and other."""
        base, other = (
            asset.at(split=split, sim=sim).read(nside=self.bands.nside) for asset in (self.base, self.other)
        )
        return base, other

    def read(self, split: str, sim: int) -> _Sky:
        """Read one simulation."""
        fields = self.bands.read(split, sim)
        alms = np.stack([field.alms for field in fields])
        fwhm = known_beams(fields[0].fwhm_arcmin, alms.shape[1])
        return _Sky(alms, fwhm, *self.estimates(split, sim))

    def residual(self, cmb: Asset[SkyAlm], split: str, sim: int, base: SkyMap) -> Map:
        """What is wrong with the base beyond its levels, which no band shows, RING, ``(n_stokes, npix)``."""
        (fwhm,) = known_beams([base.fwhm_arcmin], 1)
        alms = cmb.at(split=split, sim=sim).read().values
        wrong = base.values - target_map(alms, self.bands.nside, fwhm, self.bands.lmax)
        return full_sky_fit().measure_map(wrong, fwhm).off_map(wrong, fwhm)


class GscUnetSamplesExecutor(BaseStageExecutor):
    """Prepares what the network learns from: covariances, and products with the residual of the base."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="gsc_unet_samples")
        self.out_sample: Asset[NDArray[np.float32]] = self.assets_out["sample"]
        self.in_cmb: Asset[SkyAlm] = self.assets_in["cmb"]
        self.skies = _Skies(self, cfg)
        self.free = self.skies.free(cfg.gsc_unet)

    def process_sim(self, split: Split, sim: int) -> None:
        """Prepare one simulation: covariances of maps, then all products of maps and residual, uK_CMB^2."""
        maps, base = _maps(self.free, self.skies.read(split.name, sim))
        wrong = self.skies.residual(self.in_cmb, split.name, sim, base)
        residual = self.free.on_scales(map2alm(wrong, self.free.lmax, threads=self.threads)[None])
        everything = np.concatenate([maps, residual], axis=1).reshape(-1, *maps.shape[2:])
        products = pair_products(everything, self.free.nside)
        self.out_sample.write(np.concatenate([self.free.covariances(maps), products]).astype(np.float32))


def _maps(free: CmbFree, sky: _Sky) -> tuple[Map, SkyMap]:
    return free.maps(sky.alms, sky.fwhm_arcmin, sky.base.values, sky.other.values), sky.base


class GscUnetTrainingExecutor(TrainingExecutor[GscUnetParams]):
    """Trains the network: statistics and weights from train, choice of epoch and calibration from valid."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="gsc_unet_training")
        if any(split.name == "train" and split.n_sims < 2 for split in self.splits):
            raise ConfigError("gsc_unet learns how skies differ: set splits.train.n_sims to 2 or more")
        self.out_normalisation: Asset[Statistics] = self.assets_out["normalisation"]
        self.in_cmb: Asset[SkyAlm] = self.assets_in["cmb"]
        self.in_mask: Asset[SkyMap] = self.assets_in["mask"]
        expect_polarised("gsc_unet", cfg.instrument.fields, cfg.instrument.bands)
        self.skies = _Skies(self, cfg)
        self.free = self.skies.free(self.settings)
        n_all = (len(self.skies.bands.freqs) + 1) * len(self.settings.peaks)
        self.n_target = n_all * (n_all + 1) // 2

    def training_params(self, cfg: StageConfig) -> GscUnetParams:
        """The block gsc_unet."""
        return cfg.gsc_unet

    def execute(self) -> None:
        """Learn statistics, train, calibrate."""
        statistics = learned_statistics(self.samples("train"), self.settings)
        self.out_normalisation.write(statistics)
        state = self.fit(lambda: self._network(statistics), lambda model: model.loss)
        with seeded(self.network_seed(), self.threads):
            calibrations = self._calibrations(statistics, dict(self.trained(state).values()))
        self.write_models(
            state,
            lambda weights, epoch: make_checkpoint(
                weights,
                architecture=_architecture(self.settings),
                bands=self.skies.bands.instrument,
                normalisation=digest(statistics),
                result=self._result(),
                epoch=epoch,
                calibration=calibrations[epoch],
            ),
        )

    def _network(self, statistics: Statistics) -> GscUnet:
        return network(statistics, self.settings.width, self.settings.levels)

    def _result(self) -> Described:
        base, _ = self.skies.estimates("valid", 0)
        return self.skies.result | {"fwhm_arcmin": base.fwhm_arcmin}

    def _calibrations(self, statistics: Statistics, trained: dict[int, Weights]) -> dict[int, float]:
        """Of the weights of every kept epoch, where the mask keeps; each sky is read once."""
        kept = self.in_mask.read(nside=self.skies.bands.nside).values[0] > 0
        models = {
            epoch: load_weights(self._network(statistics), {"weights": w}) for epoch, w in trained.items()
        }
        ratios: dict[int, list[NDArray[np.float32]]] = {epoch: [] for epoch in models}
        valid = next(split for split in self.splits if split.name == "valid")
        for sim in valid.iter_sims():
            maps, base = _maps(self.free, self.skies.read(valid.name, sim))
            wrong = self.skies.residual(self.in_cmb, valid.name, sim, base)
            covariances = self.free.covariances(maps)
            for epoch, model in models.items():
                said, sigma = self.free.said(model, covariances, maps, own_device())
                ratios[epoch].append((np.abs(wrong - said) / sigma)[:, kept].astype(np.float32))
        return {epoch: calibration(torch.as_tensor(np.stack(ratio))) for epoch, ratio in ratios.items()}


class _CleaningExecutor(BaseStageExecutor):
    """Cleans every simulation: the base minus what the network says of its residual."""

    cleaner: Cleaner

    def __init__(self, cfg: StageConfig, stage_str: str) -> None:
        super().__init__(cfg, stage_str=stage_str)
        self.out_cleaned: Asset[SkyMap] = self.assets_out["cleaned"]
        self.out_uncertainty: Asset[SkyMap] = self.assets_out["uncertainty"]
        self.in_model: Asset[Checkpoint] = self.assets_in["model"]
        self.in_normalisation: Asset[Statistics] = self.assets_in["normalisation"]
        self.skies = _Skies(self, cfg)

    def process_sim(self, split: Split, sim: int) -> None:
        """Clean one simulation."""
        sky = self.skies.read(split.name, sim)
        if sky.base.fwhm_arcmin != self.cleaner.fwhm_arcmin:
            path, trained = self.skies.base.at(split=split.name, sim=sim).path, self.cleaner.fwhm_arcmin
            raise DataError(
                f"{path}: has a beam of {sky.base.fwhm_arcmin} arcmin, the network was trained at {trained}: "
                "clean to that, or train it again"
            )
        with seeded(0, self.threads):
            cleaned, sigma = self.cleaner.clean(
                sky.alms, sky.fwhm_arcmin, sky.base.values, sky.other.values, own_device()
            )
        self.out_cleaned.write(described(cleaned, sky.base, sky.other))
        self.out_uncertainty.write(described(sigma, sky.base, sky.other))

    def open(self, model: AssetRef[Checkpoint], **expected: object) -> Cleaner:
        """Read the network.

        Raises
        ------
        DataError
            Where it is damaged, or belongs to something else.
        """
        checkpoint, statistics = model.read(), self.in_normalisation.read()
        with naming(model):
            check_checkpoint(checkpoint, bands=self.skies.bands.instrument, **expected)
            # the beam is that of the base, whatever it is
            result = self.skies.result | {"fwhm_arcmin": checkpoint.get("result", {}).get("fwhm_arcmin")}
            return open_cleaner(checkpoint, statistics, self.threads, result=result)


class GscUnetExecutor(_CleaningExecutor):
    """Cleans with the network that was trained here."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="gsc_unet")
        self.settings: GscUnetParams = cfg.gsc_unet

    def setup(self) -> None:
        """Read the network."""
        self.cleaner = self.open(self.in_model.at(epoch="best"), architecture=_architecture(self.settings))


class ShippedGscUnetExecutor(_CleaningExecutor):
    """Cleans with a network that ships with the repository."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="gsc_unet_shipped")
        # It is small, and read at once: a check must refuse an instrument that it was not trained for.
        try:
            self.cleaner = self.open(self.in_model.at())
        except DataError as error:
            raise DataError(f"{error}; without it: take {self.stage.key} off 'methods'") from None


def learned_statistics(samples: FileSamples, settings: GscUnetParams) -> Statistics:
    """What `GscUnet.normalise` takes, from samples of train."""
    products, _ = mean_and_deviation(samples[index].target for index in range(len(samples)))
    widths = domains_deg(settings.peaks, settings.domain_deg)
    # one domain for all scales, so that the covariance of all of them together stays positive
    gathered = averaged(products.numpy(), widths[len(widths) // 2])
    statistics = regression(torch.as_tensor(gathered), len(widths))
    model = network(statistics, settings.width, settings.levels)
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


def _architecture(settings: GscUnetParams) -> Described:
    return {
        "name": NAME,
        **settings.model_dump(include={"width", "levels", "nside", "domain_deg"}),
        "peaks": list(settings.peaks),
    }
