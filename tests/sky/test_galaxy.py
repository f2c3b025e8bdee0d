from dataclasses import replace

import healpy as hp
import numpy as np
import pytest

from cmbml.sky.foregrounds import ForegroundDraw
from cmbml.sky.galaxy import DISCS, galaxy_component_maps, galaxy_maps
from cmbml.sky.galaxy_fields import gaussian_field, lognormal, unit_spectrum
from cmbml.sky.galaxy_structure import brightness, directions
from cmbml.sky.sht import alm2cl, map2alm, resize_alm
from cmbml.sky.units import rj_to_cmb

FREQS = (28.4, 142.876, 545.0)
TEMPLATES = {"dust": "dust_t_new", "sync": "synch_t_new", "freefree": "ff_t_new", "ame": "ame_t_new"}


def simulate(seed=0, draw=None, freqs=FREQS, nside=32):
    return galaxy_component_maps(freqs, draw or ForegroundDraw(), np.random.default_rng(seed), nside)


def test_maps_are_the_sum_of_the_components():
    total = galaxy_maps(FREQS, ForegroundDraw(), np.random.default_rng(0), 32)
    assert total.shape == (3, 12 * 32**2)
    np.testing.assert_allclose(total, sum(simulate().values()), rtol=1e-12)
    assert (total > 0).all()


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
    np.testing.assert_allclose(sky, brightness(DISCS["dust"], 32) * rj_to_cmb(545.0), rtol=1e-9)


@pytest.mark.parametrize("name", list(DISCS))
def test_brightness_matches_pysm_templates(sky64, name):
    """Mean and rms at |b| > 20 degrees within some tens of per cent, averaged over four simulations.

    Free-free is a handful of HII regions on the real sky: its rms there is left to a factor of two.
    """
    template = hp.read_map(sky64 / "pysm_2" / f"{TEMPLATES[name]}.fits", dtype=np.float64)
    high = np.abs(np.degrees(directions(64)[1])) > 20
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
    latitude = np.abs(np.degrees(directions(64)[1]))
    for low, high in [(0, 5), (5, 20), (20, 40), (40, 90)]:
        band = (latitude >= low) & (latitude < high)
        ratio = brightness(DISCS[name], 64)[band].mean() / template[band].mean()
        assert 0.6 < ratio < 1.4, (low, high)


def test_large_scales_are_the_same_at_every_nside():
    """The disc at nside 256 is interpolated harmonically from 128: means of parent pixels agree."""
    fine, coarse = brightness(DISCS["sync"], 256), brightness(DISCS["sync"], 64)
    nested = hp.reorder(fine, r2n=True).reshape(-1, 16).mean(axis=1)
    ratio = hp.reorder(nested, n2r=True) / coarse
    assert np.std(ratio) < 0.02
    assert np.mean(ratio) == pytest.approx(1, abs=5e-3)


def test_fields_are_the_same_at_every_nside():
    """Multipoles of two resolutions of one seed; three iterations leave 2e-3 at m = 0."""
    low, high = (
        map2alm(gaussian_field(-2.9, 8.0, 1000, nside, np.random.default_rng(3)), 5 * nside // 2)
        for nside in (16, 32)
    )
    np.testing.assert_allclose(low, resize_alm(high, 40), atol=2e-3 * np.std(low))


def test_field_has_unit_variance_and_its_slope():
    cl = unit_spectrum(-2.9, 8.0)
    ell = np.arange(len(cl))
    assert np.sum((2 * ell + 1) * cl) / (4 * np.pi) == pytest.approx(1)
    assert np.log(cl[4000] / cl[1000]) / np.log(4) == pytest.approx(-2.9, abs=0.02)
    field = gaussian_field(-2.9, 8.0, 160, 64, np.random.default_rng(4))
    measured = alm2cl(map2alm(field, 150))[20:150]
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
    longitude, latitude = directions(32)
    for name, disc in DISCS.items():
        sky = brightness(disc, 32)
        plane = np.abs(latitude) < np.radians(3)
        towards = plane & (np.cos(longitude) > np.cos(np.radians(20)))
        away = plane & (np.cos(longitude) < -np.cos(np.radians(20)))
        assert sky[towards].mean() > 2 * sky[away].mean() > 2 * sky[np.abs(latitude) > 1].mean(), name


def test_cached_maps_cannot_be_spoilt():
    with pytest.raises(ValueError, match="read-only"):
        brightness(replace(DISCS["dust"], plane=1.0), 8)[0] = 0
