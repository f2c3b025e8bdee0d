import numpy as np
import pytest
from scipy import stats

from cmbml.analysis.statistics import Interval
from cmbml.analysis.subcategories import generalisation_gap, score_by_parameter, trend, varying


def test_numeric_columns_that_vary_are_found():
    draws = {
        "dust": [1, 2, 3],
        "beta": [1.5, 1.5, 1.5],
        "model": ["d1", "d2", "d1"],
        "tau": [0.05, 0.06, 0.05],
    }
    found = varying(draws)
    assert list(found) == ["dust", "tau"]
    assert found["dust"].dtype == np.float64


def test_bins_share_simulations_equally(rng):
    parameter = rng.permutation(np.arange(10.0))
    bins = score_by_parameter(2 * parameter, parameter, n_bins=4)
    assert [one.n_sims for one in bins] == [3, 3, 2, 2]
    assert [(one.lo, one.hi) for one in bins] == [(0, 2), (3, 5), (6, 7), (8, 9)]
    assert [one.score.mean for one in bins] == [2, 8, 13, 17]


def test_fewer_simulations_than_bins():
    bins = score_by_parameter([5.0, 6.0], [1.0, 2.0], n_bins=4)
    assert [one.score for one in bins] == [Interval(5, None, None), Interval(6, None, None)]


def test_trend_is_spearmans(rng):
    parameter, scores = rng.normal(size=(2, 40))
    scores += parameter
    interval = trend(scores, parameter, rng, n_resamples=200)
    assert interval.mean == pytest.approx(stats.spearmanr(scores, parameter).statistic)
    assert interval.lo < interval.mean < interval.hi
    assert trend(np.exp(parameter), parameter, rng, n_resamples=200).mean == pytest.approx(1)


def test_trend_covers_nothing_where_there_is_none(rng):
    hits = 0
    for _ in range(200):
        interval = trend(rng.normal(size=30), rng.normal(size=30), rng, n_resamples=200)
        hits += interval.lo < 0 < interval.hi
    # 95 % nominal, 1.5 % binomial error; percentile intervals of 30 lose up to 3 %.
    assert hits / 200 > 0.87


def test_trend_of_few_simulations_has_no_interval(rng):
    assert trend([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], rng, n_resamples=200) == Interval(
        pytest.approx(-1), None, None
    )


@pytest.mark.parametrize(("scores", "parameter"), [([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [1, 1, 1])])
def test_trend_of_a_constant_is_refused(rng, scores, parameter):
    with pytest.raises(ValueError, match="no trend is defined"):
        trend(scores, parameter, rng, n_resamples=200)


def test_scores_and_parameter_are_of_the_same_simulations():
    with pytest.raises(ValueError, match="same simulations"):
        score_by_parameter([1.0, 2.0], [1.0, 2.0, 3.0])


def test_gap_is_relative(rng):
    home, away = rng.normal(10, 1, 100), rng.normal(13, 1, 50)
    interval = generalisation_gap(home, away)
    assert interval.mean == pytest.approx(0.3, abs=0.06)
    assert interval.lo < interval.mean < interval.hi
    # Error of the ratio: 1.3 sqrt(1/100/100 + 1/169/50) = 1.9 %, an interval of 3.9 of them.
    assert interval.hi - interval.lo == pytest.approx(0.075, rel=0.25)
    assert generalisation_gap([2.0], away).lo is None
