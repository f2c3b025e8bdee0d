import healpy as hp
import numpy as np
import pytest

from cmbml.sky.instrument import white_noise_cl
from cmbml.sky.noise.draws import (
    Knee,
    depth_from_hits,
    depth_from_variance,
    depths_on_grid,
    draw_modulated_noise,
    draw_white_noise,
    scanning_hits,
)
from cmbml.sky.noise.learned import (
    NoiseModel,
    _components,
    draw_half_difference,
    draw_noise_model,
    fit_noise_model,
    masked_spectrum,
    shared_power,
)
from cmbml.sky.sht import alm2cl, alm2map, alm_size, almxfl, draw_alm

MODES = 2 * np.arange(101) + 1


def mean_spectra(draw, n_sims, n_stokes=1):
    """Mean spectra of some draws: (n_stokes, 101)."""
    alms = (draw(np.random.default_rng([3, sim])) for sim in range(n_sims))
    return np.mean([[alm2cl(row) for row in alm[:n_stokes]] for alm in alms], axis=0)


def draw_anisotropic_noise(depth, lmax, rng):
    depths = depths_on_grid(np.atleast_2d(depth), lmax)
    return draw_modulated_noise(depths, lmax, rng)


def pulls(mean, target, n_sims):
    return (mean / target - 1) / np.sqrt(2 / MODES / n_sims)


def test_knee_has_its_spectrum_at_every_l():
    """100 draws; 5 standard errors for 100 multipoles."""
    knee = Knee(l_knee=30.0, slope=1.7)
    mean = mean_spectra(lambda rng: draw_white_noise(40.0, 100, rng, knee=knee), 100)[0]
    target = white_noise_cl(40.0, 100) * (1 + (30 / np.maximum(np.arange(101), 1)) ** 1.7)
    assert np.abs(pulls(mean, target, 100)).max() < 5
    assert target[30] == pytest.approx(2 * target[100] / (1 + 0.3**1.7), rel=1e-12)


