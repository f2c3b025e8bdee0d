"""Band powers of masked skies: the MASTER estimator.

Analyses here are plain sums over pixels, of the skies and of the mask alike.  The coupling of such sums is
exact whatever the grid, so that band powers are unbiased to rounding where D_l is constant within bands.

Skies are whole, and only their spectra are taken under the mask.  E and B are therefore told apart on the
full sky, and masked as scalars: nothing of E gets into B, and one coupling serves all spectra.

Spectra travel as dictionaries: ``{"TT": ...}`` for temperature; TT, EE, BB, TE, EB and TB for T, E, B.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cmbml.analysis.spectra.bands import Bands
from cmbml.analysis.spectra.coupling import Matrix, mode_coupling
from cmbml.analysis.spectra.projection import projection_response
from cmbml.sky.sht import Alm, Cl, Map, alm2cl, alm2map, map2alm, nside_of

Spectra = Mapping[str, Cl]

MIN_WINDOW = 1e-5
"""Least window that is divided out: beyond, rounding in single-precision maps would be all that is left."""

MAX_CONDITION = 1e6
"""Condition of the bands' mixing above which they are not told apart."""

SPECTRA = ("TT", "EE", "BB", "TE", "EB", "TB")
"""Spectra of T, E and B; a theory may lack EB and TB, which are then 0."""

RESOLVED = 2.0
"""Band-limit in units of nside up to which plain sums over pixels tell E and B apart well."""


def scalar_fields(polarisation: Map, lmax: int, *, threads: int = 1) -> Map:
    """Take E and B of a full sky as maps of scalars, ``sum_lm E_lm Y_lm`` and alike.

    Parameters
    ----------
    polarisation
        Q and U: ``(2, npix)``.
    lmax
        Band-limit.
    threads
        Number of threads.

    Returns
    -------
    Map
        E and B: ``(2, npix)``.
    """
    nside = nside_of(polarisation)
    iterations = int(lmax > RESOLVED * nside)
    alms = map2alm(polarisation, lmax, iterations=iterations, threads=threads)
    return synthesise_scalars(alms, nside, threads)


def synthesise_scalars(alms: Alm, nside: int, threads: int = 1) -> Map:
    """Maps of scalars from their a_lm, ``(n, nalm)``: ``(n, npix)``."""
    return alm2map(alms[:, np.newaxis], nside, threads=threads)[:, 0]


def masked_alm(fields: Map, mask: Map, lmax: int, *, iterations: int = 0, threads: int = 1) -> Alm:
    """Analyse scalar fields under a mask: the a_lm of which pseudo-spectra are made.

    Parameters
    ----------
    fields
        T, or T, E, B as maps of scalars, full-sky: ``(n, npix)``.
    mask
        Weights in [0, 1]: ``(npix,)``.
    lmax
        Band-limit.
    iterations
        Jacobi iterations of the quadrature.  Decoupling wants none: sums over pixels obey the algebra of the
        coupling matrix exactly, whatever the quadrature, and iterations break it near the band-limit.
    threads
        Number of threads.

    Returns
    -------
    Alm
        ``(n, nalm)``, linear in `fields`: that of a residual is the difference of two.
    """
    rows = [map2alm(field * mask, lmax, iterations=iterations, threads=threads) for field in fields]
    return np.stack(rows)


def pseudo_spectra(a: Alm, b: Alm | None = None) -> dict[str, Cl]:
    """Auto-spectra of a_lm ``(n, nalm)``, or cross-spectra with others; TE, EB and TB are symmetrised."""
    other = a if b is None else b
    rows = dict(zip("TEB", zip(a, other, strict=True), strict=False))
    return {
        name: (alm2cl(rows[name[0]][0], rows[name[1]][1]) + alm2cl(rows[name[1]][0], rows[name[0]][1])) / 2
        for name in SPECTRA
        if set(name) <= rows.keys()
    }


