"""HEALPix maps and harmonic coefficients as FITS, in healpy's layout, float32.

Heavy packages are imported where they are used: Luigi's scheduling process knows handlers, but reads no map.
healpy is not imported at all: that takes a second, as long as a stage of small maps.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cmbml.core.errors import DataError
from cmbml.core.handlers.base import AssetHandler

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from cmbml.sky.skymap import SkyAlm, SkyMap

_NO_UNIT = ("unitless", "dimensionless", "none")
_STOKES = {1: "I", 3: "IQU"}
_HARMONIC = {1: "T", 3: "TEB"}


class HealpyMap(AssetHandler["SkyMap"]):
    """Maps of one band: T, or T, Q and U, as one binary table."""

    format_version = 1

    def read(
        self,
        path: Path,
        *,
        unit: str | None = None,
        field: int | tuple[int, ...] | Literal["TQU"] | None = None,
        nside: int | None = None,
        allow_unseen: bool = False,
    ) -> SkyMap:
        """Read maps, turned to RING.

        Parameters
        ----------
        path
            The file.
        unit
            Unit of the values where the header names none; it is never guessed.
        field
            Columns to read; by default all of them.  TQU: the first three where the second and third are
            named Q and U, as in Planck's files, and else the first alone.
        nside
            Resolution that the caller counts on.
        allow_unseen
            Let missing pixels through, as ``healpy.UNSEEN``.

        Raises
        ------
        DataError
            Where the file is truncated or no HEALPix map, has no unit or another than given, another
            nside, NaN or missing pixels, or an ordering that the header does not name.
        """
        from cmbml.sky.skymap import SkyMap

        header, columns = _read_table(path, field)
        _expect_layout(path, header)
        found_unit = _one_unit(path, [named for named, _ in columns.values()], unit)
        values = np.stack([_to_ring(path, column.ravel(), header) for _, column in columns.values()])
        sky = SkyMap(
            values=_without_bad(path, values, columns, allow_unseen),
            unit=found_unit,
            fwhm_arcmin=header.get("BEAMFWHM"),
            lmax=header.get("LMAX"),
            pixwin=bool(header.get("PIXWIN", False)),
            signal_preserving=bool(header.get("SIGPRES", True)),
        )
        if nside is not None and sky.nside != nside:
            raise DataError(f"{path}: nside is {sky.nside}, expected {nside}: bring the map to {nside} first")
        return sky

    def write(self, path: Path, data: SkyMap) -> None:
        """Write maps with their unit, beam and band-limit.

        Raises
        ------
        DataError
            Where `data` is no `SkyMap`, or holds NaN or missing pixels.
        """
        from astropy.io import fits

        from cmbml.sky.skymap import SkyMap

        if not isinstance(data, SkyMap):
            raise DataError(f"{path.name}: expected a SkyMap (values, unit, beam), got {type(data).__name__}")
        _without_bad(path, data.values, _STOKES[len(data.values)], allow_unseen=False)
        stokes = _STOKES[len(data.values)]
        rows = data.values.astype(np.float32)
        layout, shape = ("1024E", (-1, 1024)) if rows.shape[1] > 1024 else ("E", (-1,))
        columns = [
            fits.Column(name, layout, unit=data.unit, array=row.reshape(shape))
            for name, row in zip(stokes, rows, strict=True)
        ]
        table = fits.BinTableHDU.from_columns(columns)
        table.header.update(_healpix_cards(data.nside))
        cards = {"STOKES": stokes, "POLCCONV": "COSMO", "PIXWIN": data.pixwin} | _known(data)
        table.header.update(cards | ({} if data.signal_preserving else {"SIGPRES": False}))
        table.writeto(path, overwrite=True)


class HealpyAlm(AssetHandler["SkyAlm"]):
    """Harmonic coefficients, T or T, E, B, in the layout of ``healpy.write_alm``: one extension each."""

    format_version = 1

    def read(self, path: Path) -> SkyAlm:
        """Read a_lm in healpy's order.

        Raises
        ------
        DataError
            Where the file is truncated, or lacks its unit or band-limit.
        """
        from astropy.io import fits

        from cmbml.sky.sht import alm_size
        from cmbml.sky.skymap import SkyAlm

        with _open(path) as hdus:
            header = hdus[1].header
            if "LMAX" not in header or not header.get("TUNIT2"):
                raise DataError(f"{path}: no a_lm with LMAX and a unit in the header: not made by HealpyAlm")
            tables = [hdu.data for hdu in hdus if isinstance(hdu, fits.BinTableHDU)]
            values = np.stack([table["real"] + 1j * table["imag"] for table in tables]).astype(complex)
            if values.shape[1] != alm_size(header["LMAX"]):
                raise DataError(f"{path}: {values.shape[1]} a_lm do not make LMAX = {header['LMAX']}")
            return SkyAlm(values, str(header["TUNIT2"]), header.get("BEAMFWHM"))

    def write(self, path: Path, data: SkyAlm) -> None:
        """Write a_lm with their unit, beam and band-limit.

        Raises
        ------
        DataError
            Where `data` is no `SkyAlm`, or holds NaN.
        """
        from astropy.io import fits

        from cmbml.sky.skymap import SkyAlm

        if not isinstance(data, SkyAlm):
            raise DataError(f"{path.name}: expected a SkyAlm (values, unit, beam), got {type(data).__name__}")
        if not np.isfinite(data.values).all():
            raise DataError(f"{path.name}: a_lm that are not finite numbers are not written")
        hdus = [fits.PrimaryHDU()]
        for name, row in zip(_HARMONIC[len(data.values)], data.values, strict=True):
            hdus.append(_alm_table(name, row, data))
        fits.HDUList(hdus).writeto(path, overwrite=True)


def _healpix_cards(nside: int) -> dict[str, Any]:
    """Cards of a whole map in RING, as ``healpy.write_map`` writes them, comments included."""
    return {
        "PIXTYPE": ("HEALPIX", "HEALPIX pixelisation"),
        "ORDERING": ("RING", "Pixel ordering scheme, either RING or NESTED"),
        "COORDSYS": ("G", "Ecliptic, Galactic or Celestial (equatorial)"),
        "EXTNAME": ("xtension", "name of this binary table extension"),
        "NSIDE": (nside, "Resolution parameter of HEALPIX"),
        "FIRSTPIX": (0, "First pixel # (0 based)"),
        "LASTPIX": (12 * nside**2 - 1, "Last pixel # (0 based)"),
        "INDXSCHM": ("IMPLICIT", "Indexing: IMPLICIT or EXPLICIT"),
        "OBJECT": ("FULLSKY", "Sky coverage, either FULLSKY or PARTIAL"),
    }


def _alm_table(name: str, row: NDArray[Any], data: SkyAlm) -> Any:
    from astropy.io import fits

    columns = [
        fits.Column("index", "J", array=_index(data.lmax)),
        fits.Column("real", "E", unit=data.unit, array=row.real.astype(np.float32)),
        fits.Column("imag", "E", unit=data.unit, array=row.imag.astype(np.float32)),
    ]
    table = fits.BinTableHDU.from_columns(columns, name=name)
    for key, value in _known(data).items():
        table.header[key] = value
    return table


def _index(lmax: int) -> NDArray[Any]:
    """Explicit index l^2 + l + m + 1 of every a_lm, as healpy writes it."""
    ell = np.concatenate([np.arange(m, lmax + 1) for m in range(lmax + 1)])
    m = np.repeat(np.arange(lmax + 1), np.arange(lmax + 1, 0, -1))
    return (ell * ell + ell + m + 1).astype(np.int32)


def _known(data: SkyMap | SkyAlm) -> dict[str, Any]:
    """Cards for what is known of beam and band-limit."""
    cards = {"BEAMFWHM": data.fwhm_arcmin, "LMAX": data.lmax}
    return {key: value for key, value in cards.items() if value is not None}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what FITS readers merely remark on from looking like trouble."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open a FITS file that is all there."""
    from astropy.io import fits

    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        with _quiet(), fits.open(path, memmap=True, lazy_load_hdus=False) as hdus:
            end = max(hdu.fileinfo()["datLoc"] + hdu.fileinfo()["datSpan"] for hdu in hdus)
            if len(hdus) < 2 or path.stat().st_size < end:
                raise DataError(
                    f"{path}: truncated: {path.stat().st_size} of {end} bytes: make or fetch it again"
                )
            yield hdus
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not a readable FITS file: {' '.join(str(error).split())}") from None


