import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbml.sky.distributions import Normal, Uniform
from cmbml.sky.foregrounds import FOREGROUND_KEYS, ForegroundDraw, draw_foregrounds

POPULATION = {
    "dust_amplitude": Normal(1.5, 0.4),
    "dust_beta": Normal(0.02, 0.05),
    "ame_peak": Normal(0.0, 2.0),
}


def test_no_population_changes_nothing():
    assert draw_foregrounds({}, np.random.default_rng(0)) == ForegroundDraw()


@pytest.mark.parametrize("other", FOREGROUND_KEYS)
def test_naming_another_parameter_changes_no_draw(other):
    alone = draw_foregrounds(POPULATION, np.random.default_rng(1))
    more = draw_foregrounds({other: Normal(1.0, 0.1), **POPULATION}, np.random.default_rng(1))
    for key in POPULATION:
        assert getattr(alone, key) == getattr(more, key)


def test_moments_are_those_of_the_population():
    """4000 draws: 5 standard errors; the log-normal's fourth moment widens that of its deviation."""
    draws = [draw_foregrounds(POPULATION, np.random.default_rng([2, i])) for i in range(4000)]
    for key, spread in POPULATION.items():
        mean, sd = spread.mean, spread.sd
        values = np.array([getattr(draw, key) for draw in draws])
        assert values.mean() == pytest.approx(mean, abs=5 * sd / np.sqrt(4000))
        assert values.std() == pytest.approx(sd, rel=0.08)


@settings(max_examples=50)
@given(st.floats(0.01, 5), st.floats(0, 5), st.integers(0, 2**32))
def test_factors_stay_positive(mean, sd, seed):
    assert (
        draw_foregrounds({"dust_amplitude": Normal(mean, sd)}, np.random.default_rng(seed)).dust_amplitude > 0
    )


@pytest.mark.parametrize(
    ("population", "message"),
    [
        ({"dust_amplitud": Normal(1.0, 0.1)}, "unknown foreground parameter dust_amplitud"),
        ({"dust_beta": Normal(0.0, -0.1)}, "dust_beta: standard deviation is negative"),
        ({"sync_amplitude": Normal(0.0, 0.1)}, "sync_amplitude: mean of a factor must be positive"),
        ({"dust_beta": Uniform(0.2, 0.1)}, r"dust_beta: range from 0\.2 to 0\.1 is empty"),
        ({"ame_amplitude": Uniform(0.0, 0.1)}, "ame_amplitude: range of a factor must lie above 0"),
    ],
)
def test_bad_populations_are_refused(population, message):
    with pytest.raises(ValueError, match=message):
        draw_foregrounds(population, np.random.default_rng(0))


def test_ranges_are_filled_evenly():
    """2000 draws: mean and deviation of a uniform distribution within 5 standard errors."""
    draws = [
        draw_foregrounds({"sync_beta": Uniform(-0.2, 0.4)}, np.random.default_rng([3, i])).sync_beta
        for i in range(2000)
    ]
    assert min(draws) >= -0.2
    assert max(draws) <= 0.4
    assert np.mean(draws) == pytest.approx(0.1, abs=5 * 0.6 / np.sqrt(12 * 2000))
    assert np.std(draws) == pytest.approx(0.6 / np.sqrt(12), rel=0.05)
