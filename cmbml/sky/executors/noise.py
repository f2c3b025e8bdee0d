"""Noise of all kinds as stages read it, and the stage that learns it from simulations."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cmbml.core import Asset, BaseStageExecutor, Split, StageConfig, generator
from cmbml.core.errors import ConfigError, DataError
from cmbml.sky.emission import squeeze
from cmbml.sky.mask import galactic_mask
from cmbml.sky.noise.band import BandNoise
from cmbml.sky.noise.draws import (
    Knee,
    depth_from_hits,
    depth_from_variance,
    depths_on_grid,
    scanning_hits,
    stokes_depths,
)
from cmbml.sky.noise.learned import NoiseModel, fit_noise_model, masked_spectrum
from cmbml.sky.sht import Alm, Cl, Map, alm2map, almxfl, gaussian_beam, map2alm, nside_of
from cmbml.sky.skymap import SkyAlm, SkyMap, is_unseen
from cmbml.sky.units import variance_in_uk

HITS_NSIDE = 128  # the scan's hits vary smoothly
MASKED_LATITUDE_DEG, MASK_SMOOTHING_DEG = 5.0, 1.0  # of the strip that noise spectra leave out


class InstrumentNoise:
    """The noise of all bands, as parameters and inputs of a stage describe it.

    The stage declares ``seed``, ``noise`` and ``instrument``, and the inputs ``variance``, ``noise_spectra``
    and ``noise_average`` of pipeline/simulation.yaml.

    Parameters
    ----------
    executor
        The stage's executor.
    cfg
        Its parameters.
    """

    def __init__(self, executor: BaseStageExecutor, cfg: StageConfig) -> None:
        self.assets_in = executor.assets_in
        self.threads = executor.threads
        self.seed = cfg.seed
        self.params = cfg.noise
        self.instrument = cfg.instrument
        self.lmax = cfg.instrument.lmax
        self.bands: dict[str, BandNoise] = {}

    def load(self) -> None:
        """Prepare the noise of every band; call it from ``setup``."""
        self.bands = {freq: self._band(freq) for freq in self.instrument.freqs}

    def draw(self, level: float, split: Split, sim: int) -> Alm:
        """Draw the noise of one simulation: ``(n_freq, nalm)`` or ``(n_freq, 3, nalm)``, uK_CMB.

        It belongs to the split's stream: paired splits have the same noise.
        """
        return squeeze(
            [
                band.draw(
                    level,
                    self.lmax,
                    generator(self.seed, split.stream, sim, "noise", freq),
                    threads=self.threads,
                )
                for freq, band in self.bands.items()
            ]
        )

    def spectra(self, level: float) -> Map:
        """Mean spectra of every band: ``(n_freq, n_stokes, lmax + 1)``, uK_CMB^2."""
        return np.stack([band.spectra(level, self.lmax) for band in self.bands.values()])

    def _band(self, freq: str) -> BandNoise:
        band = self.instrument.bands[freq]
        depths = stokes_depths(band.depth_uk_arcmin, self.instrument.n_stokes, band.depth_p_uk_arcmin)
        knee = Knee(self.params.knee_l, self.params.knee_slope)
        if self.params.kind == "model":
            return BandNoise(tuple(depths), model=self._model(freq))
        if self.params.kind == "white":
            return BandNoise(tuple(depths), knee)
        maps = self._variance(freq) if self.params.kind == "variance" else _from_hits(depths)
        mean = tuple(float(np.sqrt(np.mean(row**2))) for row in maps)
        return BandNoise(mean, knee, depths_on_grid(maps, self.lmax, threads=self.threads))

    def _variance(self, freq: str) -> Map:
        """Depths of T, or of T, Q, U, from a map of the variances II, QQ, UU."""
        sky = self.assets_in["variance"].at(freq=freq).read(content="variance", allow_unseen=True)
        n_stokes = self.instrument.n_stokes
        if len(sky.values) < n_stokes:
            raise DataError(
                f"noise.kind: variance: the map of band {freq} has no QQ and UU: add them, or fields: T"
            )
        try:
            factor = variance_in_uk(sky.unit, self.instrument.bands[freq].freq_ghz)
            variance = np.where(is_unseen(sky.values[:n_stokes]), np.nan, sky.values[:n_stokes] * factor)
            # Pixels that were never observed are as noisy as the noisiest.
            worst = np.nanmax(variance, axis=1, keepdims=True)
            return depth_from_variance(np.where(np.isfinite(variance), variance, worst))
        except ValueError as error:
            raise DataError(f"band {freq}: {error}") from None

    def _model(self, freq: str) -> NoiseModel:
        columns = self.assets_in["noise_spectra"].at(freq=freq).read()
        mean = columns.pop("mean_log10")
        components = np.array(list(columns.values())).reshape(len(columns), len(mean))
        average = self.assets_in["noise_average"].at(freq=freq).read()
        return NoiseModel(mean, components, average.values[0])


def _from_hits(depths: list[float]) -> Map:
    hits = scanning_hits(HITS_NSIDE)
    return np.stack([depth_from_hits(hits, depth) for depth in depths])


class NoiseModelExecutor(BaseStageExecutor):
    """Learns the noise of every band from simulations: their average and the scatter of their spectra."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="noise_model")
        self.out_spectra: Asset[Mapping[str, Cl]] = self.assets_out["spectra"]
        self.out_average: Asset[SkyAlm] = self.assets_out["average"]
        self.in_sims: Asset[SkyMap] = self.assets_in["noise_sims"]
        self.bands = cfg.instrument.bands
        self.lmax = cfg.instrument.lmax
        self.n_components = cfg.noise.n_components
        self.fields = self.in_sims.fields

    def execute(self) -> None:
        """Learn all bands, one after the other."""
        for freq in self.bands:
            with self.name_tracker.set_context("freq", freq):
                self._learn(freq)

    def _learn(self, freq: str) -> None:
        total: Any = 0.0
        for field in self.fields:
            total = total + self._map(freq, field)
        average = total / len(self.fields)
        mask = _strip(nside_of(average), self.threads)
        spectra = np.array(
            [
                masked_spectrum(self._map(freq, field) - average, mask, self.lmax, threads=self.threads)
                for field in self.fields
            ]
        )
        alm = map2alm(average, self.lmax, threads=self.threads)
        fsky = float(np.mean(mask**2) ** 2 / np.mean(mask**4))
        try:
            model = fit_noise_model(spectra, alm, fsky, self.n_components)
        except ValueError as error:
            raise ConfigError(f"{error}; pipeline/raw.yaml names them") from None
        columns = {f"component_{i}": row for i, row in enumerate(model.components)}
        self.out_spectra.write({"mean_log10": model.mean_log10, **columns})
        self.out_average.write(SkyAlm(alm[np.newaxis], "uK_CMB"))

    def _map(self, freq: str, field: str) -> Map:
        sky = self.in_sims.at(freq=freq, field=field).read(content="T")
        return sky.to("uK_CMB", freq_ghz=self.bands[freq].freq_ghz).values[0]


def _strip(nside: int, threads: int) -> Map:
    """Mask of the Galactic strip with soft edges, as the reference system's noise spectra have it."""
    alm = map2alm(galactic_mask(nside, MASKED_LATITUDE_DEG), 2 * nside, threads=threads)
    soft = almxfl(alm, gaussian_beam(60 * MASK_SMOOTHING_DEG, 2 * nside))
    return np.clip(alm2map(soft, nside, threads=threads), 0, 1)
