"""Scores of many estimates, gathered into tables."""

from collections.abc import Mapping, Sequence

import numpy as np

from cmbml.analysis.scoring import HALVES, Cell, Rows, Score, latitude_profile, mean_rows

Found = Mapping[tuple[str, str], Sequence[Score]]
"""Scores of all simulations by split and method."""


def table_rows(found: Found) -> list[dict[str, Cell | None]]:
    """A row for every split, method and simulation; a metric that a method does not have is None."""
    names = list(dict.fromkeys(name for scores in found.values() for one in scores for name in one.metrics))
    return [
        {"split": split, "method": method, "sim": sim, **{name: one.metrics.get(name) for name in names}}
        for (split, method), scores in found.items()
        for sim, one in enumerate(scores)
    ]


def profiles(found: Found) -> tuple[Rows, Rows]:
    """Profiles over latitude and multipole, means over simulations, with split and method in every row.

    Where any estimate has halves, those of one without are NaN.
    """
    latitude: Rows = []
    bands: Rows = []
    for (split, method), scores in found.items():
        place = {"split": split, "method": method}
        latitude += [{**place, **row} for row in latitude_profile([one.latitude for one in scores])]
        bands += [{**place, **row} for row in mean_rows([one.bands for one in scores])]
    if any(HALVES in row for row in bands):
        return latitude, [{**row, HALVES: row.get(HALVES, np.nan)} for row in bands]
    return latitude, bands


def by_metric(rows: Sequence[Mapping[str, Cell | None]]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Sort rows of split, method, simulation and metrics into ``{split: {method: {metric: [...]}}}``."""
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    for row in rows:
        metrics = values.setdefault(str(row["split"]), {}).setdefault(str(row["method"]), {})
        for name, value in row.items():
            if name not in ("split", "method", "sim") and value is not None:
                metrics.setdefault(name, []).append(float(value))
    return values
