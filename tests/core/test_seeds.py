import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cmbml.core import generator

PURPOSE = st.tuples(
    st.integers(0, 2**40),
    st.sampled_from(["train", "test"]),
    st.integers(0, 5000),
    st.sampled_from(["cmb", "noise"]),
    st.sampled_from(["", "100", "143"]),
)


@given(PURPOSE, PURPOSE)
def test_equal_purpose_equal_numbers(a, b):
    same = np.array_equal(generator(*a).integers(2**62, size=4), generator(*b).integers(2**62, size=4))
    assert same == (a == b)


def test_known_value():
    """A change of this number changes every dataset: it must be meant."""
    assert generator(1, "train", 0, "cmb", "T").integers(2**32) == 3868166624


def test_streams_are_uncorrelated():
    draws = np.array([generator(1, "train", sim, "noise", "100").standard_normal(2000) for sim in range(40)])
    correlation = np.corrcoef(draws) - np.eye(40)
    # 780 pairs of 2000 samples: the largest of so many deviates stays below 4.5 sigma.
    assert abs(correlation).max() < 4.5 / np.sqrt(2000)
