"""Stages that observe the sky with the instrument, whole or component by component."""

from collections.abc import Iterable

import numpy as np

from cmbml.core import Asset, BaseStageExecutor, Split, StageConfig, generator
from cmbml.core.errors import ConfigError, DataError
from cmbml.sky.executors.extragalactic import Extragalactic
from cmbml.sky.executors.noise import InstrumentNoise
from cmbml.sky.foregrounds import Draw, ForegroundDraw
from cmbml.sky.galaxy.family import FAMILIES
from cmbml.sky.galaxy.model import galaxy_alm, galaxy_component_alm
from cmbml.sky.instrument import beam_warnings
from cmbml.sky.observe import combine_alm
from cmbml.sky.passbands import Band, tabulated, top_hat
from cmbml.sky.pysm.model import pysm_alm, pysm_component_alm
from cmbml.sky.sht import Alm, alm2map, alm_size, almxfl, gaussian_beam
from cmbml.sky.skymap import SkyAlm, SkyMap

# Where a PySM preset belongs among the components, by its name without the number.
KINDS = {
    "d": "dust",
    "s": "sync",
    "f": "freefree",
    "a": "ame",
    "rg": "sources",
    "cib": "cib",
    "tsz": "tsz",
}


class Foregrounds:
    """The foregrounds of all bands, as parameters and inputs of a stage describe them.

    Parameters
    ----------
    executor
        The stage's executor.
    cfg
        Its parameters: ``seed``, ``extragalactic`` and ``instrument``.
    """

    def __init__(self, executor: BaseStageExecutor, cfg: StageConfig) -> None:
        self.assets_in = executor.assets_in
        self.seed = cfg.seed
        self.instrument = cfg.instrument
        self.options: dict[str, int] = {"n_stokes": cfg.instrument.n_stokes, "threads": executor.threads}
        self.bands: list[Band] = []
        self.extragalactic = Extragalactic(cfg)

    def load(self) -> None:
        """Prepare the bandpasses; call it from ``setup``."""
        self.bands = [self._band(freq) for freq in self.instrument.freqs]

    def _band(self, freq: str) -> Band:
        band = self.instrument.bands[freq]
        if self.instrument.bandpass == "top_hat":
            half = (band.bandwidth_ghz or 0.0) / 2
            return top_hat(band.freq_ghz - half, band.freq_ghz + half)
        if self.instrument.bandpass == "delta":
            return band.freq_ghz
        freqs, transmission = self.assets_in["bandpass"].at(freq=freq).read()
        try:
            return tabulated(freqs, transmission, band.freq_ghz)
        except ValueError as error:
            raise DataError(f"band {freq}: {error}") from None

    def alm(self, draw: Draw, split: Split, sim: int) -> Alm:
        """Sum of all components, unbeamed: ``(n_freq, nalm)`` or ``(n_freq, 3, nalm)``, uK_CMB."""
        beyond = self.extragalactic.component_alm(self.bands, split, sim)
        return sum(beyond.values(), start=self._galaxy_alm(draw, split, sim))

    def _galaxy_alm(self, draw: Draw, split: Split, sim: int) -> Alm:
        model, parameters = _split_draw(draw)
        lmax = self.instrument.lmax
        if model in FAMILIES:
            rng = generator(self.seed, split.name, sim, "galaxy")
            return galaxy_alm(self.bands, parameters, rng, lmax, family=FAMILIES[model], **self.options)
        try:
            return pysm_alm(tuple(model.split("+")), self.bands, parameters, lmax, **self.options)
        except ValueError as error:
            raise DataError(str(error)) from None

    def component_alm(self, draw: Draw, split: Split, sim: int) -> dict[str, Alm]:
        """The components by name; their sum is `alm`."""
        components = self._galaxy_component_alm(draw, split, sim)
        for name, alm in self.extragalactic.component_alm(self.bands, split, sim).items():
            components[name] = components.get(name, 0) + alm
        return components

    def _galaxy_component_alm(self, draw: Draw, split: Split, sim: int) -> dict[str, Alm]:
        model, parameters = _split_draw(draw)
        lmax = self.instrument.lmax
        if model in FAMILIES:
            rng = generator(self.seed, split.name, sim, "galaxy")
            return galaxy_component_alm(
                self.bands, parameters, rng, lmax, family=FAMILIES[model], **self.options
            )
        components: dict[str, Alm] = {}
        for preset in model.split("+"):
            name = KINDS.get(preset.rstrip("0123456789"), "extragalactic")
            alm = pysm_component_alm(preset, self.bands, parameters, lmax, **self.options)
            components[name] = components[name] + alm if name in components else alm
        return components


