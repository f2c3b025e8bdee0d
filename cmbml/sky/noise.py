"""Instrumental noise, drawn in harmonic space so that a realisation does not depend on nside."""

import numpy as np

from cmbml.sky.instrument import white_noise_cl
from cmbml.sky.sht import Alm, draw_alm

POLARISATION_FACTOR = np.sqrt(2)  # a detector pair splits its photons between two Stokes parameters


def draw_white_noise(
    depth_uk_arcmin: float, lmax: int, rng: np.random.Generator, *, n_stokes: int = 1
) -> Alm:
    """Draw isotropic white noise.

    Parameters
    ----------
    depth_uk_arcmin
        Depth of temperature in uK_CMB arcmin; Q and U are sqrt(2) noisier.
    lmax
        Band-limit; a draw at a lower one is this draw, cut.
    rng
        Generator of this channel and simulation; T, E and B use children of it.
    n_stokes
        1 for T, 3 for T, E, B.

    Returns
    -------
    Alm
        ``(n_stokes, nalm)`` in uK_CMB.
    """
    depths = depth_uk_arcmin * np.array([1.0, POLARISATION_FACTOR, POLARISATION_FACTOR])[:n_stokes]
    children = rng.spawn(3)
    return np.stack(
        [draw_alm(white_noise_cl(depth, lmax), child) for depth, child in zip(depths, children, strict=False)]
    )
