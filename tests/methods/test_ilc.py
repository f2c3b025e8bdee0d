import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbml.methods import ilc


def covariance(seed, n=4, shape=()):
    root = np.random.default_rng(seed).standard_normal((*shape, n, 2 * n))
    return root @ np.swapaxes(root, -1, -2)


@given(seed=st.integers(0, 10**6), scale=st.lists(st.floats(-4, 4), min_size=4, max_size=4))
def test_kept_and_nulled_components(seed, scale):
    rng = np.random.default_rng(seed)
    gains = 10 ** np.array(scale)
    mixing = np.column_stack([np.ones(4), rng.uniform(0.1, 1, (4, 2)) * gains[:, None]])
    weights = ilc.weights(covariance(seed) * np.outer(gains, gains), mixing)
    size = np.abs(weights) @ np.abs(mixing)
    assert np.abs(weights @ mixing - [1, 0, 0])[0] < 1e-9 * size[0]
    assert np.all(np.abs(weights @ mixing)[1:] < 1e-9 * size[1:])


def test_weights_of_independent_channels_are_inverse_variances():
    variances = np.array([1.0, 4.0, 16.0])
    weights = ilc.weights(np.diag(variances), np.ones((3, 1)))
    # the ridge shifts each variance by 1e-11
    assert weights == pytest.approx((1 / variances) / np.sum(1 / variances), rel=1e-9)


def test_response_of_the_kept_component_may_differ_between_channels():
    mixing = np.array([[0.5], [2.0], [30.0]])
    assert ilc.weights(covariance(5, n=3), mixing) @ mixing == pytest.approx(1, rel=1e-12)


def test_no_other_weights_have_less_variance():
    cov = covariance(3)
    weights = ilc.weights(cov, np.ones((4, 1)))
    for step in 0.1 * np.random.default_rng(4).standard_normal((20, 4)):
        other = weights + step - step.mean()
        assert other @ cov @ other > weights @ cov @ weights


@given(seed=st.integers(0, 10**6))
def test_cmb_in_the_covariance_does_not_change_the_weights(seed):
    cov = covariance(seed)
    with_cmb = ilc.weights(cov + 100 * np.ones((4, 4)), np.ones((4, 1)))
    # conditioning: 100 times the covariance, times the ridge
    assert with_cmb == pytest.approx(ilc.weights(cov, np.ones((4, 1))), rel=1e-6, abs=1e-6)


def test_a_foreground_without_noise_is_removed():
    sed = np.array([4.0, 1.5, 2.0, 6.0])
    weights = ilc.weights(np.ones((4, 4)) + np.outer(sed, sed), np.ones((4, 1)))
    assert weights.sum() == pytest.approx(1, rel=1e-12)
    assert weights @ sed == pytest.approx(0, abs=1e-9)


def test_more_components_than_channels_are_refused():
    with pytest.raises(ValueError, match="null fewer"):
        ilc.weights(np.eye(2), np.ones((2, 3)))


def test_unexpected_power_is_the_mean_ratio_where_the_cmb_cannot_be_seen():
    known = covariance(7)
    ones = np.ones((4, 1))
    assert ilc.unexpected_power(3 * known, known, ones) == pytest.approx(3)
    with_cmb = ilc.unexpected_power(known + 1e4 * np.ones((4, 4)), known, ones)
    # what the ridge leaves of 1e4
    assert with_cmb == pytest.approx(1, abs=1e-5)


def test_unexpected_power_by_an_explicit_basis():
    known, data = covariance(8), covariance(9)
    contrasts = np.array([[1.0, -1, 0, 0], [0, 1, -1, 0], [0, 0, 1, -1]])
    ratio = np.linalg.solve(contrasts @ known @ contrasts.T, contrasts @ data @ contrasts.T)
    assert ilc.unexpected_power(data, known, np.ones((4, 1))) == pytest.approx(np.trace(ratio) / 3)
