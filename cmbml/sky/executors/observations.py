"""Stages that observe the sky with the instrument, whole or component by component."""

from collections.abc import Iterable, Mapping

import numpy as np

from cmbml.core import Asset, BaseStageExecutor, Split, StageConfig, generator
from cmbml.core.errors import ConfigError, DataError
from cmbml.core.spec.params import Band
from cmbml.sky.distributions import distribution
from cmbml.sky.emission import squeeze
from cmbml.sky.executors.bands import passbands_of
from cmbml.sky.executors.extragalactic import Extragalactic
from cmbml.sky.executors.noise import InstrumentNoise
from cmbml.sky.foregrounds import Draw, ForegroundDraw
from cmbml.sky.galaxy.family import FAMILIES
from cmbml.sky.galaxy.model import galaxy_alm, galaxy_component_alm
from cmbml.sky.instrument import beam_warnings
from cmbml.sky.levels import Levels
from cmbml.sky.observe import combine_alm
from cmbml.sky.passbands import Band as SkyBand
from cmbml.sky.pysm.model import pysm_alm, pysm_component_alm
from cmbml.sky.sht import Alm, alm2map, alm_size, almxfl, gaussian_beam
from cmbml.sky.skymap import SkyAlm, SkyMap
from cmbml.sky.zero_points import draw_zero_point

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
    """The foregrounds of all bands, as the parameters of a stage describe them.

    Parameters
    ----------
    executor
        The stage's executor.
    cfg
        Its parameters: ``seed``, ``extragalactic`` and ``instrument``.

    Raises
    ------
    ConfigError
        As `passbands_of`.
    """

    def __init__(self, executor: BaseStageExecutor, cfg: StageConfig) -> None:
        self.seed = cfg.seed
        self.instrument = cfg.instrument
        self.options: dict[str, int] = {"n_stokes": cfg.instrument.n_stokes, "threads": executor.threads}
        self.bands: list[SkyBand] = [*passbands_of(cfg.instrument.bands).values()]
        self.extragalactic = Extragalactic(cfg)

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
        self.seed = cfg.seed
        self.spreads = cfg.populations.gain
        self.foregrounds = Foregrounds(self, cfg)
        self.noise = InstrumentNoise(self, cfg)

    def setup(self) -> None:
        """Prepare the noise."""
        self.noise.load()

    def bands(self) -> Iterable[tuple[int, str, Band]]:
        """Number, name and description of every band."""
        return ((i, name, band) for i, (name, band) in enumerate(self.instrument.bands.items()))

    def gains(self, split: Split, sim: int) -> list[float]:
        """Factor on the map of every band; as its noise, it belongs to the split's stream."""
        spreads = self.spreads[split.population]
        return [
            distribution(**spreads[freq].values).draw(
                generator(self.seed, split.stream, sim, "gain", freq), positive=True
            )
            if freq in spreads
            else 1.0
            for freq in self.instrument.freqs
        ]

    def sky_map(self, alm: Alm, band: Band) -> SkyMap:
        """Synthesise one band: T alone where it has no Q and U."""
        rows = np.atleast_2d(alm) if band.polarised else np.atleast_2d(alm)[:1]
        sky = alm2map(rows, self.instrument.nside, threads=self.threads)
        return SkyMap(sky, "uK_CMB", band.fwhm_arcmin, self.instrument.lmax)


class ObservationsExecutor(_Observing):
    """Observes CMB, foregrounds and noise with the instrument."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="observations")
        self.out_obs: Asset[SkyMap] = self.assets_out["obs"]
        self.out_halves: Asset[SkyMap] | None = self.assets_out.get("halves")
        self.out_levels: Asset[Mapping[str, object]] | None = self.assets_out.get("levels")
        self.seed = cfg.seed
        self.dipole_uk: float = cfg.levels.dipole_uk
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
        level = float(draw["noise_level"])
        alms = combine_alm(
            self.in_cmb.read().values,
            self.foregrounds.alm(draw, split, sim),
            self.noise.draw(level, split, sim),
            self.instrument.fwhm_arcmin,
            self.instrument.lmax,
        )
        gains = np.reshape(self.gains(split, sim), (-1, *(1,) * (alms.ndim - 1)))
        if self.out_levels is not None:
            levels = self._zero_points(split, sim)
            alms = self._with_levels(alms, levels)
            self.out_levels.write({freq: one.facts() for freq, one in levels.items()})
        self.write_bands(self.out_obs, gains * alms)
        if self.out_halves is not None:
            difference = self.noise.draw_half_difference(level, split, sim)
            for half, sign in zip(self.out_halves.fields, (1, -1), strict=True):
                with self.name_tracker.set_context("field", half):
                    self.write_bands(self.out_halves, gains * (alms + sign * difference))

    def _zero_points(self, split: Split, sim: int) -> dict[str, Levels]:
        bands = zip(self.instrument.freqs, self.foregrounds.bands, strict=True)
        return {
            freq: draw_zero_point(
                band, self.dipole_uk, generator(self.seed, split.stream, sim, "zero_point", freq)
            )
            for freq, band in bands
        }

    def _with_levels(self, alms: Alm, levels: Mapping[str, Levels]) -> Alm:
        return squeeze([
            levels[freq].onto_alm(np.atleast_2d(alms[i]), band.fwhm_arcmin) for i, freq, band in self.bands()
        ])  # fmt: skip

    def write_bands(self, out: Asset[SkyMap], alms: Alm) -> None:
        """Synthesise and write all bands."""
        for i, freq, band in self.bands():
            with self.name_tracker.set_context("freq", freq):
                out.write(self.sky_map(alms[i], band))


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
        gains = self.gains(split, sim)
        for i, freq, band in self.bands():
            beam = gaussian_beam(band.fwhm_arcmin, self.instrument.lmax)
            alms = {name: almxfl(alm if name == "cmb" else alm[i], beam) for name, alm in skies.items()}
            alms["noise"] = noise[i]
            for field in self.out_component.fields:
                with self.name_tracker.set_contexts({"freq": freq, "field": field}):
                    self.out_component.write(self.sky_map(gains[i] * alms.get(field, none), band))
