"""Coupling of multipoles by a mask.

The spectra of a masked scalar field are, on average, ``<C~_l> = sum_l' M_ll' C_l'``.  The sums over squares
of Wigner 3j symbols in M are integrals over three Legendre polynomials,

    (2 l' + 1) / 2  int dx  xi(x) P_l(x) P_l'(x),    xi(x) = sum_L (2 L + 1) / 4 pi W_L P_L(x),

with W_L the mask's spectrum: exact by Gauss-Legendre quadrature, and a product of matrices.
"""

import ducc0
import numpy as np
from numpy.typing import NDArray

from cmbml.sky.sht import Cl

Matrix = NDArray[np.floating]


def mode_coupling(mask_cl: Cl, lmax: int) -> Matrix:
    """Mode-coupling matrix from the spectrum of a mask: ``(lmax + 1, lmax + 1)``, row l, column l'.

    Parameters
    ----------
    mask_cl
        Spectrum of the mask: from l = 0, up to 2 `lmax` to be exact; shorter ones are taken as complete.
    lmax
        Band-limit of the spectra.

    References
    ----------
    Hivon et al. 2002 (astro-ph/0105302), equation A31; integrals as Chon et al. 2004 (astro-ph/0303414).
    """
    x, weights = _quadrature(2 * lmax + 1)
    spectrum = mask_cl[: 2 * lmax + 1]
    xi = np.polynomial.legendre.legval(x, (2 * np.arange(len(spectrum)) + 1) / (4 * np.pi) * spectrum)
    kernel = weights * xi
    d = np.polynomial.legendre.legvander(x, lmax).T
    return (d * kernel) @ d.T * (2 * np.arange(lmax + 1) + 1) / 2


def _quadrature(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gauss-Legendre nodes and weights on [-1, 1], exact for polynomials below degree 2 `size`."""
    weights = ducc0.misc.GL_weights(size, 1) / (2 * np.pi)
    return np.cos(ducc0.misc.GL_thetas(size)), np.asarray(weights)
