"""The reference rows of every table: the noise floor and the perfect estimate.

The perfect estimate is the truth itself, through `cmbml.analysis.postprocess`.  The noise floor is the best
unbiased linear combination of the bands where there are no foregrounds at all: what is left is noise only,
and no linear method that keeps the CMB whole can have less in their presence.  It is the sky s that fits the
bands d best, of beams B and noise N,

    (sum B N^-1 B) s = sum B N^-1 d,

with N as the noise was drawn: it varies over the sky where depth does, and may be correlated.
"""

from collections.abc import Callable, Sequence

import numpy as np

from cmbml.sky.grid import GaussGrid
from cmbml.sky.instrument import white_noise_cl
from cmbml.sky.noise.band import BandNoise
from cmbml.sky.noise.draws import MODULATION_MARGIN
from cmbml.sky.sht import Alm, Cl, Map, almxfl, lmax_of

NOISE_FLOOR = "noise_floor"
PERFECT = "perfect_estimate"
REFERENCE_LABELS = {NOISE_FLOOR: "noise floor", PERFECT: "perfect estimate"}

Operator = Callable[[Alm], Alm]

TOLERANCE = 1e-3
"""Residual of the equations, relative to their right side, at which they are solved.

What it leaves of the weights' error enters the noise by its square.
"""

MAX_ITERATIONS = 1000
LEAST_DEPTH = 1e-2
"""Depths below this share of a band's mean are taken as it: rounding where a map of depths ends sharply."""


def label(method: str) -> str:
    """Name of a method or reference row, as readers see it."""
    return REFERENCE_LABELS.get(method, method)


def floor_noise(noise: Alm, bands: Sequence[BandNoise], beams: Cl, *, threads: int = 1) -> Alm:
    """Noise of the best unbiased combination of bands without foregrounds.

    Parameters
    ----------
    noise
        Noise of the bands as observed, T or T, E, B: ``(n_freq, n_stokes, nalm)``, uK_CMB.
    bands
        What it was drawn from.
    beams
        Beams of the bands over that of the result: ``(n_freq, lmax + 1)``, or with 0 in E and B of bands that
        have no Q and U ``(n_freq, n_stokes, lmax + 1)``.
    threads
        Number of threads.

    Returns
    -------
    Alm
        ``(n_stokes, nalm)``, at the beam of the result.

    Raises
    ------
    ValueError
        Where the noise of a band has no power at some l, or the equations are not solved.

    References
    ----------
    Tegmark 1997, ApJ 480, L87 (astro-ph/9611130): the best unbiased map, here of bands in place of pointings.
    """
    lmax = lmax_of(noise)
    beams = np.broadcast_to(np.reshape(beams, (len(bands), -1, lmax + 1)), (*noise.shape[:2], lmax + 1))
    inverses = [_inverse(band, lmax, threads) for band in bands]
    powers = np.stack([_mean_power(band, lmax) for band in bands])

    def information(alm: Alm) -> Alm:
        parts = (
            _filter(inverse(_filter(alm, beam)), beam) for inverse, beam in zip(inverses, beams, strict=True)
        )
        return sum(parts, start=np.zeros_like(alm))

    right = sum(
        (_filter(inverse(alm), beam) for inverse, alm, beam in zip(inverses, noise, beams, strict=True)),
        start=np.zeros_like(noise[0]),
    )
    return _solve(information, right, _approximate_inverse(bands, powers, beams, threads))


def _mean_power(band: BandNoise, lmax: int) -> Cl:
    """Mean spectra of a band's noise: ``(n_stokes, lmax + 1)``."""
    power = band.spectra(1.0, lmax)
    if np.any(power <= 0):
        raise ValueError(f"the noise floor needs noise at every l up to {lmax}, one band has none")
    return power


