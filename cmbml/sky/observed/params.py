"""What params.yaml may say of real maps."""

from pydantic import BaseModel, ConfigDict, Field


class ObservedParams(BaseModel):
    """What the headers of real maps do not say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fwhm_arcmin: dict[str, float] = Field(description="beam of the real map of each band, FWHM, arcmin")
    pixwin: bool = Field(description="whether the pixel window is in the maps, as in those of an instrument")
    unit: str | None = Field(default=None, description="unit of maps whose headers name none")
    cmb_fwhm_arcmin: float = Field(ge=0, description="beam of the published CMB maps, FWHM, arcmin")
