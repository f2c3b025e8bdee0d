"""What a checkpoint of patch_nn holds."""

from typing_extensions import TypedDict

from cmbml.methods.nn.checkpoint import Result
from cmbml.methods.nn.linear_fit import LinearFit


class Architecture(TypedDict):
    """The network, as its checkpoint names it."""

    name: str
    init: int
    depth: int


class Layout(TypedDict):
    """How the sky is cut into patches, and how many are in the network at once."""

    nside_patches: int
    margin: int
    batch: int


class Checkpoint(TypedDict):
    """What cleaning takes from a checkpoint."""

    architecture: Architecture
    normalisation: LinearFit
    layout: Layout
    result: Result
