from dataclasses import replace

import numpy as np
import pytest

from cmbml.analysis.spectra.comparison import Comparison
from cmbml.analysis.spectra.scores import cross_metrics, spectral_metrics

ELL = np.array([10.0, 20.0])
TRUTH = np.array([100.0, 50.0])
SIGMA = np.array([10.0, 5.0])
MODES = np.array([1.0, 3.0])


def test_perfect_estimate():
    perfect = Comparison(ELL, TRUTH, TRUTH, TRUTH, np.zeros(2))
    expected = {"spectrum_error": 0, "residual_power": 0, "transfer_error": 0, "coherence": 1}
    scores = spectral_metrics(perfect, SIGMA, MODES)
    assert scores == pytest.approx(expected)
    halves = spectral_metrics(replace(perfect, halves=TRUTH), SIGMA, MODES)
    assert halves == pytest.approx(scores | {"halves_error": 0})


def test_noise_of_the_halves_does_not_count_but_their_error_does():
    noisy = Comparison(ELL, TRUTH, TRUTH + 30, TRUTH, np.full(2, 30.0), halves=TRUTH + SIGMA * [1, -2])
    found = spectral_metrics(noisy, SIGMA, MODES)["halves_error"]
    assert found == pytest.approx(np.sqrt((1**2 + 3 * 2**2) / 4))


def test_known_errors():
    one = Comparison(ELL, TRUTH, np.array([120.0, 45.0]), np.array([50.0, 45.0]), np.array([10.0, 10.0]))
    assert spectral_metrics(one, SIGMA, MODES) == pytest.approx(
        {
            "spectrum_error": np.sqrt((2**2 + 3 * 1**2) / 4),
            "residual_power": np.sqrt((1**2 + 3 * 2**2) / 4),
            "transfer_error": (0.5 + 3 * 0.1) / 4,
            "coherence": (0.5 / np.sqrt(1.2) + 3 * 0.9 / np.sqrt(0.9)) / 4,
        }
    )


def test_band_without_power_is_incoherent():
    noisy = Comparison(ELL, TRUTH, np.array([100.0, -1.0]), TRUTH, np.ones(2))
    assert spectral_metrics(noisy, SIGMA, MODES)["coherence"] == pytest.approx(0.25)


def test_band_whose_truth_has_no_power_is_left_out():
    odd = Comparison(ELL, np.array([100.0, -1.0]), np.array([100.0, 4.0]), np.array([80.0, 1.0]), np.ones(2))
    scores = spectral_metrics(odd, SIGMA, MODES)
    assert scores["transfer_error"] == pytest.approx(0.2)
    assert scores["coherence"] == pytest.approx(0.8)


def test_rounding_is_no_coherence():
    """What an estimate without B keeps of it by rounding would correlate with the truth by 1."""
    emptied = Comparison(ELL, TRUTH, 1e-4 * TRUTH, 1e-2 * TRUTH, TRUTH)
    assert spectral_metrics(emptied, SIGMA, MODES)["coherence"] == 0


def _cross(estimate, truth):
    return Comparison(ELL, np.array(truth), np.array(estimate), np.zeros(2), np.zeros(2))


def test_cross_spectrum_of_a_perfect_estimate_has_no_error():
    powers = _cross([4.0, 9.0], [4.0, 9.0]), _cross([1.0, 1.0], [1.0, 1.0])
    same = _cross([-1.0, 0.0], [-1.0, 0.0])
    expected = {"spectrum_error": 0, "correlation_error": 0}
    assert cross_metrics(same, SIGMA, MODES, powers) == expected


def test_known_errors_of_a_cross_spectrum():
    """A correlation of -0.5 is found as 0 in one band; in the other noise in E halves 0.6."""
    powers = _cross([4.0, 1.0], [4.0, 1.0]), _cross([1.0, 4.0], [1.0, 1.0])
    one = _cross([0.0, 0.6], [-1.0, 0.6])
    assert cross_metrics(one, SIGMA, MODES, powers) == pytest.approx(
        {"spectrum_error": np.sqrt(0.1**2 / 4), "correlation_error": np.sqrt((0.5**2 + 3 * 0.3**2) / 4)}
    )


def test_fields_without_power_do_not_correlate():
    emptied = _cross([1.0, 1.0], [1.0, 1.0]), _cross([0.0, -0.1], [1.0, 1.0])
    assert cross_metrics(_cross([0.1, 0.1], [0.0, 0.0]), SIGMA, MODES, emptied)["correlation_error"] == 0
