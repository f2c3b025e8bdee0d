"""Stages that simulate the sky and its observation."""

from dataclasses import asdict

import numpy as np

from cmbml.core import BaseStageExecutor, Split, StageConfig, generator
from cmbml.core.errors import ConfigError
from cmbml.sky.cmb import draw_cmb, draw_lensed_cmb
from cmbml.sky.cosmology import Cosmology, draw_gaussian, fixed, theory_spectra
from cmbml.sky.emission import squeeze
from cmbml.sky.foregrounds import FOREGROUND_KEYS, ForegroundDraw, draw_foregrounds
from cmbml.sky.galaxy import galaxy_alm
from cmbml.sky.instrument import beam_warnings
from cmbml.sky.lensing import lensing_lmax
from cmbml.sky.mask import galactic_mask
from cmbml.sky.noise import draw_white_noise
from cmbml.sky.observe import combine_alm
from cmbml.sky.pysm import pysm_alm
from cmbml.sky.pysm_templates import require_templates
from cmbml.sky.sht import Alm, alm2map
from cmbml.sky.skymap import SkyAlm, SkyMap


class CosmologyExecutor(BaseStageExecutor):
    """Draws the cosmological parameters of every simulation."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="cosmology")
        self.out_cosmology = self.assets_out["cosmology"]
        self.seed = cfg.seed
        self.source = cfg.cosmology.source
        self.scatter = cfg.cosmology.scatter

    def process_sim(self, split: Split, sim: int) -> None:
        """Draw one simulation's parameters."""
        rng = generator(self.seed, split.stream, sim, "cosmology")
        cosmology = draw_gaussian(self.source, rng) if self.scatter else fixed(self.source)
        self.out_cosmology.write(asdict(cosmology))


class TheoryExecutor(BaseStageExecutor):
    """Computes the CMB spectra of every simulation's cosmology."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="theory")
        self.out_spectra = self.assets_out["spectra"]
        self.in_cosmology = self.assets_in["cosmology"]
        self.lmax = cfg.instrument.lmax
        self.n_stokes = len(cfg.instrument.fields)
        if cfg.cmb.kind == "lensed":
            self.lmax, self.n_stokes = lensing_lmax(self.lmax, self.n_stokes), 3

    def process_sim(self, split: Split, sim: int) -> None:
        """Run CAMB once."""
        cosmology = Cosmology(**self.in_cosmology.read())
        spectra = theory_spectra(cosmology, self.lmax, n_stokes=self.n_stokes, threads=self.threads)
        self.out_spectra.write(spectra)


class CmbExecutor(BaseStageExecutor):
    """Draws the CMB: the truth, band-limited and without a beam."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="cmb")
        self.out_alm = self.assets_out["cmb"]
        self.in_spectra = self.assets_in["spectra"]
        self.seed = cfg.seed
        self.lmax = cfg.instrument.lmax
        self.n_stokes = len(cfg.instrument.fields)
        self.lensed = cfg.cmb.kind == "lensed"

    def process_sim(self, split: Split, sim: int) -> None:
        """Draw one sky: unlensed and then lensed once, or from its lensed spectra."""
        spectra, lmax, n_stokes = self.in_spectra.read(), self.lmax, self.n_stokes
        rng_t, rng_p, rng_phi = (
            generator(self.seed, split.stream, sim, "cmb", field) for field in ("T", "P", "phi")
        )
        if self.lensed:
            alm = draw_lensed_cmb(
                spectra, lmax, rng_t, rng_phi, rng_p, n_stokes=n_stokes, threads=self.threads
            )
        else:
            alm = draw_cmb(spectra, lmax, rng_t, rng_p, n_stokes=n_stokes)
        self.out_alm.write(SkyAlm(alm, "uK_CMB", fwhm_arcmin=0.0))


