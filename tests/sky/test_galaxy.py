from dataclasses import replace

import healpy as hp
import numpy as np
import pytest

from cmbml.sky.foregrounds import PROCEDURAL, ForegroundDraw
from cmbml.sky.galaxy.family import DISCS, FAMILIES, GALAXY, LAYERED, POLARISED
from cmbml.sky.galaxy.fields import gaussian_field, lognormal, unit_spectrum
from cmbml.sky.galaxy.model import galaxy_alm, galaxy_component_alm
from cmbml.sky.galaxy.structure import brightness
from cmbml.sky.grid import GaussGrid, HealpixGrid
from cmbml.sky.mask import apodise, galactic_mask
from cmbml.sky.passbands import top_hat
from cmbml.sky.sht import alm2cl, alm2map, map2alm, resize_alm
from cmbml.sky.units import rj_to_cmb
from tests.sky.maps import galaxy_component_maps, galaxy_maps

FREQS = (28.4, 142.876, 545.0)
TEMPLATES = {"dust": "dust_t_new", "sync": "synch_t_new", "freefree": "ff_t_new", "ame": "ame_t_new"}


def simulate(seed=0, draw=None, freqs=FREQS, nside=32):
    return galaxy_component_maps(freqs, draw or ForegroundDraw(), np.random.default_rng(seed), nside)


def test_every_component_is_bright_everywhere():
    for sky in simulate().values():
        assert sky.shape == (3, 12 * 32**2)
        assert (sky > 0).all()


def test_simulations_differ_and_repeat():
    np.testing.assert_array_equal(simulate(1)["dust"], simulate(1)["dust"])
    assert np.corrcoef(simulate(1)["dust"][0], simulate(2)["dust"][0])[0, 1] < 0.99


@pytest.mark.parametrize("name", list(DISCS))
def test_amplitude_scales_its_component_alone(name):
    plain, scaled = simulate(), simulate(draw=ForegroundDraw(**{f"{name}_amplitude": 1.7}))
    for other in DISCS:
        np.testing.assert_allclose(scaled[other], plain[other] * (1.7 if other == name else 1), rtol=1e-12)


@pytest.mark.parametrize(
    ("key", "name", "reference"), [("dust_beta", "dust", 545.0), ("sync_beta", "sync", 0.408)]
)
def test_index_offsets_tilt_around_the_reference(key, name, reference):
    plain, tilted = simulate()[name], simulate(draw=ForegroundDraw(**{key: 0.1}))[name]
    for freq, ratio in zip(FREQS, tilted / plain, strict=True):
        np.testing.assert_allclose(ratio, (freq / reference) ** 0.1, rtol=1e-9)


def test_small_scale_factor_of_zero_leaves_the_smooth_model():
    sky = simulate(draw=ForegroundDraw(small_scale=1e-12))["dust"][2]
    np.testing.assert_allclose(sky, brightness(DISCS["dust"], HealpixGrid(32)) * rj_to_cmb(545.0), rtol=1e-9)


@pytest.mark.parametrize("name", list(DISCS))
def test_brightness_matches_pysm_templates(sky64, name):
    """Mean and rms at |b| > 20 degrees within some tens of per cent, averaged over four simulations.

    Free-free is a handful of HII regions on the real sky: its rms there is left to a factor of two.
    """
    template = hp.read_map(sky64 / "pysm_2" / f"{TEMPLATES[name]}.fits", dtype=np.float64)
    high = np.abs(np.degrees(HealpixGrid(64).directions()[1])) > 20
    reference = {"dust": 545.0, "sync": 0.408, "freefree": 30.0, "ame": 22.8}[name]
    skies = [simulate(seed, None, (reference,), 64)[name][0] / rj_to_cmb(reference) for seed in range(4)]
    means = np.mean([sky[high].mean() for sky in skies]), np.mean([sky.mean() for sky in skies])
    assert means[0] == pytest.approx(template[high].mean(), rel=0.3)
    assert means[1] == pytest.approx(template.mean(), rel=0.35)
    rms = np.mean([sky[high].std() for sky in skies])
    assert rms == pytest.approx(template[high].std(), rel=0.5 if name == "freefree" else 0.35)


