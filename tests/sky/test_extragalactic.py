import numpy as np
import pytest

from cmbml.methods.ilc import weights as ilc_weights
from cmbml.methods.nilc.seds import mixing_columns
from cmbml.sky.extragalactic.diffuse import cib_alm, cib_spectrum, tsz_alm, tsz_spectrum
from cmbml.sky.extragalactic.sources import (
    FAINTEST_JY,
    MASK_RADIUS,
    Sources,
    draw_sources,
    source_alm,
    source_mask,
)
from cmbml.sky.passbands import top_hat
from cmbml.sky.sht import ARCMIN, alm2cl, resize_alm
from cmbml.sky.units import MJYSR_PER_KELVIN_GHZ2, modified_blackbody, rj_to_cmb

FREQS = (30.0, 44.0, 70.0, 100.0, 143.0, 217.0, 353.0, 545.0, 857.0)


def rng(seed=0):
    return np.random.default_rng(seed)


def d_l(cl):
    ell = np.arange(len(cl))
    return ell * (ell + 1) * cl / (2 * np.pi)


@pytest.fixture(scope="module")
def sources():
    return draw_sources(rng())


def jy_per_uk_rj(freq):
    return MJYSR_PER_KELVIN_GHZ2 * freq**2


def test_counts_of_sources_are_a_power_law(sources):
    """n(S) = 15 S^-2.1 per Jy and sr: 15/1.1 S^-1.1 sources per sr are brighter than S."""
    for flux in (0.01, 0.05, 0.25):
        expected = 4 * np.pi * 15 / 1.1 * flux**-1.1
        assert np.sum(sources.flux_jy > flux) == pytest.approx(expected, abs=5 * np.sqrt(expected))
    assert sources.flux_jy.min() >= FAINTEST_JY


def test_counts_at_18_ghz_are_those_that_were_observed(sources):
    """Ricci et al. 2004: 57/1.2 S^-1.2 per sr are brighter than S, from 0.1 to 3 Jy."""
    flux = sources.flux_jy * (18 / 143) ** sources.index
    for limit in (0.3, 1.0):
        assert np.sum(flux > limit) == pytest.approx(4 * np.pi * 57 / 1.2 * limit**-1.2, rel=0.25)


@pytest.mark.parametrize(("freq", "cut", "published"), [(143.0, 0.25, 4.8)])
def test_shot_noise_of_faint_sources_is_planck_s(sources, freq, cut, published):
    """Their spectrum is flat, at the level of Tucci et al. 2011 that Planck uses, in Jy^2/sr."""
    faint, _ = sources.split(cut)
    cl = alm2cl(source_alm(faint, (freq,), 200)[0]) * (jy_per_uk_rj(freq) / rj_to_cmb(freq)) ** 2
    assert cl[20:].mean() == pytest.approx(published, rel=0.1)
    assert cl[20:110].mean() == pytest.approx(cl[110:].mean(), rel=0.1)


def one_source(**values):
    place = {"longitude": 1.0, "latitude": 0.3, "flux_jy": 2.0, "index": -0.5, "angle": 0.4} | values
    return Sources(**{name: np.array([value]) for name, value in place.items()})


def test_a_source_is_a_point_of_its_flux():
    """C_l = S^2 / 4 pi at every l, in the brightness of its band; E and B are 0.03 of it together."""
    alm = source_alm(one_source(), (143.0, 30.0), 20, n_stokes=3)
    for band, freq in zip(alm, (143.0, 30.0), strict=True):
        flux = 2.0 * (freq / 143) ** -0.5
        expected = (flux / jy_per_uk_rj(freq) * rj_to_cmb(freq)) ** 2 / (4 * np.pi)
        np.testing.assert_allclose(alm2cl(band[0]), expected, rtol=1e-6)
        both = alm2cl(band[1]) + alm2cl(band[2])
        np.testing.assert_allclose(both[2:], 0.03**2 * expected, rtol=1e-6)


def test_the_cut_leaves_all_other_sources_where_they_were(sources):
    few, many = sources.split(0.1)
    assert len(few.flux_jy) + len(many.flux_jy) == len(sources.flux_jy)
    assert few.flux_jy.max() < 0.1 <= many.flux_jy.min()
    np.testing.assert_array_equal(few.longitude, sources.longitude[sources.flux_jy < 0.1])


def test_no_source_at_all_is_an_empty_sky(sources):
    none, _ = sources.split(FAINTEST_JY / 2)
    assert not source_alm(none, (143.0,), 10, n_stokes=3).any()
    assert source_mask(none, 8, 60.0).all()


