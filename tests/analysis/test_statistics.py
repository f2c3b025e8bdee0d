import numpy as np
import pytest

from cmbml.analysis.statistics import (
    Interval,
    all_differences,
    differences,
    mean_interval,
    mean_intervals,
    ratio_interval,
)


def coverage(samples, mean):
    intervals = mean_intervals(samples)
    return np.mean([one.lo < mean < one.hi for one in intervals])


@pytest.mark.parametrize("n_sims", [2, 3, 4, 6, 8, 10, 24])
def test_interval_covers_as_it_says(rng, n_sims):
    # 95 % nominal; 20000 samples know it to 0.15 %.
    assert coverage(rng.normal(3, 2, (20_000, n_sims)), 3) == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize("n_sims", [10, 24, 50])
@pytest.mark.parametrize("sign", [1, -1])
def test_interval_covers_the_mean_of_skewed_scores(rng, n_sims, sign):
    shape = (20_000, n_sims)
    skewed = {
        "chi-squared": (rng.chisquare(3, shape), 3),
        "log-normal": (rng.lognormal(0, 0.6, shape), np.exp(0.18)),
        "strongly log-normal": (rng.lognormal(0, 1, shape), np.exp(0.5)),
    }
    for name, (samples, mean) in skewed.items():
        # The t interval covers 84 % of the last for ten simulations.
        assert 0.918 < coverage(sign * samples, sign * mean) < 0.97, name


def test_few_simulations_have_the_t_interval():
    interval = mean_interval([1.0, 2.0, 6.0])
    half = 4.302653 * np.std([1, 2, 6], ddof=1) / np.sqrt(3)
    assert (interval.lo, interval.mean, interval.hi) == pytest.approx((3 - half, 3, 3 + half), rel=1e-6)


def test_interval_of_a_skewed_sample_reaches_further_to_its_long_side():
    interval = mean_interval(np.exp(np.arange(12) / 3))
    assert interval.hi - interval.mean > 1.3 * (interval.mean - interval.lo)


def test_equal_scores_have_an_interval_without_width():
    assert mean_interval(np.full(9, 2.5)) == Interval(2.5, 2.5, 2.5)


@pytest.mark.parametrize("sizes", [(2, 2), (4, 24), (24, 4)])
def test_ratio_covers_as_it_says(rng, sizes):
    samples = [rng.normal(10, 1, (600, n)) for n in sizes]
    found = [ratio_interval(a, 2 * b) for a, b in zip(*samples, strict=True)]
    # Too cautious for two of two; 600 know it to 0.9 %.
    assert 0.92 < np.mean([one.lo < 0.5 < one.hi for one in found]) < 0.99


def test_one_simulation_has_no_interval():
    assert mean_interval([4.0]) == Interval(4.0, None, None)


def test_infinite_score_has_no_interval():
    assert mean_interval([np.inf, np.inf]) == Interval(np.inf, None, None)


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [[1.0, 2.0]]])
def test_unfit_scores_are_refused(values):
    with pytest.raises(ValueError, match="one finite score per simulation"):
        mean_interval(values)


def test_paired_difference_ignores_what_both_share(rng):
    difficulty = rng.normal(0, 100, 50)
    values = {"test": {"a": {"rmse": difficulty + 1 + 0.01 * rng.normal(size=50)}, "b": {"rmse": difficulty}}}
    interval = differences(values, "rmse")["test"]["a"]["b"]
    assert 0.99 < interval.lo < 1 < interval.hi < 1.01


def test_many_scores_at_once_are_each_alone(rng):
    samples = rng.normal(size=(3, 12))
    for row, interval in zip(samples, mean_intervals(samples), strict=True):
        alone = mean_interval(row)
        assert (alone.lo, alone.hi) == pytest.approx((interval.lo, interval.hi), rel=1e-12)


def test_differences_of_every_metric():
    values = {"test": {"a": {"rmse": [1.0, 2], "mae": [1.0, 3]}, "b": {"rmse": [2.0, 4]}}}
    pairs = all_differences(values)
    assert pairs["rmse"]["test"]["a"]["b"].mean == -1.5
    assert pairs["mae"]["test"] == {}, "one method alone has nothing to differ from"


def test_differences_of_all_pairs(rng):
    a = rng.normal(5, 1, 20)
    values = {"test": {"a": {"rmse": a}, "b": {"rmse": a + 1}, "perfect": {"psnr": [np.inf] * 20}}}
    table = differences(values, "rmse")["test"]
    assert table["a"]["b"] == Interval(pytest.approx(-1), pytest.approx(-1), pytest.approx(-1))
    assert table["b"]["a"].mean == pytest.approx(1)
    assert list(table) == ["a", "b"]
