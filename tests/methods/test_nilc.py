from dataclasses import replace

import ducc0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from small_sky import FWHM, LMAX, SED, cleaned_truth, draw_sky, observe, size, total

from cmbml.methods.nilc.covariance import covariance_maps
from cmbml.methods.nilc.nilc import NeedletPrior, NilcOptions, apply_weights, nilc, nuisance_covariance
from cmbml.methods.nilc.params import NilcParams
from cmbml.sky import sht
from cmbml.sky.grid import GaussGrid

SETTINGS = {"fwhm_arcmin": FWHM, "fwhm_out": 180.0, "lmax": LMAX, "peaks": (15, 35, 65), "ilc_bias": 0.02}


@pytest.fixture
def sky():
    return draw_sky(np.random.default_rng(1))


def test_weights_sum_to_one_everywhere(sky):
    for scale in nilc(total(sky), **SETTINGS).weights:
        maps = np.array([sht.alm2map(alm, 32) for alm in scale.alm])
        assert np.abs(maps.sum(axis=0) - 1).max() < 1e-12


def test_cmb_goes_through_with_response_one_at_every_multipole(sky):
    weights = nilc(total(sky), **SETTINGS).weights
    out = apply_weights(weights, sky["cmb"], lmax=LMAX)
    truth = cleaned_truth(sky)
    # quadrature is exact; only rounding is left
    assert sht.alm2cl(out, truth) / sht.alm2cl(truth) == pytest.approx(1, abs=1e-10)


def test_a_sky_of_cmb_alone_comes_out_as_it_is(sky):
    out = nilc(sky["cmb"], **SETTINGS).alm
    truth = cleaned_truth(sky)
    assert sht.alm2cl(out, truth) / sht.alm2cl(truth) == pytest.approx(1, abs=1e-3)


def test_components_through_the_weights_add_up_to_the_cleaned_map(sky):
    result = nilc(total(sky), **SETTINGS)
    parts = [apply_weights(result.weights, sky[name], lmax=LMAX) for name in ("cmb", "foreground", "noise")]
    assert size(sum(parts) - result.alm) < 1e-12 * size(result.alm)


def test_one_foreground_without_cmb_or_noise_is_removed(sky):
    out = nilc(sky["foreground"], **SETTINGS).alm
    # a covariance of rank one: only the ridge keeps the foreground from being nulled
    assert size(out) < 1e-8 * size(sky["foreground"])


def test_cleaning_beats_every_channel(sky):
    error = size(nilc(total(sky), **SETTINGS).alm - cleaned_truth(sky))
    rebeamed = [
        sht.almxfl(alm, sht.gaussian_beam(180.0, LMAX) / sht.gaussian_beam(fwhm, LMAX))
        for alm, fwhm in zip(total(sky), FWHM, strict=True)
    ]
    assert error < 0.2 * min(size(alm - cleaned_truth(sky)) for alm in rebeamed)


@settings(max_examples=5)
@given(seed=st.integers(0, 10**6), factor=st.floats(1e-6, 1e6), order=st.permutations(range(4)))
def test_units_and_order_of_channels_do_not_matter(seed, factor, order):
    data = total(draw_sky(np.random.default_rng(seed)))
    plain = nilc(data, **SETTINGS).alm
    changed = SETTINGS | {"fwhm_arcmin": [FWHM[i] for i in order]}
    # solving a permuted system rounds differently, amplified by the condition of the correlation matrix
    assert size(nilc(factor * data[list(order)], **changed).alm / factor - plain) < 1e-7 * size(plain)


@settings(max_examples=5)
@given(seed=st.integers(0, 10**6), a=st.floats(-10, 10), b=st.floats(-10, 10))
def test_weights_act_linearly(seed, a, b):
    data = draw_sky(np.random.default_rng(seed))
    weights = nilc(total(data), **SETTINGS).weights
    one, two = (apply_weights(weights, data[name], lmax=LMAX) for name in ("foreground", "noise"))
    both = apply_weights(weights, a * data["foreground"] + b * data["noise"], lmax=LMAX)
    assert size(both - a * one - b * two) < 1e-11 * (abs(a) * size(one) + abs(b) * size(two) + 1e-300)


