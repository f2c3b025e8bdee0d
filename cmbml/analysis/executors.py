"""Stages that make the reference rows and score every estimate."""

from itertools import pairwise
from typing import Any

import numpy as np

from cmbml.analysis.pixel import latitude_rmse, pixel_metrics
from cmbml.analysis.postprocess import common_from_alm, common_from_map
from cmbml.analysis.reference import combine, noise_floor_weights
from cmbml.analysis.spectra.bands import Bands
from cmbml.analysis.spectra.comparison import compare
from cmbml.analysis.spectra.master import masked_alm, master
from cmbml.analysis.spectra.scores import spectral_metrics
from cmbml.analysis.statistics import summarise
from cmbml.analysis.tables import to_json
from cmbml.core import BaseStageExecutor, Split, StageConfig, generator
from cmbml.sky.executors.noise import InstrumentNoise
from cmbml.sky.sht import Map, alm2map, almxfl, gaussian_beam, resize_alm
from cmbml.sky.skymap import SkyMap

BAND_COLUMNS = ("ell", "truth", "estimate", "cross", "residual")
LATITUDE_EDGES_DEG = tuple(range(-90, 91, 10))


class NoiseFloorExecutor(BaseStageExecutor):
    """Makes the best unbiased combination of the bands as if there were no foregrounds at all."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="noise_floor")
        self.out_cleaned = self.assets_out["cleaned"]
        self.in_cmb = self.assets_in["cmb"]
        self.in_draw = self.assets_in["draw"]
        self.instrument = cfg.instrument
        self.noise = InstrumentNoise(self, cfg)
        self.fwhm = cfg.analysis.fwhm_arcmin

    def setup(self) -> None:
        """Prepare the noise of the bands."""
        self.noise.load()

    def process_sim(self, split: Split, sim: int) -> None:
        """Add to the truth the combined noise of the very observation that the methods clean."""
        lmax, beams = self.instrument.lmax, self.instrument.fwhm_arcmin
        level = self.in_draw.read()["noise_level"]
        noise = self.noise.draw(level, split, sim).reshape(len(beams), self.instrument.n_stokes, -1)[:, 0]
        weights = noise_floor_weights(self.noise.spectra(level)[:, 0], beams, lmax)
        truth = almxfl(self.in_cmb.read().values[0], gaussian_beam(self.fwhm, lmax))
        alm = truth + combine(noise, weights, beams, self.fwhm)
        sky = alm2map(alm[np.newaxis], self.instrument.nside, threads=self.threads)
        self.out_cleaned.write(SkyMap(sky, "uK_CMB", self.fwhm, lmax))


class PerfectEstimateExecutor(BaseStageExecutor):
    """Makes the estimate that a flawless method would return: it scores what the scoring itself costs."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="perfect_estimate")
        self.out_cleaned = self.assets_out["cleaned"]
        self.in_cmb = self.assets_in["cmb"]
        self.nside = cfg.instrument.nside
        self.fwhm = cfg.analysis.fwhm_arcmin
        self.lmax = cfg.analysis.lmax

    def process_sim(self, split: Split, sim: int) -> None:
        """Smooth the truth and write it as methods write their estimates."""
        alm = resize_alm(self.in_cmb.read().values[:1], self.lmax)
        smooth = almxfl(alm, gaussian_beam(self.fwhm, self.lmax))
        sky = alm2map(smooth, self.nside, threads=self.threads)
        self.out_cleaned.write(SkyMap(sky, "uK_CMB", self.fwhm, self.lmax))


class _Ground:
    """The common beam, band-limit, grid and mask of truth and estimates."""

    def __init__(self, executor: BaseStageExecutor, cfg: StageConfig) -> None:
        self.in_estimate = executor.assets_in["estimate"]
        self.in_cmb = executor.assets_in["cmb"]
        self.in_mask = executor.assets_in["mask"]
        self.threads = executor.threads
        self.nside = cfg.instrument.nside
        self.fwhm = cfg.analysis.fwhm_arcmin
        self.lmax = cfg.analysis.lmax

    def read_mask(self) -> None:
        self.mask = self.in_mask.read(nside=self.nside).values[0]

    def read(self) -> tuple[Map, Map]:
        """Estimate and truth of the simulation in hand: ``(npix,)`` each, uK_CMB."""
        ground: dict[str, Any] = {"fwhm_arcmin": self.fwhm, "lmax": self.lmax, "nside": self.nside}
        estimate = common_from_map(self.in_estimate.read(), mask=self.mask, threads=self.threads, **ground)[0]
        truth = common_from_alm(self.in_cmb.read(), mask=self.mask, threads=self.threads, **ground)[0]
        return estimate, truth


