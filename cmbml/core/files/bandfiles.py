"""Maps of an instrument's bands wherever they lie, Planck's own among them: found, read, in uK_CMB."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cmbml.core.errors import DataError
from cmbml.core.handlers import get_handler

if TYPE_CHECKING:
    from cmbml.sky.skymap import SkyMap

# Beams of header and table that differ by more, relatively, are not the same beam.
BEAM_TOLERANCE = 0.01
FREQ, FREQ_PADDED = "{freq}", "{freq:03d}"


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
    if FREQ not in pattern and FREQ_PADDED not in pattern:
        raise DataError(f"{pattern}: lacks {FREQ}, which stands for the name of the band")
    bands: dict[Path, BandFile] = {}
    for name, row in table.items():
        path = _find(pattern, name, folder)
        if path in bands:
            raise DataError(f"{path}: is taken for bands {bands[path].name} and {name}: narrow {pattern}")
        bands[path] = BandFile(name, row["freq_ghz"], row["fwhm_arcmin"], path)
    return list(bands.values())


def _find(pattern: str, name: str, folder: Path) -> Path:
    text = pattern.replace(FREQ, name).replace(FREQ_PADDED, name.zfill(3))
    path = folder / text
    root = Path(path.anchor)
    found = [path] if path.is_file() else sorted(root.glob(str(path.relative_to(root))))
    if len(found) > 1:
        raise DataError(f"band {name} is there more than once: {found[0]}, {found[1]}: narrow {pattern}")
    if not found:
        raise DataError(
            f"band {name} is missing: no file {text}: fetch it, or name the other bands in --bands"
        )
    return found[0]


def read_band(band: BandFile, field: Literal[0, "TQU"], unit: str | None) -> "SkyMap":
    """Read the map of a band in uK_CMB; missing pixels are UNSEEN.

    Parameters
    ----------
    band
        The band.
    field
        0 for T; TQU for T, Q and U where the file has them.
    unit
        Unit where the header names none.

    Raises
    ------
    DataError
        Where the file is unreadable, zero everywhere, has no known unit, or another beam than the band.
    """
    sky = get_handler("HealpyMap").read(band.path, unit=unit, field=field, allow_unseen=True)
    for number, row in enumerate(sky.values):
        if not row.any():
            raise DataError(
                f"{band.path}: column {number + 1} is zero everywhere: leave band {band.name} out"
            )
    known = sky.fwhm_arcmin
    if known is not None and abs(known - band.fwhm_arcmin) > BEAM_TOLERANCE * band.fwhm_arcmin:
        raise DataError(
            f"{band.path}: the header says a beam of {known:g} arcmin, the instrument {band.fwhm_arcmin:g}: "
            "choose the instrument that made it"
        )
    try:
        return sky.to("uK_CMB", freq_ghz=band.freq_ghz)
    except ValueError as error:
        raise DataError(f"{band.path}: {error}") from None
