"""The stage that cleans with the needlet ILC."""

import numpy as np

from cmbml.core import BaseStageExecutor, Split, StageConfig
from cmbml.methods.nilc.nilc import nilc
from cmbml.sky.sht import alm2map, map2alm
from cmbml.sky.skymap import SkyMap


class NilcExecutor(BaseStageExecutor):
    """Cleans every simulation with weights from its own covariance."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="nilc")
        self.out_cleaned = self.assets_out["cleaned"]
        self.in_obs = self.assets_in["obs"]
        self.freqs = cfg.instrument.bands
        self.nside = cfg.instrument.nside
        self.lmax = cfg.instrument.lmax
        self.settings = cfg.nilc

    def process_sim(self, split: Split, sim: int) -> None:
        """Clean one simulation."""
        bands = [
            self.in_obs.at(split=split.name, sim=sim, freq=freq).read(nside=self.nside) for freq in self.freqs
        ]
        result = nilc(
            np.stack([map2alm(band.values[0], self.lmax, threads=self.threads) for band in bands]),
            fwhm_arcmin=[band.fwhm_arcmin for band in bands],
            fwhm_out=self.settings.fwhm_arcmin,
            lmax=self.lmax,
            peaks=self.settings.peaks,
            ilc_bias=self.settings.ilc_bias,
            threads=self.threads,
        )
        sky = alm2map(result.alm[np.newaxis], self.nside, threads=self.threads)
        self.out_cleaned.write(SkyMap(sky, "uK_CMB", self.settings.fwhm_arcmin, self.lmax))
