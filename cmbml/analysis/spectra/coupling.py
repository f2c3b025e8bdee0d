"""Coupling of multipoles by a mask.

The spectra of a masked sky are, on average, ``<C~_l> = sum_l' M_ll' C_l'``.  The sums over products of two
Wigner 3j symbols in M are integrals over three Wigner functions d^l,

    (2 l' + 1) / 2  int dx  xi(x) d^l_mn(x) d^l'_mn(x),    xi(x) = sum_L (2 L + 1) / 4 pi W_L P_L(x),

with W_L the mask's spectrum: exact by Gauss-Legendre quadrature, and a product of matrices.
"""

from dataclasses import dataclass

import ducc0
import numpy as np
from numpy.typing import NDArray

from cmbml.sky.sht import Cl

Matrix = NDArray[np.floating]


@dataclass(frozen=True)
class Coupling:
    """Mode-coupling matrices of a mask, each ``(lmax + 1, lmax + 1)``, row l, column l'.

    Attributes
    ----------
    tt
        TT to TT.
    te
        TE to TE and TB to TB; None for temperature only.
    plus
        EE + BB to EE + BB; None for temperature only.
    minus
        EE - BB to EE - BB; None for temperature only.
    """

    tt: Matrix
    te: Matrix | None = None
    plus: Matrix | None = None
    minus: Matrix | None = None


def mode_coupling(mask_cl: Cl, lmax: int, *, polarised: bool = False) -> Coupling:
    """Mode-coupling matrices from the spectrum of a mask.

    Parameters
    ----------
    mask_cl
        Spectrum of the mask: from l = 0, up to 2 `lmax` to be exact; shorter ones are taken as complete.
    lmax
        Band-limit of the spectra.
    polarised
        Whether to compute the matrices of polarisation too; the mask is that of T, Q and U alike.

    References
    ----------
    Hivon et al. 2002 (astro-ph/0105302), equation A31; Brown, Castro & Taylor 2005 (astro-ph/0410394),
    equations 24 to 27; integrals as Chon et al. 2004 (astro-ph/0303414).
    """
    x, weights = _quadrature(2 * lmax + 1)
    spectrum = mask_cl[: 2 * lmax + 1]
    xi = np.polynomial.legendre.legval(x, (2 * np.arange(len(spectrum)) + 1) / (4 * np.pi) * spectrum)
    kernel = weights * xi

    def matrix(m: int, n: int) -> Matrix:
        d = wigner_d(lmax, m, n, x)
        return (d * kernel) @ d.T * (2 * np.arange(lmax + 1) + 1) / 2

    if not polarised:
        return Coupling(matrix(0, 0))
    return Coupling(matrix(0, 0), matrix(2, 0), matrix(2, 2), matrix(2, -2))


def wigner_d(lmax: int, m: int, n: int, x: NDArray[np.float64]) -> Matrix:
    """Wigner functions d^l_mn at x = cos(theta), for (m, n) of (0, 0), (2, 0), (2, 2) and (2, -2).

    Returns
    -------
    ndarray
        ``(lmax + 1, len(x))``, zero below l = m.

    References
    ----------
    Varshalovich, Moskalev & Khersonskii 1988, Quantum Theory of Angular Momentum, section 4.8.2.
    """
    start = {(0, 0): 1 + 0 * x, (2, 0): np.sqrt(6) / 4 * (1 - x**2)}
    start |= {(2, 2): ((1 + x) / 2) ** 2, (2, -2): ((1 - x) / 2) ** 2}
    d = np.zeros((lmax + 1, len(x)))
    if lmax < m:
        return d
    d[m] = start[m, n]
    for ell in range(m, lmax):
        d[ell + 1] = _next_d(ell, m, n, x, d)
    return d


def _next_d(ell: int, m: int, n: int, x: NDArray[np.float64], d: Matrix) -> NDArray[np.float64]:
    """Recursion in l: d^(l+1) from d^l and d^(l-1)."""
    if ell == 0:
        return x
    up = ell * np.sqrt(((ell + 1.0) ** 2 - m**2) * ((ell + 1.0) ** 2 - n**2))
    down = (ell + 1) * np.sqrt((ell**2.0 - m**2) * (ell**2.0 - n**2))
    return ((2 * ell + 1) * (ell * (ell + 1) * x - m * n) * d[ell] - down * d[ell - 1]) / up


def _quadrature(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gauss-Legendre nodes and weights on [-1, 1], exact for polynomials below degree 2 `size`."""
    weights = ducc0.misc.GL_weights(size, 1) / (2 * np.pi)
    return np.cos(ducc0.misc.GL_thetas(size)), np.asarray(weights)
