import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbml.sky.foregrounds import FOREGROUND_KEYS, ForegroundDraw, draw_foregrounds

POPULATION = {"dust_amplitude": (1.5, 0.4), "dust_beta": (0.02, 0.05), "ame_peak": (0.0, 2.0)}


def test_no_population_changes_nothing():
    assert draw_foregrounds({}, np.random.default_rng(0)) == ForegroundDraw()


@pytest.mark.parametrize("other", FOREGROUND_KEYS)
def test_naming_another_parameter_changes_no_draw(other):
    alone = draw_foregrounds(POPULATION, np.random.default_rng(1))
    more = draw_foregrounds({other: (1.0, 0.1), **POPULATION}, np.random.default_rng(1))
    for key in POPULATION:
        assert getattr(alone, key) == getattr(more, key)


def test_moments_are_those_of_the_population():
    """4000 draws: 5 standard errors; the log-normal's fourth moment widens that of its deviation."""
    draws = [draw_foregrounds(POPULATION, np.random.default_rng([2, i])) for i in range(4000)]
    for key, (mean, sd) in POPULATION.items():
        values = np.array([getattr(draw, key) for draw in draws])
        assert values.mean() == pytest.approx(mean, abs=5 * sd / np.sqrt(4000))
        assert values.std() == pytest.approx(sd, rel=0.08)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 5), st.floats(0, 5), st.integers(0, 2**32))
def test_factors_stay_positive(mean, sd, seed):
    assert draw_foregrounds({"dust_amplitude": (mean, sd)}, np.random.default_rng(seed)).dust_amplitude > 0


@pytest.mark.parametrize(
    ("population", "message"),
    [
        ({"dust_amplitud": (1.0, 0.1)}, "unknown foreground parameter dust_amplitud"),
        ({"dust_beta": (0.0, -0.1)}, "dust_beta is negative"),
        ({"sync_amplitude": (0.0, 0.1)}, "sync_amplitude must be positive"),
    ],
)
def test_bad_populations_are_refused(population, message):
    with pytest.raises(ValueError, match=message):
        draw_foregrounds(population, np.random.default_rng(0))