class DrawsExecutor(BaseStageExecutor):
    """Draws what tells one simulation's foregrounds and noise from the next."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="draws")
        self.out_draw = self.assets_out["draw"]
        self.seed = cfg.seed
        self.populations = cfg.populations

    def process_sim(self, split: Split, sim: int) -> None:
        """Draw one simulation's numbers from the split's population."""
        population = self.populations[split.population]
        scatter = {
            key: (getattr(population, key).mean, getattr(population, key).sd) for key in FOREGROUND_KEYS
        }
        foregrounds = draw_foregrounds(scatter, generator(self.seed, split.stream, sim, "foregrounds"))
        level = population.noise_level
        deviate = generator(self.seed, split.stream, sim, "noise_level").standard_normal()
        noise_level = level.mean * float(np.exp(level.sd * deviate))
        self.out_draw.write({**asdict(foregrounds), "noise_level": noise_level})


class ObservationsExecutor(BaseStageExecutor):
    """Observes CMB, foregrounds and noise with the instrument."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="observations")
        self.out_obs = self.assets_out["obs"]
        self.in_cmb = self.assets_in["cmb"]
        self.in_draw = self.assets_in["draw"]
        self.seed = cfg.seed
        self.instrument = cfg.instrument
        self.model = cfg.foregrounds.model
        self.presets = cfg.foregrounds.presets
        self.noise_kind = cfg.noise.kind
        self._check_instrument()

    def _check_instrument(self) -> None:
        beams = dict(zip(self.instrument.freqs, self.instrument.fwhm_arcmin, strict=True))
        try:
            self.warnings += beam_warnings(beams, self.instrument.nside, self.instrument.lmax)
            if self.model == "pysm3":
                require_templates(self.presets, self.instrument.nside)
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def process_sim(self, split: Split, sim: int) -> None:
        """Observe one simulation in all bands."""
        draw = self.in_draw.read()
        level = draw.pop("noise_level")
        alms = combine_alm(
            self.in_cmb.read().values,
            self._foregrounds(ForegroundDraw(**draw), split, sim),
            self._noise(level, split, sim),
            self.instrument.fwhm_arcmin,
            self.instrument.lmax,
        )
        for freq, fwhm, alm in zip(self.instrument.freqs, self.instrument.fwhm_arcmin, alms, strict=True):
            sky = alm2map(np.atleast_2d(alm), self.instrument.nside, threads=self.threads)
            with self.name_tracker.set_context("freq", freq):
                self.out_obs.write(SkyMap(sky, "uK_CMB", fwhm, self.instrument.lmax))

    def _foregrounds(self, draw: ForegroundDraw, split: Split, sim: int) -> Alm:
        freqs, lmax = self.instrument.freq_ghz, self.instrument.lmax
        options = {"n_stokes": self.instrument.n_stokes, "threads": self.threads}
        if self.model == "pysm3":
            return pysm_alm(self.presets, freqs, draw, lmax, **options)
        rng = generator(self.seed, split.stream, sim, "galaxy")
        return galaxy_alm(freqs, draw, rng, lmax, **options)

    def _noise(self, level: float, split: Split, sim: int) -> Alm:
        bands = zip(self.instrument.freqs, self.instrument.depth_uk_arcmin, strict=True)
        alms = [
            draw_white_noise(
                level * depth,
                self.instrument.lmax,
                generator(self.seed, split.stream, sim, "noise", freq),
                n_stokes=self.instrument.n_stokes,
            )
            for freq, depth in bands
        ]
        return squeeze(alms)


class MaskExecutor(BaseStageExecutor):
    """Makes the analysis mask: 1 where scores are taken, 0 in the Galactic strip."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="mask")
        self.out_mask = self.assets_out["mask"]
        self.nside = cfg.instrument.nside
        self.latitude_deg = cfg.mask.latitude_deg

    def execute(self) -> None:
        """Make the mask."""
        mask = galactic_mask(self.nside, self.latitude_deg)
        self.out_mask.write(SkyMap(mask[np.newaxis], "1"))
