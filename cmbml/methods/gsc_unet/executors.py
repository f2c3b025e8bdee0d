"""The stages of gsc_unet: samples without CMB, training, cleaned maps with their errors."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cmbml.core import Asset, BaseStageExecutor, Split, StageConfig
from cmbml.methods.executors import BandReader
from cmbml.methods.gsc_unet.differences import differences, scale_maps
from cmbml.methods.gsc_unet.network import FIRST_SLOPES, GscUnet, calibration, slopes
from cmbml.methods.gsc_unet.params import GscUnetParams
from cmbml.methods.gsc_unet.regression import local_regression, smooth_deviation
from cmbml.methods.ilc import known_beams
from cmbml.methods.nn.checkpoint import make_checkpoint
from cmbml.methods.nn.executors.samples import FileSamples, mean_and_deviation, target_map
from cmbml.methods.nn.executors.training import TrainingExecutor, open_network
from cmbml.methods.nn.faces import from_faces, to_faces
from cmbml.methods.nn.ranks import own_device
from cmbml.methods.nn.training import State, predict, seeded
from cmbml.sky.sht import Map, alm2map, map2alm

# Standard deviations of train skies are few; their field is smoothed over so many degrees.
SMOOTHING_DEG = 5.0


class _Differences:
    """What the network sees of one simulation.

    Parameters
    ----------
    obs
        The input asset of the bands.
    cfg
        The stage's parameters.
    threads
        Number of threads.
    """

    def __init__(self, obs: Asset, cfg: StageConfig, threads: int) -> None:
        self.bands = BandReader(obs, cfg, threads)
        self.peaks = cfg.gsc_unet.peaks

    def read(self, split: str, sim: int) -> Map:
        """Maps of the differences, ``(n, n_stokes, npix)``, uK_CMB."""
        fields = self.bands.read(split, sim)
        seen = [differences(b.alms, known_beams(b.fwhm_arcmin, len(b.alms))) for b in fields]
        return scale_maps(np.stack(seen, axis=1), self.peaks, self.bands.nside, threads=self.bands.threads)


class GscUnetSamplesExecutor(BaseStageExecutor):
    """Prepares what the network learns from: differences, and last of all the residual of the base."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="gsc_unet_samples")
        self.out_sample = self.assets_out["sample"]
        self.in_cmb = self.assets_in["cmb"]
        self.in_base = self.assets_in["base"]
        self.differences = _Differences(self.assets_in["obs"], cfg, self.threads)

    def process_sim(self, split: Split, sim: int) -> None:
        """Prepare one simulation: ``(n + 1, n_stokes, 12, nside, nside)``, uK_CMB, float32."""
        bands, base = self.differences.bands, self.in_base.read()
        truth = target_map(self.in_cmb.read().values, bands.nside, base.fwhm_arcmin, bands.lmax)
        rows = np.concatenate([self.differences.read(split.name, sim), (base.values - truth)[None]])
        self.out_sample.write(to_faces(rows).astype(np.float32))


class GscUnetTrainingExecutor(TrainingExecutor):
    """Trains the network: statistics and weights from train, choice of epoch and calibration from valid."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="gsc_unet_training")
        self.out_normalisation = self.assets_out["normalisation"]
        self.described = _described(cfg)

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

    def _checkpoint(self, statistics: State, weights: State, epoch: int) -> State:
        model = _network(self.settings, statistics)
        model.load_state_dict(weights)
        return make_checkpoint(
            weights,
            architecture=_architecture(self.settings),
            bands=self.described,
            normalisation=_digest(statistics),
            epoch=epoch,
            calibration=self._calibration(model),
        )

    def _calibration(self, model: GscUnet) -> float:
        samples = self.samples("valid")
        wrong, sigma = [], []
        for index in range(len(samples)):
            sample = samples[index]
            residual, width = _predict(model, sample.features)
            wrong.append(residual - sample.target[0])
            sigma.append(width)
        return calibration(torch.stack(wrong), torch.stack(sigma))


class GscUnetExecutor(BaseStageExecutor):
    """Cleans every simulation: the base minus what the network says of its residual."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="gsc_unet")
        self.out_cleaned = self.assets_out["cleaned"]
        self.out_uncertainty = self.assets_out["uncertainty"]
        self.in_base = self.assets_in["base"]
        self.in_model = self.assets_in["model"]
        self.in_normalisation = self.assets_in["normalisation"]
        self.differences = _Differences(self.assets_in["obs"], cfg, self.threads)
        self.settings: GscUnetParams = cfg.gsc_unet
        self.described = _described(cfg)

    def setup(self) -> None:
        """Read the network."""
        statistics = self.in_normalisation.read()
        self.model, checkpoint = open_network(
            lambda: _network(self.settings, statistics),
            self.in_model.at(epoch="best"),
            architecture=_architecture(self.settings),
            bands=self.described,
            normalisation=_digest(statistics),
        )
        self.calibration = checkpoint["calibration"]

    def process_sim(self, split: Split, sim: int) -> None:
        """Clean one simulation; what is subtracted has nothing beyond the band-limit."""
        bands, base = self.differences.bands, self.in_base.read()
        faces = to_faces(self.differences.read(split.name, sim))
        with seeded(0, self.threads):
            residual, sigma = _predict(self.model, torch.as_tensor(faces, dtype=torch.float32))
        removed = map2alm(from_faces(residual.double().numpy()), bands.lmax, threads=bands.threads)
        cleaned = base.values - alm2map(removed, bands.nside, threads=bands.threads)
        self.out_cleaned.write(replace(base, values=cleaned))
        self.out_uncertainty.write(replace(base, values=self.calibration * from_faces(sigma.numpy())))


