import healpy as hp
import numpy as np
import pytest

from cmbml.analysis import reference
from cmbml.analysis.reference import floor_noise
from cmbml.sky.noise.band import BandNoise
from cmbml.sky.noise.draws import WHITE, Knee, depths_on_grid
from cmbml.sky.noise.learned import NoiseModel
from cmbml.sky.sht import alm2cl, alm2map, almxfl, draw_alm, gaussian_beam

NSIDE, LMAX = 32, 64
VECTORS = np.array(hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2)))
AXES = np.array([[1, 0, 0], [-0.5, 0.866, 0], [-0.5, -0.866, 0]])
DEPTHS = 10 * np.exp(1.5 * (1 - AXES @ VECTORS))
"""Three bands, each deep over its own part of the sky."""

FWHM = np.array([300.0, 150.0, 100.0])
BEAMS = np.stack([gaussian_beam(fwhm, LMAX) for fwhm in FWHM]) / gaussian_beam(150.0, LMAX)
ONE_BEAM = np.ones((3, LMAX + 1))
POLARISED = np.array([1.0, 1.5, 1.4])


def uneven(n_stokes=1, knee=WHITE, depths=DEPTHS):
    maps = [np.outer(POLARISED[:n_stokes], one) for one in depths]
    return [
        BandNoise(tuple(np.sqrt(np.mean(one**2, axis=1))), knee, depths_on_grid(one, LMAX)) for one in maps
    ]


def draw(bands, sim):
    return np.stack([band.draw(1.0, LMAX, np.random.default_rng([sim, k])) for k, band in enumerate(bands)])


def test_isotropic_bands_are_weighed_by_inverse_variance():
    bands = [BandNoise((depth, 2 * depth, 2 * depth)) for depth in (40.0, 10.0, 200.0)]
    noise = draw(bands, 0)
    inverse = np.stack(
        [beam**2 / band.spectra(1, LMAX) for beam, band in zip(BEAMS[:, None], bands, strict=True)]
    )
    weights = inverse / inverse.sum(axis=0)
    expected = [sum(almxfl(noise[f, row], weights[f, row] / BEAMS[f]) for f in range(3)) for row in range(3)]
    np.testing.assert_allclose(floor_noise(noise, bands, BEAMS), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("knee", [WHITE, Knee(20.0, 1.5)])
@pytest.mark.parametrize("n_stokes", [1, 3])
def test_combination_keeps_the_cmb_whole(rng, n_stokes, knee, monkeypatch):
    monkeypatch.setattr(reference, "TOLERANCE", 1e-9)
    cmb = np.stack([draw_alm(np.r_[0, 0, np.ones(LMAX - 1)], rng) for _ in range(n_stokes)])
    bands = np.stack([almxfl(cmb, beam) for beam in BEAMS])
    np.testing.assert_allclose(floor_noise(bands, uneven(n_stokes, knee), BEAMS), cmb, atol=1e-6)


@pytest.mark.parametrize("n_stokes", [1, 3])
def test_local_inverse_variance_lies_no_lower(n_stokes):
    """Bands of one beam, weighed by the inverse variance of every pixel: unbiased, and nearly the best."""
    bands = uneven(n_stokes)
    weights = DEPTHS**-2.0 / np.sum(DEPTHS**-2.0, axis=0)
    ratios = []
    for sim in range(6):
        noise = draw(bands, sim)
        floor = alm2map(floor_noise(noise, bands, ONE_BEAM), NSIDE)
        local = np.sum([w * alm2map(one, NSIDE) for w, one in zip(weights, noise, strict=True)], axis=0)
        ratios.append(floor.std(axis=1) / local.std(axis=1))
    mean, error = np.mean(ratios, axis=0), np.std(ratios, axis=0, ddof=1) / np.sqrt(6)
    assert np.all(mean < 1 + 3 * error)
    # Weights by l alone leave 2.3 times as much.
    assert np.all(mean > 0.93)


@pytest.mark.parametrize("knee", [WHITE, Knee(20.0, 1.5)])
def test_no_other_weights_leave_less(rng, knee):
    """Whatever of the differences between bands is added to the floor adds noise: Gauss and Markov."""
    bands = uneven(knee=knee)
    patterns = [alm2map(draw_alm(np.full(5, 0.1), rng)[None], NSIDE) for _ in range(4)]
    products = []
    for sim in range(16):
        noise = draw(bands, sim)
        floor = alm2map(floor_noise(noise, bands, ONE_BEAM), NSIDE)
        differences = [alm2map(noise[k] - noise[0], NSIDE) for k in (1, 2)]
        products.append([np.mean(floor * p * d) for p in patterns for d in differences])
    z = np.mean(products, axis=0) / (np.std(products, axis=0, ddof=1) / np.sqrt(16))
    # 8 products: 3.5 sigma is a chance of 3 % for 16 skies; seeds are fixed.
    assert np.abs(z).max() < 3.5


def test_what_noise_simulations_share_is_noise_too():
    flat = np.full(LMAX + 1, -2.0)
    shared = draw_alm(np.full(LMAX + 1, 1.0), np.random.default_rng(4))
    none = np.zeros((0, LMAX + 1))
    bands = [BandNoise((1.0,), model=NoiseModel(flat, none, average)) for average in (shared, 0 * shared)]
    noise = np.stack([np.stack([shared]), np.stack([0 * shared])])
    left = alm2cl(floor_noise(noise, bands, ONE_BEAM[:2])[0])
    # The band whose average has a hundred times the power of its draws is all but left out.
    assert np.mean(left[2:] / alm2cl(shared)[2:]) < 1e-3


def test_noise_without_power_is_refused():
    bands = [BandNoise((10.0,)), BandNoise((0.0,))]
    with pytest.raises(ValueError, match="needs noise at every l up to 64"):
        floor_noise(np.zeros((2, 1, 2145), dtype=complex), bands, ONE_BEAM[:2])
