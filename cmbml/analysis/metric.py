"""What a score means."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """What a score means.

    Attributes
    ----------
    label
        Short name for tables and axes.
    unit
        Unit, empty where there is none.
    higher_is_better
        Direction of merit.
    definition
        One line, in plain words and symbols.
    """

    label: str
    unit: str
    higher_is_better: bool
    definition: str
