"""The stages of the needlet ILC: plain, and shrunk towards what train skies teach."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from cmbml.core import Split, StageConfig
from cmbml.core.errors import ConfigError
from cmbml.core.spec.repository import PARAMS
from cmbml.methods.executors import (
    BandReader,
    Bands,
    CleanedField,
    CovarianceExecutor,
    Described,
    LinearExecutor,
)
from cmbml.methods.ilc import known_beams
from cmbml.methods.nilc.configured import check_nilc, configured_nilc
from cmbml.methods.nilc.covariance import part, whole
from cmbml.methods.nilc.nilc import apply_weights, nuisance_covariance
from cmbml.methods.nilc.params import NilcParams
from cmbml.methods.peaks import Peaks
from cmbml.sky.sht import Alm


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
        learned = nuisance_covariance(
            bands.nuisance(cmb),
            fwhm_arcmin=known_beams(bands.fwhm_arcmin, len(bands.alms)),
            fwhm_out=self.fwhm_out,
            lmax=self.bands.lmax,
            peaks=self.peaks,
            domain_deg=self.domain_deg,
            needlets=self.needlets,
            threads=self.threads,
        )
        return whole(learned, bands.channels, len(self.bands.freqs))


class _NilcExecutor(LinearExecutor[Alm]):
    """Cleans every simulation with needlet weights."""

    settings: NilcParams

    def part(self, learned: Alm, channels: NDArray[np.intp], n_bands: int) -> Alm:
        """The pairs of some bands."""
        return part(learned, channels, n_bands)

    def clean(self, bands: Bands, learned: Alm | None) -> CleanedField:
        """Clean one field."""
        result = configured_nilc(
            bands.alms,
            self.settings,
            fwhm_arcmin=bands.fwhm_arcmin,
            fwhm_out=self.fwhm_out,
            passbands=bands.passbands,
            lmax=self.bands.lmax,
            learned=learned,
            threads=self.threads,
        )
        apply = partial(apply_weights, result.weights, lmax=self.bands.lmax, threads=self.threads)
        return CleanedField(result.alm, apply)


class NilcExecutor(_NilcExecutor):
    """Takes the weights from each sky's own covariance."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="nilc")
        self.settings = cfg.nilc
        _check("nilc", self.settings, self.bands, self.fwhm_out)


class RegularisedNilcExecutor(_NilcExecutor):
    """Takes the weights from each sky's own covariance, shrunk towards the learned one."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="nilc_regularised")
        self.settings = cfg.nilc_regularised
        _check("nilc_regularised", self.settings, self.bands, self.fwhm_out)


class _ComponentsExecutor(_NilcExecutor):
    """Sends every component through the weights of the whole sky: what is left of each is known exactly."""

    def __init__(self, cfg: StageConfig, stage_str: str) -> None:
        super().__init__(cfg, stage_str=stage_str)
        self.out_component = self.assets_out["component"]
        self.parts = BandReader(self.assets_in["component"], cfg, self.threads)

    def process_sim(self, split: Split, sim: int) -> None:
        """Clean one simulation again, and all of its components."""
        fields = self.clean_fields(self.bands.read(split.name, sim))
        self.clean_parts(self.parts, fields, self.out_component, split, sim)


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


def _check(block: str, settings: NilcParams, bands: BandReader, fwhm_out: float) -> None:
    try:
        check_nilc(
            settings,
            fwhm_arcmin=bands.fwhm_arcmin,
            fwhm_out=fwhm_out,
            passbands=bands.passbands,
            lmax=bands.lmax,
        )
    except ValueError as error:
        raise ConfigError(f"{PARAMS}: {block}: {error}") from None
