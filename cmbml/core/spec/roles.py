"""Every stage and output of the pipeline files that code relies on by name, in one place.

Pipeline files belong to the user.  Who renames one of these stages or outputs is told by `cmbml check` which
consumer would miss it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Role(NamedTuple):
    """An output that code outside of the pipeline reads."""

    stage: str
    output: str

    def __str__(self) -> str:
        return f"{self.stage}.{self.output}"


# Outputs by which the stages of a method are known, whatever the stage is called.
CLEANED = "cleaned"
COMPONENT = "component"
CURVE = "curve"

THEORY = Role("theory", "spectra")
CMB = Role("cmb", "cmb")
OBSERVATIONS = Role("observations", "obs")
MASK = Role("mask", "mask")
MASK_COUPLING = Role("mask_coupling", "statistics")
NOISE_FLOOR = Role("noise_floor", CLEANED)
PERFECT_ESTIMATE = Role("perfect_estimate", CLEANED)
COMPARISON = Role("comparison", "metrics")
DRAW_TABLE = Role("draw_table", "table")
SCORES = Role("scores", "scores")
SCORES_BY_SIMULATION = Role("scores", "simulations")
SCORES_BY_BAND = Role("scores", "bands")
SCORES_BY_LATITUDE = Role("scores", "latitude")

_SCORING = (THEORY, CMB, MASK, MASK_COUPLING, PERFECT_ESTIMATE)

# What a consumer reads; the first switches it on: who has no scores wants no report, and real skies alone
# have no truth to export.
CONSUMERS: Mapping[str, tuple[Role, ...]] = MappingProxyType({
    "cmbml report": (
        SCORES, SCORES_BY_SIMULATION, SCORES_BY_BAND, SCORES_BY_LATITUDE, COMPARISON, DRAW_TABLE, NOISE_FLOOR,
        OBSERVATIONS, *_SCORING,
    ),
    "cmbml score": (COMPARISON, *_SCORING),
    "cmbml export": (CMB, OBSERVATIONS),
    "cmbml.torch_dataset": (CMB, OBSERVATIONS),
})  # fmt: skip
