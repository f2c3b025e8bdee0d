"""Distributions of the few numbers that tell one simulation from the next."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Normal:
    """Normal distribution; of a factor, which must stay positive, log-normal with the same moments."""

    mean: float
    sd: float

    def draw(self, rng: np.random.Generator, *, positive: bool = False) -> float:
        """Draw one number.

        Raises
        ------
        ValueError
            Where `sd` is negative, or the mean of a factor not positive.
        """
        if self.sd < 0:
            raise ValueError(f"standard deviation is negative: {self.sd:g}")
        deviate = float(rng.standard_normal())
        if not positive:
            return self.mean + self.sd * deviate
        if self.mean <= 0:
            raise ValueError(f"mean of a factor must be positive, got {self.mean:g}")
        variance = np.log1p((self.sd / self.mean) ** 2)
        return float(self.mean * np.exp(np.sqrt(variance) * deviate - variance / 2))


@dataclass(frozen=True)
class Uniform:
    """Uniform distribution between two ends."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator, *, positive: bool = False) -> float:
        """Draw one number.

        Raises
        ------
        ValueError
            Where the range is empty, or that of a factor reaches 0.
        """
        if self.low > self.high:
            raise ValueError(f"range from {self.low:g} to {self.high:g} is empty")
        if positive and self.low <= 0:
            raise ValueError(f"range of a factor must lie above 0, starts at {self.low:g}")
        return float(self.low + (self.high - self.low) * rng.random())


Distribution = Normal | Uniform


def distribution(**values: float) -> Distribution:
    """Make a distribution from its two numbers: mean and sd, or low and high."""
    return Normal(**values) if "mean" in values else Uniform(**values)
