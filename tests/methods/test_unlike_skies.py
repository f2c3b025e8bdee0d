"""The regularised needlet ILC beats the plain one on skies like those it learned from, and never loses on others."""

import numpy as np
import pytest

from cmbml.methods.nilc.nilc import NeedletPrior, NilcOptions, nilc, nuisance_covariance
from cmbml.sky.distributions import Normal
from cmbml.sky.foregrounds import draw_foregrounds
from cmbml.sky.galaxy.family import GALAXY, LAYERED
from cmbml.sky.galaxy.model import galaxy_alm
from cmbml.sky.mask import galactic_mask
from cmbml.sky.noise.draws import draw_white_noise
from cmbml.sky.pysm.model import pysm_alm
from cmbml.sky.sht import alm2map, almxfl, draw_alm, gaussian_beam

LMAX, NSIDE, FWHM_OUT, DOMAIN_DEG = 80, 32, 160.0, 24.0
FREQS = (28.4, 44.1, 70.4, 100.89, 142.876, 221.156, 357.5, 555.2, 866.8)
FWHM = (225.0, 195.0, 165.0, 129.0, 97.2, 66.9, 66.0, 64.5, 61.8)
DEPTHS = (150.0, 162.0, 210.0, 77.4, 33.0, 46.8, 153.6, 806.0, 19000.0)
BEAMS = np.array([gaussian_beam(fwhm, LMAX) for fwhm in FWHM])
SETTINGS = {"fwhm_arcmin": FWHM, "fwhm_out": FWHM_OUT, "lmax": LMAX, "peaks": (10, 25, 40, 60, 81)}
KEPT = galactic_mask(NSIDE, 20.0) > 0

AMPLITUDES = ("dust_amplitude", "sync_amplitude", "freefree_amplitude", "ame_amplitude")
NOMINAL = dict.fromkeys(AMPLITUDES, Normal(1.0, 0.12)) | {
    "dust_beta": Normal(0.0, 0.05),
    "dust_temp": Normal(0.0, 1.0),
    "sync_beta": Normal(0.0, 0.05),
    "ame_peak": Normal(0.0, 1.5),
    "small_scale": Normal(1.0, 0.15),
}
DUSTY = NOMINAL | {
    "dust_amplitude": Normal(1.6, 0.12),
    "dust_beta": Normal(0.08, 0.05),
    "dust_temp": Normal(-1.5, 1.0),
}
HOSTILE = NOMINAL | {
    "dust_amplitude": Normal(6.0, 0.1),
    "dust_beta": Normal(-0.3, 0.01),
    "sync_amplitude": Normal(5.0, 0.1),
    "sync_beta": Normal(0.4, 0.01),
}


def noise(rng):
    return np.concatenate([draw_white_noise(depth, LMAX, rng) for depth in DEPTHS]).reshape(len(FREQS), -1)


def galaxy(population, family=GALAXY):
    def foregrounds(rng):
        return galaxy_alm(
            FREQS, draw_foregrounds(population, rng.spawn(1)[0]), rng.spawn(1)[0], LMAX, family=family
        )

    return foregrounds


def pysm(rng):
    draw = draw_foregrounds(NOMINAL, rng.spawn(1)[0])
    return pysm_alm(("d1", "s1", "f1", "a1"), FREQS, draw, LMAX).reshape(len(FREQS), -1)


def nuisance(foregrounds, seed):
    rng = np.random.default_rng(seed)
    sky = np.array([almxfl(alm, beam) for alm, beam in zip(foregrounds(rng), BEAMS, strict=True)])
    return sky + noise(rng)


@pytest.fixture(scope="module")
def prior():
    """What twelve nominal skies teach."""
    covariances = [
        nuisance_covariance(nuisance(galaxy(NOMINAL), seed), **SETTINGS, domain_deg=DOMAIN_DEG)
        for seed in range(12)
    ]
    return NeedletPrior(np.mean(covariances, axis=0), DOMAIN_DEG, 0.999)


def errors(foregrounds, seed, prior):
    """Errors of plain and regularised needlet ILC outside the plane, uK."""
    rng = np.random.default_rng(1000 + seed)
    ell = np.arange(LMAX + 1)
    cmb = draw_alm(np.where(ell < 2, 0, 6000.0 / (ell + 1.0) ** 2), rng)
    data = nuisance(foregrounds, 100 + seed) + np.array([almxfl(cmb, beam) for beam in BEAMS])
    truth = almxfl(cmb, gaussian_beam(FWHM_OUT, LMAX))
    results = (nilc(data, **SETTINGS, ilc_bias=0.001, options=NilcOptions(prior=p)) for p in (None, prior))
    return [np.std(alm2map(result.alm - truth, NSIDE)[KEPT]) for result in results]


@pytest.mark.parametrize(
    ("foregrounds", "ratio"),
    [(galaxy(NOMINAL), 0.7), (galaxy(DUSTY), 0.8), (galaxy(NOMINAL, LAYERED), 1.0), (galaxy(HOSTILE), 1.0)],
    ids=["nominal", "dusty", "layered", "hostile"],
)
def test_it_never_loses_to_the_plain_one(prior, foregrounds, ratio):
    for seed in range(3):
        plain, regularised = errors(foregrounds, seed, prior)
        assert regularised < ratio * plain


def test_it_never_loses_on_the_templates_of_pysm(prior, shared, monkeypatch):
    monkeypatch.setenv("PYSM_LOCAL_DATA", str(shared / "sky64"))
    for seed in range(2):
        plain, regularised = errors(pysm, seed, prior)
        assert regularised < plain
