"""Parameters of the Wiener filter, as they stand in params.yaml."""

from pydantic import BaseModel, ConfigDict, Field


class WienerParams(BaseModel):
    """Settings of `cmbml.methods.wiener.wiener.wiener`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    estimate: str = Field(min_length=1, description="name of the method whose cleaned map is filtered")
