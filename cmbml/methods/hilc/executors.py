"""The stages of the harmonic ILC: weights learned on train skies, or from each sky itself."""

from cmbml.core import Asset, BaseStageExecutor, Split, StageConfig
from cmbml.core.errors import ConfigError
from cmbml.core.spec.repository import PARAMS
from cmbml.methods.executors import BandReader, Bands, CovarianceExecutor, Described
from cmbml.methods.hilc.configured import configured_hilc
from cmbml.methods.hilc.hilc import FloatArray, bin_edges, nuisance_covariance
from cmbml.methods.hilc.params import HilcParams, PlainHilcParams
from cmbml.methods.ilc import known_beams
from cmbml.sky.sht import Alm
from cmbml.sky.skymap import SkyMap


class HilcCovarianceExecutor(CovarianceExecutor):
    """Learns the covariance of foregrounds and noise in bins of multipoles."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="hilc_covariance")
        self.bin_width: int = cfg.hilc.bin_width
        self.fwhm_out = cfg.analysis.fwhm_arcmin
        _check("hilc", self.bin_width, self.bands)

    def learned_with(self) -> Described:
        """Beam of the result and width of the bins."""
        return {"fwhm_out": self.fwhm_out, "bin_width": self.bin_width}

    def covariance(self, bands: Bands, cmb: Alm) -> FloatArray:
        """Covariance of one field of one sky, in bins of multipoles."""
        return nuisance_covariance(
            bands.nuisance(cmb),
            fwhm_arcmin=known_beams(bands.fwhm_arcmin, len(bands.alms)),
            fwhm_out=self.fwhm_out,
            lmax=self.bands.lmax,
            bin_width=self.bin_width,
        )


class HilcExecutor(BaseStageExecutor):
    """Cleans every simulation with harmonic weights, from the learned covariance and its own."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="hilc")
        self.out_cleaned: Asset[SkyMap] = self.assets_out["cleaned"]
        self.in_covariance: Asset[FloatArray] = self.assets_in["covariance"]
        self.bands = BandReader(self.assets_in["obs"], cfg, self.threads)
        self.settings: HilcParams = cfg.hilc
        self.fwhm_out = cfg.analysis.fwhm_arcmin

    def setup(self) -> None:
        """Read what was learned."""
        self.learned = self.in_covariance.read()

    def process_sim(self, split: Split, sim: int) -> None:
        """Clean one simulation."""
        fields = zip(self.bands.read(split.name, sim), self.learned, strict=True)
        lmax, fwhm = self.bands.lmax, self.fwhm_out
        alms = [_clean(bands, self.settings, lmax, fwhm, learned) for bands, learned in fields]
        self.out_cleaned.write(self.bands.cleaned(alms, self.fwhm_out))


class PlainHilcExecutor(BaseStageExecutor):
    """Cleans every simulation with harmonic weights from its own covariance alone."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="hilc_plain")
        self.out_cleaned: Asset[SkyMap] = self.assets_out["cleaned"]
        self.bands = BandReader(self.assets_in["obs"], cfg, self.threads)
        self.settings: PlainHilcParams = cfg.hilc_plain
        self.fwhm_out = cfg.analysis.fwhm_arcmin
        _check("hilc_plain", self.settings.bin_width, self.bands)

    def process_sim(self, split: Split, sim: int) -> None:
        """Clean one simulation."""
        fields = self.bands.read(split.name, sim)
        alms = [_clean(bands, self.settings, self.bands.lmax, self.fwhm_out) for bands in fields]
        self.out_cleaned.write(self.bands.cleaned(alms, self.fwhm_out))


def _check(block: str, bin_width: int, bands: BandReader) -> None:
    try:
        bin_edges(bands.lmax, bin_width, len(bands.freqs))
    except ValueError as error:
        raise ConfigError(f"{PARAMS}: {block}: {error}") from None


def _clean(
    bands: Bands, settings: PlainHilcParams, lmax: int, fwhm_out: float, learned: FloatArray | None = None
) -> Alm:
    return configured_hilc(
        bands.alms,
        settings,
        fwhm_arcmin=bands.fwhm_arcmin,
        fwhm_out=fwhm_out,
        lmax=lmax,
        learned=learned,
    ).alm
