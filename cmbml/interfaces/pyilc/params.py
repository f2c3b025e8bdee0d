"""Parameters of the pyilc adapter, as they stand in params.yaml."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from cmbml.methods.peaks import Peaks


class PyilcParams(BaseModel):
    """Settings of a run of pyilc."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    ilc_bias: float = Field(
        gt=0,
        lt=1,
        description="tolerated loss of CMB power by chance correlations, a fraction: the size of domains",
    )
    peaks: Annotated[Peaks, Field(min_length=2)]