def master(
    mask: Map,
    bands: Bands,
    *,
    window: Cl | None = None,
    polarised: bool = False,
    dipole_removed: bool = True,
    threads: int = 1,
) -> "Master":
    """Prepare the decoupling of a mask, once for all skies under it.

    Parameters
    ----------
    mask
        Weights in [0, 1], of all fields alike: ``(npix,)``.
    bands
        Bands of the result; their end is the band-limit of the analysis.
    window
        Beam times pixel window of the skies, ``(lmax + 1,)`` or longer; 1 where it is None.
    polarised
        Whether spectra of E and B are wanted too.
    dipole_removed
        Whether monopole and dipole of T have been fitted under this mask and removed, as
        `cmbml.analysis.postprocess` does; what the fit takes from TT, TE and TB is given back.
    threads
        Number of threads of the transforms of the mask.

    Raises
    ------
    ValueError
        Where the mask is empty, the window is too short or vanishes within the bands, or the mask leaves too
        little sky for bands as narrow as these.
    """
    statistics = mask_statistics(
        mask, bands, window=window, polarised=polarised, dipole_removed=dipole_removed, threads=threads
    )
    return master_from(statistics, bands, window=window, polarised=polarised)


def mask_statistics(
    mask: Map,
    bands: Bands,
    *,
    window: Cl | None = None,
    polarised: bool = False,
    dipole_removed: bool = True,
    threads: int = 1,
) -> Matrix:
    """Take from a mask what decoupling needs: the costly part of `master`, small enough to be kept.

    Parameters and errors are those of `master`.

    Returns
    -------
    ndarray
        ``(2 lmax + 1, 2 + n_bands)``, or ``2 + 2 n_bands`` columns for polarisation: spectra of the mask and
        of its square, then those of `cmbml.analysis.spectra.projection.projection_response`, zero above lmax.
    """
    beam = _checked_window(bands, window)
    if not np.any(mask > 0):
        raise ValueError("the mask is zero everywhere: there is no sky to take spectra of")
    out = np.zeros((2 * bands.lmax + 1, 2 + (1 + polarised) * len(bands)))
    out[:, 0] = _power(mask, 2 * bands.lmax, threads)
    out[:, 1] = _power(mask**2, 2 * bands.lmax, threads)
    if dipole_removed:
        responses = projection_response(mask, bands, beam, polarised=polarised, threads=threads)
        out[: bands.lmax + 1, 2:] = np.hstack(list(responses.values()))
    return out


def master_from(
    statistics: Matrix, bands: Bands, *, window: Cl | None = None, polarised: bool = False
) -> "Master":
    """Prepare the decoupling of a mask from its `mask_statistics` of the same bands and window.

    Parameters and errors are those of `master`.
    """
    if statistics.shape != (2 * bands.lmax + 1, 2 + (1 + polarised) * len(bands)):
        raise ValueError(
            f"mask statistics of shape {statistics.shape} belong to other bands than these: compute them anew"
        )
    prepared = Master(
        bands,
        _checked_window(bands, window),
        mode_coupling(statistics[:, 0], bands.lmax),
        np.hsplit(statistics[: bands.lmax + 1, 2:], 1 + polarised),
        mode_coupling(statistics[:, 1], bands.lmax),
        # The monopole of the square of the mask.
        float(np.sqrt(statistics[0, 1] / (4 * np.pi))),
    )
    prepared.check()
    return prepared


def _checked_window(bands: Bands, window: Cl | None) -> Cl:
    beam = np.ones(bands.lmax + 1) if window is None else window[: bands.lmax + 1]
    if len(beam) <= bands.lmax:
        raise ValueError(f"the window ends at l = {len(beam) - 1}, the bands at {bands.lmax}: lower lmax")
    least = beam[bands.edges[0] :].min()
    if least < MIN_WINDOW:
        raise ValueError(
            f"the window falls to {least:.1g} within the bands, too little to divide by: lower lmax"
        )
    return beam


def _power(mask: Map, lmax: int, threads: int) -> Cl:
    """Spectrum of a mask, by sums over pixels; l may be beyond what the grid resolves."""
    return alm2cl(map2alm(mask, lmax, iterations=0, threads=threads))


