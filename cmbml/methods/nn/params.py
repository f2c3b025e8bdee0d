"""Parameters of training that all networks share, as they stand in params.yaml."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class TrainingParams(BaseModel):
    """How a network is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    epochs: int = Field(ge=1, description="at most so many epochs")
    batch: int = Field(ge=1, description="simulations in a batch; lower it where memory is too small")
    learning_rate: float = Field(gt=0, description="of Adam, at the start")
    final_learning_rate: float = Field(gt=0, description="in the last epoch; it falls exponentially")
    patience: int = Field(ge=1, description="epochs without a better loss on valid before training stops")
    repeats: int = Field(default=1, ge=1, description="steps of the optimiser for every batch")
    devices: int = Field(
        default=1,
        ge=1,
        description="GPUs, or without them processes, that train together on shares of a batch",
    )
    workers: int = Field(default=0, ge=0, description="processes that read samples ahead")

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        if self.batch % self.devices:
            raise ValueError(
                f"batch: {self.batch} cannot be shared by devices: {self.devices}: take a multiple"
            )
        return self
