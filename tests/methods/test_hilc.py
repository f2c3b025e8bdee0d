import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from small_sky import FWHM, LMAX, SED, cleaned_truth, draw_sky, size, total

from cmbml.methods.hilc.hilc import HilcOptions, apply_weights, bin_edges, hilc, nuisance_covariance
from cmbml.methods.hilc.params import HilcParams
from cmbml.sky import sht

SETTINGS = {"fwhm_arcmin": FWHM, "fwhm_out": 180.0, "lmax": LMAX, "bin_width": 8}


@pytest.fixture
def sky():
    return draw_sky(np.random.default_rng(1))


def learned(seeds, width=8):
    skies = [draw_sky(np.random.default_rng(seed)) for seed in seeds]
    settings = SETTINGS | {"bin_width": width}
    return np.mean([nuisance_covariance(s["foreground"] + s["noise"], **settings) for s in skies], axis=0)


def test_weights_times_beams_are_the_output_beam(sky):
    weights = hilc(total(sky), **SETTINGS).weights
    beams = np.array([sht.gaussian_beam(fwhm, LMAX) for fwhm in FWHM])
    assert np.sum(weights * beams, axis=0) == pytest.approx(sht.gaussian_beam(180.0, LMAX), rel=1e-12)


def test_cmb_goes_through_unchanged(sky):
    out = apply_weights(hilc(total(sky), **SETTINGS).weights, sky["cmb"])
    assert size(out - cleaned_truth(sky)) < 1e-12 * size(out)


def test_covariance_is_the_mean_spectrum_of_a_bin(sky):
    covariance = hilc(total(sky), **SETTINGS).covariance
    ell = np.arange(8, 16)
    rebeam = [sht.gaussian_beam(180.0, LMAX) / sht.gaussian_beam(FWHM[i], LMAX) for i in (0, 2)]
    cross = sht.alm2cl(total(sky)[0], total(sky)[2]) * rebeam[0] * rebeam[1]
    assert covariance[1, 0, 2] == pytest.approx(np.average(cross[8:16], weights=2 * ell + 1), rel=1e-12)


def test_learned_weights_do_not_depend_on_the_data():
    options = HilcOptions(prior=learned(range(3)), shrinkage=1.0)
    one, two = (
        hilc(total(draw_sky(np.random.default_rng(seed))), **SETTINGS, options=options).weights
        for seed in (8, 9)
    )
    assert np.array_equal(one, two)


def test_learned_weights_have_no_loss_by_chance_correlations():
    """Ensemble: the cross-spectrum of CMB and error is negative for plain weights, and zero for learned ones."""
    options = HilcOptions(prior=learned(range(10)), shrinkage=1.0)
    loss = {"plain": [], "learned": []}
    for seed in range(20, 60):
        data = draw_sky(np.random.default_rng(seed))
        for name, choice in (("plain", None), ("learned", options)):
            error = hilc(total(data), **SETTINGS, options=choice).alm - cleaned_truth(data)
            cross = sht.alm2cl(error, cleaned_truth(data))[2:8].sum()
            loss[name].append(cross / sht.alm2cl(cleaned_truth(data))[2:8].sum())
    # 64 modes, 3 degrees of freedom: 3 / 64; the scatter of a mean of 40 skies is a fifth of that
    assert np.mean(loss["plain"]) == pytest.approx(-3 / 64, abs=0.02)
    assert abs(np.mean(loss["learned"])) < 0.01


def test_learned_weights_beat_plain_ones():
    options = HilcOptions(prior=learned(range(10)), shrinkage=1.0)
    for seed in range(20, 24):
        data = draw_sky(np.random.default_rng(seed))
        plain, better = (
            size(hilc(total(data), **SETTINGS, options=choice).alm - cleaned_truth(data))
            for choice in (None, options)
        )
        assert better < plain


def test_a_nulled_foreground_leaves_nothing(sky):
    weights = hilc(total(sky), **SETTINGS, options=HilcOptions(nulled=SED[:, None])).weights
    assert size(apply_weights(weights, sky["foreground"])) < 1e-10 * size(sky["foreground"])


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), factor=st.floats(1e-6, 1e6), order=st.permutations(range(4)))
def test_units_and_order_of_channels_do_not_matter(seed, factor, order):
    data = total(draw_sky(np.random.default_rng(seed)))
    changed = SETTINGS | {"fwhm_arcmin": [FWHM[i] for i in order]}
    plain = hilc(data, **SETTINGS).alm
    # solving a permuted system rounds differently, amplified by the condition of the correlation matrix
    assert size(hilc(factor * data[list(order)], **changed).alm / factor - plain) < 1e-7 * size(plain)


def test_a_channel_whose_beam_does_not_reach_a_bin_has_no_weight(sky):
    weights = hilc(total(sky), **SETTINGS | {"fwhm_arcmin": (600.0, *FWHM[1:])}).weights
    assert np.all(weights[0, :8] != 0)
    assert np.all(weights[0, 56:] == 0)


@given(lmax=st.integers(20, 400), width=st.integers(1, 50), n_channels=st.integers(1, 40))
def test_bins_cover_every_multipole_and_have_enough_modes(lmax, width, n_channels):
    edges = bin_edges(lmax, width, n_channels)
    assert edges[0] == 0
    assert edges[-1] == lmax + 1
    assert np.all(np.diff(edges) > 0)
    assert np.diff(edges**2).min() >= 2 * n_channels


def test_too_few_modes_are_refused():
    with pytest.raises(ValueError, match="16 modes up to lmax 3 for 9 channels: raise lmax"):
        bin_edges(3, 1, 9)


def test_nulling_more_than_the_channels_allow_is_refused(sky):
    nulled = np.random.default_rng(0).uniform(1, 2, (4, 3))
    settings_narrow = SETTINGS | {"fwhm_arcmin": (600.0, *FWHM[1:])}
    with pytest.raises(ValueError, match=r"3 channels reach l = \d+, too few to keep the CMB and null 3"):
        hilc(total(sky), **settings_narrow, options=HilcOptions(nulled=nulled))


def test_unknown_beam_is_refused(sky):
    with pytest.raises(ValueError, match="beam of channel 0 is unknown"):
        hilc(total(sky), **SETTINGS | {"fwhm_arcmin": (None, *FWHM[1:])})


def test_parameters_refuse_nonsense():
    good = {"bin_width": 10, "shrinkage": 1.0}
    assert HilcParams(**good).bin_width == 10
    for bad in ({"bin_width": 0}, {"shrinkage": 1.1}, {"fwhm_arcmin": 80.0}, {"width": 3}):
        with pytest.raises(ValidationError):
            HilcParams(**good | bad)
