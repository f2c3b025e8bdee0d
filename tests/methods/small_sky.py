"""Skies for the tests of cleaning methods: small, drawn from seeds, no files."""

import numpy as np

from cmbml.sky import sht

LMAX = 64
FWHM = (300.0, 240.0, 200.0, 180.0)
SED = np.array([4.0, 1.5, 2.0, 6.0])


def observe(alm, response, fwhm_arcmin=FWHM):
    """a_lm of one component in every band, ``(n_freq, nalm)``."""
    lmax = sht.lmax_of(alm)
    return np.array(
        [r * sht.almxfl(alm, sht.gaussian_beam(b, lmax)) for r, b in zip(response, fwhm_arcmin, strict=True)]
    )


def draw_sky(rng, lmax=LMAX, noise=3.0):
    """Components of a small sky: CMB, one foreground of known SED, white noise; each ``(n_freq, nalm)``."""
    ell = np.arange(lmax + 1)
    red = 1e3 / (ell + 5.0) ** 2.5
    cmb = sht.draw_alm(1e4 / (ell + 2.0) ** 2, rng)
    white = [sht.draw_alm(np.full(lmax + 1, noise**2 * 1e-4), rng) for _ in FWHM]
    return {
        "cmb": observe(cmb, np.ones(len(FWHM))),
        "foreground": observe(sht.draw_alm(100 * red, rng), SED),
        "noise": np.array(white),
        "truth": cmb,
    }


def total(sky):
    """What the bands see."""
    return sky["cmb"] + sky["foreground"] + sky["noise"]


def cleaned_truth(sky):
    """The CMB at the beam of the cleaned maps."""
    return sht.almxfl(sky["truth"], sht.gaussian_beam(180.0, LMAX))


def size(alm):
    """Rms of coefficients."""
    return np.sqrt(np.mean(np.abs(alm) ** 2))
