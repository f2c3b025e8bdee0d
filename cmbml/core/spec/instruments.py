"""Instruments by name or from a user's table: ECSV, every quantity with its unit."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from cmbml.core.errors import ConfigError, did_you_mean

SHIPPED = Path(__file__).parents[2] / "instruments"
_SUFFIX = ".ecsv"
_FREQUENCY = {"GHz": 1.0, "MHz": 1e-3, "Hz": 1e-9}
_ANGLE = {"arcmin": 1.0, "deg": 60.0, "arcsec": 1 / 60}
_TEMPERATURE = {"uK": 1.0, "uK_CMB": 1.0, "mK": 1e3, "mK_CMB": 1e3, "K": 1e6, "K_CMB": 1e6}
_DEPTH = {
    frozenset((temperature, angle)): factor * width
    for temperature, factor in _TEMPERATURE.items()
    for angle, width in _ANGLE.items()
}
# Column of the table: key of a band, units with their factors, whether it must be there.
_COLUMNS: dict[str, tuple[str, dict[Any, float], str, bool]] = {
    "freq": ("freq_ghz", _FREQUENCY, "GHz", True),
    "fwhm": ("fwhm_arcmin", _ANGLE, "arcmin", True),
    "depth": ("depth_uk_arcmin", _DEPTH, "uK_CMB arcmin", True),
    "depth_p": ("depth_p_uk_arcmin", _DEPTH, "uK_CMB arcmin", False),
    "bandwidth": ("bandwidth_ghz", _FREQUENCY, "GHz", False),
}


def table_path(root: Path, name: str) -> Path:
    """File of an instrument: one that ships, by its name, or a table in the repository, by its path.

    Raises
    ------
    ConfigError
        Where there is none.
    """
    path = root / name if name.endswith(_SUFFIX) else SHIPPED / f"{name}{_SUFFIX}"
    if not path.is_file():
        known = [file.stem for file in SHIPPED.glob(f"*{_SUFFIX}")]
        remedy = "give a path in the repository" if name.endswith(_SUFFIX) else did_you_mean(name, known)
        raise ConfigError(f"instrument.table: no instrument '{name}': {remedy}")
    return path


def read_bands(path: Path) -> dict[str, dict[str, float]]:
    """Bands of an instrument, as params.yaml has them below ``instrument.bands``.

    Parameters
    ----------
    path
        ECSV with the columns band, freq, fwhm and depth; depth_p and bandwidth where wanted.

    Raises
    ------
    ConfigError
        Where a column or its unit is missing or unknown, a value no number, a band named twice, or bands are
        not in order of frequency.
    """
    header, rows = _read(path)
    units = {str(column["name"]): str(column.get("unit") or "") for column in header.get("datatype", ())}
    if unknown := [name for name in units if name not in (*_COLUMNS, "band")]:
        known = did_you_mean(unknown[0], [*_COLUMNS, "band"])
        raise ConfigError(f"{path.name}: unknown column '{unknown[0]}': {known}")
    factors = dict(_factors(path, units))
    bands: dict[str, dict[str, float]] = {}
    for row in rows:
        name = row.get("band") or ""
        if not name or name in bands:
            raise ConfigError(
                f"{path.name}: band '{name}' stands twice, or has no name: name every band once"
            )
        bands[name] = {
            _COLUMNS[column][0]: _number(path, name, column, row[column]) * factor
            for column, factor in factors.items()
            if row[column]
        }
    _check_order(path, bands)
    return bands


def _read(path: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or not lines[0].startswith("# %ECSV"):
        raise ConfigError(f"{path.name}: not an ECSV table: its first line must begin with '# %ECSV'")
    comments = [line.removeprefix("#").removeprefix(" ") for line in lines[1:] if line.startswith("#")]
    try:
        header = yaml.safe_load("\n".join(comments)) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{path.name}: header is not yaml: {' '.join(str(error).split())}") from None
    delimiter = header.get("delimiter", " ")
    body = [line for line in lines if line.strip() and not line.startswith("#")]
    rows = list(csv.DictReader(body, delimiter=delimiter, skipinitialspace=True))
    if any(None in row or None in row.values() for row in rows):
        raise ConfigError(f"{path.name}: a row has more or fewer values than there are columns: mend it")
    return header, rows


def _factors(path: Path, units: dict[str, str]) -> Iterator[tuple[str, float]]:
    """Factor of every column to the unit of params.yaml."""
    for column, (_, known, example, needed) in _COLUMNS.items():
        if column not in units:
            if needed:
                raise ConfigError(f"{path.name}: no column '{column}': add it, with a unit such as {example}")
            continue
        unit = units[column]
        key: Any = frozenset(re.split(r"[ .*]+", unit)) if known is _DEPTH else unit
        if key not in known:
            found = f"the unit '{unit}'" if unit else "no unit"
            raise ConfigError(f"{path.name}: column '{column}' has {found}: give it one such as {example}")
        yield column, known[key]


def _number(path: Path, band: str, column: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{path.name}: band {band}: {column} is no number: '{text}'") from None


def _check_order(path: Path, bands: dict[str, dict[str, float]]) -> None:
    freqs = [band.get("freq_ghz", 0.0) for band in bands.values()]
    if not freqs:
        raise ConfigError(f"{path.name}: holds no band: add a row for each")
    if freqs != sorted(set(freqs)):
        raise ConfigError(f"{path.name}: bands must be in order of frequency, each frequency once: sort them")
