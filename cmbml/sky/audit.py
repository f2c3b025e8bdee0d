"""Leakage audit: which splits share random numbers, on purpose or not."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from cmbml.sky.foregrounds import FOREGROUND_KEYS, PROCEDURAL, Draw


@dataclass(frozen=True)
class Drawn:
    """What was drawn for one simulation.

    Attributes
    ----------
    split, stream, sim
        Which simulation, and the random stream of its CMB and noise.
    draw
        Foreground parameters, model and noise level by name.
    """

    split: str
    stream: str
    sim: int
    draw: Draw


def paired_splits(drawn: Iterable[Drawn]) -> list[str]:
    """Pairs of splits that share a random stream, as "a, b": they have the same CMB and noise."""
    streams = dict(sorted({row.split: row.stream for row in drawn}.items()))
    return [f"{a}, {b}" for a, b in combinations(streams, 2) if streams[a] == streams[b]]


def shared_foregrounds(drawn: Iterable[Drawn]) -> list[str]:
    """Name the simulations of two splits that have the same foregrounds, a line each.

    A procedural galaxy has random fields of its own in every simulation: there, only parameters that scatter
    within a split can betray a random number used twice.  PySM's sky is the same wherever its parameters are.
    """
    rows = list(drawn)
    scattered = _scattered(rows)
    holders = defaultdict(list)
    for row in rows:
        procedural = row.draw["model"] in PROCEDURAL
        keys = scattered[row.split] if procedural else FOREGROUND_KEYS
        if keys:
            holders[row.draw["model"], *((key, row.draw[key]) for key in keys)].append(row)
    return [
        f"{same[0].split}/sim{same[0].sim:04d} and {other.split}/sim{other.sim:04d}"
        for same in holders.values()
        for other in same[1:]
        if other.split != same[0].split
    ]


def _scattered(rows: list[Drawn]) -> dict[str, tuple[str, ...]]:
    """Foreground parameters that are not the same in all simulations of a split, by split."""
    values: dict[str, dict[str, set[float | str]]] = defaultdict(lambda: defaultdict(set))
    for row in rows:
        for key in FOREGROUND_KEYS:
            values[row.split][key].add(row.draw[key])
    return {
        split: tuple(key for key, found in columns.items() if len(found) > 1)
        for split, columns in values.items()
    }
