"""Parameters of cmbnncs, as they stand in params.yaml."""

from typing import Literal

from pydantic import Field

from cmbml.methods.choices import Choices
from cmbml.methods.nn.params import TrainingParams


class CmbnncsParams(TrainingParams):
    """Settings of the U-Net in the plane."""

    architecture: Literal["unet5", "unet8"] = Field(description="how many levels")
    channels: int = Field(
        ge=1, description="channels of the first level (published: 32 of unet5, 16 of unet8)"
    )
    bands: Choices = Field(min_length=1, description="bands that the network sees")
    linear_fit: bool = Field(
        description="whether the network only says what a linear fit of the CMB by its bands leaves"
    )
    feature_scale: float | None = Field(
        gt=0,
        description="unit of the features; null for what most pixels of each band have on train",
    )
    compression: float | None = Field(
        gt=0, description="units beyond which features grow like their logarithm; null for never"
    )
    target_scale: float = Field(gt=0, description="uK_CMB per unit of the target")
