"""FITS files as they come: packed or not, whole or cut short, the table in any extension."""

import bz2
import gzip
import io
import lzma
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cmbml.core.errors import DataError
from cmbml.core.handlers.cards import Told, advise, agree, says_nothing
from cmbml.core.handlers.mapcolumns import Content, choose

# What the first bytes of a packed file say of its packing.
_PACKINGS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ": lzma.decompress,
}
# That of compress, which Python cannot unpack.
_COMPRESS = b"\x1f\x9d"
_SUFFIX = ".gz"
# Cards of the primary header that say what the table's own header leaves out.
_MEANING = (
    "ORDERING", "NSIDE", "INDXSCHM", "GRAIN", "COORDSYS", "SKYCOORD", "RADESYS", "RADECSYS", "COORDREF",
    "POLCCONV", "POLCONV", "BAD_DATA", "PIXWIN", "BEAMFWHM", "LMAX",
)  # fmt: skip


@contextmanager
def open_fits(path: Path) -> Iterator[Any]:
    """Open a FITS file that is all there; what is raised while it is open gets its path in front.

    Raises
    ------
    DataError
        Where it is cut short, or no FITS file.
    """
    from astropy.io import fits
    from astropy.io.fits.verify import VerifyError

    # What astropy stumbles over itself where a card is damaged, such as a TZERO that is no number.
    damage = (AssertionError, UnboundLocalError, VerifyError)
    if not path.is_file():
        raise FileNotFoundError(path)
    unpacked = _unpacked(path)
    source, size = (path, path.stat().st_size) if unpacked is None else (io.BytesIO(unpacked), len(unpacked))
    try:
        with _quiet(), fits.open(source, memmap=unpacked is None, lazy_load_hdus=False) as hdus:
            _expect_whole(hdus, size)
            yield hdus
    except DataError as error:
        raise placed(path, error) from None
    except (OSError, ValueError, TypeError, KeyError, IndexError, *damage) as error:
        reason = " ".join(str(error).split()).partition(". ")[0]  # what follows is advice for Python
        raise DataError(f"{path}: not a readable FITS file: {reason}") from None


def placed(path: Path, error: DataError) -> DataError:
    """The same error, with the file in front."""
    text = str(error)
    return DataError(text if text.startswith(f"{path}: ") else f"{path}: {text}")


def _expect_whole(hdus: Any, size: int) -> None:
    end = max(_end(hdu) for hdu in hdus)
    if size < end:
        raise DataError(f"truncated: {size} of {end} bytes: make or fetch it again")