def _inverse(band: BandNoise, lmax: int, threads: int) -> Operator:
    """Inverse covariance of a band's noise, on a_lm ``(n_stokes, nalm)``."""
    depths = _depths(band)
    if depths is None:
        isotropic = 1 / _mean_power(band, lmax)
        return lambda alm: _filter(alm, isotropic)
    grid = GaussGrid(lmax + MODULATION_MARGIN, threads)
    unit = 1 / (white_noise_cl(1.0, grid.lmax) * band.knee.shape(grid.lmax))

    def apply(alm: Alm) -> Alm:
        sky: Map = _synthesise(grid, alm) / depths
        if band.knee.l_knee > 0:
            sky = _synthesise(grid, almxfl(_analyse(grid, sky, grid.lmax), unit))
        else:
            sky = sky * unit[0]
        return _analyse(grid, sky / depths, lmax)

    return apply


def _depths(band: BandNoise) -> Map | None:
    """Depth of T or T, Q, U on the grid, ``(n_stokes, size)``; None where it is the same everywhere.

    Stripes count by their mean spectrum, and so does all noise of a band that has them.
    """
    if band.model is not None or band.modulation is None or band.stripes is not None:
        return None
    return np.maximum(band.modulation, LEAST_DEPTH * np.array(band.depths)[:, np.newaxis])


def _approximate_inverse(bands: Sequence[BandNoise], powers: Cl, beams: Cl, threads: int) -> Operator:
    """Nearly the inverse of the bands' information: exact for one beam, or one pattern of depth."""
    lmax = beams.shape[-1] - 1
    each = beams**2 / powers
    total = each.sum(axis=0)
    root = np.divide(1, np.sqrt(total), out=np.zeros_like(total), where=total > 0)
    maps = [_depths(band) for band in bands]
    if all(depths is None for depths in maps):
        return lambda alm: _filter(alm, root**2)
    grid = GaussGrid(lmax + MODULATION_MARGIN, threads)
    modes = 2 * np.arange(lmax + 1) + 1
    shares = (each * root**2) @ modes / (lmax + 1) ** 2
    pattern = sum(
        share[:, np.newaxis] * (1 if depths is None else (np.array(band.depths)[:, np.newaxis] / depths) ** 2)
        for share, band, depths in zip(shares, bands, maps, strict=True)
    )

    def apply(alm: Alm) -> Alm:
        sky = _synthesise(grid, _filter(alm, root)) / pattern
        return _filter(_analyse(grid, sky, lmax), root)

    return apply


def _solve(operator: Operator, right: Alm, approximate_inverse: Operator) -> Alm:
    """Conjugate gradients for a_lm."""
    solution = np.zeros_like(right)
    residual = right
    step = approximate_inverse(residual)
    direction, power = step, _product(residual, step)
    enough = TOLERANCE**2 * power
    for _ in range(MAX_ITERATIONS):
        if power <= enough:
            return solution
        image = operator(direction)
        length = power / _product(direction, image)
        solution = solution + length * direction
        residual = residual - length * image
        step = approximate_inverse(residual)
        power, last = _product(residual, step), power
        direction = step + power / last * direction
    raise ValueError(
        f"the noise floor was not found in {MAX_ITERATIONS} iterations: depths vary too much over the sky"
    )


def _product(a: Alm, b: Alm) -> float:
    """Scalar product of two real fields, by their a_lm of m >= 0."""
    zonal = lmax_of(a) + 1
    every = np.vdot(a, b).real
    return float(2 * every - np.vdot(a[:, :zonal], b[:, :zonal]).real)


def _filter(alm: Alm, windows: Cl) -> Alm:
    """Multiply rows of a_lm by functions of l, one for each."""
    return np.stack([almxfl(row, window) for row, window in zip(alm, windows, strict=True)])


def _synthesise(grid: GaussGrid, alm: Alm) -> Map:
    """T or T, Q, U on the grid."""
    polarised = [grid.synthesise(alm[1:], spin=2)] if len(alm) > 1 else []
    return np.concatenate([grid.synthesise(alm[:1]), *polarised])


def _analyse(grid: GaussGrid, sky: Map, lmax: int) -> Alm:
    """T or T, E, B of what lies on the grid."""
    polarised = [grid.analyse(sky[1:], lmax, spin=2)] if len(sky) > 1 else []
    return np.concatenate([grid.analyse(sky[:1], lmax), *polarised])
