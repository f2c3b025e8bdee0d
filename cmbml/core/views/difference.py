"""How far apart two values of any handler are."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NUMERIC = "biufc"


def relative_difference(one: Any, two: Any) -> float:
    """Largest difference of two values, relative to the largest number beside it.

    Parameters
    ----------
    one, two
        What a handler reads: numbers, arrays, tensors, tables, dataclasses, and mappings and lists of these.

    Returns
    -------
    float
        The largest over all arrays in them of ``max(|one - two|) / max(|one|, |two|)``; a number alone is an
        array of its own, and so are each part of an array along its first axis, as the I, Q and U of a map,
        and each column of a table.  0 where they are equal, NaN being equal to NaN; infinite where names,
        shapes, text, or which numbers are finite differ.
    """
    if is_dataclass(one) and type(one) is type(two):
        names = [field.name for field in fields(one)]
        return _largest([(getattr(one, name), getattr(two, name)) for name in names])
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return _largest([(one[key], two[key]) for key in one]) if one.keys() == two.keys() else inf
    if isinstance(one, str | bytes) or one is None:
        return 0.0 if one == two else inf
    if _is_list(one) and _is_list(two) and not (_is_numeric(one) and _is_numeric(two)):
        return _largest(list(zip(one, two, strict=True))) if len(one) == len(two) else inf
    return _of_arrays(np.asarray(one), np.asarray(two))


def _largest(pairs: list[tuple[Any, Any]]) -> float:
    return max((relative_difference(one, two) for one, two in pairs), default=0.0)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_numeric(values: Any) -> bool:
    return all(isinstance(value, int | float | complex | np.number) for value in values)


def _of_arrays(one: NDArray[Any], two: NDArray[Any]) -> float:
    if one.shape != two.shape or one.dtype.names != two.dtype.names:
        return inf
    if one.dtype.names:
        return _largest([(one[name], two[name]) for name in one.dtype.names])
    if one.dtype.kind not in _NUMERIC or two.dtype.kind not in _NUMERIC:
        return 0.0 if np.array_equal(one, two) else inf
    if one.ndim > 1:
        return max((_of_row(*rows) for rows in zip(one, two, strict=True)), default=0.0)
    return _of_row(one, two)


def _of_row(one: NDArray[Any], two: NDArray[Any]) -> float:
    differs = ~((one == two) | ((one != one) & (two != two)))  # noqa: PLR0124 (what is not itself is NaN)
    if not differs.any():
        return 0.0
    if not (np.isfinite(one[differs]).all() and np.isfinite(two[differs]).all()):
        return inf
    # Counts without a sign would wrap around.
    one, two = (values + 0.0 for values in (one, two))
    scale = max(np.abs(values[np.isfinite(values)]).max() for values in (one, two))
    return float(np.abs(one[differs] - two[differs]).max() / scale)