def _split_draw(draw: Draw) -> tuple[str, ForegroundDraw]:
    """Model and foreground parameters; the noise level is left out."""
    parameters = {key: float(value) for key, value in draw.items() if key not in ("model", "noise_level")}
    return str(draw["model"]), ForegroundDraw(**parameters)


class _Observing(BaseStageExecutor):
    """What the stages that observe have in common."""

    def __init__(self, cfg: StageConfig, stage_str: str) -> None:
        super().__init__(cfg, stage_str=stage_str)
        self.in_cmb: Asset[SkyAlm] = self.assets_in["cmb"]
        self.in_draw: Asset[Draw] = self.assets_in["draw"]
        self.instrument = cfg.instrument
        self.foregrounds = Foregrounds(self, cfg)
        self.noise = InstrumentNoise(self, cfg)

    def setup(self) -> None:
        """Prepare bandpasses and noise."""
        self.foregrounds.load()
        self.noise.load()

    def bands(self) -> Iterable[tuple[int, str, float]]:
        """Number, name and beam of every band."""
        names, beams = self.instrument.freqs, self.instrument.fwhm_arcmin
        return ((i, name, fwhm) for i, (name, fwhm) in enumerate(zip(names, beams, strict=True)))

    def sky_map(self, alm: Alm, fwhm: float) -> SkyMap:
        """Synthesise one band."""
        sky = alm2map(np.atleast_2d(alm), self.instrument.nside, threads=self.threads)
        return SkyMap(sky, "uK_CMB", fwhm, self.instrument.lmax)


class ObservationsExecutor(_Observing):
    """Observes CMB, foregrounds and noise with the instrument."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="observations")
        self.out_obs: Asset[SkyMap] = self.assets_out["obs"]
        self._check_beams()

    def _check_beams(self) -> None:
        beams = dict(zip(self.instrument.freqs, self.instrument.fwhm_arcmin, strict=True))
        try:
            self.warnings += beam_warnings(beams, self.instrument.nside, self.instrument.lmax)
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def process_sim(self, split: Split, sim: int) -> None:
        """Observe one simulation in all bands."""
        draw = self.in_draw.read()
        alms = combine_alm(
            self.in_cmb.read().values,
            self.foregrounds.alm(draw, split, sim),
            self.noise.draw(float(draw["noise_level"]), split, sim),
            self.instrument.fwhm_arcmin,
            self.instrument.lmax,
        )
        for i, freq, fwhm in self.bands():
            with self.name_tracker.set_context("freq", freq):
                self.out_obs.write(self.sky_map(alms[i], fwhm))


class ComponentsExecutor(_Observing):
    """Observes every component by itself; their sum is the observation."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="components")
        self.out_component: Asset[SkyMap] = self.assets_out["component"]

    def process_sim(self, split: Split, sim: int) -> None:
        """Write all components of one simulation; one that the model does not have is zero."""
        draw = self.in_draw.read()
        noise = self.noise.draw(float(draw["noise_level"]), split, sim)
        skies = {"cmb": self.in_cmb.read().values, **self.foregrounds.component_alm(draw, split, sim)}
        none = np.zeros((self.instrument.n_stokes, alm_size(self.instrument.lmax)), dtype=np.complex128)
        for i, freq, fwhm in self.bands():
            beam = gaussian_beam(fwhm, self.instrument.lmax)
            alms = {name: almxfl(alm if name == "cmb" else alm[i], beam) for name, alm in skies.items()}
            alms["noise"] = noise[i]
            for field in self.out_component.fields:
                with self.name_tracker.set_contexts({"freq": freq, "field": field}):
                    self.out_component.write(self.sky_map(alms.get(field, none), fwhm))
