"""Numbers that users give: what each may be, by whichever way it comes in.

params.yaml, instrument tables, options of the command line and header cards name the same types, so that a
beam of -80 arcmin is refused by all of them.  Blocks of parameters use them as annotations; `parsed` applies
one to a single value, be it a number or text.
"""

from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError


def _not_bool(value: Any) -> Any:
    """Python counts with true and false, a user does not."""
    if isinstance(value, bool):
        raise ValueError("Input should be a number, not true or false")  # noqa: TRY004 (pydantic reports it)
    return value


def _power_of_two(nside: int) -> int:
    if nside & (nside - 1):
        raise ValueError("Input should be a power of two")
    return nside


# Last of all, since only a bound beside the number itself reaches the schema for editors.
_NUMBER = BeforeValidator(_not_bool)
_FINITE = Field(allow_inf_nan=False)

Finite = Annotated[float, _FINITE, _NUMBER]
"""Any number but NaN and the infinities."""

Positive = Annotated[float, Field(gt=0), _FINITE, _NUMBER]
"""A finite number above 0."""

NotNegative = Annotated[float, Field(ge=0), _FINITE, _NUMBER]
"""A finite number, 0 or more."""

Fraction = Annotated[float, Field(ge=0, le=1), _FINITE, _NUMBER]
"""A number from 0 to 1."""

Count = Annotated[int, Field(ge=1), _NUMBER]
"""How many: 1 or more."""

Natural = Annotated[int, Field(ge=0), _NUMBER]
"""How many, or which one counted from 0: 0 or more."""

Frequency = Annotated[float, Field(gt=0, le=2e4), _FINITE, _NUMBER]
"""Frequency, GHz, up to 20 THz, beyond which a CMB temperature means nothing."""

Bandwidth = Annotated[float, Field(gt=0, le=2e4), _FINITE, _NUMBER]
"""Full width of a band, GHz."""

Fwhm = Annotated[float, Field(gt=0, le=10800), _FINITE, _NUMBER]
"""Full width at half maximum of a beam, arcmin, up to half of a great circle."""

FwhmOrNone = Annotated[float, Field(ge=0, le=10800), _FINITE, _NUMBER]
"""As `Fwhm`; 0 says that there is no beam."""

Depth = Annotated[float, Field(gt=0), _FINITE, _NUMBER]
"""Depth of white noise, uK_CMB arcmin."""

Nside = Annotated[int, Field(ge=1, le=2**15), AfterValidator(_power_of_two), _NUMBER]
"""HEALPix resolution, a power of two, up to pixels of 6 arcsec."""

Lmax = Annotated[int, Field(ge=2, le=3 * 2**15 - 1), _NUMBER]
"""Band-limit, up to what the finest `Nside` supports."""


def parsed(kind: Any, value: Any) -> Any:
    """Apply a type to one value.

    Parameters
    ----------
    kind
        One of the types of this module.
    value
        A number, or its text, as in a header card or an option.

    Raises
    ------
    ValueError
        Where the type refuses the value; the text says what it should be and what it is, in one line.
    """
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        raise ValueError(refusal(error)) from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def refusal(error: ValidationError) -> str:
    """Say in one line what is wrong with a value: the first thing that was found."""
    detail = error.errors()[0]
    text = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{text} (it is {detail['input']!r})"
