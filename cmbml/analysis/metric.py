"""What a score means, and how it is named."""

from dataclasses import dataclass

SCORED, MASKED, ALL = "scored", "masked", "all"
"""Regions of the sky: where the mask lets scores be taken, where it does not, and both."""

FIELDS = ("Q", "U", "EE", "BB", "TE", "EB", "TB")
"""Fields and spectra of polarisation, by which `metric_name` extends a metric's name."""


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


def metric_name(name: str, field: str, region: str = SCORED) -> str:
    """Name of a metric of one field or spectrum in one region.

    ``rmse`` for T (or TT) where scores are taken; else ``rmse_Q``, ``rmse_masked`` or ``rmse_Q_masked``.
    """
    of_field = name if field in ("T", "TT") else f"{name}_{field}"
    return of_field if region == SCORED else f"{of_field}_{region}"
