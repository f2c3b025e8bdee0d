"""Parameters of patch_nn, as they stand in params.yaml."""

from pydantic import Field

from cmbml.methods.nn.params import TrainingParams


class PatchNnParams(TrainingParams):
    """Settings of the template network; `batch` counts patches."""

    nside_patches: int = Field(ge=1, description="the patches are the pixels of this resolution")
    margin: int = Field(ge=0, description="pixels around a patch that the network sees and that are cut off")
    patches_per_sim: int = Field(ge=1, description="patches of every simulation that are learned from")
    init: int = Field(ge=1, description="channels of the first level")
    depth: int = Field(ge=1, description="how often a patch is halved")
    processes: int = Field(
        ge=1, description="processes that gather the statistics of train; 1 for none but this"
    )
