"""Parameters of the harmonic ILC, as they stand in params.yaml."""

from pydantic import BaseModel, ConfigDict, Field


class PlainHilcParams(BaseModel):
    """Settings of `cmbml.methods.hilc.hilc.hilc` with the data's own covariance."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    bin_width: int = Field(ge=1, description="number of multipoles in a bin of the covariance")


class HilcParams(PlainHilcParams):
    """Settings of the harmonic ILC with a learned covariance."""

    shrinkage: float = Field(
        ge=0,
        le=1,
        description="weight of the covariance learned from train nuisance, from 0 (the data's own) to 1",
    )
