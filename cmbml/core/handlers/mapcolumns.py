"""Which columns of a table are the sky, a mask, a variance or numbers of pixels: by name, not by place."""

import re
from collections.abc import Sequence
from typing import Literal

from cmbml.core.errors import DataError, did_you_mean
from cmbml.core.handlers.cards import Told, advise

Content = Literal["T", "TQU", "weights", "variance"]

_STOKES: dict[str, tuple[str, ...]] = {
    "T": ("I", "T", "I_STOKES", "STOKES_I", "TEMPERATURE", "TEMP", "SIGNAL", "INTENSITY"),
    "Q": ("Q", "Q_STOKES", "STOKES_Q", "Q_POLARISATION", "Q_POLARIZATION", "Q_POL"),
    "U": ("U", "U_STOKES", "STOKES_U", "U_POLARISATION", "U_POLARIZATION", "U_POL"),
}
_VARIANCES: dict[str, tuple[str, ...]] = {
    name: (name, f"{name}_COV", f"COV_{name}", f"{name}_VAR") for name in ("II", "QQ", "UU")
}
_VARIANCES["II"] += ("VARIANCE", "VAR")
_MASK = re.compile(r".*MASK.*|GAL_?\d.*|WEIGHTS?")
_PIXEL = re.compile(r"I?PIX(EL)?S?(_?(NUM(BER)?|INDEX))?|(HPX|HEALPIX)?_?INDEX")
# What stands beside a sky and is never one.
_NEVER = re.compile(
    r"(N_?)?HITS?|HIT_?COUNT|N_?OBS|COUNTS|FLAGS?|(.*_)?COV(_.*)?|(.*_)?VAR(IANCE)?(_.*)?|(II|IQ|IU|QQ|QU|UU|QI|UI|UQ)"
    r"|S?ERR(OR)?S?|SERROR|SIGMA|STD(DEV)?|RMS|UNCERTAINTY"
)


def is_mask(name: str) -> bool:
    """Whether a column is called as masks are."""
    return _MASK.fullmatch(_plain(name)) is not None


def pixel_column(names: Sequence[str]) -> int | None:
    """Place of the column that numbers the pixels; None where there is none."""
    return next((i for i, name in enumerate(names) if _PIXEL.fullmatch(_plain(name))), None)


def choose(names: Sequence[str], content: Content, told: Told) -> tuple[list[int], str | None]:
    """Places of the columns that hold what is wanted.

    Parameters
    ----------
    names
        Names of the columns.
    content
        T; TQU: T, and Q and U where they are there; weights: one column of a mask; variance: II, or II, QQ
        and UU.
    told
        What the user says of them.

    Returns
    -------
    tuple
        The places, and what was assumed, if anything.

    Raises
    ------
    DataError
        Where there is no such column, or several that could be it.
    """
    chosen = _told_columns(names, told)
    if chosen:
        return _fitting(names, chosen, content, told), None
    if content == "weights":
        return _weights(names, told)
    if content == "variance":
        return _family(names, _VARIANCES, told)
    places, assumed = _family(names, _STOKES, told)
    return places[:1] if content == "T" else places, assumed


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip()).upper()


def _told_columns(names: Sequence[str], told: Told) -> list[int]:
    """Places that the user names, by name or number."""
    by_name, by_number = (_listed(told.get(key)) for key in ("column", "field"))
    named = [_place(names, name, told) for name in by_name]
    for number in by_number:
        if not number.isdecimal() or int(number) >= len(names):
            last = len(names) - 1
            raise DataError(f"{advise(told, 'field', number)}: columns are numbered from 0 to {last}")
    numbered = [int(number) for number in by_number]
    if named and numbered and named != numbered:
        raise DataError(f"column {by_name} is not field {by_number}: say one of them")
    return named or numbered


def _place(names: Sequence[str], wanted: str, told: Told) -> int:
    """Place of a column: the name as it stands, else in any spelling."""
    found = [i for i, name in enumerate(names) if name.strip() == wanted] or _called(names, [_plain(wanted)])
    if not found:
        raise DataError(f"no column '{wanted}': {did_you_mean(_plain(wanted), map(_plain, names))}")
    if len(found) > 1:
        listed = ", ".join(map(str, found))
        raise DataError(f"columns {listed} are called '{wanted}': say {advise(told, 'field', found[0])}")
    return found[0]


def _listed(value: object) -> list[str]:
    if value is None:
        return []
    return [part.strip() for part in (value.split(",") if isinstance(value, str) else _parts(value))]


def _parts(value: object) -> list[str]:
    return [str(part) for part in value] if isinstance(value, Sequence) else [str(value)]


def _fitting(names: Sequence[str], chosen: list[int], content: Content, told: Told) -> list[int]:
    """As many of the columns that the user names as are wanted."""
    wanted = (1,) if content == "weights" else (1, 3)
    if len(chosen) not in wanted or len(set(chosen)) < len(chosen):
        kinds = " or ".join(map(str, wanted))
        given = ",".join(names[place] for place in chosen)
        raise DataError(f"{advise(told, 'column', given)}: expected {kinds} columns, each once")
    return chosen[:1] if content == "T" else chosen


def _family(
    names: Sequence[str], family: dict[str, tuple[str, ...]], told: Told
) -> tuple[list[int], str | None]:
    """One column, or all three of a family."""
    found = {key: _called(names, words) for key, words in family.items()}
    for several in found.values():
        if len(several) > 1:
            raise DataError(_several(names, several, told))
    first, *others = found
    assumed = None
    if not found[first]:
        found[first], assumed = _only(names, told, sky=family is _STOKES)
    have = [key for key in others if found[key]]
    if len(have) == 1:
        missing = next(key for key in others if key not in have)
        raise DataError(f"has a column {have[0]} and no {missing}: {_say(names, told)}")
    return [found[key][0] for key in found if found[key]], assumed


def _called(names: Sequence[str], words: Sequence[str]) -> list[int]:
    return [place for place, name in enumerate(names) if _plain(name) in words]


def _only(names: Sequence[str], told: Told, *, sky: bool) -> tuple[list[int], str | None]:
    """The one column of an unknown name that can be it."""
    left = [i for i, name in enumerate(names) if not _PIXEL.fullmatch(_plain(name))]
    if sky:
        left = [i for i in left if not (_NEVER.fullmatch(_plain(names[i])) or is_mask(names[i]))]
        left = [i for i in left if _plain(names[i]) not in (*_STOKES["Q"], *_STOKES["U"])]
    if len(left) != 1:
        raise DataError(_several(names, left, told) if left else f"no column of the sky: {_say(names, told)}")
    return left, f"column {names[left[0]]}, the only one that can be it"


def _weights(names: Sequence[str], told: Told) -> tuple[list[int], str | None]:
    for found in (
        [i for i, name in enumerate(names) if is_mask(name)],
        _called(names, _STOKES["T"]),
    ):
        if len(found) > 1:
            raise DataError(_several(names, found, told))
        if found:
            return found, None
    return _only(names, told, sky=False)


def _several(names: Sequence[str], places: Sequence[int], told: Told) -> str:
    listed = ", ".join(names[place] for place in places)
    twins = len(_called(names, (_plain(names[places[0]]),))) > 1
    remedy = advise(told, "field", places[0]) if twins else advise(told, "column", names[places[0]])
    return f"columns {listed} could be meant: say {remedy} or another"


def _say(names: Sequence[str], told: Told) -> str:
    return f"columns are {', '.join(names)}: say {advise(told, 'column', '...')}"
