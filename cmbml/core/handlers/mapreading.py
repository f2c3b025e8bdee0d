"""From a file of others to a sky: columns, pixels, unit, sign of U and coordinates, each settled once."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cmbml.core.errors import DataError
from cmbml.core.handlers import cards, fitsfiles
from cmbml.core.handlers.cards import Cards, Told, advise, settle
from cmbml.core.handlers.mapcolumns import Content, choose, pixel_column

if TYPE_CHECKING:
    from cmbml.sky.skymap import SkyMap

Rows = NDArray[Any]
# Beams of header and instrument that differ by more, relatively, are not the same beam.
BEAM_TOLERANCE = 0.01
# The square of a larger number is beyond single precision.
_LARGEST = 1e18
_DIMENSIONLESS = ("1", "unitless", "dimensionless")


@dataclass(frozen=True)
class Table:
    """What a file holds of a map, before it is turned to what it means.

    Attributes
    ----------
    cards
        The cards of its header.
    names, units
        Names and units of the chosen columns.
    rows
        Their values, ``(n, npix)``, in the order of the file; missing pixels are NaN or UNSEEN.
    pixels
        Numbers of the pixels; None where all are there, in order.
    assumed
        What was assumed.
    """

    cards: Cards
    names: list[str]
    units: list[str]
    rows: Rows
    pixels: Rows | None
    assumed: list[str]


def read_sky(path: Path, content: Content, told: Told) -> "SkyMap":
    """Read a map: RING, Galactic, COSMO; missing pixels are UNSEEN.

    Raises
    ------
    DataError
        Where the file is no map, or header and user leave open or contradict what it means.
    """
    try:
        return _sky(_read_table(path, content, told), content, told)
    except DataError as error:
        raise fitsfiles.placed(path, error) from None


def conventions(path: Path, told: Told) -> Cards | None:
    """The cards of a map that has Q and U; None where it has not.

    Raises
    ------
    DataError
        As `read_sky`.
    """
    with fitsfiles.open_fits(path) as hdus:
        table = fitsfiles.find_table(hdus, told, "TQU")
        polarised = len(choose(fitsfiles.names_of(table), "TQU", told)[0]) == 3
        return cards.read_cards(fitsfiles.header_of(hdus, table)) if polarised else None


def _read_table(path: Path, content: Content, told: Told) -> Table:
    from cmbml.sky.skymap import UNSEEN

    with fitsfiles.open_fits(path) as hdus:
        table = fitsfiles.find_table(hdus, told, content)
        header = fitsfiles.header_of(hdus, table)
        names = fitsfiles.names_of(table)
        places, assumed = choose(names, content, told)
        found = cards.read_cards(header)
        numbered = pixel_column(names)
        explicit = numbered is not None if found.explicit is None else found.explicit
        if explicit and numbered is None:
            raise DataError("INDXSCHM is EXPLICIT, and no column numbers the pixels: write it as a full map")
        return Table(
            found,
            [names[place] for place in places],
            [str(header.get(f"TUNIT{place + 1}") or "").strip() for place in places],
            _stacked([_marked(fitsfiles.numbers_of(table, place, UNSEEN), found) for place in places]),
            None
            if numbered is None
            else _pixels(fitsfiles.numbers_of(table, numbered), found, explicit=explicit),
            [assumed] if assumed else [],
        )


def _stacked(rows: list[Rows]) -> Rows:
    if len({len(row) for row in rows}) > 1:
        raise DataError(f"columns have {', '.join(str(len(row)) for row in rows)} pixels: name others")
    return np.stack(rows)


def _marked(row: Rows, found: Cards) -> Rows:
    """Mark pixels that hold the file's own mark of a missing one."""
    from cmbml.sky.skymap import UNSEEN, is_unseen

    missing = is_unseen(row)
    if found.bad_data is not None:
        missing = missing | np.isclose(row, found.bad_data, rtol=1e-6, atol=0, equal_nan=True)
    return np.where(missing, row.dtype.type(UNSEEN), row) if missing.any() else row


def _pixels(numbers: Rows, found: Cards, *, explicit: bool) -> Rows | None:
    """Numbers of the pixels; None where they only count those of a whole map."""
    partial = explicit and found.nside is not None and len(numbers) < 12 * found.nside**2
    if not partial and np.array_equal(numbers, np.arange(len(numbers))):
        return None
    if not explicit:
        raise DataError("INDXSCHM is IMPLICIT, and a column numbers the pixels otherwise: mend one of them")
    return numbers


