"""The stage that draws the CMB."""

from collections.abc import Mapping

from cmbml.core import Asset, BaseStageExecutor, Split, StageConfig, generator
from cmbml.sky.cmb import draw_cmb, draw_lensed_cmb
from cmbml.sky.sht import Cl
from cmbml.sky.skymap import SkyAlm


class CmbExecutor(BaseStageExecutor):
    """Draws the CMB: the truth, band-limited and without a beam."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="cmb")
        self.out_alm: Asset[SkyAlm] = self.assets_out["cmb"]
        self.in_spectra: Asset[Mapping[str, Cl]] = self.assets_in["spectra"]
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
