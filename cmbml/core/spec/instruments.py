"""Instruments by name or from a user's folder: a table of bands, ECSV, and the files that it names."""

import csv
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cmbml.core.errors import ConfigError, did_you_mean
from cmbml.core.spec.encoding import read_text
from cmbml.core.spec.numbers import Bandwidth, Depth, Finite, Frequency, Fwhm, parsed
from cmbml.core.spec.passbands import read_passband

SHIPPED = Path(__file__).parents[2] / "instruments"
TABLE = "bands.ecsv"
_SUFFIX = ".ecsv"
_BAND = "band"
_EDITORS = re.compile(r"#[ \t]*(-\*-|vim?:|coding[:=])")
# What astropy raises where it can make nothing of a table.
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, yaml.YAMLError, csv.Error)


class _Quantity(NamedTuple):
    """A column: the key of a band, its unit there, what it may be, and whether it must be there.

    Of some, a blank cell is another thing than no column.
    """

    key: str
    unit: str
    kind: Any
    needed: bool
    blank_says: bool = False


class _Column(NamedTuple):
    """Values of a column from top to bottom, None where blank, and their unit."""

    values: Sequence[Any]
    unit: str


_QUANTITIES = {
    "freq": _Quantity("freq_ghz", "GHz", Frequency, needed=True),
    "fwhm": _Quantity("fwhm_arcmin", "arcmin", Fwhm, needed=True),
    "depth": _Quantity("depth_uk_arcmin", "uK_CMB arcmin", Depth, needed=True),
    "depth_p": _Quantity("depth_p_uk_arcmin", "uK_CMB arcmin", Depth, needed=False, blank_says=True),
    "bandwidth": _Quantity("bandwidth_ghz", "GHz", Bandwidth, needed=False),
}

# Columns of names of files, and what reads one.
_FILES = {"passband": read_passband}
_KNOWN = (_BAND, *_QUANTITIES, *_FILES)

# The words of the tables that ship, as astropy writes them; a blank cell is "".
_PLAIN_HEADER = ["# %ECSV 1.0", "# ---", "# datatype:"]
_PLAIN_COLUMNS = {f"# - {{name: {name}, datatype: string}}": name for name in (_BAND, *_FILES)} | {
    f"# - {{name: {name}, unit: {quantity.unit}, datatype: float64}}": name
    for name, quantity in _QUANTITIES.items()
}
_PLAIN_COMMENT = re.compile(r"# meta:$|#   comments:$|#   - ")
_PLAIN_NAME = re.compile(r'[\w+./-]+|""')
_PLAIN_NUMBER = re.compile(r'-?[0-9]+(\.[0-9]*)?(e[-+]?[0-9]+)?|""')


def table_path(root: Path, name: str) -> Path:
    """Table of an instrument: of one that ships, by its name, or of a folder, or a table itself, by its path.

    Raises
    ------
    ConfigError
        Where there is none.
    """
    places = [root / name] if name.endswith(_SUFFIX) else [SHIPPED / name / TABLE, root / name / TABLE]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        known = [folder.parent.name for folder in SHIPPED.glob(f"*/{TABLE}")]
        remedy = "give the path of a table" if name.endswith(_SUFFIX) else did_you_mean(name, known)
        raise ConfigError(f"no instrument '{name}': {remedy}")
    return found


def instrument_files(path: Path) -> list[Path]:
    """The table of an instrument, and the files that it names."""
    named = (values for name, (values, _) in _read(path).items() if name in _FILES)
    return [path, *(path.parent / str(cell) for values in named for cell in values if cell)]


def read_bands(path: Path) -> dict[str, dict[str, Any]]:
    """Bands of an instrument, as params.yaml has them below ``instrument.bands``.

    Parameters
    ----------
    path
        ECSV with the columns band, freq, fwhm and depth; depth_p, bandwidth and passband where wanted, blank
        for bands that have none: one whose depth_p is blank has no Q and U.  Units are those of astropy, and
        uK_CMB; a passband is the name of a file beside the table.

    Raises
    ------
    ConfigError
        Where a column or its unit is missing or unknown, a value is missing or impossible, a band is named
        twice, bands are not in order of frequency, or a file that is named is unreadable.
    DataError
        Where a file is not text.
    """
    columns = _read(path)
    _check_columns(path, columns)
    names = _names(path, columns[_BAND].values)
    bands: dict[str, dict[str, Any]] = {name: {} for name in names}
    for column, quantity in _QUANTITIES.items():
        if column in columns:
            factor = _factor(path, column, columns[column].unit)
            for row, (name, value) in enumerate(zip(names, columns[column].values, strict=True), start=1):
                if value is not None or quantity.needed:
                    where = f"{path.name}, row {row} (band {name}): {column}"
                    bands[name][quantity.key] = _number(where, quantity, value, factor)
                elif quantity.blank_says:
                    bands[name][quantity.key] = None
    _check_order(path, [band["freq_ghz"] for band in bands.values()])
    for column in _FILES.keys() & columns.keys():
        for name, cell in zip(names, columns[column].values, strict=True):
            if cell:
                bands[name][column] = _FILES[column](path.parent / str(cell))
    return bands


def _read(path: Path) -> dict[str, _Column]:
    lines = read_text(path).split("\n")
    if not lines[0].startswith("# %ECSV"):
        raise ConfigError(f"{path.name}: not an ECSV table: its first line must begin with '# %ECSV'")
    return _read_plain(lines) or _read_any(path, lines)