def _read_table(
    path: Path, field: int | tuple[int, ...] | Literal["TQU"] | None
) -> tuple[Mapping[str, Any], dict[str, tuple[str | None, NDArray[Any]]]]:
    """Header, and unit and values of the chosen columns by name."""
    with _open(path) as hdus:
        table = hdus[1]
        names = list(table.columns.names)
        columns = {}
        for index in _chosen(names, field):
            column = np.asarray(table.data[names[index]])
            native = column.astype(column.dtype.newbyteorder("="))
            columns[names[index]] = (table.header.get(f"TUNIT{index + 1}"), native)
        return dict(table.header), columns


def _chosen(names: list[str], field: int | tuple[int, ...] | Literal["TQU"] | None) -> list[int]:
    if field == "TQU":
        polarised = [name[:1].upper() for name in names[1:3]] == ["Q", "U"]
        return [0, 1, 2] if polarised else [0]
    return list(range(len(names))) if field is None else [int(i) for i in np.atleast_1d(field)]


def _expect_layout(path: Path, header: Mapping[str, Any]) -> None:
    ordering = str(header.get("ORDERING", "")).upper()
    if not ordering.startswith(("RING", "NEST")):
        raise DataError(
            f"{path}: the header names no ORDERING (RING or NESTED): not a HEALPix map, or set it"
        )
    if str(header.get("INDXSCHM", "IMPLICIT")).upper() == "EXPLICIT":
        raise DataError(f"{path}: a cut-sky map with explicit pixels: write it as a full map first")
    system = str(header.get("COORDSYS", "")).strip().upper()
    if system.startswith(("C", "E")):
        raise DataError(f"{path}: COORDSYS is {system}: rotate the map to Galactic coordinates first")