def learned_statistics(samples: FileSamples, settings: GscUnetParams) -> dict[str, torch.Tensor]:
    """What `GscUnet.normalise` takes, from samples of train."""
    average, scatter = mean_and_deviation(_rows(samples))
    scatter = torch.as_tensor(
        np.stack([smooth_deviation(rows, SMOOTHING_DEG) for rows in scatter.transpose(0, 1).numpy()], axis=1)
    )
    n_stokes = average.shape[1]
    weights = [
        _regression(samples, stokes, average, scatter, settings.domain_deg) for stokes in range(n_stokes)
    ]
    statistics = {
        "mean": average[:-1].transpose(0, 1),
        "deviation": scatter[:-1].transpose(0, 1),
        "residual_mean": average[-1],
        "residual_deviation": scatter[-1],
        "regression": torch.as_tensor(np.stack(weights)),
    }
    for level in range(FIRST_SLOPES, len(settings.widths)):
        usual, spread = mean_and_deviation(_slopes(samples, len(settings.peaks), level))
        floor = 1e-3 * spread.mean(dim=(-3, -2, -1), keepdim=True) + torch.finfo(torch.float32).tiny
        statistics |= {f"slope_mean_{level}": usual, f"slope_deviation_{level}": spread.maximum(floor)}
    return {name: value.float().contiguous() for name, value in statistics.items()}


def _rows(samples: FileSamples) -> Iterator[torch.Tensor]:
    for index in range(len(samples)):
        yield torch.cat([samples[index].features, samples[index].target])


def _slopes(samples: FileSamples, n_scales: int, level: int) -> Iterator[torch.Tensor]:
    for index in range(len(samples)):
        yield slopes(samples[index].features[None], n_scales, level)[0]


def _regression(
    samples: FileSamples, stokes: int, average: torch.Tensor, scatter: torch.Tensor, domain_deg: float
) -> NDArray[np.float64]:
    def normalised() -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        for rows in _rows(samples):
            values = ((rows[:, stokes].double() - average[:, stokes]) / scatter[:, stokes]).numpy()
            yield values[:-1], values[-1]

    return local_regression(normalised(), domain_deg)


def _predict(model: GscUnet, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Residual and uncalibrated sigma of one sky, ``(n_stokes, 12, nside, nside)`` each, uK_CMB."""
    (said,) = predict(model, features[None], batch=1, device=own_device())
    residual, sigma = model.cpu().residual(said[None])
    return residual[0], sigma[0]


def _network(settings: GscUnetParams, statistics: dict[str, torch.Tensor]) -> GscUnet:
    n_stokes, n_inputs = statistics["mean"].shape[:2]
    nside = statistics["mean"].shape[-1]
    model = GscUnet(n_stokes, n_inputs, len(settings.peaks), nside, settings.widths)
    model.normalise(statistics)
    return model


def _architecture(settings: GscUnetParams) -> dict[str, Any]:
    return {"name": "gsc_unet", "widths": list(settings.widths), "peaks": list(settings.peaks)}


def _described(cfg: StageConfig) -> dict[str, Any]:
    bands = cfg.instrument.bands.values()
    return {
        "freq_ghz": [band.freq_ghz for band in bands],
        "fwhm_arcmin": [band.fwhm_arcmin for band in bands],
        "lmax": cfg.instrument.lmax,
    }


def _digest(statistics: dict[str, torch.Tensor]) -> dict[str, str]:
    return {
        name: hashlib.sha256(value.numpy().tobytes()).hexdigest()[:16]
        for name, value in sorted(statistics.items())
    }
