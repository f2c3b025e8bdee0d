"""Band powers of masked skies: the MASTER estimator.

Analyses here are plain sums over pixels, of the skies and of the mask alike.  The coupling of such sums is
exact whatever the grid, so that band powers are unbiased to rounding where D_l is constant within bands.

Spectra travel as dictionaries: ``{"TT": ...}`` for temperature, ``{"TT", "EE", "BB", "TE"}`` for T, Q, U.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cmbml.analysis.spectra.bands import Bands
from cmbml.analysis.spectra.coupling import Coupling, Matrix, mode_coupling
from cmbml.analysis.spectra.projection import projection_response
from cmbml.sky.sht import Alm, Cl, Map, alm2cl, map2alm

Spectra = Mapping[str, Cl]

MIN_WINDOW = 1e-5
"""Least window that is divided out: beyond, rounding in single-precision maps would be all that is left."""

MAX_CONDITION = 1e6
"""Condition of the bands' mixing above which they are not told apart."""

OBSERVED = ("TT", "EE", "BB", "TE")
"""Spectra of T, Q and U; a theory may hold more."""


def masked_alm(sky: Map, mask: Map, lmax: int, *, iterations: int = 0, threads: int = 1) -> Alm:
    """Analyse a sky under a mask: the a_lm of which pseudo-spectra are made.

    Parameters
    ----------
    sky
        T or T, Q, U, full-sky: ``(n_stokes, npix)``.
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
        ``(n_stokes, nalm)``, linear in `sky`: that of a residual is the difference of two.
    """
    return map2alm(sky * mask, lmax, iterations=iterations, threads=threads)


