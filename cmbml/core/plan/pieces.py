"""The pieces of a dataset.

A *unit* is what one call of an executor makes: a simulation, a whole split, or a whole stage.  A *portion* is
all units that share an out directory: one stage, one split, one method.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

ENCODER = json.JSONEncoder(sort_keys=True)
DIGITS = 32


class Portion(NamedTuple):
    """All units that share an out directory."""

    stage: str
    method: str | None
    split: str | None

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


class Unit(NamedTuple):
    """What one call of an executor makes."""

    portion: Portion
    sim: int | None

    def __str__(self) -> str:
        return f"{self.portion}" if self.sim is None else f"{self.portion}/sim{self.sim:04d}"


@dataclass(frozen=True)
class Recipe:
    """All that the units of a portion have in common.

    Attributes
    ----------
    code
        Hash of every piece of code.
    packages
        major.minor of the numerical packages.
    handlers
        Version of the format of every output.
    params
        Values of the declared parameters.
    settings
        What else in the pipeline file changes the result: threads, epochs.
    """

    code: dict[str, str]
    packages: dict[str, str]
    handlers: dict[str, list[Any]]
    params: dict[str, Any]
    settings: dict[str, Any]

    @cached_property
    def digest(self) -> str:
        """Hash of everything."""
        return digest_of([self.code, self.packages, self.handlers, self.params, self.settings])


class Reading(NamedTuple):
    """A portion behind an input; `alone` where a simulation reads only its own unit of it."""

    portion: Portion
    alone: bool


def digest_of(value: Any) -> str:
    """Hash of plain values."""
    return hashlib.sha256(ENCODER.encode(value).encode()).hexdigest()[:DIGITS]
