"""The stages of the needlet ILC: plain, and shrunk towards what train skies teach."""

from cmbml.core import Asset, BaseStageExecutor, Split, StageConfig
from cmbml.core.errors import ConfigError
from cmbml.core.spec.repository import PARAMS
from cmbml.methods.executors import BandReader, Bands, CovarianceExecutor, Described
from cmbml.methods.ilc import known_beams
from cmbml.methods.nilc.configured import check_nilc, configured_nilc
from cmbml.methods.nilc.nilc import NilcResult, apply_weights, nuisance_covariance
from cmbml.methods.nilc.params import NilcParams, RegularisedNilcParams
from cmbml.methods.peaks import Peaks
from cmbml.sky.sht import Alm
from cmbml.sky.skymap import SkyMap


class NilcExecutor(BaseStageExecutor):
    """Cleans every simulation with weights from its own covariance."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="nilc")
        self.out_cleaned: Asset[SkyMap] = self.assets_out["cleaned"]
        self.bands = BandReader(self.assets_in["obs"], cfg, self.threads)
        self.settings: NilcParams = cfg.nilc
        self.fwhm_out = cfg.analysis.fwhm_arcmin
        _check("nilc", self.settings, self.bands, self.fwhm_out)

    def process_sim(self, split: Split, sim: int) -> None:
        """Clean one simulation."""
        fields = self.bands.read(split.name, sim)
        alms = [_clean(bands, self.bands, self.settings, self.fwhm_out).alm for bands in fields]
        self.out_cleaned.write(self.bands.cleaned(alms, self.fwhm_out))


class NilcCovarianceExecutor(CovarianceExecutor):
    """Learns the covariance of foregrounds and noise on every needlet scale and in every domain."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="nilc_covariance")
        self.fwhm_out = cfg.analysis.fwhm_arcmin
        self.peaks: Peaks = cfg.nilc_regularised.peaks
        self.needlets: str = cfg.nilc_regularised.needlets
        self.domain_deg: float = cfg.nilc_regularised.domain_deg

    def learned_with(self) -> Described:
        """Beam of the result, needlets and domains."""
        return {
            "fwhm_out": self.fwhm_out,
            "peaks": list(self.peaks),
            "needlets": self.needlets,
            "domain_deg": self.domain_deg,
        }

    def covariance(self, bands: Bands, cmb: Alm) -> Alm:
        """Covariance of one field of one sky, on every scale and in every domain."""
        return nuisance_covariance(
            bands.nuisance(cmb),
            fwhm_arcmin=known_beams(bands.fwhm_arcmin, len(bands.alms)),
            fwhm_out=self.fwhm_out,
            lmax=self.bands.lmax,
            peaks=self.peaks,
            domain_deg=self.domain_deg,
            needlets=self.needlets,
            threads=self.threads,
        )


class RegularisedNilcExecutor(BaseStageExecutor):
    """Cleans every simulation with weights from its own covariance, shrunk towards the learned one."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="nilc_regularised")
        self.out_cleaned: Asset[SkyMap] = self.assets_out["cleaned"]
        self.in_covariance: Asset[Alm] = self.assets_in["covariance"]
        self.bands = BandReader(self.assets_in["obs"], cfg, self.threads)
        self.settings: RegularisedNilcParams = cfg.nilc_regularised
        self.fwhm_out = cfg.analysis.fwhm_arcmin
        _check("nilc_regularised", self.settings, self.bands, self.fwhm_out)

    def setup(self) -> None:
        """Read what was learned."""
        self.learned = self.in_covariance.read()

    def process_sim(self, split: Split, sim: int) -> None:
        """Clean one simulation."""
        fields = zip(self.bands.read(split.name, sim), self.learned, strict=True)
        reader, fwhm = self.bands, self.fwhm_out
        alms = [_clean(bands, reader, self.settings, fwhm, learned).alm for bands, learned in fields]
        self.out_cleaned.write(self.bands.cleaned(alms, self.fwhm_out))


class _ComponentsExecutor(BaseStageExecutor):
    """Sends every component through the weights of the whole sky: what is left of each is known exactly."""

    settings: NilcParams
    learned: Alm | None = None

    def __init__(self, cfg: StageConfig, stage_str: str) -> None:
        super().__init__(cfg, stage_str=stage_str)
        self.out_component: Asset[SkyMap] = self.assets_out["component"]
        self.bands = BandReader(self.assets_in["obs"], cfg, self.threads)
        self.parts = BandReader(self.assets_in["component"], cfg, self.threads)
        self.fwhm_out = cfg.analysis.fwhm_arcmin

    def process_sim(self, split: Split, sim: int) -> None:
        """Clean one simulation again, and all of its components."""
        bands = self.bands.read(split.name, sim)
        learned = self.learned if self.learned is not None else [None] * len(bands)
        fields = zip(bands, learned, strict=True)
        reader, fwhm = self.bands, self.fwhm_out
        weights = [_clean(whole, reader, self.settings, fwhm, prior).weights for whole, prior in fields]
        for name in self.out_component.fields:
            parts = zip(self.parts.read(split.name, sim, field=name), weights, strict=True)
            alms = [
                apply_weights(weight, part.alms, lmax=self.bands.lmax, threads=self.threads)
                for part, weight in parts
            ]
            with self.name_tracker.set_context("field", name):
                self.out_component.write(self.bands.cleaned(alms, self.fwhm_out))


class NilcComponentsExecutor(_ComponentsExecutor):
    """The components through the weights of `nilc`."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="nilc_components")
        self.settings = cfg.nilc


class RegularisedComponentsExecutor(_ComponentsExecutor):
    """The components through the weights of `nilc_regularised`."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="nilc_regularised_components")
        self.settings = cfg.nilc_regularised
        self.in_covariance: Asset[Alm] = self.assets_in["covariance"]

    def setup(self) -> None:
        """Read what was learned."""
        self.learned = self.in_covariance.read()


def _check(block: str, settings: NilcParams, bands: BandReader, fwhm_out: float) -> None:
    try:
        check_nilc(
            settings,
            fwhm_arcmin=bands.fwhm_arcmin,
            fwhm_out=fwhm_out,
            freq_ghz=bands.freq_ghz,
            lmax=bands.lmax,
        )
    except ValueError as error:
        raise ConfigError(f"{PARAMS}: {block}: {error}") from None


def _clean(
    bands: Bands, reader: BandReader, settings: NilcParams, fwhm_out: float, learned: Alm | None = None
) -> NilcResult:
    return configured_nilc(
        bands.alms,
        settings,
        fwhm_arcmin=bands.fwhm_arcmin,
        fwhm_out=fwhm_out,
        freq_ghz=reader.freq_ghz,
        lmax=reader.lmax,
        learned=learned,
        threads=reader.threads,
    )