@dataclass(frozen=True)
class Master:
    """All that the band powers of skies under one mask have in common; made by `master`.

    Attributes
    ----------
    bands
        The bands.
    window
        Beam times pixel window of the skies, ``(lmax + 1,)``; its square is divided out.
    coupling
        Mode coupling of the mask.
    fit
        Change of the pseudo-spectra by the fit of monopole and dipole, per band power: of TT and, for
        polarisation, of TE and TB, ``(lmax + 1, n_bands)`` each.
    coupling_of_square
        Mode coupling by the square of the mask, for the covariance.
    mean_square
        Mean of the square of the mask over the sky.
    """

    bands: Bands
    window: Cl
    coupling: Matrix
    fit: Sequence[Matrix]
    coupling_of_square: Matrix
    mean_square: float

    def decouple(self, pseudo: Spectra) -> dict[str, Cl]:
        """Band powers D_b from pseudo-spectra, in their unit: ``(n_bands,)`` each.

        Unbiased where D_l is constant within bands and there is no power below the first band.
        """
        return {name: self._response_to(name) @ cl[: self.bands.lmax + 1] for name, cl in pseudo.items()}

    def pseudo(self, theory: Spectra) -> dict[str, Cl]:
        """Mean pseudo-spectra of skies of spectra C_l, ``(lmax + 1,)`` each."""
        return {
            name: self.coupling @ (cl[: self.bands.lmax + 1] * self.window**2)
            + self._fit_of(name) @ self.bands.average(cl)
            for name, cl in theory.items()
            if name in SPECTRA
        }

    def expected(self, theory: Spectra) -> dict[str, Cl]:
        """Mean band powers of skies of spectra C_l, ``(lmax + 1,)`` each: theory through band windows."""
        return self.decouple(self.pseudo(theory))

    def covariance(self, name: str, theory: Spectra) -> Matrix:
        """Analytic Gaussian covariance of the band powers of one spectrum: ``(n_bands, n_bands)``.

        Parameters
        ----------
        name
            One of `SPECTRA`.
        theory
            Spectra C_l of the sky, noise included: ``(lmax + 1,)`` each.

        References
        ----------
        Efstathiou 2004 (astro-ph/0307515), equation 14, with pseudo-spectra over the mean square of the mask
        in place of C_l as in Nicola et al. 2021 (arXiv:2010.09717).
        """
        first, second = (2 * letter for letter in name)
        seen = self.pseudo({key: theory[key] for key in (first, second, name) if key in theory})
        local = {key: cl / self.mean_square for key, cl in seen.items()}
        shared = local.get(name, np.zeros(self.bands.lmax + 1))
        power = _mean_product(local[first], local[second]) + _mean_product(shared, shared)
        variance = power * self.coupling_of_square / (2 * np.arange(self.bands.lmax + 1) + 1)
        response = self._response_to(name)
        return response @ variance @ response.T

    def check(self) -> None:
        """Raise ValueError where the bands are too narrow to be told apart on so little sky."""
        # The window is left out: it is steep, but known.
        if np.linalg.cond(self.bands.binning @ self.coupling @ self.bands.unbinning) > MAX_CONDITION:
            raise ValueError(
                f"bands of {min(np.diff(self.bands.edges))} multipoles cannot be told apart on "
                f"{100 * self.mean_square:.2g} % of the sky: widen them"
            )

    def _fit_of(self, name: str) -> Matrix:
        """What the fit of monopole and dipole changes in a pseudo-spectrum, per band power."""
        return self.fit[_unfitted(name)] if _unfitted(name) < len(self.fit) else np.zeros_like(self.fit[0])

    @cached_property
    def _responses(self) -> list[Matrix]:
        """Operators from pseudo-spectra to band powers by `_unfitted`: ``(n_bands, lmax + 1)`` each."""
        coupled = self.coupling @ (self.window[:, None] ** 2 * self.bands.unbinning)
        binned = [self.bands.binning @ (coupled + self._fit_of(name)) for name in ("TT", "TE", "EE")]
        return [np.linalg.solve(matrix, self.bands.binning) for matrix in binned]

    def _response_to(self, name: str) -> Matrix:
        return self._responses[_unfitted(name)]


def _unfitted(name: str) -> int:
    """How many of the two fields of a spectrum are E or B, from which no dipole is taken."""
    return sum(letter != "T" for letter in name)


def _mean_product(a: Cl, b: Cl) -> Matrix:
    """Mean of a_l b_l' and a_l' b_l."""
    outer = np.outer(a, b)
    return (outer + outer.T) / 2
