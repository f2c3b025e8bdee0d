"""What the header of a map means: cards by allow-list, with their type, and who settles what they leave open.

Header, then option, then error; a contradiction is an error; what is assumed is said.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from cmbml.core.errors import DataError, did_you_mean
from cmbml.core.spec.numbers import FwhmOrNone, parsed

# How an option is written on the way in that the user took.
WAYS = {"python": "{}='{}'", "command": "--{} {}", "mask": "--mask-{} {}", "pipeline": "reads: {{{}: {}}}"}
SYSTEMS = {"G": "Galactic", "C": "equatorial", "E": "ecliptic"}
_SPELT = {
    "G": ("G", "GAL", "GALACTIC"),
    "C": ("C", "Q", "CEL", "CELESTIAL", "EQ", "EQU", "EQUATORIAL", "ICRS", "FK5", "J2000"),
    "E": ("E", "ECL", "ECLIPTIC"),
}
_NOT_SAID = ("", "UNKNOWN", "UNDEF", "UNDEFINED", "NONE", "N/A", "NA", "NULL", "???")
_SYSTEM_CARDS = ("COORDSYS", "SKYCOORD")
# They name a frame of equatorial coordinates, and are there where those are meant.
_FRAME_CARDS = ("RADESYS", "RADECSYS", "COORDREF")
_FLAGS = {True: ("T", "TRUE", ".TRUE.", "Y", "YES", "1"), False: ("F", "FALSE", ".FALSE.", "N", "NO", "0")}
_ARCMIN = {"": 1.0, "arcmin": 1.0, "amin": 1.0, "'": 1.0, "deg": 60.0, "degree": 60.0, "arcsec": 1 / 60}
_QUANTITY = re.compile(r"\s*([-+.\deE]+|[-+]?(?:nan|inf)\w*)\s*([a-zA-Z']*?)s?\s*", re.IGNORECASE)


class Told(TypedDict, total=False):
    """What a user says of maps of others, where their headers leave it open.

    Attributes
    ----------
    unit
        Unit of the values.
    coord
        Coordinate system: G, C or E; maps in C or E are rotated to G.
    polconv
        Sign of U: COSMO or IAU; maps in IAU are turned to COSMO.
    pixwin
        Whether the pixel window is in the map.
    fwhm_arcmin
        FWHM of its Gaussian beam, arcmin.
    missing
        nan: not-a-number is a missing pixel.
    hdu
        Number, from 0, or EXTNAME of the table.
    column, field
        Columns by name, or by number from 0.
    way
        The way in that the user took, a key of `WAYS`, for advice that fits.
    """

    unit: str | None
    coord: str | None
    polconv: str | None
    pixwin: bool | None
    fwhm_arcmin: float | None
    missing: str | None
    hdu: int | str | None
    column: str | Sequence[str] | None
    field: int | str | Sequence[int] | None
    way: str


@dataclass(frozen=True)
class Cards:
    """The cards of a header that change what its numbers mean; None where there is none.

    Attributes
    ----------
    ordering
        RING or NESTED.
    nside
        Resolution.
    explicit
        Whether the pixels are numbered in a column; None where nothing says so.
    coordsys
        Card that names the coordinate system, and its word as it stands.
    polconv
        As `Told`, with a text that is not known as it stands.
    bad_data
        Mark of a missing pixel beside HEALPix's own.
    pixwin
        Whether the pixel window is in the map.
    fwhm_arcmin, lmax
        FWHM of the Gaussian beam, arcmin, and band-limit.
    signal_preserving
        Whether the CMB in it has its full power.
    """

    ordering: Literal["RING", "NESTED"]
    nside: int | None
    explicit: bool | None
    coordsys: tuple[str, str] | None
    polconv: str | None
    bad_data: float | None
    pixwin: bool | None
    fwhm_arcmin: float | None
    lmax: int | None
    signal_preserving: bool


def read_cards(header: Mapping[str, Any]) -> Cards:
    """Read the cards of a map.

    Raises
    ------
    DataError
        Where a card has a value that it cannot have.
    """
    preserving, pixels = flag(header, "SIGPRES"), _text(header, "PIXTYPE")
    if pixels is not None and pixels.upper() != "HEALPIX":
        raise DataError(f"PIXTYPE is {pixels}: expected HEALPIX: bring the map to that")
    return Cards(
        ordering=_ordering(header),
        nside=whole(header, "NSIDE", least=1),
        explicit=_explicit(header),
        coordsys=_system(header),
        polconv=_text(header, "POLCCONV") or _text(header, "POLCONV"),
        bad_data=_number(header, "BAD_DATA"),
        pixwin=flag(header, "PIXWIN"),
        fwhm_arcmin=beam(header),
        lmax=whole(header, "LMAX", least=0),
        signal_preserving=True if preserving is None else preserving,
    )


def settle(
    what: str,
    said: str | None,
    option: tuple[str, str | None],
    told: Told,
    meaning: Callable[[str], Any | None],
    default: str | None = None,
) -> tuple[str, str | None]:
    """One fact about a map: the header's word, else the option's, else the default.

    Parameters
    ----------
    what
        Card that says it.
    said
        What the card says, None where there is none.
    option
        Name of the option, and its value.
    told
        What the user says; it is asked for the way in alone.
    meaning
        Meaning of a word, None where it is not known; words of the same meaning agree.
    default
        What is assumed where neither says anything; None where nothing may be assumed.

    Returns
    -------
    tuple
        The word, and what was assumed, if anything.

    Raises
    ------
    DataError
        Where header and option contradict each other, or neither says anything that is known.
    """
    name, chosen = option
    if chosen is not None and meaning(chosen) is None:
        raise DataError(f"{advise(told, name, chosen)} is not known")
    known = None if said is None else meaning(said)
    if chosen is not None:
        if known is not None and known != meaning(chosen):
            raise DataError(
                f"{what} is {said}, {advise(told, name, chosen)} contradicts it: mend one of them"
            )
        settled = known is None and said is not None
        return chosen, f"{name} {chosen}, as told ({what} {said!r} is not known)" if settled else None
    if known is not None and said is not None:
        return said, None
    if said is not None:
        raise DataError(f"{what} is {said!r}, which is not known: say {advise(told, name, '...')}")
    if default is None:
        raise DataError(f"the header names no {name}: say {advise(told, name, '...')}; it is not guessed")
    return default, f"{name} {default} (no {what})"


def advise(told: Told, name: str, value: object) -> str:
    """An option as the user writes it on the way in that was taken."""
    way = told.get("way", "python")
    return WAYS["command" if (way, name) == ("mask", "missing") else way].format(name, value)


def system_of(word: str) -> str | None:
    """G, C or E for any spelling of a coordinate system; None for one that is not known."""
    return next((key for key, words in _SPELT.items() if word.strip().upper() in words), None)


def polarisation_of(word: str) -> str | None:
    """COSMO or IAU; None for what is neither."""
    return found if (found := word.strip().upper()) in ("COSMO", "IAU") else None


def says_nothing(value: object) -> bool:
    """Whether the value of a card stands for none."""
    return value is None or str(value).strip().upper() in _NOT_SAID


def agree(one: object, other: object) -> bool:
    """Whether two values of a card mean the same, or one of them says nothing."""
    return says_nothing(one) or says_nothing(other) or _plain(one) == _plain(other)


def _plain(value: object) -> str:
    """A value of a card in the one spelling of its meaning."""
    text = str(value).strip().upper()
    try:
        return str(float(text.replace("D", "E")))
    except ValueError:
        spelt = next((str(truth) for truth, words in _FLAGS.items() if text in words), text)
        return system_of(text) or {"NEST": "NESTED"}.get(text, spelt)


def flag(header: Mapping[str, Any], key: str) -> bool | None:
    """A logical card, also where it was written as text or number."""
    value = header.get(key)
    text = str(value).strip().upper()
    if says_nothing(value):
        return None
    for truth, words in _FLAGS.items():
        if text in words:
            return truth
    raise DataError(f"{key} is {value!r}: expected T or F: mend the header")


def whole(header: Mapping[str, Any], key: str, *, least: int) -> int | None:
    """A card with a whole number that is at least `least`, however it is written."""
    number = _number(header, key)
    if number is not None and not (number >= least and number.is_integer()):
        raise DataError(f"{key} is {number:g}: expected a whole number from {least}: mend the header")
    return None if number is None else int(number)


def beam(header: Mapping[str, Any]) -> float | None:
    """FWHM of the Gaussian beam, arcmin; 0 where there is none, None where nothing is said."""
    text = _text(header, "BEAMFWHM")
    if text is None:
        return None
    found = _QUANTITY.fullmatch(text)
    factor = _ARCMIN.get(found[2].lower()) if found else None
    try:
        return float(parsed(FwhmOrNone, float(found[1]) * factor if found and factor else text))
    except ValueError:
        raise DataError(f"BEAMFWHM is {text!r}: expected arcmin, 0 or more: mend the header") from None


def _text(header: Mapping[str, Any], key: str) -> str | None:
    text = str(header.get(key, "")).strip()
    return None if says_nothing(text) else text


def _number(header: Mapping[str, Any], key: str) -> float | None:
    text = _text(header, key)
    try:
        return None if text is None else float(text.upper().replace("D", "E"))
    except ValueError:
        raise DataError(f"{key} is {text!r}: expected a number: mend the header") from None


def _ordering(header: Mapping[str, Any]) -> Literal["RING", "NESTED"]:
    text = (_text(header, "ORDERING") or "").upper()
    if text == "RING":
        return "RING"
    if text in ("NESTED", "NEST"):
        return "NESTED"
    if not text:
        raise DataError("the header names no ORDERING (RING or NESTED): not a HEALPix map, or set it")
    raise DataError(f"ORDERING is {text}: known are RING and NESTED: bring the map to one of them")


def _explicit(header: Mapping[str, Any]) -> bool | None:
    scheme, grain = (_text(header, "INDXSCHM") or "").upper(), _number(header, "GRAIN")
    if scheme not in ("", "IMPLICIT", "EXPLICIT"):
        raise DataError(f"INDXSCHM is {scheme}: {did_you_mean(scheme, ('IMPLICIT', 'EXPLICIT'))}")
    if grain not in (None, 0, 1) or (grain, scheme) == (1, "IMPLICIT"):
        raise DataError(
            f"GRAIN is {grain:g} with INDXSCHM {scheme or 'absent'}: write it as a full map first"
        )
    if scheme:
        return scheme == "EXPLICIT"
    return True if grain == 1 else None


def _system(header: Mapping[str, Any]) -> tuple[str, str] | None:
    said = _said(header, _SYSTEM_CARDS) or _said(header, _FRAME_CARDS)
    if len({system_of(text) or text for _, text in said}) > 1:
        raise DataError(f"{', '.join(f'{key} is {text}' for key, text in said)}: mend one of them")
    return said[0] if said else None


def _said(header: Mapping[str, Any], keys: Sequence[str]) -> list[tuple[str, str]]:
    return [(key, text) for key in keys if (text := _text(header, key))]
