"""Parameters of gsc_unet, as they stand in params.yaml."""

from pydantic import Field

from cmbml.methods.nn.params import TrainingParams
from cmbml.methods.peaks import Peaks


class GscUnetParams(TrainingParams):
    """Settings of the signal-preserving network."""

    peaks: Peaks = Field(description="peaks of the needlet scales")
    nside: int = Field(ge=1, description="resolution of the local covariances that the network reads")
    domain_deg: float = Field(
        gt=0, le=180, description="FWHM of the domain of the finest scale's covariances, degrees"
    )
    width: int = Field(ge=2, description="channels of the network")
    levels: int = Field(
        ge=1, description="levels of the U-Net, each at half the resolution of the one before"
    )
