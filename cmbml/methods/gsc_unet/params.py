"""Parameters of gsc_unet, as they stand in params.yaml."""

from pydantic import Field

from cmbml.methods.nn.params import TrainingParams
from cmbml.methods.peaks import Peaks


class GscUnetParams(TrainingParams):
    """Settings of the signal-preserving network."""

    peaks: Peaks = Field(description="peaks of the needlet scales of the differences")
    widths: tuple[int, ...] = Field(
        min_length=1, description="channels of the network on every level, the finest first"
    )
    domain_deg: float = Field(
        gt=0, le=180, description="FWHM over which local regression gathers train skies, degrees"
    )
