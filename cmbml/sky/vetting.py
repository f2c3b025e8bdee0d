"""Vetting of bands before they are cleaned: dead and repeated ones are refused, absurd ones are doubted.

A dead band has no variance, and an internal linear combination gives it all the weight; a band that is there
twice makes its covariance singular.  Neither is ever right.  What only looks wrong -- power that no sky has,
foregrounds that are brightest in the middle of the spectrum -- may have its reasons and is told.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import ducc0
import numpy as np
from numpy.typing import NDArray

from cmbml.sky.levels import LATITUDE_DEG, Levels, galaxy_uk
from cmbml.sky.sht import Map, nside_of

FloatArray = NDArray[np.floating]

STOKES = "TQU"
# Bands are compared by their means over pixels of 7 degrees, which have next to no noise.
NSIDE = 8
# Fewer of them say nothing about power, or about whether two bands are one.
LEAST_BLOCKS, LEAST_COMMON = 100, 10
# Values that differ by less, relatively, are the same number to single precision.
SAME_VALUE = 1e-6
# Bands that differ by less, in units of their deviation, are one band to single precision.
SAME_BAND = 1e-5
# Rms in blocks of the CMB is about 45 uK_CMB.
LEAST_RMS_UK = 15.0
MOST_RMS_UK = 300.0
# How much brighter than ours a Galaxy may be.
BELIEVED = 10.0
LEVEL_REMARKS = {
    "monopole": "look at the unit",
    "dipole": "the Sun's motion gives 3362 towards (l, b) = (264, 48) deg",
}
# Foregrounds that are brighter by this factor than those of a lower and of a higher frequency.
PEAK = 1.25
SWAPPED = "look whether two bands are swapped, and at their units"
# A value that so many pixels hold, and so many times more than hold a usual one, marks them.
MARKED, MARKED_FACTOR, LEAST_MARKED = 0.001, 10, 10
# What of a band is unlike the highest one, and how much more it may be than at a lower frequency.
UNLIKE, UNLIKE_FACTOR = 0.03, 2.5
# It means nothing where foregrounds are not brighter than so many times the CMB, as far from the Galaxy.
ABOVE_CMB = 2.0


@dataclass(frozen=True)
class Look:
    """What is remembered of a band.

    Attributes
    ----------
    name
        Its name.
    freq_ghz
        Its centre.
    blocks
        Means over coarse pixels, NESTED, ``(n_stokes, n_blocks)``, uK_CMB; NaN where a pixel is missing.
    """

    name: str
    freq_ghz: float
    blocks: Map


def look_at(name: str, freq_ghz: float, sky: Map, missing: NDArray[np.bool_]) -> Look:
    """Look at a band.

    Parameters
    ----------
    name, freq_ghz
        Name and centre of the band.
    sky
        T or T, Q, U, RING: ``(n_stokes, npix)``, uK_CMB.
    missing
        Which of its values are missing, the same shape.

    Raises
    ------
    ValueError
        Where a field has no pixels, holds one number in most of them, or a mark of what is missing.
    """
    expect_sky(sky, missing, f"leave band {name} out, or mark what is missing as UNSEEN, or mask it")
    return Look(name, freq_ghz, _blocks(sky, missing))


def expect_sky(sky: Map, missing: NDArray[np.bool_], remedy: str) -> None:
    """Refuse a field that is no sky, or not all of it.

    Parameters
    ----------
    sky, missing
        As in `look_at`.
    remedy
        What the user can do about a field that is none.

    Raises
    ------
    ValueError
        Where a field has no pixels, holds one number in most of them, or a mark of what is missing.
    """
    for field, row, gone in zip(STOKES, sky, missing, strict=False):
        seen = row[~gone]
        if not seen.size:
            raise ValueError(f"{field}: all pixels are missing: {remedy}")
        usual = float(np.median(seen))
        if np.mean(np.abs(seen - usual) <= SAME_VALUE * abs(usual)) > 0.5:
            raise ValueError(f"{field} is {usual:g} in most pixels, as no sky is: {remedy}")
        if (mark := _mark(seen)) is not None:
            raise ValueError(
                f"{field} is exactly {mark:g} in {np.sum(seen == mark)} pixels, as where nothing was seen: "
                "mark them as UNSEEN, name the value in a BAD_DATA card, or mask them"
            )


def _mark(seen: FloatArray) -> float | None:
    """The value that stands for nothing: zero or an end of the range, far more often than others."""
    usual = min(np.sum(seen == value) for value in np.quantile(seen, (0.25, 0.75), method="nearest"))
    least = max(MARKED * seen.size, MARKED_FACTOR * usual, LEAST_MARKED)
    ends = (0.0, float(seen.min()), float(seen.max()))
    return next((value for value in ends if np.sum(seen == value) > least), None)


def refuse_repeats(looks: Sequence[Look]) -> None:
    """Compare all fields of all bands.

    Raises
    ------
    ValueError
        Where one is another, times a number or with another zero level.
    """
    labelled = [
        (f"{field} of band {look.name}", row)
        for look in looks
        for field, row in zip(STOKES, look.blocks, strict=False)
    ]
    for (one, row), (other, again) in combinations(labelled, 2):
        if _is_same(_without_levels(np.stack([row, again]))):
            raise ValueError(f"{other} is {one} times a number: one file stands for two: leave one out")


def doubts(looks: Sequence[Look]) -> Iterator[str]:
    """What of the temperatures no sky and no instrument has: a line each."""
    temperature = np.stack([look.blocks[0] for look in looks])
    blocks = _without_levels(temperature)
    far = np.abs(_basis()[3]) >= np.sin(np.radians(LATITUDE_DEG))
    beyond = _without_levels(np.where(far, temperature, np.nan))
    if beyond.shape[1] < LEAST_BLOCKS:
        return
    yield from _power_doubts(looks, beyond.std(axis=1))
    order = np.argsort([look.freq_ghz for look in looks])
    names = [looks[place].name for place in order]
    cmb, bright = _parts(blocks[order])
    yield from _peak_doubts(names, bright)
    unlike = 1 - np.atleast_2d(np.corrcoef(blocks[order]))[-1]
    heeded = np.flatnonzero(bright > ABOVE_CMB * cmb)
    yield from _likeness_doubts([names[place] for place in heeded], unlike[heeded])


def level_doubts(looks: Sequence[Look], levels: Sequence[Levels]) -> Iterator[str]:
    """Levels of bands, uK_CMB, beyond what Galaxy and infrared background have: a line for each kind."""
    most = [BELIEVED * sum(galaxy_uk(look.freq_ghz)) for look in looks]
    for kind, remark in LEVEL_REMARKS.items():
        values = [getattr(one, kind) for one in levels]
        if high := _named(looks, values, np.abs(values) > most):
            yield f"{kind} of band {high} uK_CMB, now taken off, is more than a sky has: {remark}"


def _power_doubts(looks: Sequence[Look], rms: FloatArray) -> Iterator[str]:
    most = [MOST_RMS_UK + BELIEVED * sum(galaxy_uk(look.freq_ghz)) for look in looks]
    if low := _named(looks, rms, rms < LEAST_RMS_UK):
        yield f"rms at 7 degrees of band {low} uK_CMB is less than that of the CMB, 45: look at the unit"
    if high := _named(looks, rms, rms > most):
        yield f"rms at 7 degrees of band {high} uK_CMB is more than that of a sky: look at the unit"


def _named(looks: Sequence[Look], values: Iterable[float], chosen: Iterable[bool]) -> str:
    """The chosen bands with their values."""
    rows = zip(looks, values, chosen, strict=True)
    return ", ".join(f"{look.name}: {value:.4g}" for look, value, this in rows if this)


def _peak_doubts(names: Sequence[str], bright: FloatArray) -> Iterator[str]:
    """Foregrounds fall with frequency and then rise: what stands out between two bands is out of place."""
    for place in range(1, len(names) - 1):
        below, above = bright[:place].min(), bright[place + 1 :].min()
        if bright[place] > PEAK * max(below, above):
            yield (
                f"band {names[place]}: its foregrounds ({bright[place]:.3g} uK_CMB) are brighter than those "
                f"of a lower ({below:.3g}) and of a higher frequency ({above:.3g}): {SWAPPED}"
            )


def _likeness_doubts(names: Sequence[str], unlike: FloatArray) -> Iterator[str]:
    """The higher its frequency, the more a band is like the highest one, which is all dust."""
    for place in range(1, len(names) - 1):
        before = int(np.argmin(unlike[:place]))
        if unlike[place] > max(UNLIKE, UNLIKE_FACTOR * unlike[before]):
            yield f"band {names[place]}: is less like {names[-1]} than {names[before]} is: {SWAPPED}"


def _is_same(pair: Map) -> bool:
    """Whether two rows of blocks are one, times a number."""
    if pair.shape[1] < LEAST_COMMON:
        return False
    one, other = pair / pair.std(axis=1, keepdims=True)
    return bool(min(np.abs(one - other).max(), np.abs(one + other).max()) < SAME_BAND)


def _parts(blocks: Map) -> tuple[float, FloatArray]:
    """Rms of the CMB, and of the rest by band: CMB is the least that the bands add up to, with sum one."""
    covariance = np.atleast_2d(np.cov(blocks))
    size = np.sqrt(np.diag(covariance))
    # single precision leaves more than this ridge
    correlation = covariance / np.outer(size, size) + 1e-11 * np.eye(len(size))
    cmb = 1 / (np.linalg.solve(correlation, 1 / size) / size).sum()
    return float(np.sqrt(cmb)), np.sqrt(np.maximum(size**2 - cmb, 0.01 * cmb))


def _blocks(sky: Map, missing: NDArray[np.bool_]) -> Map:
    nside = nside_of(sky)
    nested = np.empty(sky.shape)
    order = ducc0.healpix.Healpix_Base(nside, "RING").ring2nest(np.arange(sky.shape[1]))
    nested[:, order] = np.where(missing, np.nan, sky)
    if nside < NSIDE:
        return np.repeat(nested, (NSIDE // nside) ** 2, axis=1)
    return np.asarray(nested.reshape(len(sky), 12 * NSIDE**2, -1).mean(axis=2))


def _without_levels(blocks: Map) -> Map:
    """Blocks that all rows have, without monopole and dipole: ``(n_rows, n_complete)``."""
    complete = np.isfinite(blocks).all(axis=0)
    basis, rows = _basis()[:, complete], blocks[:, complete]
    return rows - np.linalg.lstsq(basis.T, rows.T, rcond=None)[0].T @ basis


@cache
def _basis() -> FloatArray:
    """One, and the direction of every block: ``(4, n_blocks)``."""
    vectors = ducc0.healpix.Healpix_Base(NSIDE, "NEST").pix2vec(np.arange(12 * NSIDE**2))
    return np.vstack([np.ones(len(vectors)), vectors.T])