def _sky(table: Table, content: Content, told: Told) -> "SkyMap":
    from cmbml.sky.skymap import SkyMap

    found, assumed = table.cards, [*table.assumed]
    unit = _unit(table, content, told, assumed)
    values = _without_nan(_in_ring(table), table.names, told)
    if content == "TQU" and len(values) == 3 and _polconv(found, told, assumed) == "IAU":
        values = np.stack([*values[:2], _opposite(values[2])])
    if content == "weights":
        _expect_weights(values, table.names)
    values = _galactic(values, _system(found, content, told, assumed), content, found.lmax)
    pixwin = content in ("T", "TQU") and _pixwin(found, told, assumed)
    return SkyMap(
        values, unit, _beam(found, told), found.lmax, pixwin, found.signal_preserving, tuple(assumed)
    )


def _unit(table: Table, content: Content, told: Told, assumed: list[str]) -> str:
    """The project's name of the unit of all columns."""
    from cmbml.sky.units import Unit, parse_unit, parse_variance_unit

    if content == "weights":
        return "1"
    card, parse, power = "TUNIT", parse_unit, ""
    if content == "variance":
        card, parse, power = "TUNIT of a variance", parse_variance_unit, "^2"

    def meaning(word: str) -> Unit | str | None:
        return "1" if word.strip().lower() in _DIMENSIONLESS and not power else parse(word)

    said, chosen = _one_word(table.units, meaning), told.get("unit")
    of_header = None if said is None else meaning(said)
    of_user = None if chosen is None else meaning(chosen)
    if isinstance(of_header, Unit) and of_header.kind == "K" and isinstance(of_user, Unit):
        # A bare K says how large the numbers are, and the user which temperature they mean.
        said = None if of_user.scale == of_header.scale and of_user.kind != "brightness" else said
    word, guess = settle(card, said, ("unit", chosen), told, meaning)
    unit = meaning(word)
    if guess:
        assumed.append(guess)
    if isinstance(unit, Unit) and unit.kind == "K":
        unit = replace(unit, kind="CMB")
        assumed.append(f"unit {unit.name}{power} (it says {word})")
    return f"{unit.name}{power}" if isinstance(unit, Unit) else "1"


def _one_word(words: list[str], meaning: Callable[[str], Any]) -> str | None:
    """What all columns say, those apart that say nothing."""
    said = [word for word in words if not cards.says_nothing(word)]
    if len({meaning(word) or word for word in said}) > 1:
        raise DataError(f"columns have several units: {', '.join(sorted(set(said)))}: read them one by one")
    return said[0] if said else None


def _in_ring(table: Table) -> Rows:
    """Rows of whole maps in RING; pixels that the table does not have are UNSEEN."""
    import ducc0

    nside = _nside(table)
    base, nested = ducc0.healpix.Healpix_Base(nside, "RING"), table.cards.ordering == "NESTED"
    if table.pixels is None:
        return table.rows[:, base.ring2nest(np.arange(12 * nside**2))] if nested else table.rows
    from cmbml.sky.skymap import UNSEEN

    pixels = _numbers(table.pixels, table.rows.shape[1], 12 * nside**2)
    whole = np.full((len(table.rows), 12 * nside**2), UNSEEN, table.rows.dtype)
    whole[:, base.nest2ring(pixels) if nested else pixels] = table.rows
    return whole


def _nside(table: Table) -> int:
    """Resolution, on which header and number of pixels agree."""
    from cmbml.sky.sht import nside_of

    said, count = table.cards.nside, table.rows.shape[1]
    if table.pixels is not None:
        if said is None:
            raise DataError("numbers its pixels, and the header names no NSIDE: set it")
        if said & (said - 1):
            raise DataError(f"NSIDE is {said}: expected a power of two")
        return said
    try:
        nside = nside_of(table.rows)
    except ValueError:
        raise DataError(f"{count} pixels are no HEALPix map") from None
    if said not in (None, nside):
        raise DataError(f"NSIDE is {said}, and {count} pixels are those of {nside}: mend the header")
    return nside


def _numbers(pixels: Rows, rows: int, npix: int) -> NDArray[np.int64]:
    numbers = np.asarray(pixels, dtype=float)
    whole = np.isfinite(numbers) & (numbers >= 0) & (numbers < npix) & (numbers % 1 == 0)
    if len(numbers) != rows or not whole.all() or len(np.unique(numbers)) < rows:
        raise DataError(f"the numbers of its pixels are not all different, whole and below {npix}")
    return numbers.astype(np.int64)