def _end(hdu: Any) -> int:
    """Place of the first byte behind an HDU."""
    if not hasattr(hdu, "fileinfo"):
        raise ValueError("a header in it is damaged")
    place = hdu.fileinfo()
    return int(place["datLoc"] + place["datSpan"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what FITS readers merely remark on from looking like trouble."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _unpacked(path: Path) -> bytes | None:
    """Content of a packed file; None where it is not packed."""
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(_COMPRESS):
        raise DataError(f"{path}: packed by compress, as .Z: unpack it with gunzip first")
    for magic, unpack in _PACKINGS.items():
        if start.startswith(magic):
            try:
                return unpack(path.read_bytes())
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
                raise DataError(
                    f"{path}: packed, and cannot be unpacked: {error}: make or fetch it again"
                ) from None
    return None


def write_fits(path: Path, hdus: Any) -> None:
    """Write HDUs, packed where the name ends so; the same data give the same bytes."""
    if path.suffix != _SUFFIX:
        hdus.writeto(path, overwrite=True)
        return
    plain = io.BytesIO()
    hdus.writeto(plain)
    path.write_bytes(gzip.compress(plain.getvalue(), mtime=0))


def header_of(hdus: Any, table: Any) -> dict[str, Any]:
    """Header of a table, with what only the primary header says of the map.

    Raises
    ------
    DataError
        Where the two contradict each other.
    """
    primary = {key: hdus[0].header[key] for key in _MEANING if key in hdus[0].header}
    own = {key: value for key, value in dict(table.header).items() if not says_nothing(value)}
    for key, value in primary.items():
        if not agree(value, own.get(key)):
            raise DataError(
                f"{key} is {value} in the primary header, {own[key]} in the table's: mend one of them"
            )
    return primary | own


def tables_of(hdus: Any) -> list[tuple[int, Any]]:
    """Tables that have rows, with their numbers."""
    return [
        (number, hdu)
        for number, hdu in enumerate(hdus)
        if str(hdu.header.get("XTENSION", "")).strip() in ("BINTABLE", "TABLE")
        and getattr(hdu, "columns", None) is not None
        and len(hdu.columns.names)
    ]


def names_of(table: Any) -> list[str]:
    """Names of the columns of a table; empty for one that has none."""
    return [name or "" for name in table.columns.names]


def find_table(hdus: Any, told: Told, content: Content) -> Any:
    """The table of a map: the one that is named, the only one, or the only one with columns of a sky.

    Raises
    ------
    DataError
        Where there is none, or several.
    """
    tables = tables_of(hdus)
    wanted = told.get("hdu")
    if wanted is not None:
        return _named(hdus, tables, str(wanted), told)
    if not tables:
        pictures = _pictures(hdus)
        if not pictures:
            raise DataError(
                "truncated, or no map: it holds neither table nor picture: make or fetch it again"
            )
        raise DataError(f"no table of HEALPix pixels, {pictures}: give the map itself")
    maps = [pair for pair in tables if _is_map(pair[1])] or tables
    if len(maps) > 1 and content in ("T", "TQU"):
        maps = skies if len(skies := [pair for pair in maps if _has_sky(pair[1], told)]) == 1 else maps
    if len(maps) > 1:
        listed = ", ".join(f"{number} ({hdu.name or 'no name'})" for number, hdu in maps)
        raise DataError(f"tables in HDU {listed}: say {advise(told, 'hdu', maps[0][0])} or another")
    return maps[0][1]


def _is_map(table: Any) -> bool:
    header = table.header
    return str(header.get("PIXTYPE", "")).strip().upper() == "HEALPIX" or "ORDERING" in header


def _has_sky(table: Any, told: Told) -> bool:
    """Whether names of columns say that they are a sky."""
    try:
        return choose(names_of(table), "TQU", told)[1] is None
    except DataError:
        return False


def _named(hdus: Any, tables: list[tuple[int, Any]], wanted: str, told: Told) -> Any:
    for number, table in tables:
        if wanted.strip().upper() in (str(number), table.name.upper()):
            return table
    listed = ", ".join(f"{number} ({table.name or 'no name'})" for number, table in tables) or "none"
    raise DataError(f"{advise(told, 'hdu', wanted)}: no such table: there is {listed} of {len(hdus)} HDUs")


def _pictures(hdus: Any) -> str:
    shapes = [
        f"HDU {number} is a picture of {' x '.join(map(str, hdu.shape))}"
        for number, hdu in enumerate(hdus)
        if getattr(hdu, "is_image", False) and hdu.shape
    ]
    return ", ".join(shapes)


def numbers_of(table: Any, place: int, missing: float = np.nan) -> Any:
    """Values of a column, one after the other; `missing` where the table calls them null.

    Raises
    ------
    DataError
        Where they are no real numbers.
    """
    name = names_of(table)[place]
    column = np.asarray(table.data.field(place))
    if column.dtype.kind not in "biuf":
        raise DataError(f"column {name} holds no real numbers: name another")
    native = np.ascontiguousarray(column.astype(column.dtype.newbyteorder("="))).ravel()
    described = table.columns[place]
    if isinstance(described.null, int):
        # TNULL is a stored number, which TSCAL and TZERO have turned into another.
        null = described.null * (described.bscale or 1) + (described.bzero or 0)
        return np.where(np.isclose(native, null, rtol=1e-12, atol=0), missing, native.astype(float))
    return native if native.dtype.kind == "f" else native.astype(float)
