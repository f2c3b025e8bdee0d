"""The stages of the needlet ILC: plain, and shrunk towards what train skies teach."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cmbml.core import BaseStageExecutor, Split, StageConfig
from cmbml.core.errors import ConfigError
from cmbml.core.repository import PARAMS
from cmbml.methods.executors import BandReader, Bands, mean
from cmbml.methods.ilc import known_beams
from cmbml.methods.nilc.nilc import NeedletPrior, NilcOptions, nilc, nuisance_covariance
from cmbml.methods.nilc.params import NilcParams
from cmbml.methods.nilc.seds import mixing_columns
from cmbml.sky.sht import Alm


class NilcExecutor(BaseStageExecutor):
    """Cleans every simulation with weights from its own covariance."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="nilc")
        self.out_cleaned = self.assets_out["cleaned"]
        self.bands = BandReader(self.assets_in["obs"], cfg, self.threads)
        self.settings = cfg.nilc
        self.options = _options(self.settings, self.bands, "nilc")

    def process_sim(self, split: Split, sim: int) -> None:
        """Clean one simulation."""
        fields = self.bands.read(split.name, sim)
        alms = [_clean(bands, self.bands, self.settings, self.options) for bands in fields]
        self.out_cleaned.write(self.bands.cleaned(alms, self.settings.fwhm_arcmin))


class NilcCovarianceExecutor(BaseStageExecutor):
    """Learns the covariance of foregrounds and noise where the CMB is known: on the declared splits only."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="nilc_covariance")
        self.out_covariance = self.assets_out["covariance"]
        self.out_settings = self.assets_out["settings"]
        self.in_cmb = self.assets_in["cmb"]
        self.bands = BandReader(self.assets_in["obs"], cfg, self.threads)
        self.fwhm_out = cfg.nilc_regularised.fwhm_arcmin
        self.peaks = cfg.nilc_regularised.peaks
        self.needlets = cfg.nilc_regularised.needlets
        self.domain_deg = cfg.nilc_regularised.domain_deg

    def execute(self) -> None:
        """Average over all simulations, and note what the average was made with."""
        self.out_covariance.write(mean(self._covariances()))
        self.out_settings.write(
            {
                "freq_ghz": self.bands.freq_ghz,
                "fwhm_arcmin": self.bands.fwhm_arcmin,
                "lmax": self.bands.lmax,
                "fwhm_out": self.fwhm_out,
                "peaks": list(self.peaks),
                "needlets": self.needlets,
                "domain_deg": self.domain_deg,
            }
        )

    def _covariances(self) -> Iterator[np.ndarray]:
        for split in self.splits:
            for sim in split.iter_sims():
                cmb = self.in_cmb.at(split=split.name, sim=sim).read().values
                fields = zip(self.bands.read(split.name, sim), cmb, strict=True)
                yield np.stack([self._covariance(bands, truth) for bands, truth in fields])

    def _covariance(self, bands: Bands, cmb: Alm) -> Alm:
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
        self.out_cleaned = self.assets_out["cleaned"]
        self.in_covariance = self.assets_in["covariance"]
        self.bands = BandReader(self.assets_in["obs"], cfg, self.threads)
        self.settings = cfg.nilc_regularised
        self.plain = _options(self.settings, self.bands, "nilc_regularised")

    def setup(self) -> None:
        """Read what was learned."""
        domain, shrinkage = self.settings.domain_deg, self.settings.shrinkage
        self.options = [
            replace(self.plain, prior=NeedletPrior(covariance, domain, shrinkage))
            for covariance in self.in_covariance.read()
        ]

    def process_sim(self, split: Split, sim: int) -> None:
        """Clean one simulation."""
        fields = zip(self.bands.read(split.name, sim), self.options, strict=True)
        alms = [_clean(bands, self.bands, self.settings, options) for bands, options in fields]
        self.out_cleaned.write(self.bands.cleaned(alms, self.settings.fwhm_arcmin))


def _options(settings: NilcParams, bands: BandReader, block: str) -> NilcOptions:
    """Needlets and nulled components.

    Raises
    ------
    ConfigError
        Where a component is unknown.
    """
    try:
        nulled = mixing_columns(settings.nulled, bands.freq_ghz) if settings.nulled else None
    except ValueError as error:
        raise ConfigError(f"{PARAMS}: {block}.nulled: {error}") from None
    return NilcOptions(settings.needlets, nulled)


def _clean(bands: Bands, reader: BandReader, settings: NilcParams, options: NilcOptions) -> Alm:
    return nilc(
        bands.alms,
        fwhm_arcmin=bands.fwhm_arcmin,
        fwhm_out=settings.fwhm_arcmin,
        lmax=reader.lmax,
        peaks=settings.peaks,
        ilc_bias=settings.ilc_bias,
        options=options,
        threads=reader.threads,
    ).alm
