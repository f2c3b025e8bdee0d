"""Random CMB skies from theory spectra."""

from collections.abc import Mapping

import numpy as np

from cmbml.sky.lensing import draw_unlensed, lens_alm, lensing_lmax
from cmbml.sky.sht import Alm, Cl, almxfl, unit_alm


def draw_cmb(
    spectra: Mapping[str, Cl],
    lmax: int,
    rng_t: np.random.Generator,
    rng_p: np.random.Generator | None = None,
    *,
    n_stokes: int = 1,
) -> Alm:
    """Draw a Gaussian CMB sky from lensed spectra.

    Parameters
    ----------
    spectra
        C_l from l = 0 in uK^2 (`cosmology.theory_spectra`); T needs 'TT', polarisation 'EE', 'BB', 'TE' too.
    lmax
        Band-limit; a draw at a lower one is this draw, cut.
    rng_t, rng_p
        Generators of temperature and polarisation: T is the same with and without polarisation.
    n_stokes
        1 for T, 3 for T, E, B.

    Returns
    -------
    Alm
        ``(n_stokes, nalm)`` in uK_CMB.

    Raises
    ------
    ValueError
        Where spectra end below `lmax`, or polarisation has no generator.
    """
    if len(spectra["TT"]) <= lmax:
        raise ValueError(f"CMB: spectra end at l = {len(spectra['TT']) - 1}, below lmax = {lmax}")
    unit_t = unit_alm(lmax, rng_t)
    cut = {key: cl[: lmax + 1] for key, cl in spectra.items()}
    if n_stokes == 1:
        return almxfl(unit_t, np.sqrt(cut["TT"]))[np.newaxis]
    if rng_p is None:
        raise ValueError("CMB: polarisation needs its own generator, rng_p")
    rng_e, rng_b = rng_p.spawn(2)
    return np.stack(_correlate(cut, unit_t, unit_alm(lmax, rng_e), unit_alm(lmax, rng_b)))


def _correlate(spectra: Mapping[str, Cl], unit_t: Alm, unit_e: Alm, unit_b: Alm) -> list[Alm]:
    """Turn unit draws into T, E, B: the Cholesky factor of the covariance at every l."""
    sqrt_tt = np.sqrt(spectra["TT"])
    e_of_t = np.divide(spectra["TE"], sqrt_tt, out=np.zeros_like(sqrt_tt), where=sqrt_tt > 0)
    e_alone = np.sqrt(np.maximum(spectra["EE"] - e_of_t**2, 0))
    return [
        almxfl(unit_t, sqrt_tt),
        almxfl(unit_t, e_of_t) + almxfl(unit_e, e_alone),
        almxfl(unit_b, np.sqrt(spectra["BB"])),
    ]


def draw_lensed_cmb(
    spectra: Mapping[str, Cl],
    lmax: int,
    rng_t: np.random.Generator,
    rng_phi: np.random.Generator,
    rng_p: np.random.Generator | None = None,
    *,
    n_stokes: int = 1,
    threads: int = 1,
) -> Alm:
    """Draw an unlensed CMB and its potential, and lens it once.

    Parameters
    ----------
    spectra
        From ``cosmology.theory_spectra`` with polarisation, up to ``lensing.lensing_lmax(lmax, n_stokes)``.
    lmax
        Band-limit of the result.
    rng_t, rng_phi, rng_p
        Generators of temperature, lensing potential and polarisation.
    n_stokes
        1 for T, 3 for T, E, B.
    threads
        Number of threads; results differ in the last bits between numbers.

    Returns
    -------
    Alm
        ``(n_stokes, nalm)`` in uK_CMB.
    """
    unlensed, phi = draw_unlensed(
        spectra, lensing_lmax(lmax, n_stokes), rng_t, rng_phi, rng_p, n_stokes=n_stokes
    )
    return lens_alm(unlensed, phi, lmax, threads=threads)
