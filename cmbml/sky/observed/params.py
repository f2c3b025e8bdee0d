"""What params.yaml may say of real maps."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

HALF_CIRCLE = 10800  # arcmin
Beam = Annotated[float, Field(gt=0, le=HALF_CIRCLE)]


class ObservedParams(BaseModel):
    """What the headers of real maps do not say."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    fwhm_arcmin: dict[str, Beam] = Field(description="beam of the real map of each band, FWHM, arcmin")
    pixwin: bool = Field(description="whether the pixel window is in the maps, as in those of an instrument")
    unit: str | None = Field(default=None, description="unit of maps whose headers name none")
    cmb_fwhm_arcmin: float = Field(
        ge=0, le=HALF_CIRCLE, description="beam of the published CMB maps, FWHM, arcmin"
    )