class PixelMetricsExecutor(BaseStageExecutor):
    """Compares every estimate with the truth, both at the common beam, band-limit and mask."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="pixel_metrics")
        self.out_metrics = self.assets_out["metrics"]
        self.ground = _Ground(self, cfg)

    def setup(self) -> None:
        """Read the mask."""
        self.ground.read_mask()

    def process_sim(self, split: Split, sim: int) -> None:
        """Score one estimate."""
        estimate, truth = self.ground.read()
        latitude = latitude_rmse(estimate, truth, LATITUDE_EDGES_DEG)
        pixel = pixel_metrics(estimate, truth, self.ground.mask)
        self.out_metrics.write({"pixel": pixel, "latitude_rmse": [float(x) for x in latitude]})


class SpectraExecutor(BaseStageExecutor):
    """Compares band powers of every estimate with the truth's, the mask's coupling undone."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="spectra")
        self.out_bands = self.assets_out["bands"]
        self.out_metrics = self.assets_out["metrics"]
        self.in_theory = self.assets_in["theory"]
        self.ground = _Ground(self, cfg)
        self.bands = Bands.linear(2, self.ground.lmax, cfg.analysis.band_width)

    def setup(self) -> None:
        """Read the mask and prepare its decoupling."""
        self.ground.read_mask()
        window = gaussian_beam(self.ground.fwhm, self.ground.lmax)
        self.master = master(self.ground.mask, self.bands, window=window, threads=self.threads)

    def process_sim(self, split: Split, sim: int) -> None:
        """Take the spectra of one estimate."""
        estimate, truth = (
            masked_alm(sky[np.newaxis], self.ground.mask, self.ground.lmax, threads=self.threads)
            for sky in self.ground.read()
        )
        comparison = compare(estimate, truth, self.master)["TT"]
        variance = np.diag(self.master.covariance("TT", {"TT": self.in_theory.read()["TT"]}))
        sigma = np.sqrt(variance)
        columns = {name: getattr(comparison, name) for name in BAND_COLUMNS} | {"sigma": sigma}
        self.out_bands.write(
            [dict(zip(columns, map(float, row), strict=True)) for row in zip(*columns.values(), strict=True)]
        )
        self.out_metrics.write(spectral_metrics(comparison, sigma, self.bands.modes))


class DrawTableExecutor(BaseStageExecutor):
    """Gathers what was drawn for the simulations of a split into one table, to select them by."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="draw_table")
        self.out_table = self.assets_out["table"]
        self.in_cosmology = self.assets_in["cosmology"]
        self.in_draw = self.assets_in["draw"]

    def process_split(self, split: Split) -> None:
        """Write a row for every simulation."""
        self.out_table.write(
            [
                {"sim": sim, **self.in_cosmology.at(sim=sim).read(), **self.in_draw.at(sim=sim).read()}
                for sim in split.iter_sims()
            ]
        )


class ScoresExecutor(BaseStageExecutor):
    """Gathers the scores of all simulations, methods and splits into tables."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="scores")
        self.out_scores = self.assets_out["scores"]
        self.out_table = self.assets_out["table"]
        self.out_latitude = self.assets_out["latitude"]
        self.out_spectra = self.assets_out["spectra"]
        self.in_pixel = self.assets_in["pixel"]
        self.in_spectral = self.assets_in["spectral"]
        self.in_bands = self.assets_in["bands"]
        self.seed = cfg.seed
        self.n_bootstrap = cfg.analysis.n_bootstrap

    def execute(self) -> None:
        """Write the summary, the table of all simulations and the profiles over latitude and multipole."""
        rows, latitude, spectra = [], [], []
        for split in self.splits:
            for method in self.estimates:
                place = {"split": split.name, "method": method}
                pixel = [self.in_pixel.at(sim=sim, **place).read() for sim in split.iter_sims()]
                spectral = [self.in_spectral.at(sim=sim, **place).read() for sim in split.iter_sims()]
                bands = [self.in_bands.at(sim=sim, **place).read() for sim in split.iter_sims()]
                rows += [
                    {**place, "sim": sim, **one["pixel"], **other}
                    for sim, (one, other) in enumerate(zip(pixel, spectral, strict=True))
                ]
                latitude += [
                    {**place, **row} for row in _latitude_rows([one["latitude_rmse"] for one in pixel])
                ]
                spectra += [{**place, **row} for row in _mean_rows(bands)]
        self.out_table.write(rows)
        self.out_latitude.write(latitude)
        self.out_spectra.write(spectra)
        scores = summarise(by_metric(rows), self._bootstrap_rng, n_resamples=self.n_bootstrap)
        self.out_scores.write(to_json(scores))

    def _bootstrap_rng(self, split: str) -> np.random.Generator:
        return generator(self.seed, split, 0, "bootstrap")


def by_metric(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Sort rows of split, method, simulation and metrics into ``{split: {method: {metric: [...]}}}``."""
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    for row in rows:
        metrics = values.setdefault(row["split"], {}).setdefault(row["method"], {})
        for name in row:
            if name not in ("split", "method", "sim"):
                metrics.setdefault(name, []).append(row[name])
    return values


def _latitude_rows(profiles: list[list[float]]) -> list[dict[str, float]]:
    """Root of the mean square over simulations."""
    centres = [(low + high) / 2 for low, high in pairwise(LATITUDE_EDGES_DEG)]
    rms = np.sqrt(np.mean(np.square(profiles), axis=0))
    return [
        {"latitude_deg": centre, "rmse_uk": float(value)} for centre, value in zip(centres, rms, strict=True)
    ]


def _mean_rows(tables: list[list[dict[str, float]]]) -> list[dict[str, float]]:
    """Mean over simulations, row by row; the scatter of a mean of n is smaller by the root of n."""
    rows = [
        {name: float(np.mean([row[name] for row in same])) for name in same[0]}
        for same in zip(*tables, strict=True)
    ]
    return [row | {"sigma": row["sigma"] / len(tables) ** 0.5} for row in rows]
