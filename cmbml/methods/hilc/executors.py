"""The stages of the harmonic ILC: weights learned on train skies, or from each sky itself."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from cmbml.core import StageConfig
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
from cmbml.methods.hilc.configured import configured_hilc
from cmbml.methods.hilc.hilc import (
    FloatArray,
    apply_weights,
    bin_edges,
    nuisance_covariance,
    part,
    whole,
)
from cmbml.methods.hilc.params import PlainHilcParams
from cmbml.methods.ilc import known_beams
from cmbml.sky.sht import Alm


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
        learned = nuisance_covariance(
            bands.nuisance(cmb),
            fwhm_arcmin=known_beams(bands.fwhm_arcmin, len(bands.alms)),
            fwhm_out=self.fwhm_out,
            lmax=self.bands.lmax,
            bin_width=self.bin_width,
        )
        return whole(learned, bands.channels, len(self.bands.freqs))


class _HilcExecutor(LinearExecutor[FloatArray]):
    """Cleans every simulation with harmonic weights."""

    settings: PlainHilcParams

    def part(self, learned: FloatArray, channels: NDArray[np.intp], n_bands: int) -> FloatArray:
        """The rows and columns of some bands."""
        return part(learned, channels, n_bands)

    def clean(self, bands: Bands, learned: FloatArray | None) -> CleanedField:
        """Clean one field."""
        result = configured_hilc(
            bands.alms,
            self.settings,
            fwhm_arcmin=bands.fwhm_arcmin,
            fwhm_out=self.fwhm_out,
            lmax=self.bands.lmax,
            learned=learned,
        )
        return CleanedField(result.alm, partial(apply_weights, result.weights))


class HilcExecutor(_HilcExecutor):
    """Takes the weights from the learned covariance and each sky's own."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="hilc")
        self.settings = cfg.hilc


class PlainHilcExecutor(_HilcExecutor):
    """Takes the weights from each sky's own covariance alone."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="hilc_plain")
        self.settings = cfg.hilc_plain
        _check("hilc_plain", self.settings.bin_width, self.bands)


def _check(block: str, bin_width: int, bands: BandReader) -> None:
    try:
        bin_edges(bands.lmax, bin_width, len(bands.freqs))
    except ValueError as error:
        raise ConfigError(f"{PARAMS}: {block}: {error}") from None
