"""What tells one foreground sky from the next: a few numbers, drawn per simulation from a population."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from cmbml.sky.distributions import Distribution

PYSM = "pysm3"  # as a foreground model: the presets of the block foregrounds
PROCEDURAL = ("galaxy", "layered", "polarised")  # models that need no template
AMPLITUDES = ("dust_amplitude", "sync_amplitude", "freefree_amplitude", "ame_amplitude", "small_scale")


@dataclass(frozen=True)
class ForegroundDraw:
    """Foreground parameters of one simulation; the defaults change nothing.

    Attributes
    ----------
    dust_amplitude, sync_amplitude, freefree_amplitude, ame_amplitude
        Factors on the components' brightness at their reference frequencies.
    dust_beta, sync_beta
        Offsets of the spectral indices.
    dust_temp
        Offset of the dust temperature, K.
    ame_peak
        Offset of the peak frequency of spinning dust, GHz.
    small_scale
        Factor on the standard deviation of the log-normal small scales (galaxy only).
    """

    dust_amplitude: float = 1.0
    sync_amplitude: float = 1.0
    freefree_amplitude: float = 1.0
    ame_amplitude: float = 1.0
    dust_beta: float = 0.0
    dust_temp: float = 0.0
    sync_beta: float = 0.0
    ame_peak: float = 0.0
    small_scale: float = 1.0


Draw = Mapping[str, float | str]
"""What is drawn for one simulation, by name: all of `ForegroundDraw`, ``noise_level``, and ``model``."""

FOREGROUND_KEYS = tuple(field.name for field in fields(ForegroundDraw))


def draw_foregrounds(population: Mapping[str, Distribution], rng: np.random.Generator) -> ForegroundDraw:
    """Draw the foreground parameters of one simulation.

    Parameters
    ----------
    population
        Distribution of parameters of `ForegroundDraw`; a parameter that is not named keeps its default.
        Factors stay positive.
    rng
        Generator of this simulation's population.  Every parameter has its own child, so naming another
        parameter changes no draw.

    Raises
    ------
    ValueError
        Where a name is unknown, or a distribution is empty or reaches values that make no sense.
    """
    unknown = sorted(set(population) - set(FOREGROUND_KEYS))
    if unknown:
        known = ", ".join(FOREGROUND_KEYS)
        raise ValueError(f"population: unknown foreground parameter {', '.join(unknown)}; known are {known}")
    children = dict(zip(FOREGROUND_KEYS, rng.spawn(len(FOREGROUND_KEYS)), strict=True))
    return ForegroundDraw(**{key: _draw(key, spread, children[key]) for key, spread in population.items()})


def _draw(key: str, spread: Distribution, rng: np.random.Generator) -> float:
    try:
        return spread.draw(rng, positive=key in AMPLITUDES)
    except ValueError as error:
        raise ValueError(f"population: {key}: {error}") from None
