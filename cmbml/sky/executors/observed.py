"""The stage that puts real maps in the place of simulated observations."""

import numpy as np

from cmbml.core import Asset, BaseStageExecutor, Split, StageConfig
from cmbml.core.errors import ConfigError, DataError, did_you_mean
from cmbml.sky.executors.bands import passbands_of
from cmbml.sky.observed.maps import bring_to_instrument
from cmbml.sky.observed.params import ObservedParams
from cmbml.sky.skymap import SkyMap, is_unseen
from cmbml.sky.vetting import look_at, refuse_repeats


class ObservedSkyExecutor(BaseStageExecutor):
    """Brings the real map of every band to the beam, band-limit, grid and unit of the simulations."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="observed_sky")
        self.out_obs: Asset[SkyMap] = self.assets_out["obs"]
        self.in_sky: Asset[SkyMap] = self.assets_in["sky"]
        self.bands = cfg.instrument.bands
        self.passbands = passbands_of(self.bands)
        self.nside = cfg.instrument.nside
        self.lmax = cfg.instrument.lmax
        self.observed: ObservedParams = cfg.observed
        if cfg.instrument.fields != "T":
            raise ConfigError("an observed split is temperature only: set instrument.fields: T")
        for name in self.bands:
            if name not in self.observed.fwhm_arcmin:
                hint = did_you_mean(name, self.observed.fwhm_arcmin)
                raise ConfigError(f"params.yaml: observed.fwhm_arcmin: no beam of band '{name}': {hint}")

    def process_sim(self, split: Split, sim: int) -> None:
        """Bring all bands."""
        looks = []
        for name, band in self.bands.items():
            ref = self.in_sky.at(freq=name)
            raw = ref.read(
                content="T",
                unit=self.observed.unit,
                pixwin=self.observed.pixwin,
                fwhm_arcmin=self.observed.fwhm_arcmin[name],
                allow_unseen=True,
            )
            try:
                sky = raw.to("uK_CMB", band=self.passbands[name])
                looks.append(look_at(name, band.freq_ghz, sky.values, is_unseen(sky.values)))
                values = bring_to_instrument(
                    sky.values[0],
                    fwhm_in=self.observed.fwhm_arcmin[name],
                    fwhm_out=band.fwhm_arcmin,
                    pixwin=self.observed.pixwin,
                    lmax=self.lmax,
                    nside=self.nside,
                    threads=self.threads,
                )
            except ValueError as error:
                raise DataError(f"{ref.path}: {error}") from None
            with self.name_tracker.set_context("freq", name):
                self.out_obs.write(SkyMap(values[np.newaxis], "uK_CMB", band.fwhm_arcmin, self.lmax))
        try:
            refuse_repeats(looks)
        except ValueError as error:
            raise DataError(f"{self.in_sky.at(freq=looks[0].name).path.parent}: {error}") from None
