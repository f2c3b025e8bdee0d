"""What a checkpoint of cmbnncs holds."""

from typing import Literal

from typing_extensions import TypedDict

from cmbml.methods.nn.checkpoint import Result
from cmbml.methods.nn.linear_fit import LinearFit


class Scale(TypedDict):
    """A scale as plain values, as `cmbml.methods.cmbnncs.features` describes it."""

    features: list[float]
    compression: float | None
    target: float
    fit: LinearFit | None


class Architecture(TypedDict):
    """The network, as its checkpoint names it."""

    name: Literal["unet5", "unet8"]
    channels: int


class Checkpoint(TypedDict):
    """What cleaning takes from a checkpoint."""

    architecture: Architecture
    normalisation: Scale
    result: Result