def _read_plain(lines: Sequence[str]) -> dict[str, _Column] | None:
    """Read a table such as those that ship, in the units of params.yaml; None where anything is unusual.

    astropy, which reads all others, takes half a second to import: too long for every process of a run.
    """
    header = [line for line in lines if line.startswith("#")]
    names = [_PLAIN_COLUMNS[line] for line in header if line in _PLAIN_COLUMNS]
    others = [line for line in header if line not in _PLAIN_COLUMNS]
    comments = others[len(_PLAIN_HEADER) :]
    if others[: len(_PLAIN_HEADER)] != _PLAIN_HEADER or not all(map(_PLAIN_COMMENT.match, comments)):
        return None
    titles, *rows = [line.split(" ") for line in lines if line and not line.startswith("#")] or [[]]
    if titles != names or any(len(row) != len(names) for row in rows):
        return None
    columns = {}
    for name, *cells in zip(names, *rows, strict=True):
        text = name not in _QUANTITIES
        if not all(map((_PLAIN_NAME if text else _PLAIN_NUMBER).fullmatch, cells)):
            return None
        values = [None if cell == '""' else cell if text else float(cell) for cell in cells]
        columns[name] = _Column(values, "" if text else _QUANTITIES[name].unit)
    return columns


def _read_any(path: Path, lines: Sequence[str]) -> dict[str, _Column]:
    """Read any table that astropy can write."""
    from astropy.table import Table

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it knows no uK_CMB, and says so
        try:
            table = Table.read(_as_ecsv(lines), format="ascii.ecsv")
            return {name: _Column(col.tolist(), str(col.unit or "")) for name, col in table.columns.items()}
        except _UNREADABLE as error:
            raise ConfigError(
                f"{path.name}: not readable as ECSV: {' '.join(str(error).split())}: mend it"
            ) from None


def _as_ecsv(lines: Sequence[str]) -> list[str]:
    """Take out what editors put into a table: the name of its encoding, and tabs between its columns."""
    header = [line for line in lines if line.startswith("#") and not _EDITORS.match(line)]
    rows = [line for line in lines if line.strip() and not line.startswith("#")]
    if not rows or "\t" not in rows[0]:
        return header + rows
    spaced = io.StringIO()
    csv.writer(spaced, delimiter=" ", quoting=csv.QUOTE_ALL).writerows(csv.reader(rows, delimiter="\t"))
    return [line for line in header if "delimiter" not in line] + spaced.getvalue().splitlines()


def _check_columns(path: Path, columns: Mapping[str, _Column]) -> None:
    needed = {_BAND: "a name for every band"} | {
        column: f"a unit such as {quantity.unit}"
        for column, quantity in _QUANTITIES.items()
        if quantity.needed
    }
    for column in columns:
        if column not in _KNOWN:
            known = did_you_mean(column, _KNOWN)
            raise ConfigError(f"{path.name}: unknown column {column!r}: {known}")
    for column, what in needed.items():
        if column not in columns:
            raise ConfigError(f"{path.name}: no column '{column}': add it, with {what}")


def _names(path: Path, values: Sequence[Any]) -> list[str]:
    names = ["" if value is None else str(value).strip() for value in values]
    for row, name in enumerate(names, start=1):
        if not name or not name.isprintable() or name in names[: row - 1]:
            raise ConfigError(
                f"{path.name}, row {row}: {name!r} is no name, or stands twice: name every band once"
            )
    return names


def _factor(path: Path, column: str, unit: str) -> float:
    """Factor from the unit of a column to that of params.yaml."""
    wanted = _QUANTITIES[column].unit
    if unit == wanted:
        return 1.0
    from astropy.units import Unit, UnitBase, set_enabled_equivalencies

    try:
        found = Unit(_plain_unit(unit))
        if isinstance(found, UnitBase):  # others, such as decibels, have no factor
            with set_enabled_equivalencies([]):  # PySM makes wavelengths frequencies
                return float(found.to(_plain_unit(wanted)))
    except (ValueError, TypeError):
        pass
    given = f"the unit {unit!r}" if unit else "no unit"
    raise ConfigError(f"{path.name}: column '{column}' has {given}: give it one such as {wanted}")


def _plain_unit(unit: str) -> str:
    """Spell a unit as astropy does, for which a CMB temperature is a temperature."""
    return re.sub(r"(?<=[A-Za-z])-(?=[A-Za-z])", " ", re.sub(r"(?<=K)_?CMB\b", "", unit, flags=re.IGNORECASE))


def _number(where: str, quantity: _Quantity, value: Any, factor: float) -> float:
    if value is None:
        raise ConfigError(f"{where} is blank: give it a value, or leave the band out")
    try:
        return float(parsed(quantity.kind, parsed(Finite, value) * factor))
    except ValueError as error:
        remedy = "" if quantity.needed else ": leave it blank where there is none"
        raise ConfigError(f"{where} {error}{remedy}") from None


def _check_order(path: Path, freqs: Sequence[float]) -> None:
    if not freqs:
        raise ConfigError(f"{path.name}: holds no band: add a row for each")
    if list(freqs) != sorted(set(freqs)):
        raise ConfigError(f"{path.name}: bands must be in order of frequency, each frequency once: sort them")
