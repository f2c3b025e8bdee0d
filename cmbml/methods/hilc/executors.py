"""The stages that learn the covariance of the nuisance on train skies, and clean with it."""

import numpy as np

from cmbml.core import BaseStageExecutor, Split, StageConfig
from cmbml.methods.executors import BandReader
from cmbml.methods.hilc.hilc import HilcOptions, hilc, nuisance_covariance
from cmbml.sky.sht import almxfl, gaussian_beam


class HilcCovarianceExecutor(BaseStageExecutor):
    """Learns the covariance of foregrounds and noise where the CMB is known: on the declared splits only."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="hilc_covariance")
        self.out_covariance = self.assets_out["covariance"]
        self.in_cmb = self.assets_in["cmb"]
        self.bands = BandReader(self.assets_in["obs"], cfg, self.threads)
        self.bin_width = cfg.hilc.bin_width
        self.fwhm = cfg.hilc.fwhm_arcmin

    def execute(self) -> None:
        """Average over all simulations."""
        covariances = [
            self._covariance(split.name, sim) for split in self.splits for sim in split.iter_sims()
        ]
        self.out_covariance.write(np.mean(covariances, axis=0))

    def _covariance(self, split: str, sim: int) -> np.ndarray:
        bands = self.bands.read(split, sim)
        cmb = self.in_cmb.at(split=split, sim=sim).read().values[0]
        beams = [float(fwhm or 0) for fwhm in bands.fwhm_arcmin]
        nuisance = np.stack(
            [
                alm - almxfl(cmb, gaussian_beam(fwhm, self.bands.lmax))
                for alm, fwhm in zip(bands.alms, beams, strict=True)
            ]
        )
        return nuisance_covariance(
            nuisance, fwhm_arcmin=beams, fwhm_out=self.fwhm, lmax=self.bands.lmax, bin_width=self.bin_width
        )


class HilcExecutor(BaseStageExecutor):
    """Cleans every simulation with harmonic weights, from the learned covariance and its own."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="hilc")
        self.out_cleaned = self.assets_out["cleaned"]
        self.in_covariance = self.assets_in["covariance"]
        self.bands = BandReader(self.assets_in["obs"], cfg, self.threads)
        self.settings = cfg.hilc

    def setup(self) -> None:
        """Read what was learned."""
        self.options = HilcOptions(prior=self.in_covariance.read(), shrinkage=self.settings.shrinkage)

    def process_sim(self, split: Split, sim: int) -> None:
        """Clean one simulation."""
        bands = self.bands.read(split.name, sim)
        result = hilc(
            bands.alms,
            fwhm_arcmin=bands.fwhm_arcmin,
            fwhm_out=self.settings.fwhm_arcmin,
            lmax=self.bands.lmax,
            bin_width=self.settings.bin_width,
            options=self.options,
        )
        self.out_cleaned.write(self.bands.cleaned(result.alm, self.settings.fwhm_arcmin))