def test_the_mask_cuts_a_disc_around_each_source():
    fwhm = 200.0
    mask = source_mask(one_source(), 64, fwhm)
    radius = MASK_RADIUS * fwhm * ARCMIN
    assert 1 - mask.mean() == pytest.approx((1 - np.cos(radius)) / 2, rel=0.05)
    assert source_mask(one_source(), 64, 1.0).sum() == len(mask) - 1, "its pixel at least"


def test_infrared_background_has_the_published_power():
    """At 217 GHz and l = 3000 clustered 47 uK^2 and shot noise of 14 Jy^2/sr; rising as Planck's template."""
    cl = cib_spectrum(3000) * rj_to_cmb(217.0) ** 2
    shot = 14 / 483.69**2  # Planck's factor at 217 GHz, Jy/sr per uK
    assert d_l(cl)[3000] == pytest.approx(47 + 3000 * 3001 * shot / (2 * np.pi), rel=0.01)
    template = {50: 2.07e-2, 100: 7.58e-2, 200: 0.177, 500: 0.389, 1000: 0.520}
    for ell, expected in template.items():
        assert d_l(cl - shot)[ell] / 47 == pytest.approx(expected, rel=0.1), ell


def test_infrared_background_grows_with_frequency_as_its_galaxies_do():
    """Shot noise of Maniyar et al. 2018 in Jy^2/sr; all bands are one field."""
    alm = cib_alm(FREQS, rng(), 60)
    rms = np.std(alm, axis=1) / [rj_to_cmb(freq) for freq in FREQS] * [jy_per_uk_rj(freq) for freq in FREQS]
    for band, shot in ((6, 357.0), (7, 2349.0), (8, 7407.0)):
        assert (rms[band] / rms[5]) ** 2 == pytest.approx(shot / 14.0, rel=0.3)
    assert np.corrcoef(alm[3].real, alm[8].real)[0, 1] == pytest.approx(1, abs=1e-12)


def test_compton_parameter_has_the_published_power():
    """Bolliet et al. 2018, best fit: 10^12 D_l of y."""
    published = {10: 5.7234e-3, 40: 2.1591e-2, 198: 0.10271, 567: 0.25553, 1622: 0.48154, 2742: 0.55249}
    for ell, expected in published.items():
        assert 1e12 * d_l(tsz_spectrum(2742))[ell] == pytest.approx(expected, rel=0.05), ell


def test_sunyaev_zeldovich_effect_is_cold_below_217_ghz_and_hot_above():
    """By x coth(x/2) - 4 per y: -1.04 at 143 GHz and 2.24 at 353 GHz."""
    alm = tsz_alm((143.0, 353.0), rng(), 30)
    assert alm[0].real @ alm[1].real < 0
    assert np.std(alm[1]) / np.std(alm[0]) == pytest.approx(2.24 / 1.04, rel=0.01)


@pytest.mark.parametrize(("draw", "name"), [(tsz_alm, "tsz"), (cib_alm, "cib")])
def test_nulling_cancels_what_has_one_spectrum(draw, name):
    """Weights that keep the CMB and null the column of the component leave 1e-12 of it."""
    alm = draw(FREQS, rng(), 40)
    columns = np.column_stack([np.ones(len(FREQS)), mixing_columns((name,), FREQS)])
    weights = ilc_weights(np.eye(len(FREQS)), columns)
    assert weights.sum() == pytest.approx(1)
    assert np.abs(weights @ alm).max() < 1e-12 * np.abs(weights[:, None] * alm).max()


@pytest.mark.parametrize("draw", [cib_alm, tsz_alm])
def test_diffuse_fields_are_unpolarised_and_cut_at_any_band_limit(draw):
    low, high = (draw((143.0, 353.0), rng(), lmax, n_stokes=3) for lmax in (20, 50))
    np.testing.assert_array_equal(low, resize_alm(high, 20))
    assert not low[:, 1:].any()
    np.testing.assert_array_equal(low[:, 0], draw((143.0, 353.0), rng(), 20))


def test_bands_average_the_spectrum():
    """A wide band sees the background brighter than its centre does, as the law's curvature says."""
    wide, centre = (cib_alm((band,), rng(), 20)[0] for band in (top_hat(303.0, 403.0), 353.0))
    nodes = np.linspace(303.0, 403.0, 2001)
    law = modified_blackbody(nodes, 353.0, 1.75, 10.7) * nodes**2
    expected = law.sum() / np.sum(nodes**2 / rj_to_cmb(nodes)) / rj_to_cmb(353.0)
    np.testing.assert_allclose(wide, expected * centre, rtol=1e-3)
    assert expected > 1.005
