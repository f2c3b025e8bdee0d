"""Maps of an instrument's bands wherever they lie, Planck's own among them: found, read, in uK_CMB."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cmbml.core.errors import DataError
from cmbml.core.handlers import get_handler
from cmbml.core.handlers.cards import Told, advise, polarisation_of
from cmbml.core.handlers.mapcolumns import Content
from cmbml.core.handlers.mapreading import conventions

if TYPE_CHECKING:
    from cmbml.sky.skymap import SkyMap


@dataclass(frozen=True)
class BandFile:
    """One band of an instrument, and the file that holds its map."""

    name: str
    freq_ghz: float
    fwhm_arcmin: float
    path: Path


def find_bands(pattern: str, table: Mapping[str, Mapping[str, float]], folder: Path) -> list[BandFile]:
    """The file of every band.

    Parameters
    ----------
    pattern
        Path with {freq} for the name of the band, or {freq:03d} for three digits, and wildcards.
    table
        Bands by name, each with freq_ghz and fwhm_arcmin.
    folder
        What relative paths start from.

    Raises
    ------
    DataError
        Where a band has no file or several, or one file stands for several bands.
    """
    if not has_place(pattern, "freq"):
        raise DataError(f"{pattern}: lacks {{freq}}, which stands for the name of the band")
    bands: dict[Path, BandFile] = {}
    for name, row in table.items():
        path = _find(pattern, name, folder)
        if path in bands:
            raise DataError(f"{path}: is taken for bands {bands[path].name} and {name}: narrow {pattern}")
        bands[path] = BandFile(name, row["freq_ghz"], row["fwhm_arcmin"], path)
    return list(bands.values())


def has_place(pattern: str, tag: str) -> bool:
    """Whether a pattern has a place for a tag: {tag}, or {tag:03d} for three digits."""
    return re.search(_place(tag), pattern) is not None


def fill_place(pattern: str, tag: str, value: str) -> str:
    """A pattern with a tag's value in its places."""
    return re.sub(_place(tag), lambda found: value.zfill(int(found[1] or 0)), pattern)


def _place(tag: str) -> str:
    return rf"\{{{tag}(?::0?(\d+)d)?\}}"


def _find(pattern: str, name: str, folder: Path) -> Path:
    text = fill_place(pattern, "freq", name)
    path = folder / text
    found = (
        [path]
        if path.is_file()
        else sorted(filter(Path.is_file, _matching(Path(path.anchor), path.parts[1:])))
    )
    if len(found) > 1:
        raise DataError(f"band {name} is there more than once: {found[0]}, {found[1]}: narrow {pattern}")
    if not found:
        raise DataError(
            f"band {name} is missing: no file {text}: fetch it, or name the other bands in --bands"
        )
    return found[0]


def _matching(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Files below a folder whose path matches; a part that is there as it is written is no pattern."""
    if not parts:
        yield folder
        return
    literal = folder / parts[0]
    for each in [literal] if literal.exists() else folder.glob(parts[0]):
        yield from _matching(each, parts[1:])


def expect_one_convention(bands: Sequence[BandFile], told: Told) -> None:
    """Refuse bands of which some say one sign of U and others another, or nothing.

    Raises
    ------
    DataError
        Where they do, and the user has not said which it is.
    """
    said: dict[str | None, Path] = {}
    for band in bands:
        cards = conventions(band.path, told)
        if cards is not None:
            known = None if cards.polconv is None else polarisation_of(cards.polconv)
            said.setdefault(known or told.get("polconv"), band.path)
    signs = {"COSMO" if sign is None else sign for sign in said}
    if len(signs) > 1:
        listed = ", ".join(f"{sign or 'not said'} in {path}" for sign, path in said.items())
        remedy = f"say {advise(told, 'polconv', 'IAU')}" if None in said else "bring all to one sign of U"
        raise DataError(f"POLCCONV is {listed}: {remedy}")


def read_band(band: BandFile, content: Content, told: Told) -> "SkyMap":
    """Read the map of a band in uK_CMB; missing pixels are UNSEEN.

    Parameters
    ----------
    band
        The band.
    content
        T, or TQU for T, Q and U where the file has them.
    told
        What the user says where its header leaves it open.

    Raises
    ------
    DataError
        Where the file is unreadable, has no known unit, or another beam than the band.
    """
    expected: Told = {**told, "fwhm_arcmin": band.fwhm_arcmin}
    sky: SkyMap = get_handler("HealpyMap").read(band.path, content=content, allow_unseen=True, **expected)
    try:
        return sky.to("uK_CMB", freq_ghz=band.freq_ghz)
    except ValueError as error:
        raise DataError(f"{band.path}: {error}") from None