@pytest.mark.parametrize("name", list(DISCS))
def test_latitude_profile_follows_pysm(sky64, name):
    template = hp.read_map(sky64 / "pysm_2" / f"{TEMPLATES[name]}.fits", dtype=np.float64)
    latitude = np.abs(np.degrees(HealpixGrid(64).directions()[1]))
    for low, high in [(0, 5), (5, 20), (20, 40), (40, 90)]:
        band = (latitude >= low) & (latitude < high)
        ratio = brightness(DISCS[name], HealpixGrid(64))[band].mean() / template[band].mean()
        assert 0.6 < ratio < 1.4, (low, high)


def test_large_scales_are_the_same_at_every_resolution():
    """One set of coefficients, two grids: equal where they are evaluated at the same points."""
    disc = DISCS["sync"]
    grid = GaussGrid(300)
    fine = grid.analyse(np.log(brightness(disc, grid))[np.newaxis], 256)
    np.testing.assert_allclose(np.exp(alm2map(fine, 32)[0]), brightness(disc, HealpixGrid(32)), rtol=1e-9)


def test_fields_are_the_same_at_every_resolution():
    """Multipoles on two grids of one seed, analysed exactly."""
    low, high = (
        GaussGrid(lmax).analyse(
            gaussian_field(-2.9, 8.0, lmax, GaussGrid(lmax), np.random.default_rng(3))[np.newaxis], 40
        )
        for lmax in (40, 70)
    )
    np.testing.assert_allclose(low, high, atol=1e-12)


def test_a_realisation_depends_little_on_the_band_limit():
    """Small scales 160 multipoles beyond the band move the large ones by 1 to 3 per cent of the rms."""
    low, high = (galaxy_alm(FREQS, ForegroundDraw(), np.random.default_rng(0), lmax) for lmax in (60, 150))
    for one, other in zip(low, high, strict=True):
        cut = resize_alm(other, 60)
        assert np.std(one - cut) < 0.03 * np.std(cut)


def test_coefficients_are_those_of_the_map():
    """HEALPix at nside 128 has other small scales and aliases the thin disc: 3 per cent of the rms."""
    rngs = [np.random.default_rng(0) for _ in range(2)]
    alm = galaxy_alm((142.876,), ForegroundDraw(), rngs[0], 60)[0]
    sky = galaxy_maps((142.876,), ForegroundDraw(), rngs[1], 128)[0]
    assert np.std(resize_alm(map2alm(sky, 250), 60) - alm) < 0.03 * np.std(alm)


