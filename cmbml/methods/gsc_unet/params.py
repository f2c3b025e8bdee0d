"""Parameters of gsc_unet, as they stand in params.yaml."""

from pydantic import Field

from cmbml.methods.nn.params import TrainingParams
from cmbml.methods.peaks import Peaks


class GscUnetParams(TrainingParams):
    """Settings of the signal-preserving network."""

    fwhm_arcmin: float = Field(gt=0, description="FWHM of the Gaussian beam of the cleaned map, arcmin")
    bin_width: int = Field(ge=1, description="multipoles in a bin of the base's harmonic weights")
    peaks: Peaks = Field(description="peaks of the needlet scales of the differences")
    widths: tuple[int, ...] = Field(
        min_length=1, description="channels of the network on every level, the finest first"
    )
    domain_deg: float = Field(
        gt=0, le=180, description="FWHM over which local regression gathers train skies, degrees"
    )
