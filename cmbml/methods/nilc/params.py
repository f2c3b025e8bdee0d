"""Parameters of the needlet ILC, as they stand in params.yaml."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from cmbml.methods.choices import Choices
from cmbml.methods.peaks import Peaks


class NilcParams(BaseModel):
    """Settings of `cmbml.methods.nilc.nilc.nilc`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    ilc_bias: float = Field(
        gt=0,
        le=1,
        description="tolerated loss of CMB power by chance correlations, a fraction: the size of domains",
    )
    peaks: Peaks
    needlets: Literal["cosine", "gaussian", "mexican"] = Field(
        default="cosine", description="kind of needlets"
    )
    nulled: Choices = Field(
        default=(), description="components that are nulled, by their names in cmbml.methods.nilc.seds"
    )


class RegularisedNilcParams(NilcParams):
    """Settings of the needlet ILC whose covariance is shrunk towards that of the train nuisance."""

    domain_deg: float = Field(gt=0, le=180, description="FWHM of the learned covariance's domain, degrees")
    shrinkage: float = Field(ge=0, le=1, description="weight of the learned covariance, from 0 (none) to 1")
