"""A first look at all bands, before any is cleaned: are they alive and apart, and what is missing."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cmbml.core.errors import DataError
from cmbml.core.files.bandfiles import BandFile
from cmbml.sky.levels import LevelFit, full_sky_fit, level_fit
from cmbml.sky.skymap import SkyMap
from cmbml.sky.vetting import Look, look_at, refuse_repeats

Holes = NDArray[np.bool_]


@dataclass(frozen=True)
class Survey:
    """What all bands have in common.

    Where one band has a hole, all are filled and no level is fitted.  A place that one of them has not seen
    tells nothing about how they vary together.  Holes of temperature and polarisation are kept apart.

    Attributes
    ----------
    looks
        What is remembered of every band.
    gone
        By resolution, the pixels that are missing in any band: T, and Q or U, ``(2, npix)``.
    """

    looks: list[Look] = field(default_factory=list)
    gone: dict[int, Holes] = field(default_factory=dict)

    def add(self, band: BandFile, sky: SkyMap, missing: Holes) -> None:
        """Look at one band, ``(n_stokes, npix)`` of which are missing.

        Raises
        ------
        DataError
            Where it is dead.
        """
        try:
            self.looks.append(look_at(band.name, band.freq_ghz, sky.values, missing))
        except ValueError as error:
            raise DataError(f"{band.path}: {error}") from None
        here = np.stack([missing[0], missing[1:].any(axis=0)])
        self.gone[sky.nside] = self.gone.get(sky.nside, np.zeros_like(here)) | here

    def holes(self, nside: int, n_stokes: int) -> Holes:
        """Where a map has no value, or another band has none: ``(n_stokes, npix)``."""
        both = np.any([_regraded(holes, nside) for holes in self.gone.values()], axis=0)
        return both[[0, 1, 1][:n_stokes]]

    @cached_property
    def fit(self) -> LevelFit:
        """The fit of levels where all bands have temperature."""
        nside = max(self.gone)
        holes = self.holes(nside, 1)[0]
        return level_fit((~holes).astype(np.float64)) if holes.any() else full_sky_fit()


def _regraded(holes: Holes, nside: int) -> Holes:
    """Holes at another resolution, ``(n_rows, npix)``: a larger pixel is missing where a part of it is."""
    if holes.shape[1] == 12 * nside**2:
        return holes
    from cmbml.sky.mask import regrade  # imports healpy and scipy

    return np.stack([regrade(row.astype(np.float64), nside) > 0 for row in holes])


def survey(bands: Iterable[tuple[BandFile, SkyMap, Holes]], pattern: str) -> Survey:
    """Look at all bands.

    Parameters
    ----------
    bands
        Each with its map, uK_CMB, and which of its values are missing; they are taken one after the other.
    pattern
        What the user calls them.

    Raises
    ------
    DataError
        Where a band is dead, two are one, or nothing is left that all have.
    """
    found = Survey()
    for band, sky, missing in bands:
        found.add(band, sky, missing)
    try:
        refuse_repeats(found.looks)
    except ValueError as error:
        raise DataError(f"{pattern}: {error}") from None
    if found.holes(max(found.gone), 1).all():
        raise DataError(f"{pattern}: every pixel is missing in one band or another: leave a band out")
    return found
