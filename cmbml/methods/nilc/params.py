"""Parameters of the needlet ILC, as they stand in params.yaml."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _increasing(peaks: tuple[int, ...]) -> tuple[int, ...]:
    if any(low >= high for low, high in zip((0, *peaks), peaks, strict=False)):
        raise ValueError(f"peaks {list(peaks)} must be positive and strictly increasing")
    return peaks


class NilcParams(BaseModel):
    """Settings of `cmbml.methods.nilc.nilc.nilc`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ilc_bias: float = Field(
        gt=0,
        le=1,
        description="tolerated loss of CMB power by chance correlations, a fraction: the size of domains",
    )
    peaks: Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_increasing)] = Field(
        description="multipoles where the cosine needlets peak, strictly increasing",
    )
    fwhm_arcmin: float = Field(gt=0, description="FWHM of the Gaussian beam of the cleaned map, arcmin")