def test_component_coefficients_add_up():
    rngs = [np.random.default_rng(0) for _ in range(2)]
    parts = galaxy_component_alm(FREQS, ForegroundDraw(), rngs[0], 40, n_stokes=3)
    total = galaxy_alm(FREQS, ForegroundDraw(), rngs[1], 40, n_stokes=3)
    assert total.shape == (3, 3, 41 * 42 // 2)
    np.testing.assert_allclose(sum(parts.values()), total, atol=1e-9 * np.abs(total).max())


def test_temperature_does_not_depend_on_polarisation():
    rngs = [np.random.default_rng(0) for _ in range(2)]
    alone = galaxy_maps(FREQS, ForegroundDraw(), rngs[0], 32)
    together = galaxy_maps(FREQS, ForegroundDraw(), rngs[1], 32, n_stokes=3)
    np.testing.assert_array_equal(alone, together[:, 0])


@pytest.mark.parametrize(("name", "stem", "freq"), [("dust", "dust", 353.0), ("sync", "synch", 23.0)])
def test_polarisation_matches_pysm_templates(sky64, name, stem, freq):
    """Rms of Q and U at |b| > 20 degrees within 40 per cent, and mean Q of the plane of the same sign."""
    latitude = np.abs(np.degrees(HealpixGrid(64).directions()[1]))
    ours = [
        galaxy_component_maps((freq,), ForegroundDraw(), np.random.default_rng(seed), 64, n_stokes=3)[name][0]
        / rj_to_cmb(freq)
        for seed in range(4)
    ]
    for row, letter in ((1, "q"), (2, "u")):
        template = hp.read_map(sky64 / "pysm_2" / f"{stem}_{letter}_new.fits", dtype=np.float64)
        high = np.mean([sky[row][latitude > 20].std() for sky in ours])
        assert high == pytest.approx(template[latitude > 20].std(), rel=0.4)
        if letter == "q":
            plane = np.mean([sky[row][latitude < 3].mean() for sky in ours])
            assert plane == pytest.approx(template[latitude < 3].mean(), rel=0.5)


def test_polarisation_is_never_more_than_the_light():
    for name, sky in galaxy_component_maps(
        FREQS, ForegroundDraw(), np.random.default_rng(0), 32, n_stokes=3
    ).items():
        fraction = np.hypot(sky[:, 1], sky[:, 2]) / sky[:, 0]
        assert fraction.max() <= (0.31 if name in ("dust", "sync") else 0)


def test_bandpasses_are_averages():
    """A band of 20 per cent width sees 1 per cent more dust than its centre."""
    rngs = [np.random.default_rng(0) for _ in range(2)]
    delta = galaxy_component_maps((353.0,), ForegroundDraw(), rngs[0], 16)["dust"]
    wide = galaxy_component_maps((top_hat(317.7, 388.3),), ForegroundDraw(), rngs[1], 16)["dust"]
    assert (wide / delta > 1.005).all()
    assert (wide / delta < 1.02).all()


def test_threads_do_not_change_the_sky():
    one, two = (
        galaxy_maps(FREQS, ForegroundDraw(), np.random.default_rng(0), 64, threads=threads)
        for threads in (1, 2)
    )
    np.testing.assert_allclose(one, two, rtol=1e-12)


def test_field_has_unit_variance_and_its_slope():
    cl = unit_spectrum(-2.9, 8.0)
    ell = np.arange(len(cl))
    assert np.sum((2 * ell + 1) * cl) / (4 * np.pi) == pytest.approx(1)
    assert np.log(cl[4000] / cl[1000]) / np.log(4) == pytest.approx(-2.9, abs=0.02)
    grid = GaussGrid(160)
    field = gaussian_field(-2.9, 8.0, 160, grid, np.random.default_rng(4))
    measured = alm2cl(grid.analyse(field[np.newaxis], 160)[0])[20:150]
    expected = cl[20:150]
    weight = 2 * np.arange(20, 150) + 1
    assert np.average(measured / expected, weights=weight) == pytest.approx(
        1, abs=5 * np.sqrt(2 / weight.sum())
    )


def test_lognormal_has_unit_mean():
    """A million independent deviates: the mean is good to exp(sigma^2) / 1000."""
    deviates = np.random.default_rng(5).standard_normal(1_000_000)
    assert lognormal(deviates, 0.8).mean() == pytest.approx(1, abs=5e-3)


def test_the_plane_is_bright_and_the_centre_brightest():
    longitude, latitude = HealpixGrid(32).directions()
    for name, disc in DISCS.items():
        sky = brightness(disc, HealpixGrid(32))
        plane = np.abs(latitude) < np.radians(3)
        towards = plane & (np.cos(longitude) > np.cos(np.radians(20)))
        away = plane & (np.cos(longitude) < -np.cos(np.radians(20)))
        assert sky[towards].mean() > 2 * sky[away].mean() > 2 * sky[np.abs(latitude) > 1].mean(), name


def test_cached_maps_cannot_be_spoilt():
    with pytest.raises(ValueError, match="read-only"):
        brightness(replace(DISCS["dust"], plane=1.0), HealpixGrid(8))[0] = 0


def layered(seed, **options):
    return galaxy_component_alm(
        (217.0, 353.0), ForegroundDraw(), np.random.default_rng(seed), 96, family=LAYERED, **options
    )


def correlation(alm, low=20):
    cross, first, second = (alm2cl(alm[i], alm[j])[low:] for i, j in ((0, 1), (0, 0), (1, 1)))
    return np.mean(cross / np.sqrt(first * second))


def test_layers_of_dust_decorrelate_between_frequencies():
    """Two layers of other temperatures and indices: less alike at 217 and 353 GHz than one layer is."""
    one = galaxy_component_alm((217.0, 353.0), ForegroundDraw(), np.random.default_rng(0), 96)["dust"]
    two = layered(0)["dust"]
    assert 0.9 < correlation(two) < correlation(one) < 1
    assert 1 - correlation(two) > 2 * (1 - correlation(one))


def test_synchrotron_of_the_layered_family_curves_above_its_pivot():
    """Between 23 and 353 GHz it falls short of a power law by 0.06 ln(353/23)^2, a third."""
    freqs = (23.0, 353.0)
    curved, straight = (
        galaxy_component_alm(freqs, ForegroundDraw(), np.random.default_rng(0), 40, family=family)["sync"]
        for family in (LAYERED, replace(LAYERED, sync_curvature=0.0))
    )
    np.testing.assert_allclose(curved[0], straight[0])
    np.testing.assert_allclose(curved[1], straight[1] * np.exp(-0.06 * np.log(353 / 23) ** 2))


def test_families_have_the_names_that_parameters_know():
    assert tuple(FAMILIES) == PROCEDURAL


def high_latitudes(alm):
    """Pseudo-a_lm at |b| > 20 degrees up to l = 120."""
    mask = apodise(galactic_mask(64, 20.0), 600.0, "C2")
    return map2alm(alm2map(alm, 64) * mask, 120, iterations=0)


def power(first, second=None):
    """Mean D_l of l = 40 to 120."""
    ell = np.arange(40, 121)
    return np.mean(ell * (ell + 1) * alm2cl(first, second)[40:])


def polarised_skies(family):
    """Pseudo-a_lm of dust at 217 and 353 GHz and of synchrotron at 30 GHz, of two simulations."""
    for seed in range(2):
        sky = galaxy_component_alm(
            (30.0, 217.0, 353.0),
            ForegroundDraw(),
            np.random.default_rng(seed),
            160,
            family=family,
            n_stokes=3,
        )
        yield [high_latitudes(alm) for alm in (sky["dust"][1], sky["dust"][2], sky["sync"][0])]


@pytest.fixture(scope="module")
def polarised():
    return list(polarised_skies(POLARISED))


def test_e_and_b_modes_have_the_ratios_that_planck_measured(polarised):
    """At |b| > 20 degrees, means of two skies; docs/validation/polarisation.md has eight, decoupled."""
    dust = np.mean([power(sky[1][2]) / power(sky[1][1]) for sky in polarised])
    te = np.mean(
        [power(dust[0], dust[1]) / np.sqrt(power(dust[0]) * power(dust[1])) for _, dust, _ in polarised]
    )
    sync = np.mean([power(sky[2][2]) / power(sky[2][1]) for sky in polarised])
    assert dust == pytest.approx(0.53, abs=0.08)
    assert te == pytest.approx(0.36, abs=0.08)
    assert sync == pytest.approx(0.35, abs=0.05)


def test_synchrotron_has_angles_of_its_own(polarised):
    """Its E modes are correlated with dust's in part only, where one field gives a half."""
    cross = [
        power(dust[1], sync[1]) / np.sqrt(power(dust[1]) * power(sync[1])) for _, dust, sync in polarised
    ]
    assert 0.02 < np.mean(cross) < 0.3


def test_angles_of_dust_turn_with_frequency(polarised):
    """Layers with fields of their own: 217 and 353 GHz are less alike than under one field, within Planck's limit."""
    ratios = [power(low[2], high[2]) / np.sqrt(power(low[2]) * power(high[2])) for low, high, _ in polarised]
    assert 0.991 < np.mean(ratios) < 0.9995
    low, high, _ = next(polarised_skies(GALAXY))
    assert 1 - np.mean(ratios) > 3 * (1 - power(low[2], high[2]) / np.sqrt(power(low[2]) * power(high[2])))


def test_temperature_does_not_depend_on_the_magnetic_fields():
    one, other = (
        galaxy_alm((353.0,), ForegroundDraw(), np.random.default_rng(0), 40, family=family, n_stokes=n)
        for family, n in ((POLARISED, 1), (replace(POLARISED, magnetic=None), 3))
    )
    np.testing.assert_array_equal(one[0], other[0, 0])
