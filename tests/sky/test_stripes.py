"""Stripes along a scan: where rings put them, their spectrum, and that they run along the rings."""

import healpy as hp
import numpy as np
import pytest

from cmbml.sky.noise.draws import SCAN_OPENING
from cmbml.sky.noise.stripes import Stripes, _crossing
from cmbml.sky.sht import alm2cl, alm2map, gaussian_beam

LMAX, NSIDE = 40, 32
STRIPES = Stripes(m_knee=20.0, slope=2.5)


def ecliptic(alm, nside=NSIDE):
    turned = hp.Rotator(coord=["G", "E"]).rotate_alm(alm if len(alm) > 1 else alm[0])
    return alm2map(np.atleast_2d(turned), nside)


def axes_and_points(n_rings, n_points):
    """Spin axes on the ecliptic, and points of the ring around each: ``(3, n_rings, n_points)``."""
    longitude = np.arange(n_rings)[:, None] * 2 * np.pi / n_rings
    spin = np.arange(n_points)[None] * 2 * np.pi / n_points + 1e-3
    axis = np.stack([np.cos(longitude), np.sin(longitude), 0 * longitude])
    side = np.stack([-np.sin(longitude), np.cos(longitude), 0 * longitude])
    across = side * np.cos(spin) + np.array([0, 0, 1.0])[:, None, None] * np.sin(spin)
    along = -side * np.sin(spin) + np.array([0, 0, 1.0])[:, None, None] * np.cos(spin)
    return longitude[:, 0], axis * np.cos(SCAN_OPENING) + across * np.sin(SCAN_OPENING), along


def offsets_of(stripes, depth, rng, longitude):
    cycles = stripes._offsets(depth, LMAX, rng)
    return 2 * (cycles[1:, None] * np.exp(1j * np.arange(1, LMAX + 1)[:, None] * longitude)).real.sum(axis=0)


def binned(values, points):
    pixels = hp.vec2pix(NSIDE, *points.reshape(3, -1))
    hits = np.bincount(pixels, minlength=12 * NSIDE**2)
    return np.bincount(pixels, values.ravel(), 12 * NSIDE**2) / np.maximum(hits, 1)


def test_rings_binned_one_by_one_give_the_same_map():
    """720 rings of 1500 samples, averaged in pixels; both smoothed, away from the ends of the rings."""
    longitude, points, along = axes_and_points(720, 1500)
    alm = STRIPES.draw((60.0, 90.0, 90.0), LMAX, np.random.default_rng(1))
    children = np.random.default_rng(1).spawn(3)
    offsets = [
        offsets_of(STRIPES, d, c, longitude) for d, c in zip((60.0, 90.0, 90.0), children, strict=True)
    ]
    sky = ecliptic(alm)
    colatitude, phi = hp.vec2ang(points.reshape(3, -1).T)
    south = np.stack(
        [np.cos(colatitude) * np.cos(phi), np.cos(colatitude) * np.sin(phi), -np.sin(colatitude)]
    )
    east = np.stack([-np.sin(phi), np.cos(phi), 0 * phi])
    flat = along.reshape(3, -1)
    turn = np.exp(2j * np.arctan2((flat * east).sum(axis=0), (flat * south).sum(axis=0)))
    polarised = (offsets[1] + 1j * offsets[2])[:, None] * turn.reshape(points.shape[1:])
    each = (offsets[0][:, None] * np.ones(points.shape[2]), polarised.real, polarised.imag)
    height = np.abs(hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2))[2])
    for row, values in zip(sky, each, strict=True):
        expected = binned(values, points)
        kept = height < 0.9
        assert np.std((row - expected)[kept]) < 0.12 * np.std(expected[kept])
        assert np.corrcoef(row[kept], expected[kept])[0, 1] > 0.99


def test_stripes_run_along_the_rings():
    """Near the ecliptic rings run from south to north: across them the sky varies ten times as much."""
    alm = STRIPES.draw((60.0,), LMAX, np.random.default_rng(2))
    turned = hp.Rotator(coord=["G", "E"]).rotate_alm(alm[0])
    _, down, right = hp.alm2map_der1(turned, NSIDE)
    near = np.abs(hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2))[2]) < 0.2
    assert np.std(right[near]) > 10 * np.std(down[near])


@pytest.mark.parametrize("depths", [(60.0,), (60.0, 90.0, 90.0)])
def test_mean_spectra_are_those_of_the_draws(depths):
    """300 draws; few m make an l, so that a spectrum scatters by up to 1 / sqrt(300) of 1.5."""
    draws = (STRIPES.draw(depths, LMAX, np.random.default_rng([3, sim])) for sim in range(300))
    mean = np.mean([[alm2cl(row) for row in alm] for alm in draws], axis=0)
    expected = STRIPES.spectra(depths, LMAX)
    assert expected.shape == (len(depths), LMAX + 1)
    np.testing.assert_allclose(mean[:, 2:30], expected[:, 2:30], rtol=0.35)
    assert np.mean(mean[:, 2:30] / expected[:, 2:30]) == pytest.approx(1, abs=0.04)


def test_offsets_of_rings_are_white_noise_of_the_map_at_the_knee():
    """A map of depth w has a mean of variance w^2 / 4 pi, and its offsets as much in every cycle."""
    power = STRIPES.power(60.0, LMAX)
    assert power[20] == pytest.approx((60.0 * np.pi / 10800) ** 2 / (4 * np.pi))
    assert power[5] == pytest.approx(power[20] * 4**2.5)
    assert power[0] == 0


def test_a_lower_band_limit_is_a_cut():
    high, low = (STRIPES.draw((60.0,), lmax, np.random.default_rng(4))[0] for lmax in (80, LMAX))
    beam = gaussian_beam(600.0, LMAX)
    one, other = (
        hp.almxfl(hp.resize_alm(alm, lm, lm, LMAX, LMAX), beam) for alm, lm in ((high, 80), (low, LMAX))
    )
    assert np.std(alm2map(one - other, NSIDE)) < 0.02 * np.std(alm2map(one, NSIDE))


@pytest.mark.parametrize("spin", [0, 2])
def test_the_sky_that_no_ring_reaches_goes_on_from_the_ends_of_the_rings(spin):
    edge = np.pi / 2 - SCAN_OPENING + np.array([-1e-7, 1e-7])[:, None]
    outside, inside = _crossing(edge, np.arange(20), spin)
    np.testing.assert_allclose(outside, inside, atol=0.02)
    at_pole = _crossing(np.array([[1e-9]]), np.arange(20), spin)[0]
    assert np.abs(at_pole[1:]).max() < 1e-6