def turn(alms, angles):
    return np.array([ducc0.sht.rotate_alm(alm, sht.lmax_of(alm), *angles) for alm in alms])


@settings(max_examples=5)
@given(angles=st.tuples(*[st.floats(-3, 3)] * 3))
def test_turning_the_sky_turns_the_result(angles):
    data = total(draw_sky(np.random.default_rng(2)))
    plain, turned = nilc(data, **SETTINGS).alm, nilc(turn(data, angles), **SETTINGS).alm
    # weights are no polynomials: the coarse grid samples them at other points
    assert size(turned - turn(plain[None], angles)[0]) < 1e-3 * size(plain)


def test_weights_applied_to_a_turned_component_are_exact():
    """Products of weights and needlets hold beyond the component that every grid passes: the CMB."""
    data = draw_sky(np.random.default_rng(2))
    scales = nilc(total(data), **SETTINGS).weights
    angles = (0.3, 1.1, -0.4)
    turned = [replace(scale, alm=turn(scale.alm, angles)) for scale in scales]
    plain = apply_weights(scales, data["foreground"], lmax=LMAX)
    out = apply_weights(turned, turn(data["foreground"], angles), lmax=LMAX)
    assert size(out - turn(plain[None], angles)[0]) < 1e-11 * size(plain)


def test_a_channel_whose_beam_does_not_reach_a_scale_is_left_out(sky):
    wide = SETTINGS | {"fwhm_arcmin": (600.0, *FWHM[1:])}
    used = [list(entry.scale.channels) for entry in nilc(total(sky), **wide).weights]
    assert used[0] == [0, 1, 2, 3]
    assert used[-1] == [1, 2, 3]


def test_too_few_modes_for_the_channels_names_the_scale(sky):
    with pytest.raises(ValueError, match="needlet scale 0 has 3 modes in a domain for 4 channels"):
        nilc(total(sky), **SETTINGS | {"ilc_bias": 1.0})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fwhm_arcmin": (300.0, None, 200.0, 180.0)}, "beam of channel 1 is unknown"),
        ({"fwhm_arcmin": FWHM[:3]}, "3 beams for 4 channels"),
        ({"lmax": LMAX + 1}, "lmax 65 is beyond the band-limit 64"),
        ({"fwhm_arcmin": (2000.0,) * 4}, "no channel's beam reaches needlet scale"),
    ],
    ids=["unknown beam", "missing beam", "lmax", "beams"],
)
def test_settings_that_cannot_work_are_refused(sky, change, message):
    with pytest.raises(ValueError, match=message):
        nilc(total(sky), **SETTINGS | change)


@pytest.mark.parametrize(("value", "message"), [(0.0, "zero everywhere"), (np.nan, "not finite")])
def test_maps_without_content_are_refused(sky, value, message):
    data = total(sky)
    data[2] = value
    with pytest.raises(ValueError, match=f"channel 2 (is|has values that are) {message}"):
        nilc(data, **SETTINGS)


def test_parameters_accept_lists_and_refuse_nonsense():
    good = {"ilc_bias": 0.001, "peaks": [80, 120, 161]}
    assert NilcParams(**good).peaks == (80, 120, 161)
    for bad in (
        {"ilc_bias": 0},
        {"ilc_bias": 1.5},
        {"peaks": [10, 10]},
        {"peaks": [0, 5]},
        {"fwhm_arcmin": 80.0},
    ):
        with pytest.raises(ValidationError):
            NilcParams(**good | bad)