def _without_nan(rows: Rows, names: list[str], told: Told) -> Rows:
    """Rows whose missing pixels are UNSEEN alone."""
    from cmbml.sky.skymap import UNSEEN, is_unseen

    if str(told.get("missing") or "nan").lower() != "nan":
        raise DataError(f"{advise(told, 'missing', told['missing'])}: only nan can be named")
    for name, row in zip(names, rows, strict=True):
        bad = np.isnan(row)
        if bad.any() and told.get("missing") is None:
            remedy = f"{advise(told, 'missing', 'nan')} counts them as missing"
            raise DataError(f"column {name} holds NaN in {bad.sum()} pixels: {remedy}, or mend the map")
        sizes = np.abs(row[~bad & ~is_unseen(row)])
        if sizes.size and sizes.max() > _LARGEST:
            raise DataError(
                f"column {name} holds numbers as large as {sizes.max():g}, which no sky has: mend it, or "
                "name the value in a BAD_DATA card if it marks missing pixels"
            )
    bad = np.isnan(rows)
    return np.where(bad, rows.dtype.type(UNSEEN), rows) if bad.any() else rows


def _expect_weights(values: Rows, names: list[str]) -> None:
    """Refuse what is a sky; a mask that was smoothed may ring a little below zero."""
    from cmbml.sky.skymap import is_unseen

    least = float(np.min(values, initial=0.0, where=~is_unseen(values)))
    if least < -1:
        raise DataError(f"column {names[0]} goes down to {least:g}, as no mask does: name another")


def _polconv(found: Cards, told: Told, assumed: list[str]) -> str:
    option = ("polconv", told.get("polconv"))
    word, guess = settle("POLCCONV", found.polconv, option, told, cards.polarisation_of, "COSMO")
    assumed += [guess] if guess else []
    return str(cards.polarisation_of(word))


def _opposite(row: Rows) -> Rows:
    """A row with the other sign; missing pixels stay."""
    from cmbml.sky.skymap import is_unseen

    return np.where(is_unseen(row), row, -row)


def _system(found: Cards, content: Content, told: Told, assumed: list[str]) -> str:
    """Coordinate system of the file: what is not Galactic must be asked for."""
    chosen, meaning = told.get("coord"), cards.system_of
    card, said = found.coordsys or ("COORDSYS", None)
    if content == "weights" and said and meaning(said) == "G":
        return "G"  # A mask may be Galactic where the maps are not.
    word, guess = settle(card, said, ("coord", chosen), told, meaning, "G")
    system = str(meaning(word))
    if system != "G" and chosen is None:
        remedy = f"{advise(told, 'coord', system)} has it rotated to Galactic coordinates"
        raise DataError(f"{card} is {word} ({cards.SYSTEMS[system]}): {remedy}")
    if system != "G":
        guess = f"rotated from {cards.SYSTEMS[system]} to Galactic coordinates"
    assumed += [guess] if guess else []
    return system


def _galactic(values: Rows, system: str, content: Content, lmax: int | None) -> Rows:
    if system == "G":
        return values
    from cmbml.sky.rotation import rotate_sky, rotate_weights  # imports healpy

    if content in ("T", "TQU"):
        return rotate_sky(values, system, lmax)
    if len(values) > 1:
        raise DataError("variances of Q and U do not rotate pixel by pixel: bring them to Galactic first")
    return np.stack([rotate_weights(row, system) for row in values])


def _beam(found: Cards, told: Told) -> float | None:
    said, given = found.fwhm_arcmin, told.get("fwhm_arcmin")
    if said is None or given is None:
        return given if said is None else said
    if abs(said - given) > BEAM_TOLERANCE * given:
        raise DataError(
            f"the header says a beam of {said:g} arcmin, the instrument {given:g}: "
            "choose the instrument that made it"
        )
    return said


def _pixwin(found: Cards, told: Told, assumed: list[str]) -> bool:
    chosen = told.get("pixwin")
    if None not in (chosen, found.pixwin) and chosen != found.pixwin:
        told_so = "with" if chosen else "without"
        raise DataError(
            f"PIXWIN is {'T' if found.pixwin else 'F'}, and it is read as {told_so} the pixel window"
        )
    if chosen is None and found.pixwin is None:
        assumed.append("no pixel window (no PIXWIN)")
    return bool(found.pixwin if chosen is None else chosen)
