"""Splits of the dataset."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Split:
    """A named set of simulations, kept apart from the others.

    Attributes
    ----------
    name
        Name of the split, as in params.yaml.
    n_sims
        Number of simulations.
    population
        Name of the region of parameter space that they are drawn from.
    stream
        Name of the random stream; splits that share one are paired.
    """

    name: str
    n_sims: int
    population: str
    stream: str

    def iter_sims(self) -> Iterator[int]:
        """Indices of the simulations: 0 to n_sims - 1."""
        return iter(range(self.n_sims))