def test_knee_of_zero_is_white():
    one, other = (
        draw_white_noise(40.0, 50, np.random.default_rng(0), **options)
        for options in ({}, {"knee": Knee(0, 2)})
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("n_stokes", [1, 3])
def test_constant_depth_is_white_noise_at_every_l(n_stokes):
    """40 draws of T, E, B; 5 standard errors."""
    depths = np.full((n_stokes, 12 * 16**2), 50.0)
    mean = mean_spectra(lambda rng: draw_anisotropic_noise(depths, 100, rng), 40, n_stokes)
    for row, first in zip(mean, (0, 2, 2), strict=False):
        assert np.abs(pulls(row, white_noise_cl(50.0, 100), 40)[first:]).max() < 5


def test_anisotropic_noise_has_its_variance_everywhere():
    """60 maps of a depth that varies threefold: local variance in 12 regions, to 8 per cent.

    The deepest region is a caustic one pixel wide, which harmonics cut to l = 80 soften by 6 per cent.
    """
    depth = depth_from_hits(scanning_hits(32), 50.0)
    maps = [
        alm2map(draw_anisotropic_noise(depth, 80, np.random.default_rng([5, sim]))[0], 32)
        for sim in range(60)
    ]
    expected = (depth * np.pi / 10800) ** 2 * 81**2 / (4 * np.pi)
    order = np.argsort(depth)
    for region in np.array_split(order, 12):
        measured = np.mean(np.square(maps)[:, region])
        assert measured == pytest.approx(expected[region].mean(), rel=0.08)


def test_mean_variance_is_that_of_the_depth():
    """The spectrum of modulated white noise is white, at the mean variance; 40 draws, 5 standard errors."""
    depth = depth_from_hits(scanning_hits(32), 50.0)
    assert np.mean(depth**2) == pytest.approx(2500)
    mean = mean_spectra(lambda rng: draw_anisotropic_noise(depth, 100, rng), 40)[0]
    # Modulation correlates multipoles, which widens the scatter of each by a factor below 1.5.
    assert np.abs(pulls(mean, white_noise_cl(50.0, 100), 40)[2:]).max() < 7
    level = np.average(mean / white_noise_cl(50.0, 100), weights=MODES)
    assert level == pytest.approx(1, abs=0.02)


def test_depth_of_a_variance_map():
    """Pixels of variance v hold v per pixel area: a depth of sqrt(v) times the pixel's side."""
    variance = np.full(12 * 16**2, 9.0)
    np.testing.assert_allclose(depth_from_variance(variance), 3 * hp.nside2resol(16, arcmin=True))


@pytest.mark.parametrize("values", [[9.0, -1.0], [9.0, np.nan], [np.inf, 9.0], [0.0, 0.0]])
def test_variances_that_are_none_are_refused(values):
    with pytest.raises(ValueError, match="variances must be finite and 0 or more"):
        depth_from_variance(np.resize(values, 12))


def test_scan_is_deepest_near_the_ecliptic_poles():
    hits = scanning_hits(32)
    assert hits.mean() == pytest.approx(1)
    assert (hits > 0).all()
    to_galactic = hp.Rotator(coord=["E", "G"])
    at_latitude = {}
    for latitude in (0.0, 30.0, 80.0):
        theta, phi = to_galactic(np.full(24, np.radians(90 - latitude)), np.arange(24) * np.pi / 12)
        at_latitude[latitude] = hits[hp.ang2pix(32, theta, phi)].mean()
    assert at_latitude[0.0] < at_latitude[30.0] < at_latitude[80.0]


def test_variance_goes_as_one_over_hits_and_pixels_without_any_do_not_count():
    depth = depth_from_hits(np.array([4.0, 1.0, 0.0, 2.0]), 50.0)
    np.testing.assert_allclose(depth**2 * [4, 1, 1, 2], depth[1] ** 2)
    assert np.mean(depth[[0, 1, 3]] ** 2) == pytest.approx(50.0**2)


@pytest.mark.parametrize("hits", [[1.0, -1.0], [1.0, np.nan], [0.0, 0.0]])
def test_hits_that_are_none_are_refused(hits):
    with pytest.raises(ValueError, match="hits must be finite and 0 or more"):
        depth_from_hits(np.array(hits), 50.0)


def simulations(n_sims, lmax, scatter, seed):
    """Noise skies whose level on large scales scatters between simulations: the truth of the model."""
    rng = np.random.default_rng(seed)
    ell = np.arange(lmax + 1)
    mean = 1e-3 * (1 + 20 / np.maximum(ell, 1))
    shape = 1 / (1 + ell / 20)
    levels = scatter * rng.standard_normal(n_sims)
    return mean, shape, [draw_alm(mean * 10 ** (level * shape), rng) for level in levels]


def test_noise_model_recovers_mean_and_scatter():
    """200 simulations: mean spectrum within 4 per cent, scatter of the levels within 15 (its error is 5)."""
    mean, shape, alms = simulations(200, 100, 0.1, 0)
    spectra = np.array([alm2cl(alm) for alm in alms])
    model = fit_noise_model(spectra * 199 / 200, np.zeros(alm_size(100), dtype=complex), 1.0)
    assert len(model.components) == 1
    np.testing.assert_allclose(10 ** model.mean_log10[5:], mean[5:], rtol=0.12)
    # Without its correction the mean of the logarithm would be 12 per cent low at these l; errors are 2.
    assert np.mean(10 ** model.mean_log10[2:9] / mean[2:9]) == pytest.approx(1, abs=0.06)
    assert np.mean(10 ** model.mean_log10[20:] / mean[20:]) == pytest.approx(1, abs=0.04)
    scatter = np.abs(model.components[0])[20:] @ shape[20:] / (shape[20:] @ shape[20:])
    assert scatter == pytest.approx(0.1, rel=0.15)


def test_components_are_freed_of_sample_variance():
    """A signal of variance s on unit noise makes the eigenvalue (1 + s)(1 + ratio / s); s comes back."""
    n_sims, n_ell, signal = 51, 20, 6.0
    left = np.linalg.qr(np.random.default_rng(0).standard_normal((n_sims, n_sims)))[0][:, 0]
    right = np.ones(n_ell) / np.sqrt(n_ell)
    eigenvalue = (1 + signal) * (1 + (n_ell / (n_sims - 1)) / signal)
    components = _components(np.sqrt(eigenvalue * (n_sims - 1)) * np.outer(left, right))
    np.testing.assert_allclose(np.abs(components), [np.sqrt(signal) * right], rtol=1e-9)


def test_sample_variance_alone_makes_no_components():
    _, _, alms = simulations(100, 100, 0.0, 1)
    spectra = np.array([alm2cl(alm) for alm in alms])
    model = fit_noise_model(spectra, np.zeros(alm_size(100), dtype=complex), 1.0)
    assert len(model.components) == 0


def test_draws_have_sample_variance_and_scatter():
    """The scatter of drawn C_l is that of the simulations: sample variance and the levels', to 15 per cent."""
    _, _, alms = simulations(300, 100, 0.1, 2)
    spectra = np.array([alm2cl(alm) for alm in alms])
    model = fit_noise_model(spectra, np.zeros(alm_size(100), dtype=complex), 1.0)
    drawn = np.array([alm2cl(draw_noise_model(model, np.random.default_rng([4, i]))) for i in range(300)])
    ratio = np.log(drawn).std(axis=0) / np.log(spectra).std(axis=0)
    assert np.mean(ratio[2:]) == pytest.approx(1, abs=0.05)
    assert np.abs(ratio[2:] - 1).max() < 0.25


def learnt(n_sims, seed, pattern=0.0):
    """A model of white simulations that share a pattern, ``(nalm,)``."""
    rng = np.random.default_rng(seed)
    alms = np.array([draw_alm(np.ones(61), rng) for _ in range(n_sims)]) + pattern
    average = alms.mean(axis=0)
    spectra = np.array([alm2cl(alm - average) for alm in alms])
    kept = shared_power(alm2cl(average), spectra, 1.0)
    return fit_noise_model(spectra, almxfl(average, kept), 1.0), kept


def test_the_average_of_noise_is_noise_and_is_dropped():
    """Of 20 ensembles of 12 simulations at most one has anything left: 1 per cent have."""
    models = [learnt(12, seed) for seed in range(20)]
    assert sum(kept.any() for _, kept in models) <= 1
    draws = np.array([draw_noise_model(models[0][0], np.random.default_rng(sim)) for sim in range(200)])
    # The mean of 200 draws holds 1/200 of their power, and 1/12 more where the average of 12 were in each.
    assert np.mean(alm2cl(draws.mean(axis=0))[2:]) == pytest.approx(1 / 200, rel=0.15)
    power = np.mean([alm2cl(one) for one in draws], axis=0)
    assert np.mean(power[2:]) == pytest.approx(np.mean(models[0][0].mean_spectrum()[2:]), rel=0.02)


def test_a_pattern_that_all_simulations_share_is_kept_where_it_stands_out():
    pattern = np.zeros(alm_size(60), dtype=complex)
    pattern[:11] = 3.0  # m = 0, l up to 10
    model, kept = learnt(30, 0, pattern)
    assert (kept[:8] > 0.5).all()
    assert not kept[11:].any()
    np.testing.assert_allclose(model.pattern_alm[:8], 3.0, atol=0.8)
    draws = np.array([draw_noise_model(model, np.random.default_rng(sim)) for sim in range(200)])
    np.testing.assert_allclose(draws.mean(axis=0), model.pattern_alm, atol=0.4)


def test_half_the_difference_of_learnt_halves_has_the_spectrum_that_was_drawn_and_no_pattern():
    """Levels that scatter by a factor of ten: whole and difference are as loud as each other in every sky."""
    model = NoiseModel(np.zeros(61), np.full((1, 61), 0.5), np.full(alm_size(60), 1e6 + 0j))
    for sim in range(4):
        noise = draw_noise_model(model, np.random.default_rng(sim)) - model.pattern_alm
        difference = draw_half_difference(model, np.random.default_rng(sim), np.random.default_rng([9, sim]))
        ratio = np.average(alm2cl(noise), weights=2 * np.arange(61) + 1) / np.average(
            alm2cl(difference), weights=2 * np.arange(61) + 1
        )
        assert ratio == pytest.approx(1, abs=0.15)
        assert abs(np.vdot(noise, difference)) < 0.1 * np.vdot(noise, noise).real


def test_masked_spectrum_of_white_noise():
    """Per mean squared mask the level is that of the full sky; 20 maps at l = 10..60."""
    mask = (np.abs(hp.pix2vec(32, np.arange(12 * 32**2))[2]) > 0.3).astype(float)
    rng = np.random.default_rng(6)
    spectra = [masked_spectrum(rng.standard_normal(mask.size), mask, 60) for _ in range(20)]
    assert np.mean(spectra, axis=0)[10:].mean() == pytest.approx(4 * np.pi / mask.size, rel=0.02)


def test_too_few_simulations_are_refused():
    with pytest.raises(ValueError, match="too few"):
        fit_noise_model(np.ones((5, 10)), np.zeros(55, dtype=complex), 1.0)
