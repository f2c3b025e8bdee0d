"""Stages that make the reference rows and score every estimate."""

from itertools import pairwise
from typing import Any

import numpy as np

from cmbml.analysis.pixel import latitude_rmse, pixel_metrics
from cmbml.analysis.postprocess import common_from_alm, common_from_map
from cmbml.analysis.reference import combine, noise_floor_weights
from cmbml.analysis.statistics import summarise
from cmbml.analysis.tables import to_json
from cmbml.core import BaseStageExecutor, Split, StageConfig, generator
from cmbml.sky.instrument import white_noise_cl
from cmbml.sky.noise import draw_white_noise
from cmbml.sky.sht import alm2map, almxfl, gaussian_beam, resize_alm
from cmbml.sky.skymap import SkyMap

LATITUDE_EDGES_DEG = tuple(range(-90, 91, 10))


class NoiseFloorExecutor(BaseStageExecutor):
    """Makes the best unbiased combination of the bands as if there were no foregrounds at all."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="noise_floor")
        self.out_cleaned = self.assets_out["cleaned"]
        self.in_cmb = self.assets_in["cmb"]
        self.in_draw = self.assets_in["draw"]
        self.seed = cfg.seed
        self.instrument = cfg.instrument
        self.noise_kind = cfg.noise.kind
        self.fwhm = cfg.analysis.fwhm_arcmin

    def process_sim(self, split: Split, sim: int) -> None:
        """Add to the truth the combined noise of the very observation that the methods clean."""
        lmax, beams = self.instrument.lmax, self.instrument.fwhm_arcmin
        level = self.in_draw.read()["noise_level"]
        depths = [level * depth for depth in self.instrument.depth_uk_arcmin]
        noise = np.concatenate(
            [
                draw_white_noise(depth, lmax, generator(self.seed, split.stream, sim, "noise", freq))
                for freq, depth in zip(self.instrument.freqs, depths, strict=True)
            ]
        )
        weights = noise_floor_weights(
            np.stack([white_noise_cl(depth, lmax) for depth in depths]), beams, lmax
        )
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


class PixelMetricsExecutor(BaseStageExecutor):
    """Compares every estimate with the truth, both at the common beam, band-limit and mask."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="pixel_metrics")
        self.out_metrics = self.assets_out["metrics"]
        self.in_estimate = self.assets_in["estimate"]
        self.in_cmb = self.assets_in["cmb"]
        self.in_mask = self.assets_in["mask"]
        self.nside = cfg.instrument.nside
        self.fwhm = cfg.analysis.fwhm_arcmin
        self.lmax = cfg.analysis.lmax

    def setup(self) -> None:
        """Read the mask."""
        self.mask = self.in_mask.read().values[0]

    def process_sim(self, split: Split, sim: int) -> None:
        """Score one estimate."""
        ground: dict[str, Any] = {"fwhm_arcmin": self.fwhm, "lmax": self.lmax, "nside": self.nside}
        estimate = common_from_map(self.in_estimate.read(), mask=self.mask, threads=self.threads, **ground)[0]
        truth = common_from_alm(self.in_cmb.read(), mask=self.mask, threads=self.threads, **ground)[0]
        latitude = latitude_rmse(estimate, truth, LATITUDE_EDGES_DEG)
        self.out_metrics.write(
            {
                "pixel": pixel_metrics(estimate, truth, self.mask),
                "latitude_rmse": [float(x) for x in latitude],
            }
        )


class ScoresExecutor(BaseStageExecutor):
    """Gathers the scores of all simulations, methods and splits into tables."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="scores")
        self.out_scores = self.assets_out["scores"]
        self.out_table = self.assets_out["table"]
        self.out_latitude = self.assets_out["latitude"]
        self.in_metrics = self.assets_in["metrics"]
        self.seed = cfg.seed
        self.n_bootstrap = cfg.analysis.n_bootstrap

    def execute(self) -> None:
        """Write the summary, the table of all simulations and the profile over latitude."""
        found = {
            (split.name, method, sim): self.in_metrics.at(split=split.name, method=method, sim=sim).read()
            for split in self.splits
            for method in self.estimates
            for sim in split.iter_sims()
        }
        rows = [
            {"split": split, "method": method, "sim": sim, **metrics["pixel"]}
            for (split, method, sim), metrics in found.items()
        ]
        self.out_table.write(rows)
        self.out_scores.write(to_json(summarise(self._by_metric(rows), self._bootstrap_rng)))
        self.out_latitude.write(self._latitude_rows(found))

    def _by_metric(self, rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, list[float]]]]:
        values: dict[str, dict[str, dict[str, list[float]]]] = {}
        for row in rows:
            metrics = values.setdefault(row["split"], {}).setdefault(row["method"], {})
            for name in row.keys() - {"split", "method", "sim"}:
                metrics.setdefault(name, []).append(row[name])
        return values

    def _bootstrap_rng(self, split: str) -> np.random.Generator:
        return generator(self.seed, split, 0, "bootstrap")

    def _latitude_rows(self, found: dict[tuple[str, str, int], Any]) -> list[dict[str, Any]]:
        """Root of the mean square over simulations, of every split and method."""
        centres = [(low + high) / 2 for low, high in pairwise(LATITUDE_EDGES_DEG)]
        groups: dict[tuple[str, str], list[list[float]]] = {}
        for (split, method, _), metrics in found.items():
            groups.setdefault((split, method), []).append(metrics["latitude_rmse"])
        return [
            {"split": split, "method": method, "latitude_deg": centre, "rmse_uk": float(rms)}
            for (split, method), profiles in groups.items()
            for centre, rms in zip(centres, np.sqrt(np.mean(np.square(profiles), axis=0)), strict=True)
        ]
