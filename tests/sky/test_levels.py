"""Zero levels: found exactly, taken off before cleaning, and the CMB's put back so that it stays whole."""

import healpy as hp
import numpy as np
import pytest

from cmbml.methods.nilc.nilc import apply_weights, nilc
from cmbml.sky import sht
from cmbml.sky.levels import LATITUDE_DEG, Levels, common_levels, full_sky_fit, galaxy_uk, level_fit
from cmbml.sky.mask import galactic_mask

NSIDE, LMAX = 32, 64
FREQ = (30.0, 70.0, 143.0, 353.0)
FWHM = (300.0, 240.0, 200.0, 180.0)
# Planck 2018 I
SUN = Levels(np.append(0.0, 3362.08 * hp.ang2vec(264.021, 48.253, lonlat=True)))
BEAMS = [sht.gaussian_beam(fwhm, LMAX) for fwhm in FWHM]


def cmb(seed=1):
    ell = np.arange(LMAX + 1)
    power = np.where(ell < 2, 0.0, 6e3 / np.maximum(ell * (ell + 1), 1))
    return sht.draw_alm(power, np.random.default_rng(seed))


def bands(seed=1):
    """a_lm of CMB, two foregrounds and noise, each ``(n_freq, nalm)``, at the beams of the bands."""
    rng = np.random.default_rng(seed)
    red = np.where(np.arange(LMAX + 1) < 2, 1e3, 1e4 / (np.arange(LMAX + 1) + 5.0) ** 2.5)
    galaxy = np.array([galaxy_uk(freq) for freq in FREQ]) / 100
    parts = galaxy @ np.array([sht.draw_alm(red, rng) for _ in range(2)])
    noise = np.array([sht.draw_alm(np.full(LMAX + 1, 1e-3), rng) for _ in FREQ])
    return [
        np.array([sht.almxfl(a, b) for a, b in zip(rows, BEAMS, strict=True)])
        for rows in ([cmb(seed)] * len(FREQ), parts)
    ] + [noise]


@pytest.mark.parametrize("fwhm", [0.0, 80.0, 500.0])
def test_levels_are_found_whatever_the_beam(fwhm):
    alm = SUN.alm(LMAX, fwhm)[None]
    assert full_sky_fit().measure(alm, fwhm).values == pytest.approx(SUN.values, abs=1e-8)
    sky = SUN.map(NSIDE, fwhm)[None]
    assert full_sky_fit().measure_map(sky, fwhm).values == pytest.approx(SUN.values, abs=0.1)
    assert sky[0] == pytest.approx(sht.alm2map(alm, NSIDE)[0], abs=1e-9)
    assert (SUN.monopole, SUN.dipole, *SUN.direction) == pytest.approx((0.0, 3362.08, 264.021, 48.253))


def test_the_cmb_has_one_share_in_all_bands():
    shares = [full_sky_fit().measure(sht.almxfl(cmb(), b)[None], f) for b, f in zip(BEAMS, FWHM, strict=True)]
    assert np.ptp([share.values for share in shares], axis=0).max() < 1e-10
    assert np.abs(shares[0].values).max() > 1


def test_only_temperature_has_levels():
    sky = np.vstack([SUN.map(NSIDE, 0.0)] * 3)
    assert SUN.off_map(sky, 0.0) == pytest.approx(np.vstack([0 * sky[:1], sky[1:]]))
    alm = np.stack([cmb()] * 3)
    assert SUN.onto_alm(SUN.off_alm(alm, 80.0), 80.0) == pytest.approx(alm)


def test_neither_the_plane_nor_what_is_masked_counts():
    cap = hp.query_disc(NSIDE, hp.ang2vec(0.5, 1.0), 0.3)
    kept = np.ones(12 * NSIDE**2)
    kept[cap] = 0
    sky = SUN.map(NSIDE, 0.0)
    sky[galactic_mask(NSIDE, LATITUDE_DEG - 15) == 0] += 1e4
    without = level_fit(kept).measure_map(sky[None], 0.0)
    sky[hp.query_disc(NSIDE, hp.ang2vec(0.5, 1.0), 0.05)] += 1e4
    # the blunt beam reaches a little into what is left out
    assert without.values == pytest.approx(SUN.values, abs=10)
    assert level_fit(kept).measure_map(sky[None], 0.0).values == pytest.approx(without.values, abs=1)


def test_of_little_sky_only_the_mean_is_taken():
    kept = np.zeros(12 * NSIDE**2)
    kept[hp.query_disc(NSIDE, hp.ang2vec(0.5, 1.0), 0.4)] = 1
    levels = level_fit(kept).measure_map(np.full((1, kept.size), 7.0), 0.0)
    assert levels.values == pytest.approx([7.0, 0, 0, 0], abs=1e-4)
    plane = 1 - galactic_mask(NSIDE, LATITUDE_DEG)
    levels = level_fit(plane).measure_map(7 * plane[None], 0.0)
    assert levels.monopole > 3


def test_what_all_bands_have_is_the_cmb_s_and_what_a_galaxy_has_is_not():
    galaxy = [Levels(sum(galaxy_uk(freq)) * np.ones(4)) for freq in FREQ]
    assert np.abs(common_levels(galaxy, FREQ).values).max() < 0.1 * min(sum(galaxy_uk(freq)) for freq in FREQ)
    share = np.array([9.0, -20.0, 3.0, 8.0])
    moved = common_levels([Levels(one.values + share) for one in galaxy], FREQ)
    assert moved.values - common_levels(galaxy, FREQ).values == pytest.approx(share, rel=1e-9)
    both = common_levels([Levels(one.values + share + SUN.values) for one in galaxy], FREQ)
    assert both.values == pytest.approx([moved.monopole, 0, 0, 0])


def cleaned(parts, through=None):
    """The needlet ILC of the sum of parts; its weights on other parts where these are given: ``(1, nalm)``."""

    def levelled(alms):
        levels = [full_sky_fit().measure(a[None], f) for a, f in zip(alms, FWHM, strict=True)]
        off = [one.off_alm(a[None], f)[0] for one, a, f in zip(levels, alms, FWHM, strict=True)]
        return np.array(off), common_levels(levels, FREQ)

    alms, _ = levelled(sum(parts))
    result = nilc(alms, fwhm_arcmin=FWHM, fwhm_out=180.0, lmax=LMAX, peaks=[20, 65], ilc_bias=0.02)
    alms, common = levelled(sum(parts) if through is None else through)
    return common.onto_alm(apply_weights(result.weights, alms, lmax=LMAX)[None], 180.0)


def test_the_response_to_the_cmb_is_one_at_every_l():
    """And what makes the weights differ over the sky is as real as it gets."""
    parts = bands()
    response = cleaned(parts, through=parts[0])
    assert response[0] == pytest.approx(sht.almxfl(cmb(), BEAMS[-1]), abs=1e-9)


def test_levels_of_the_input_change_nothing_beyond_the_dipole():
    parts = bands()
    before = cleaned(parts)
    sun = np.array([SUN.alm(LMAX, fwhm) for fwhm in FWHM])
    infrared = np.zeros_like(sun)
    infrared[:, 0] = np.array([0.0, 0.0, 21.0, 452.0]) * np.sqrt(4 * np.pi)
    for change in (sun, infrared, sun + infrared):
        after = cleaned([*parts, change])
        beyond = np.delete(np.arange(after.shape[1]), [0, 1, LMAX + 1])
        assert np.abs(after - before)[:, beyond].max() < 1e-6
    assert full_sky_fit().measure(cleaned([*parts, sun]), 180.0).dipole < 100
