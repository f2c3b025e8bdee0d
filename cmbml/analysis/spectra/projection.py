"""What the fit of monopole and dipole takes from the spectra of a masked sky.

Under a mask the fit also takes some of the power at l >= 2, and gives it back in the shape of the mask:
a percent of the spectrum at nside 64 and 20 degrees of cut.  The change of the mean spectrum is linear in
the sky's spectrum and follows from the mask alone.
"""

import numpy as np

from cmbml.analysis.postprocess import dipole_basis
from cmbml.analysis.spectra.bands import Bands
from cmbml.analysis.spectra.coupling import Matrix
from cmbml.sky.sht import Alm, Cl, Map, alm2cl, alm2map, almxfl, map2alm, nside_of, resize_alm

_NEGLIGIBLE = 1e-6
"""Bands that give the fit less than this share of its variance are passed over."""


def projection_response(
    mask: Map, bands: Bands, window: Cl, *, polarised: bool = False, threads: int = 1
) -> dict[str, Matrix]:
    """Change of the mean pseudo-spectra by `remove_dipole`, per unit of every band power.

    With w the mask, t_i the four templates and N their normal matrix, the fit turns the masked sky w s into
    w s - sum_ij w t_i N^-1_ij <w t_j, s>; both terms beyond w s are taken on average over s.  Of TE and TB
    only the temperature changes, so that they have the term of first order alone.

    Parameters
    ----------
    mask
        Weights in [0, 1] of the fit and of the spectra: ``(npix,)``.
    bands
        Bands of the sky's power.
    window
        Beam times pixel window of the sky: ``(lmax + 1,)``.
    polarised
        Whether TE and TB are wanted too; EE, BB and EB do not change.
    threads
        Number of threads of the transforms.

    Returns
    -------
    dict[str, ndarray]
        ``{"tt": ...}``, and ``te``, of TE and TB, if wanted: ``(lmax + 1, n_bands)`` each.

    References
    ----------
    Leistedt et al. 2013 (arXiv:1306.0005) and Alonso et al. 2019 (arXiv:1809.09603), section 2.1.4, on the
    deprojection of templates.
    """
    basis = dipole_basis(nside_of(mask))
    normal = (basis * mask) @ basis.T * (4 * np.pi / len(mask))
    masked = np.stack([_analyse(mask * row, bands.lmax, threads) for row in basis])
    inverse = np.linalg.inv(normal)
    solved = inverse @ masked
    spectra = np.array([[alm2cl(a, b) for b in masked] for a in masked])
    spectra_solved = np.einsum("ia,abl,bj->ijl", inverse, spectra, inverse)
    modes = 2 * np.arange(bands.lmax + 1) + 1
    # Covariance, per band power, of the products of the templates with the sky: (n_bands, 4, 4).
    taken = np.einsum("ijl,lb->bij", spectra * modes * window**2, bands.unbinning)
    shares = np.einsum("bij,ij->b", taken, inverse)
    empty = np.zeros((bands.lmax + 1, len(bands)))
    response: dict[str, Matrix] = {name: empty.copy() for name in ("tt", "te")[: 1 + polarised]}
    for band in np.flatnonzero(shares > _NEGLIGIBLE * shares.sum()):
        power = (window**2 * bands.unbinning[:, band])[: bands.edges[band + 1]]
        through = [_couple(_filter(row, power), mask, bands.lmax, threads) for row in masked]
        cross = sum(alm2cl(a, b) for a, b in zip(solved, through, strict=True))
        response["tt"][:, band] = np.einsum("ij,ijl->l", taken[band], spectra_solved) - 2 * cross
        if polarised:
            response["te"][:, band] = -cross
    return response


def _analyse(sky: Map, lmax: int, threads: int) -> Alm:
    return map2alm(sky, lmax, iterations=0, threads=threads)


def _filter(alm: Alm, power: Cl) -> Alm:
    """Multiply a_lm by a function of l, and cut them where it ends."""
    return almxfl(resize_alm(alm, len(power) - 1), power)


def _couple(alm: Alm, mask: Map, lmax: int, threads: int) -> Alm:
    """Pass a_lm through the mask."""
    return _analyse(mask * alm2map(alm, nside_of(mask), threads=threads), lmax, threads)