def test_a_nulled_foreground_leaves_nothing(sky):
    weights = nilc(total(sky), **SETTINGS, options=NilcOptions(nulled=SED[:, None])).weights
    assert size(apply_weights(weights, sky["foreground"], lmax=LMAX)) < 1e-10 * size(sky["foreground"])
    kept = apply_weights(weights, sky["cmb"], lmax=LMAX)
    assert size(kept - cleaned_truth(sky)) < 1e-10 * size(kept)


def test_nulling_as_many_components_as_channels_is_refused(sky):
    options = NilcOptions(nulled=np.random.default_rng(0).uniform(1, 2, (4, 4)))
    with pytest.raises(ValueError, match="scale 0 has 4 channels and cannot null 4"):
        nilc(total(sky), **SETTINGS, options=options)


@pytest.mark.parametrize("needlets", ["gaussian", "mexican"])
def test_other_needlets_clean_as_well(sky, needlets):
    result = nilc(total(sky), **SETTINGS, options=NilcOptions(needlets=needlets))
    plain = nilc(total(sky), **SETTINGS)
    assert size(result.alm - cleaned_truth(sky)) < 1.5 * size(plain.alm - cleaned_truth(sky))
    cmb = apply_weights(result.weights, sky["cmb"], lmax=LMAX)
    assert size(cmb - cleaned_truth(sky)) < 1e-10 * size(cmb)


def test_unknown_needlets_are_refused(sky):
    with pytest.raises(ValueError, match="unknown needlets sharp: choose cosine, gaussian, mexican"):
        nilc(total(sky), **SETTINGS, options=NilcOptions(needlets="sharp"))


def test_covariance_of_the_whole_sky_is_the_power_in_the_scale():
    """With one scale, and a domain as large as the sky, the mean of the covariance is a sum over l."""
    data = total(draw_sky(np.random.default_rng(5)))
    single = SETTINGS | {"peaks": (LMAX,), "ilc_bias": 1e-9}
    entry = nilc(data, **single).weights[0]
    ell = np.arange(LMAX + 1)
    rebeam = sht.gaussian_beam(180.0, LMAX) / sht.gaussian_beam(FWHM[0], LMAX)
    power = sht.alm2cl(data[0]) * (rebeam * (ell + 10) / (LMAX + 10)) ** 2
    expected = np.sum((2 * ell + 1) * power) / (4 * np.pi)
    assert entry.covariance[0, 0].real / np.sqrt(4 * np.pi) == pytest.approx(expected, rel=1e-10)


def test_covariances_are_positive_everywhere(sky):
    for entry in nilc(total(sky), **SETTINGS).weights:
        maps = covariance_maps(entry.covariance, GaussGrid(LMAX))
        assert np.linalg.eigvalsh(maps).min() > 0


PRIOR = {key: SETTINGS[key] for key in ("fwhm_arcmin", "fwhm_out", "lmax", "peaks")} | {"domain_deg": 40.0}


def regularised(seeds, shrinkage, change=1.0):
    skies = [draw_sky(np.random.default_rng(seed)) for seed in seeds]
    covariance = np.mean([nuisance_covariance(s["foreground"] + s["noise"], **PRIOR) for s in skies], axis=0)
    return NilcOptions(prior=NeedletPrior(covariance * change, PRIOR["domain_deg"], shrinkage))


def errors(data, *choices):
    return [size(nilc(data, **SETTINGS, options=choice).alm - cleaned_truth(SKY)) for choice in choices]


SKY = draw_sky(np.random.default_rng(3))


def test_a_prior_without_weight_changes_nothing():
    # as far as weights do that are sampled on a finer grid, and a data covariance that is scaled
    plain, same = (
        nilc(total(SKY), **SETTINGS, options=choice).alm for choice in (None, regularised([7], 0.0))
    )
    assert size(plain - same) < 1e-3 * size(plain)


def test_a_good_prior_removes_the_bias_of_chance_correlations():
    plain, better = errors(total(SKY), None, regularised(range(20, 30), 0.999))
    assert better < 0.7 * plain


