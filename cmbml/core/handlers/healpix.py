"""HEALPix maps and harmonic coefficients as FITS, in healpy's layout, float32.

Heavy packages are imported where they are used: Luigi's scheduling process knows handlers, but reads no map.
healpy is not imported at all: that takes a second, as long as a stage of small maps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cmbml.core.errors import DataError
from cmbml.core.handlers.base import AssetHandler
from cmbml.core.handlers.cards import beam, whole
from cmbml.core.handlers.fitsfiles import open_fits, write_fits
from cmbml.core.handlers.mapreading import read_sky

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Unpack

    from numpy.typing import NDArray

    from cmbml.core.handlers.cards import Told
    from cmbml.core.handlers.mapcolumns import Content
    from cmbml.sky.skymap import SkyAlm, SkyMap

_STOKES = {1: "I", 3: "IQU"}
_HARMONIC = {1: "T", 3: "TEB"}


class HealpyMap(AssetHandler["SkyMap"]):
    """Maps of one band: T, or T, Q and U, as one binary table."""

    format_version = 1

    def read(
        self,
        path: Path,
        *,
        content: Content = "TQU",
        nside: int | None = None,
        allow_unseen: bool = False,
        **told: Unpack[Told],
    ) -> SkyMap:
        """Read maps: RING, Galactic, COSMO.

        Parameters
        ----------
        path
            The file.
        content
            TQU: T, and Q and U where the file has them; T; weights: one column of a mask, of any unit;
            variance: II, or II, QQ and UU; hits: one column of hits, of any unit.
        nside
            Resolution that the caller counts on.
        allow_unseen
            Let missing pixels through, as ``healpy.UNSEEN``.
        told
            What the header may leave open (see `cmbml.core.handlers.cards.Told`).

        Raises
        ------
        DataError
            Where the file is truncated or no HEALPix map; where header and `told` leave open or contradict
            what it means; where it has another nside, NaN or missing pixels.
        """
        sky = read_sky(path, content, told)
        _expect_whole(path, sky, told, allow_unseen=allow_unseen)
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
            raise DataError(f"expected a SkyMap (values, unit, beam), got {type(data).__name__}")
        _expect_numbers(data.values, _STOKES[len(data.values)])
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
        write_fits(path, table)


class HealpyAlm(AssetHandler["SkyAlm"]):
    """Harmonic coefficients, T or T, E, B, in the layout of ``healpy.write_alm``: one extension each."""

    format_version = 1

    def read(self, path: Path) -> SkyAlm:
        """Read a_lm in healpy's order.

        Raises
        ------
        DataError
            Where the file is truncated, lacks its unit or band-limit, or holds other a_lm than they say.
        """
        from astropy.io import fits

        from cmbml.sky.skymap import SkyAlm

        with open_fits(path) as hdus:
            header = hdus[1].header
            lmax, unit = whole(header, "LMAX", least=0), header.get("TUNIT2")
            if lmax is None or not isinstance(unit, str) or not unit.strip():
                raise DataError("no a_lm with LMAX and a unit in the header: not made by HealpyAlm")
            tables = [hdu.data for hdu in hdus[1:] if isinstance(hdu, fits.BinTableHDU)]
            if len(tables) < len(hdus) - 1 or len(tables) not in _HARMONIC:
                raise DataError("expected a table for T, or one for each of T, E and B")
            for table in tables:
                if not np.array_equal(table["index"], _index(lmax)):
                    raise DataError(f"{len(table)} a_lm are not all up to LMAX = {lmax}, in healpy's order")
            values = np.stack([table["real"] + 1j * table["imag"] for table in tables]).astype(complex)
            if not np.isfinite(values).all():
                raise DataError("holds NaN or infinite a_lm: make it anew")
            return SkyAlm(values, unit.strip(), beam(header))

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
            raise DataError(f"expected a SkyAlm (values, unit, beam), got {type(data).__name__}")
        if not np.isfinite(data.values).all():
            raise DataError("a_lm that are not finite numbers are not written")
        hdus = [fits.PrimaryHDU()]
        for name, row in zip(_HARMONIC[len(data.values)], data.values, strict=True):
            hdus.append(_alm_table(name, row, data))
        write_fits(path, fits.HDUList(hdus))


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


def _expect_whole(path: Path, sky: SkyMap, told: Told, *, allow_unseen: bool) -> None:
    """Refuse missing pixels where the caller has no use for them."""
    from cmbml.sky.skymap import is_unseen

    missing = int(is_unseen(sky.values).any(axis=0).sum())
    if missing and not allow_unseen:
        remedy = ", or read with allow_unseen=True and use a mask" if "way" not in told else ""
        raise DataError(f"{path}: has {missing} missing pixels (UNSEEN): inpaint them{remedy}")


def _expect_numbers(values: NDArray[Any], names: str) -> None:
    from cmbml.sky.skymap import is_unseen

    for name, row, missing in zip(names, values, is_unseen(values), strict=True):
        if not np.isfinite(row[~missing]).all():
            raise DataError(f"column {name} holds NaN or infinite pixels: not written")
        if missing.any():
            raise DataError(f"column {name} has {missing.sum()} missing pixels (UNSEEN): inpaint them")
