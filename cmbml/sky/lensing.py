"""Gravitational lensing of a CMB sky: remapping by the gradient of the lensing potential, once.

The unlensed sky is synthesised at the deflected positions by a non-uniform transform (Reinecke, Belkner &
Carron 2023, arXiv:2304.10431), polarisation is transported back along the deflection (Lewis 2005,
arXiv:astro-ph/0502469, appendix A), and the result is analysed exactly on a Gauss-Legendre grid.
"""

from collections.abc import Mapping

import ducc0
import numpy as np

from cmbml.sky.grid import GaussGrid
from cmbml.sky.sht import Alm, Cl, Map, almxfl, lmax_of, unit_alm

# Multipoles beyond the lensed band that lensing brings into it.  Cut off, by CAMB's own lensing of cut
# spectra: 1e-3 of TT and EE at l up to 1280, and 2 per cent of BB, which comes from E modes at all l < 3000.
MARGIN_T, MARGIN_P, LEAST_P = 500, 1200, 2200
# Half of what lensing adds to the unlensed band and the grid must resolve.  For T 250 + lmax / 4 leaves 4e-4
# of the rms at lmax 200 and 7e-4 at 1280; for B modes 600 leaves 3e-3 of BB where 100 aliases in 9 per cent.
GRID_MARGIN_T, GRID_MARGIN_P = 250, 600
PRECISION = 1e-5  # of the non-uniform transform, relative to the sky


def lensing_lmax(lmax: int, n_stokes: int = 1) -> int:
    """Band-limit that unlensed a_lm need for lensed ones that are right up to `lmax`."""
    return lmax + MARGIN_T if n_stokes == 1 else max(lmax + MARGIN_P, LEAST_P)


def draw_unlensed(
    spectra: Mapping[str, Cl],
    lmax: int,
    rng_t: np.random.Generator,
    rng_phi: np.random.Generator,
    rng_p: np.random.Generator | None = None,
    *,
    n_stokes: int = 1,
) -> tuple[Alm, Alm]:
    """Draw an unlensed CMB and its lensing potential with all their correlations.

    Parameters
    ----------
    spectra
        From `cosmology.theory_spectra` with polarisation: 'TT_unlensed', 'PP', 'TP', and for polarisation
        'EE_unlensed', 'TE_unlensed', 'EP'.  There are no unlensed B modes.
    lmax
        Band-limit of the draw, usually ``lensing_lmax`` of the wanted one.
    rng_t, rng_phi, rng_p
        Generators of temperature, potential and polarisation.  T and the potential are the same with and
        without polarisation.
    n_stokes
        1 for T, 3 for T, E, B.

    Returns
    -------
    tuple
        ``(n_stokes, nalm)`` in uK_CMB, and the potential, ``(nalm,)``.

    Raises
    ------
    ValueError
        Where spectra end below `lmax`, or polarisation has no generator.
    """
    if len(spectra["TT_unlensed"]) <= lmax:
        raise ValueError(f"lensing: spectra end at l = {len(spectra['TT_unlensed']) - 1}, below {lmax}")
    names = [("TT_unlensed", "TP", "TE_unlensed"), ("TP", "PP", "EP"), ("TE_unlensed", "EP", "EE_unlensed")]
    size = 2 if n_stokes == 1 else 3
    covariance = [[spectra[key][: lmax + 1] for key in row[:size]] for row in names[:size]]
    generators = [rng_t, rng_phi]
    if n_stokes == 3:
        if rng_p is None:
            raise ValueError("lensing: polarisation needs its own generator, rng_p")
        generators.append(rng_p.spawn(1)[0])
    drawn = _correlated(covariance, [unit_alm(lmax, rng) for rng in generators])
    rows = [drawn[0]] if n_stokes == 1 else [drawn[0], drawn[2], np.zeros_like(drawn[0])]
    return np.stack(rows), drawn[1]


def _correlated(covariance: list[list[Cl]], units: list[Alm]) -> list[Alm]:
    """Fields of a covariance at every l, from unit draws: the rows of its Cholesky factor."""
    factor = _cholesky(np.moveaxis(np.array(covariance), 2, 0))
    return [
        np.sum([almxfl(units[j], factor[:, i, j]) for j in range(i + 1)], axis=0) for i in range(len(units))
    ]


def _cholesky(covariance: Cl) -> Cl:
    """Cholesky factors of ``(l, n, n)`` matrices, zero where a variance is zero (l = 0 and 1)."""
    sd = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    empty = sd == 0
    safe = np.where(empty, 1.0, sd)
    correlation = covariance / (safe[:, :, None] * safe[:, None, :])
    diagonal = np.arange(covariance.shape[1])
    correlation[:, diagonal, diagonal] = 1.0
    return np.linalg.cholesky(correlation) * sd[:, :, None]


def _deflected(grid: GaussGrid, phi_alm: Alm, *, rotation: bool = True) -> Map:
    """Colatitude, longitude and, with `rotation`, its angle where every grid point looks: ``(size, 3)``."""
    n_rings, n_points = grid.shape
    return np.asarray(
        ducc0.misc.get_deflected_angles(
            theta=grid.colatitudes,
            phi0=np.zeros(n_rings),
            nphi=np.full(n_rings, n_points, dtype=np.uint64),
            ringstart=np.arange(n_rings, dtype=np.uint64) * n_points,
            deflect=grid.gradient(phi_alm[np.newaxis]).T,
            calc_rotation=rotation,
            nthreads=grid.threads,
        )
    )


def _at(alm: Alm, places: Map, spin: int, threads: int) -> Map:
    """Synthesise at arbitrary places, rotated into the frame of the undeflected points."""
    sky = ducc0.sht.synthesis_general(
        alm=alm,
        spin=spin,
        lmax=lmax_of(alm),
        loc=places[:, :2],
        epsilon=PRECISION,
        nthreads=threads,
    )
    if spin == 0:
        return np.asarray(sky)
    rotated = (sky[0] + 1j * sky[1]) * np.exp(1j * spin * places[:, 2])
    return np.stack([rotated.real, rotated.imag])


def lens_alm(alm: Alm, phi_alm: Alm, lmax: int, *, threads: int = 1) -> Alm:
    """Lens a CMB sky.

    Parameters
    ----------
    alm
        Unlensed T, or T, E, B: ``(n_stokes, nalm)``.
    phi_alm
        Lensing potential: ``(nalm,)``, of the same band-limit.
    lmax
        Band-limit of the result; `lensing_lmax` tells which that of `alm` should be.
    threads
        Number of threads; results differ in the last bits between numbers.

    Returns
    -------
    Alm
        ``(n_stokes, nalm)`` up to `lmax`, in the unit of `alm`: T(n) is the unlensed T at n + grad phi.
    """
    # Power up to l' is aliased to l = 2 grid.lmax - l' and above: keep that beyond the wanted band.
    margin = GRID_MARGIN_T + lmax // 4 if len(alm) == 1 else GRID_MARGIN_P
    grid = GaussGrid((lmax_of(alm) + lmax) // 2 + margin, threads)
    places = _deflected(grid, phi_alm, rotation=len(alm) == 3)
    groups = [(slice(0, 1), 0)] if len(alm) == 1 else [(slice(0, 1), 0), (slice(1, 3), 2)]
    return np.concatenate(
        [grid.analyse(_at(alm[rows], places, spin, threads), lmax, spin) for rows, spin in groups]
    )
