"""Axes of charts: ranges, round ticks and their labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Axis:
    """A range of numbers, linear or logarithmic, with ticks: pairs of number and label."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    log: bool = False

    def place(self, values: ArrayLike) -> NDArray[np.float64]:
        """Where numbers lie on the axis, from 0 to 1; NaN for those it cannot show."""
        numbers = np.asarray(values, dtype=np.float64)
        low, high = self.low, self.high
        if self.log:
            positive = np.where(numbers > 0, numbers, np.nan)
            numbers, low, high = np.log(positive), math.log(low), math.log(high)
        return np.asarray(np.where(np.isfinite(numbers), (numbers - low) / (high - low), np.nan))

    @classmethod
    def of_rows(cls, names: Sequence[str]) -> "Axis":
        """Named rows, the first on top."""
        return cls(len(names) - 0.4, -0.6, [(float(row), name) for row, name in enumerate(names)])


def make_axis(values: Sequence[float], *, log: bool, from_zero: bool, ticks: int) -> Axis:
    """Axis that shows all of `values` with some room, and about as many `ticks` as asked for."""
    low, high = (min(values), max(values)) if values else (1.0, 10.0)
    if log:
        return _log_axis(low, high)
    low = min(low, 0.0) if from_zero else low
    if high - low <= 1e-12 * max(abs(high), abs(low)):
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    room = 0.05 * (high - low)
    low, high = (low if from_zero and low == 0 else low - room), high + room
    return Axis(low, high, linear_ticks(low, high, ticks))


def linear_ticks(low: float, high: float, wanted: int) -> list[tuple[float, str]]:
    """Round numbers within a range, about `wanted` of them."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * min((s for s in _STEPS if s * power >= 0.999 * rough), default=10.0)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    numbers = [step * k for k in range(first, last + 1)]
    return list(zip(numbers, _labels(numbers, step), strict=True))


def _labels(numbers: Sequence[float], step: float) -> list[str]:
    """Labels with the digits that tell neighbours apart; powers of ten for the very large and small."""
    largest = max(abs(number) for number in numbers) if numbers else 0.0
    if largest >= 1e5 or 0 < largest < 1e-3:
        power = math.floor(math.log10(largest))
        digits = _digits(step / 10**power)
        factor = f"·10{str(power).translate(_SUPERSCRIPTS)}"
        return [f"{_minus(number / 10**power, digits)}{factor}" if number else "0" for number in numbers]
    return [_minus(number, _digits(step)) for number in numbers]


def _digits(step: float) -> int:
    """Decimals that show a step exactly: 2 for 0.25, 1 for 0.5."""
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return digits if abs(step * 10**digits - round(step * 10**digits)) < 1e-6 else digits + 1


def _minus(number: float, digits: int) -> str:
    text = f"{number:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text) else text.replace("-", "")


def _log_axis(low: float, high: float) -> Axis:
    low, high = (low / 1.2, high * 1.2) if low == high else (low, high)
    room = (high / low) ** 0.03
    low, high = low / room, high * room
    decades = math.log10(high / low)
    factors = (1, 2, 5) if decades < 2.5 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    step = max(1, math.ceil(decades / 7))
    numbers = [f * 10.0**power for power in powers if power % step == 0 for f in factors]
    shown = [number for number in numbers if low <= number <= high]
    if len(shown) < 2:
        return Axis(low, high, linear_ticks(low, high, 4), log=True)
    return Axis(low, high, [(number, _log_label(number)) for number in shown], log=True)


def _log_label(number: float) -> str:
    power = math.floor(math.log10(number) + 1e-9)
    if -3 <= power <= 4:
        return f"{number:.{max(0, -power)}f}"
    factor = round(number / 10.0**power)
    return f"{'' if factor == 1 else f'{factor}·'}10{str(power).translate(_SUPERSCRIPTS)}"
