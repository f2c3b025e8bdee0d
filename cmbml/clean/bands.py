"""Reads the maps of the bands, and analyses them: holes filled, levels taken off, pixel window taken out."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmbml.clean.request import Order
from cmbml.clean.survey import Survey, survey
from cmbml.core.errors import ConfigError, DataError, did_you_mean
from cmbml.core.files.bandfiles import BandFile, expect_one_convention, find_bands, read_band
from cmbml.core.files.checksums import md5_of
from cmbml.core.handlers import get_handler
from cmbml.core.spec.instruments import read_bands, table_path
from cmbml.core.spec.numbers import parsed
from cmbml.core.spec.params import Band
from cmbml.sky.executors.bands import passbands_of
from cmbml.sky.inpaint import inpaint
from cmbml.sky.levels import Levels, common_levels
from cmbml.sky.pixwin import pixel_window, polarisation_window
from cmbml.sky.sht import Alm, Map, almxfl, map2alm
from cmbml.sky.skymap import SkyMap, is_unseen
from cmbml.sky.vetting import doubts, level_doubts


@dataclass(frozen=True)
class Seen:
    """A band that was read.

    Attributes
    ----------
    band
        The band and its file.
    nside
        Resolution of its map.
    n_missing
        Pixels that are missing in it, or masked.
    holes
        Pixels that were filled: those that are missing in any band.
    levels
        Monopole and dipole that were taken off, uK_CMB.
    assumed
        What its file did not say, and was assumed.
    pixwin
        Whether the pixel window is in its map.
    """

    band: BandFile
    nside: int
    n_missing: int
    holes: NDArray[np.bool_]
    levels: Levels
    assumed: tuple[str, ...]
    pixwin: bool

    def facts(self) -> dict[str, Any]:
        """What the provenance says of it."""
        return {
            "band": self.band.name,
            "file": str(self.band.path),
            "md5": md5_of(self.band.path),
            "nside": self.nside,
            "fwhm_arcmin": self.band.fwhm_arcmin,
            "freq_ghz": self.band.freq_ghz,
            "response": self.band.band.response,
            "pixel_window": self.pixwin,
            "missing_pixels": self.n_missing,
            "inpainted_pixels": int(self.holes.sum()),
            "levels_taken_off": self.levels.facts(),
            **({"assumed": list(self.assumed)} if self.assumed else {}),
        }


@dataclass(frozen=True)
class Filled(Seen):
    """Its map without holes and levels, ``(n_stokes, npix)``, uK_CMB."""

    values: Map


@dataclass(frozen=True)
class Observed(Seen):
    """Its harmonic coefficients without levels: T, or T, E and B, uK_CMB."""

    alm: Alm


def instrument_of(order: Order, folder: Path) -> dict[str, Band]:
    """The bands that are used, by name.

    Raises
    ------
    ConfigError
        Where the instrument has no such band, or a passband is none of its band.
    """
    path = table_path(folder, order.instrument)
    table = read_bands(path)
    for name in order.bands:
        if name not in table:
            raise ConfigError(f"--bands: {order.instrument} has no '{name}': {did_you_mean(name, table)}")
    used: dict[str, Band] = {}
    for name, row in table.items():
        if name in (order.bands or table):
            try:
                used[name] = parsed(Band, row)
            except ValueError as error:
                raise ConfigError(f"{path}: band {name}: {error}") from None
    passbands_of(used)
    return used


def common_of(bands: Sequence[Seen]) -> Levels:
    """What of the levels of bands is the CMB's, to be put back."""
    return common_levels([one.levels for one in bands], [one.band.freq_ghz for one in bands])


