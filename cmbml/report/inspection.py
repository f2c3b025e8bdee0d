"""What files of maps say, what would be assumed of them, and how much power they hold: `cmbml inspect`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmbml.analysis.postprocess import dipole_basis
from cmbml.core.errors import DataError
from cmbml.core.handlers import get_handler
from cmbml.core.handlers.cards import Told
from cmbml.core.handlers.fitsfiles import header_of, names_of, open_fits, tables_of
from cmbml.core.handlers.mapcolumns import Content
from cmbml.sky.sht import Map, nside_of
from cmbml.sky.skymap import SkyMap, is_unseen

# Cards that say what the numbers of a map mean, as they are shown.
_SHOWN = ("ORDERING", "NSIDE", "INDXSCHM", "COORDSYS", "POLCCONV", "BEAMFWHM", "LMAX", "PIXWIN", "BAD_DATA")
_PICTURE_WIDTH = 600  # pixels


@dataclass(frozen=True)
class Inspected:
    """One file.

    Attributes
    ----------
    path
        The file.
    lines
        What it says, what would be assumed, and the power of each field.
    sky
        The map; None where it would be refused, and a mask where it is one.
    """

    path: Path
    lines: list[str]
    sky: SkyMap | None


def inspect(path: Path, told: Told) -> Inspected:
    """Look into a file of maps; one that would be refused is described as far as it can be read.

    Raises
    ------
    DataError
        Where it is missing, cut short, or no FITS file.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file: give files of maps, as 'obs_*.fits'")
    lines = list(_contents(path))
    try:
        sky = _read(path, told)
    except DataError as error:
        return Inspected(path, [*lines, f"would be refused: {str(error).removeprefix(f'{path}: ')}"], None)
    return Inspected(path, [*lines, *_meaning(sky), *_power(sky)], sky)


def _contents(path: Path) -> Iterator[str]:
    """HDUs with their columns and units, and the cards that matter."""
    with open_fits(path) as hdus:
        tables = dict(tables_of(hdus))
        for number, hdu in enumerate(hdus):
            if number in tables:
                columns = zip(names_of(hdu), hdu.columns.units, strict=True)
                named = ", ".join(f"{name} [{unit or 'no unit'}]" for name, unit in columns)
                yield f"HDU {number} {hdu.name or '(no name)'}: {len(hdu.data)} rows of {named}"
                yield f"  {_cards(header_of(hdus, hdu))}"
            elif hdu.shape:
                yield f"HDU {number} {hdu.name or '(no name)'}: a picture, {' x '.join(map(str, hdu.shape))}"


def _cards(header: dict[str, Any]) -> str:
    return ", ".join(f"{key} {header.get(key, 'not said')}" for key in _SHOWN)


def _read(path: Path, told: Told) -> SkyMap:
    """As a sky; as a mask where it cannot be one."""
    handler = get_handler("HealpyMap")
    try:
        sky: SkyMap = handler.read(path, allow_unseen=True, **told)
    except DataError:
        content: Content = "weights"
        if not _is_mask(path):
            raise
        sky = handler.read(path, content=content, allow_unseen=True, **told)
    return sky


def _is_mask(path: Path) -> bool:
    """Whether the columns have names of masks alone, or hold nothing but 0 and 1."""
    with open_fits(path) as hdus:
        return any("MASK" in name.upper() for _, table in tables_of(hdus) for name in names_of(table))


def _meaning(sky: SkyMap) -> Iterator[str]:
    beam = "not known" if sky.fwhm_arcmin is None else f"{sky.fwhm_arcmin:g} arcmin"
    lmax = "not known" if sky.lmax is None else str(sky.lmax)
    pixwin = "in it" if sky.pixwin else "not in it"
    missing = int(is_unseen(sky.values).any(axis=0).sum())
    yield (
        f"read as: {'TQU'[: len(sky.values)]}, {sky.unit}, nside {sky.nside}, beam {beam}, lmax {lmax}, "
        f"pixel window {pixwin}, {missing} missing pixels"
    )
    yield f"assumed: {'; '.join(sky.assumed) or 'nothing'}"


def _power(sky: SkyMap) -> Iterator[str]:
    for field, row in zip("TQU", sky.values, strict=False):
        seen = ~is_unseen(row)
        if not seen.any():
            yield f"{field}: no pixel was measured"
            continue
        monopole, dipole = _lowest(row, seen)
        yield (
            f"{field}: rms {np.std(row[seen]):.6g}, monopole {monopole:.6g}, dipole {dipole:.6g}, "
            f"from {row[seen].min():.6g} to {row[seen].max():.6g} {sky.unit}"
        )


def _lowest(row: Map, seen: NDArray[np.bool_]) -> tuple[float, float]:
    """Monopole and length of the dipole, fitted to the pixels that were measured."""
    basis = dipole_basis(nside_of(row))[:, seen]
    fit = np.linalg.lstsq(basis.T, row[seen].astype(float), rcond=None)[0]
    return float(fit[0]), float(np.linalg.norm(fit[1:]))


def draw(inspected: Sequence[Inspected], path: Path) -> None:
    """Draw all maps that can be read, one row for each file, and write a PNG.

    Raises
    ------
    DataError
        Where none can be read.
    """
    from cmbml.report.maps.mollweide import map_sheet, to_png

    panels = [
        (f"{one.path.name} {field}", np.where(is_unseen(row), np.nan, row), one.sky.unit)
        for one in inspected
        if one.sky is not None
        for field, row in zip("TQU", one.sky.values, strict=False)
    ]
    if not panels:
        raise DataError(f"--out {path}: no file that could be drawn")
    get_handler("Figure").write(path, to_png(map_sheet(panels, width=_PICTURE_WIDTH)))
