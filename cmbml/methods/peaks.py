"""The parameter type of needlet peaks; imports pydantic only."""

from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, Field


def _increasing(peaks: tuple[int, ...]) -> tuple[int, ...]:
    if any(low >= high for low, high in pairwise((0, *peaks))):
        raise ValueError(f"peaks {list(peaks)} must be positive and strictly increasing")
    return peaks


Peaks = Annotated[
    tuple[int, ...],
    Field(min_length=1, description="multipoles where the needlets peak, strictly increasing"),
    AfterValidator(_increasing),
]