class MapReader:
    """Reads what an order names.

    Parameters
    ----------
    order
        What is to be done.
    folder
        What relative paths start from.
    table
        The instrument's bands that are used, by name.
    """

    def __init__(self, order: Order, folder: Path, table: dict[str, Band]) -> None:
        self.order = order
        self.folder = folder
        self.table = table

    def find(self, pattern: str) -> list[BandFile]:
        """The files of all bands, which must not contradict each other."""
        bands = find_bands(pattern, self.table, self.folder)
        if self.order.fields != "T":
            expect_one_convention([band for band in bands if band.band.polarised], self.order.reading)
        return bands

    @cached_property
    def survey(self) -> Survey:
        """The first look at the order's maps; they are read again to be cleaned, since they may be large."""
        read = ((band, self._read(band)) for band in self.find(self.order.maps))
        return survey(((band, sky, self._missing(sky)) for band, sky in read), self.order.maps)

    def doubts(self, bands: Sequence[Seen]) -> list[str]:
        """What of the order's maps, once they are read, the user should know: a line each."""
        looks = self.survey.looks
        return [*doubts(looks), *level_doubts(looks, [band.levels for band in bands])]

    def observe(self, pattern: str) -> list[Observed]:
        """Read and analyse all bands: as many at a time as there are threads, since maps may be large."""
        bands, seen = self.find(pattern), self.survey
        threads = self.order.threads
        observed: list[Observed] = []
        with ThreadPoolExecutor(threads) as pool:
            for first in range(0, len(bands), threads):
                some = [(band, self._read(band)) for band in bands[first : first + threads]]
                observed += pool.map(lambda read: self._analyse(read[0], read[1], seen), some)
        return observed

    def fill(self, pattern: str) -> list[Filled]:
        """Read all bands, fill their holes and take their levels off."""
        return [self._fill(band, self._read(band), self.survey) for band in self.find(pattern)]

    def _read(self, band: BandFile) -> SkyMap:
        lmax = self.order.lmax
        polarised = self.order.fields != "T" and band.band.polarised
        sky = read_band(band, "TQU" if polarised else "T", self.order.reading)
        support = min(3 * sky.nside - 1, sky.lmax or lmax)
        if lmax > support:
            raise DataError(
                f"{band.path}: ends at l = {support}: lower --lmax {lmax}, or leave band {band.name} out"
            )
        return sky

    def _missing(self, sky: SkyMap) -> NDArray[np.bool_]:
        return is_unseen(sky.values) | self._masked(sky.nside)

    def _fill(self, band: BandFile, sky: SkyMap, seen: Survey) -> Filled:
        """Fill what is missing in any band, and take the levels off."""
        missing, fwhm = self._missing(sky), band.fwhm_arcmin
        holes = missing | seen.holes(sky.nside, len(sky.values))
        try:
            filled = np.array([inpaint(row, hole) for row, hole in zip(sky.values, holes, strict=True)])
        except ValueError as error:
            raise DataError(f"{band.path}: {error}") from None
        levels = seen.fit.measure_map(filled, fwhm)
        n_missing, inpainted = int(missing.any(axis=0).sum()), np.asarray(holes.any(axis=0))
        said = (levels, sky.assumed, sky.pixwin)
        return Filled(band, sky.nside, n_missing, inpainted, *said, levels.off_map(filled, fwhm))

    def _analyse(self, band: BandFile, sky: SkyMap, seen: Survey) -> Observed:
        """Fill the holes of one band, take its levels off, and analyse it on one thread."""
        lmax, filled = self.order.lmax, self._fill(band, sky, seen)
        alm = map2alm(filled.values, lmax)
        if sky.pixwin:
            windows = [
                pixel_window(sky.nside, lmax),
                *[polarisation_window(sky.nside, lmax)] * (len(alm) - 1),
            ]
            alm = np.array([almxfl(row, 1 / window) for row, window in zip(alm, windows, strict=True)])
        said = (filled.levels, sky.assumed, sky.pixwin)
        return Observed(band, sky.nside, filled.n_missing, filled.holes, *said, alm)

    @cached_property
    def _mask(self) -> SkyMap | None:
        if self.order.mask is None:
            return None
        path, told = self.folder / self.order.mask, self.order.reading_of_mask
        mask: SkyMap = get_handler("HealpyMap").read(path, content="weights", allow_unseen=True, **told)
        return mask

    def _masked(self, nside: int) -> NDArray[np.bool_] | bool:
        """Pixels of a resolution that the mask leaves out."""
        if self._mask is None:
            return False
        from cmbml.sky.mask import threshold_mask  # imports healpy and scipy

        try:
            return threshold_mask(self._mask.values[0], nside, 0.5) == 0
        except ValueError as error:
            raise DataError(f"{self.order.mask}: {error}: another column? Say --mask-column") from None

    def assumed(self, read: Sequence[Seen]) -> list[str]:
        """One line of what was assumed of all that was read; none where nothing was."""
        files: dict[str, list[str]] = {}
        for entry in read:
            for text in entry.assumed:
                files.setdefault(text, []).append(entry.band.name)
        for text in self._mask.assumed if self._mask is not None else ():
            files.setdefault(text, []).append("mask")
        told = [f"{text}: {', '.join(names)}" for text, names in files.items()]
        return ["; ".join(told)] if told else []
