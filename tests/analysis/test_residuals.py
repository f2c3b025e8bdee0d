import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cmbml.analysis.pixel import pixel_metrics
from cmbml.analysis.residuals import split_by_component, split_by_gain

NPIX = 192
FULL_SKY = np.ones(NPIX)
maps = arrays(np.float64, NPIX, elements=st.floats(-100, 100))
TRUTH = np.where(np.arange(NPIX) % 2 == 0, 10.0, -10.0)
ORTHOGONAL = np.where(np.arange(NPIX) % 4 < 2, 3.0, -3.0)


def test_known_parts():
    parts = split_by_gain(0.9 * TRUTH + ORTHOGONAL, TRUTH, FULL_SKY)
    assert parts == pytest.approx({"response": -10.0, "multiplicative": 1.0, "additive": 3.0})


@settings(max_examples=40)
@given(maps, arrays(np.float64, NPIX, elements=st.floats(0.1, 1)))
def test_parts_add_up_in_quadrature(estimate, weights):
    parts = split_by_gain(estimate, TRUTH, weights)
    mse = pixel_metrics(estimate, TRUTH, weights)["mse"]
    assert parts["multiplicative"] ** 2 + parts["additive"] ** 2 == pytest.approx(mse, rel=1e-9, abs=1e-9)


def test_response_of_the_truth_is_whole():
    assert split_by_gain(TRUTH, TRUTH, FULL_SKY)["response"] == 0


def test_components_of_a_linear_method():
    cleaned = {"cmb": 0.9 * TRUTH, "foreground": ORTHOGONAL, "noise": np.full(NPIX, 2.0)}
    parts = split_by_component(cleaned, TRUTH, FULL_SKY)
    assert parts == pytest.approx(
        {"multiplicative": 1.0, "cmb_other": 0.0, "foreground": 3.0, "noise": 2.0, "total": np.sqrt(14)},
        abs=1e-12,
    )


def test_components_without_cmb_are_refused():
    with pytest.raises(ValueError, match=r"\['noise'\] lack 'cmb'"):
        split_by_component({"noise": TRUTH}, TRUTH, FULL_SKY)
