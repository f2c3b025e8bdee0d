import numpy as np
import pytest

from cmbml.analysis.statistics import (
    Interval,
    all_differences,
    bootstrap_mean,
    bootstrap_means,
    differences,
    summarise,
)


@pytest.mark.parametrize("n_sims", [5, 30])
def test_interval_covers_as_it_says(rng, n_sims):
    n_trials = 400
    hits = 0
    for _ in range(n_trials):
        interval = bootstrap_mean(rng.normal(3, 2, n_sims), rng, n_resamples=400)
        hits += interval.lo < 3 < interval.hi
    # 95 % nominal, 1.1 % binomial error; 400 resamples and 5 values cost up to 2 %.  The plain percentile
    # interval covers 82 % with 5 values.
    assert 0.915 < hits / n_trials < 0.985


def test_interval_has_the_width_of_the_t_interval(rng):
    ratios = []
    for _ in range(150):
        values = rng.normal(size=8)
        interval = bootstrap_mean(values, rng)
        ratios.append((interval.hi - interval.lo) / (2 * 2.365 * values.std(ddof=1) / np.sqrt(8)))
    # The correction by sqrt(n / (n - 1)) is 7 % at 8 simulations; resampled tails are shorter than normal
    # ones by 2 %.
    assert np.mean(ratios) == pytest.approx(0.98, abs=0.02)


def test_one_simulation_has_no_interval(rng):
    assert bootstrap_mean([4.0], rng) == Interval(4.0, None, None)


def test_infinite_score_has_no_interval(rng):
    assert bootstrap_mean([np.inf, np.inf], rng) == Interval(np.inf, None, None)


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [[1.0, 2.0]]])
def test_unfit_scores_are_refused(rng, values):
    with pytest.raises(ValueError, match="one finite score per simulation"):
        bootstrap_mean(values, rng)


def test_paired_difference_ignores_what_both_share(rng):
    difficulty = rng.normal(0, 100, 50)
    values = {"test": {"a": {"rmse": difficulty + 1 + 0.01 * rng.normal(size=50)}, "b": {"rmse": difficulty}}}
    interval = differences(values, "rmse", lambda _: rng)["test"]["a"]["b"]
    assert 0.99 < interval.lo < 1 < interval.hi < 1.01


def test_many_scores_at_once_are_each_alone(rng):
    samples = rng.normal(size=(3, 12))
    together = bootstrap_means(samples, np.random.default_rng(3))
    for row, interval in zip(samples, together, strict=True):
        alone = bootstrap_mean(row, np.random.default_rng(3))
        assert (alone.lo, alone.hi) == pytest.approx((interval.lo, interval.hi), rel=1e-12)


def test_differences_of_every_metric(rng):
    values = {"test": {"a": {"rmse": [1.0, 2], "mae": [1.0, 3]}, "b": {"rmse": [2.0, 4]}}}
    pairs = all_differences(values, lambda _: rng)
    assert pairs["rmse"]["test"]["a"]["b"].mean == -1.5
    assert pairs["mae"]["test"] == {}, "one method alone has nothing to differ from"


def test_rows_do_not_depend_on_their_neighbours(rng):
    values = rng.normal(size=(2, 10))

    def fresh(split):
        return np.random.default_rng(len(split))

    both = summarise({"test": {"a": {"rmse": values[0]}, "b": {"rmse": values[1]}}}, fresh)
    alone = summarise({"test": {"b": {"rmse": values[1]}}}, fresh)
    assert both["test"]["b"] == alone["test"]["b"]


def test_differences_of_all_pairs(rng):
    a = rng.normal(5, 1, 20)
    values = {"test": {"a": {"rmse": a}, "b": {"rmse": a + 1}, "perfect": {"psnr": [np.inf] * 20}}}
    table = differences(values, "rmse", lambda _: np.random.default_rng(1))["test"]
    assert table["a"]["b"] == Interval(pytest.approx(-1), pytest.approx(-1), pytest.approx(-1))
    assert table["b"]["a"].mean == pytest.approx(1)
    assert list(table) == ["a", "b"]