def test_weights_of_the_prior_alone_do_not_depend_on_the_data():
    options = regularised([7], 1.0)
    one, two = (
        nilc(total(draw_sky(np.random.default_rng(seed))), **SETTINGS, options=options).weights
        for seed in (1, 2)
    )
    for first, second in zip(one, two, strict=True):
        assert np.array_equal(first.alm, second.alm)


def test_a_sky_unlike_the_prior_is_cleaned_as_without_it():
    """A second foreground, far brighter than the noise, that no simulation of the prior has."""
    ell = np.arange(LMAX + 1)
    extra = sht.draw_alm(1e6 / (ell + 5.0) ** 2.5, np.random.default_rng(11))
    data = total(SKY) + observe(extra, [8.0, 1.0, 0.3, 0.2])
    plain, shrunk, blind = errors(
        data, None, regularised(range(20, 30), 0.9999), regularised(range(20, 30), 1.0)
    )
    assert blind > 5 * plain
    assert shrunk < 1.1 * plain


def test_a_prior_of_other_scales_is_refused():
    options = regularised([7], 0.9)
    with pytest.raises(ValueError, match=r"has \(3, 10\) scales and pairs of channels, this run \(2, 10\)"):
        nilc(total(SKY), **SETTINGS | {"peaks": (15, 35)}, options=options)


def test_a_prior_leaves_no_freedom_to_nulling_all_channels_but_one():
    nulled = np.random.default_rng(0).uniform(1, 2, (4, 3))
    plain = nilc(total(SKY), **SETTINGS, options=NilcOptions(nulled=nulled))
    options = replace(regularised([7], 0.9), nulled=nulled)
    both = nilc(total(SKY), **SETTINGS, options=options)
    # the weights follow from the constraints alone
    assert size(both.alm - plain.alm) < 1e-6 * size(plain.alm)


def test_prior_holds_no_channel_that_a_scale_does_not_use():
    narrow = PRIOR | {"fwhm_arcmin": (600.0, *FWHM[1:])}
    data = draw_sky(np.random.default_rng(1))
    prior = nuisance_covariance(data["foreground"] + data["noise"], **narrow)
    assert prior.shape[:2] == (3, 10)
    assert np.all(prior[2, :4] == 0)
    assert np.all(np.any(prior[0] != 0, axis=-1))


def test_e_and_b_of_polarisation_maps_are_cleaned_each_on_its_own():
    """Maps of Q and U to E and B, cleaned, and compared with what went in."""
    rng = np.random.default_rng(6)
    ell = np.arange(LMAX + 1)
    power = np.where(ell < 2, 0, 1e3 / (ell + 2.0) ** 2)
    truth = np.array([np.zeros(sht.alm_size(LMAX)), *(sht.draw_alm(power * f, rng) for f in (1.0, 0.1))])
    dust = np.array([np.zeros(sht.alm_size(LMAX)), *(sht.draw_alm(power, rng) for _ in range(2))])
    bands = []
    for sed, fwhm in zip(SED, FWHM, strict=True):
        sky = sht.alm2map(sht.almxfl(truth + sed * dust, sht.gaussian_beam(fwhm, LMAX)), 32)
        bands.append(sht.map2alm(sky, LMAX))
    white = [sht.draw_alm(np.full(LMAX + 1, 1e-3), rng) for _ in range(8)]
    fields = np.moveaxis(bands, 1, 0)[1:] + np.array(white).reshape(2, 4, -1)
    for field, expected in zip(fields, truth[1:], strict=True):
        result = nilc(field, **SETTINGS)
        target = sht.almxfl(expected, sht.gaussian_beam(180.0, LMAX))
        # noise and chance correlations leave 9 % of E and 17 % of B; the best channel has more dust than signal
        assert size(result.alm - target) < 0.25 * size(target)
