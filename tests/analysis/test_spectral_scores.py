from dataclasses import replace

import numpy as np
import pytest

from cmbml.analysis.spectra.comparison import Comparison
from cmbml.analysis.spectra.scores import SPECTRAL_METRICS, spectral_metrics

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
    assert list(halves) == list(SPECTRAL_METRICS)
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
