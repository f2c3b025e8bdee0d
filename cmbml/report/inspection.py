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
from cmbml.core.handlers.fitsfiles import find_table, names_of, open_fits, tables_of
from cmbml.core.handlers.mapcolumns import is_mask
from cmbml.sky.sht import Map, nside_of
from cmbml.sky.skymap import SkyMap, is_unseen

# Cards that say what the numbers of a map mean, as they are shown.
_SHOWN = ("ORDERING", "NSIDE", "INDXSCHM", "COORDSYS", "POLCCONV", "BEAMFWHM", "LMAX", "PIXWIN", "BAD_DATA")
_PICTURE_WIDTH = 600  # pixels
# What the one row of a mask is.
_MASK = ("mask",)


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
        The map, or the mask; None where it would be refused.
    fields
        What its rows are: T, or T, Q and U; or mask.
    """

    path: Path
    lines: list[str]
    sky: SkyMap | None = None
    fields: tuple[str, ...] = ()


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
        sky, fields = _read(path, told)
    except DataError as error:
        return Inspected(path, [*lines, f"would be refused: {str(error).removeprefix(f'{path}: ')}"])
    return Inspected(path, [*lines, *_meaning(sky, fields), *_power(sky, fields)], sky, fields)


def _contents(path: Path) -> Iterator[str]:
    """HDUs with their columns and units, and the cards that matter."""
    with open_fits(path) as hdus:
        tables = dict(tables_of(hdus))
        for number, hdu in enumerate(hdus):
            if number in tables:
                columns = zip(names_of(hdu), hdu.columns.units, strict=True)
                named = ", ".join(f"{name} [{unit or 'no unit'}]" for name, unit in columns)
                yield f"HDU {number} {hdu.name or '(no name)'}: {len(hdu.data)} rows of {named}"
                yield f"  {_cards(dict(hdus[0].header) | dict(hdu.header))}"
            elif hdu.shape:
                yield f"HDU {number} {hdu.name or '(no name)'}: a picture, {' x '.join(map(str, hdu.shape))}"


def _cards(header: dict[str, Any]) -> str:
    return ", ".join(f"{key} {header.get(key, 'not said')}" for key in _SHOWN)


def _read(path: Path, told: Told) -> tuple[SkyMap, tuple[str, ...]]:
    """The map and its fields; a mask where it is called so, or holds 0 and 1 alone."""
    handler = get_handler("HealpyMap")
    try:
        sky: SkyMap = handler.read(path, allow_unseen=True, **told)
    except DataError:
        mask = _mask(path, told)
        if mask is None:
            raise
        return mask, _MASK
    return sky, _MASK if _is_binary(sky) else tuple("TQU"[: len(sky.values)])


def _mask(path: Path, told: Told) -> SkyMap | None:
    """The file as a mask; None where it is none."""
    with open_fits(path) as hdus:
        called_so = all(map(is_mask, names_of(find_table(hdus, told, "weights"))))
    try:
        mask: SkyMap = get_handler("HealpyMap").read(path, content="weights", allow_unseen=True, **told)
    except DataError:
        if called_so:
            raise
        return None
    return mask if called_so or _is_binary(mask) else None


def _is_binary(sky: SkyMap) -> bool:
    """Whether it is one row of nothing but 0 and 1."""
    values = sky.values[~is_unseen(sky.values)]
    return len(sky.values) == 1 and bool(np.isin(values, (0, 1)).all() and values.any())


def _meaning(sky: SkyMap, fields: tuple[str, ...]) -> Iterator[str]:
    beam = "not known" if sky.fwhm_arcmin is None else f"{sky.fwhm_arcmin:g} arcmin"
    lmax = "not known" if sky.lmax is None else str(sky.lmax)
    pixwin = "in it" if sky.pixwin else "not in it"
    missing = f"{int(is_unseen(sky.values).any(axis=0).sum())} missing pixels"
    yield (
        f"read as: mask, nside {sky.nside}, {missing}"
        if fields == _MASK
        else f"read as: {''.join(fields)}, {sky.unit}, nside {sky.nside}, beam {beam}, lmax {lmax}, "
        f"pixel window {pixwin}, {missing}"
    )
    yield f"assumed: {'; '.join(sky.assumed) or 'nothing'}"


def _power(sky: SkyMap, fields: tuple[str, ...]) -> Iterator[str]:
    for field, row in zip(fields, sky.values, strict=True):
        seen = ~is_unseen(row)
        if not seen.any():
            yield f"{field}: no pixel was measured"
            continue
        ends = f"from {row[seen].min():.6g} to {row[seen].max():.6g}"
        if fields == _MASK:
            yield f"{field}: mean {np.mean(row[seen]):.4g}, {ends}"
            continue
        monopole, dipole = _lowest(row, seen)
        yield (
            f"{field}: rms {np.std(row[seen]):.6g}, monopole {monopole:.6g}, dipole {dipole:.6g}, "
            f"{ends} {sky.unit}"
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
        for field, row in zip(one.fields, one.sky.values, strict=True)
    ]
    if not panels:
        raise DataError(f"--out {path}: no file that could be drawn")
    get_handler("Figure").write(path, to_png(map_sheet(panels, width=_PICTURE_WIDTH)))