def pseudo_spectra(a: Alm, b: Alm | None = None) -> dict[str, Cl]:
    """Auto-spectra of one set of a_lm ``(n_stokes, nalm)``, or cross-spectra of two; TE is symmetrised."""
    other = a if b is None else b
    rows = zip(("TT", "EE", "BB"), a, other, strict=False)
    out = {name: alm2cl(first, second) for name, first, second in rows}
    if len(a) == 3:
        out["TE"] = (alm2cl(a[0], other[1]) + alm2cl(a[1], other[0])) / 2
    return out


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
        Weights in [0, 1], of T, Q and U alike: ``(npix,)``.
    bands
        Bands of the result; their end is the band-limit of the analysis.
    window
        Beam times pixel window of the skies, ``(lmax + 1,)`` or longer; 1 where it is None.
    polarised
        Whether EE, BB and TE are wanted too.
    dipole_removed
        Whether monopole and dipole of T have been fitted under this mask and removed, as
        `cmbml.analysis.postprocess` does; what the fit takes from TT and TE is given back.
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
        mode_coupling(statistics[:, 0], bands.lmax, polarised=polarised),
        dict(zip(("tt", "te"), np.hsplit(statistics[: bands.lmax + 1, 2:], 1 + polarised), strict=False)),
        mode_coupling(statistics[:, 1], bands.lmax).tt,
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
        Change of the pseudo-spectra TT and TE by the fit of monopole and dipole, per band power:
        ``(lmax + 1, n_bands)`` each.
    coupling_of_square
        Mode coupling of TT by the square of the mask, for the covariance.
    mean_square
        Mean of the square of the mask over the sky.
    """

    bands: Bands
    window: Cl
    coupling: Coupling
    fit: Mapping[str, Matrix]
    coupling_of_square: Matrix
    mean_square: float

    def decouple(self, pseudo: Spectra) -> dict[str, Cl]:
        """Band powers D_b from pseudo-spectra, in their unit: ``(n_bands,)`` each.

        Unbiased where D_l is constant within bands and there is no power below the first band.
        """
        cut = {name: cl[: self.bands.lmax + 1] for name, cl in pseudo.items()}
        return _by_kernel(cut, lambda kernel, cl: self._responses[kernel] @ cl)

    def pseudo(self, theory: Spectra) -> dict[str, Cl]:
        """Mean pseudo-spectra of skies of spectra C_l, ``(lmax + 1,)`` each."""
        seen = {name: cl[: self.bands.lmax + 1] * self.window**2 for name, cl in theory.items()}
        pseudo = _by_kernel(seen, lambda kernel, cl: self._matrices[kernel] @ cl)
        for kernel, response in self.fit.items():
            name = kernel.upper()
            if name in pseudo:
                pseudo[name] = pseudo[name] + response @ self.bands.average(theory[name])
        return pseudo

    def expected(self, theory: Spectra) -> dict[str, Cl]:
        """Mean band powers of skies of spectra C_l, ``(lmax + 1,)`` each: theory through band windows."""
        return self.decouple(self.pseudo(theory))

    def covariance(self, name: str, theory: Spectra) -> Matrix:
        """Analytic Gaussian covariance of the band powers of one spectrum: ``(n_bands, n_bands)``.

        It leaves out what E and B share through the mask, and is therefore too small for BB below an EE that
        is larger by orders of magnitude.

        Parameters
        ----------
        name
            TT, EE, BB or TE.
        theory
            Spectra C_l of the sky, noise included: ``(lmax + 1,)`` each.

        References
        ----------
        Efstathiou 2004 (astro-ph/0307515), equation 14, with pseudo-spectra over the mean square of the mask
        in place of C_l as in Nicola et al. 2021 (arXiv:2010.09717).
        """
        partner = {"EE": "BB", "BB": "EE"}.get(name)
        # There may be more than is observed: unlensed spectra, those of the lensing potential.
        seen = self.pseudo({key: theory[key] for key in (("TT",) if name == "TT" else OBSERVED)})
        local = {key: cl / self.mean_square for key, cl in seen.items()}
        own = _sandwich(self._response_to(name), self._coupled_variance(name, local))
        if partner is None:
            return own
        mixed = (self._responses["plus"] - self._responses["minus"]) / 2
        return own + _sandwich(mixed, self._coupled_variance(partner, local))

    def check(self) -> None:
        """Raise ValueError where the bands are too narrow to be told apart on so little sky."""
        # The window is left out: it is steep, but known.
        responses = [self.bands.binning @ matrix @ self.bands.unbinning for matrix in self._matrices.values()]
        if max(np.linalg.cond(response) for response in responses) > MAX_CONDITION:
            raise ValueError(
                f"bands of {min(np.diff(self.bands.edges))} multipoles cannot be told apart on "
                f"{100 * self.mean_square:.2g} % of the sky: widen them"
            )

    @cached_property
    def _matrices(self) -> dict[str, Matrix]:
        kernels = {name: getattr(self.coupling, name) for name in ("tt", "te", "plus", "minus")}
        return {name: matrix for name, matrix in kernels.items() if matrix is not None}

    @cached_property
    def _responses(self) -> dict[str, Matrix]:
        """Operators from pseudo-spectra to band powers: ``(n_bands, lmax + 1)`` each."""
        return {name: np.linalg.solve(self._band_matrix(name), self.bands.binning) for name in self._matrices}

    def _band_matrix(self, kernel: str) -> Matrix:
        """Response of binned pseudo-spectra to band powers: ``(n_bands, n_bands)``."""
        coupled = self._matrices[kernel] @ (self.window[:, None] ** 2 * self.bands.unbinning)
        return self.bands.binning @ (coupled + self.fit.get(kernel, 0.0))

    def _response_to(self, name: str) -> Matrix:
        if name in ("EE", "BB"):
            return (self._responses["plus"] + self._responses["minus"]) / 2
        return self._responses[name.lower()]

    def _coupled_variance(self, name: str, local: Spectra) -> Matrix:
        """Covariance of pseudo-spectra: ``(lmax + 1, lmax + 1)``."""
        first, second = (local[2 * letter] for letter in name)
        power = _mean_product(first, second) + _mean_product(local[name], local[name])
        return power * self.coupling_of_square / (2 * np.arange(self.bands.lmax + 1) + 1)


def _by_kernel(spectra: Spectra, apply: Callable[[str, Cl], Cl]) -> dict[str, Cl]:
    """Apply to every spectrum what belongs to its kernel; EE and BB by their sum and difference."""
    out = {name: apply(name.lower(), cl) for name, cl in spectra.items() if name in ("TT", "TE")}
    if "EE" in spectra:
        total = apply("plus", spectra["EE"] + spectra["BB"])
        difference = apply("minus", spectra["EE"] - spectra["BB"])
        out |= {"EE": (total + difference) / 2, "BB": (total - difference) / 2}
    return {name: out[name] for name in spectra}


def _mean_product(a: Cl, b: Cl) -> Matrix:
    """Mean of a_l b_l' and a_l' b_l."""
    outer = np.outer(a, b)
    return (outer + outer.T) / 2


def _sandwich(response: Matrix, covariance: Matrix) -> Matrix:
    return response @ covariance @ response.T
