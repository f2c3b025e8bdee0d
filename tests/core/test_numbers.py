"""One set of types says what a number may be."""

import numpy as np
import pytest

from cmbml.core.spec import numbers
from cmbml.core.spec.numbers import Depth, Finite, Frequency, Fwhm, FwhmOrNone, Lmax, Natural, Nside, parsed


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (Fwhm, "120", 120.0),
        (Fwhm, " 1.2e2 ", 120.0),
        (Fwhm, np.float32(0.5), 0.5),
        (FwhmOrNone, 0, 0.0),
        (Frequency, 857, 857.0),
        (Lmax, "40.0", 40),
        (Lmax, np.int64(2), 2),
        (Nside, "64", 64),
        (Natural, "0", 0),
        (Finite, "-1e-300", -1e-300),
    ],
)
def test_numbers_and_their_text_are_read(kind, value, expected):
    found = parsed(kind, value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    "value", ["nan", "inf", "-inf", "1e400", float("nan"), np.inf, True, None, "", "12 m"]
)
def test_nothing_else_is_a_number(value):
    for name in (
        "Finite",
        "Positive",
        "Fwhm",
        "FwhmOrNone",
        "Depth",
        "Frequency",
        "Lmax",
        "Nside",
        "Natural",
    ):
        with pytest.raises(ValueError, match=r"^[^\n]+$"):
            parsed(getattr(numbers, name), value)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (Fwhm, "-80", r"should be greater than 0 \(it is '-80'\)"),
        (Fwhm, 0, "greater than 0"),
        (Fwhm, 2e4, "less than or equal to 10800"),
        (FwhmOrNone, -1, "greater than or equal to 0"),
        (Depth, 0, "greater than 0"),
        (Frequency, 143e9, "less than or equal to 20000"),
        (Lmax, 1, "greater than or equal to 2"),
        (Lmax, 40.5, "fractional part"),
        (Lmax, 10**9, "less than or equal to 98303"),
        (Nside, 48, "power of two"),
        (Nside, 0, "greater than or equal to 1"),
        (Natural, -1, "greater than or equal to 0"),
        (Lmax, True, "not true or false"),
    ],
)
def test_ranges_are_those_of_the_field(kind, value, message):
    with pytest.raises(ValueError, match=message):
        parsed(kind, value)
