"""Parameters of the harmonic ILC, as they stand in params.yaml."""

from pydantic import BaseModel, ConfigDict, Field


class HilcParams(BaseModel):
    """Settings of `cmbml.methods.hilc.hilc.hilc`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bin_width: int = Field(ge=1, description="number of multipoles in a bin of the covariance")
    shrinkage: float = Field(
        ge=0,
        le=1,
        description="weight of the covariance learned from train nuisance, from 0 (the data's own) to 1",
    )
    fwhm_arcmin: float = Field(gt=0, description="FWHM of the Gaussian beam of the cleaned map, arcmin")
