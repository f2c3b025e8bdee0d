"""The stage that cleans with the needlet ILC."""

from cmbml.core import BaseStageExecutor, Split, StageConfig
from cmbml.methods.executors import BandReader
from cmbml.methods.nilc.nilc import nilc


class NilcExecutor(BaseStageExecutor):
    """Cleans every simulation with weights from its own covariance."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="nilc")
        self.out_cleaned = self.assets_out["cleaned"]
        self.bands = BandReader(self.assets_in["obs"], cfg, self.threads)
        self.settings = cfg.nilc

    def process_sim(self, split: Split, sim: int) -> None:
        """Clean one simulation."""
        bands = self.bands.read(split.name, sim)
        result = nilc(
            bands.alms,
            fwhm_arcmin=bands.fwhm_arcmin,
            fwhm_out=self.settings.fwhm_arcmin,
            lmax=self.bands.lmax,
            peaks=self.settings.peaks,
            ilc_bias=self.settings.ilc_bias,
            threads=self.threads,
        )
        self.out_cleaned.write(self.bands.cleaned(result.alm, self.settings.fwhm_arcmin))