def _one_unit(path: Path, found: list[Any], given: str | None) -> str:
    names = {str(name).strip() for name in found if name and str(name).strip()}
    names = {"1" if name.lower() in _NO_UNIT else name for name in names}
    if len(names) > 1:
        raise DataError(
            f"{path}: columns have several units: {', '.join(sorted(names))}: read them one by one"
        )
    if not names:
        if given is None:
            raise DataError(f"{path}: the header names no unit: say unit='...'; it is not guessed")
        return given
    unit = names.pop()
    if given is not None and given != unit:
        raise DataError(f"{path}: the header says unit {unit}, expected {given}: convert it with SkyMap.to")
    return unit


def _to_ring(path: Path, values: NDArray[Any], header: Mapping[str, Any]) -> NDArray[Any]:
    import ducc0

    from cmbml.sky.sht import nside_of

    try:
        nside = nside_of(values)
    except ValueError:
        raise DataError(f"{path}: {len(values)} pixels are no HEALPix map") from None
    if not str(header["ORDERING"]).upper().startswith("NEST"):
        return values
    ring = np.arange(len(values))
    return np.asarray(values[ducc0.healpix.Healpix_Base(nside, "RING").ring2nest(ring)])


def _without_bad(path: Path, values: NDArray[Any], names: Any, allow_unseen: bool) -> NDArray[Any]:
    from cmbml.sky.skymap import UNSEEN, is_unseen

    bad = is_unseen(values)
    for name, row, missing in zip(names, values, bad, strict=True):
        if not np.isfinite(row[~missing]).all():
            raise DataError(f"{path}: column {name} holds NaN or infinite pixels: mend the map first")
        if missing.any() and not allow_unseen:
            raise DataError(
                f"{path}: column {name} has {missing.sum()} missing pixels (UNSEEN): "
                "inpaint them, or read with allow_unseen=True and use a mask"
            )
    return np.where(bad, UNSEEN, values) if bad.any() else values
