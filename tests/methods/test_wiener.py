import numpy as np
import pytest

from cmbml.methods.wiener.wiener import residual_power, signal_power, wiener_window
from cmbml.sky import sht
from cmbml.sky.mask import apodise, galactic_mask

LMAX = 80
SIGNAL = 1e4 / (np.arange(LMAX + 1) + 5.0) ** 2
NOISE = np.full(LMAX + 1, 10.0)


def test_window_is_one_without_residual_and_half_at_equal_power():
    assert wiener_window(SIGNAL, np.zeros(LMAX + 1)) == pytest.approx(1)
    assert wiener_window(SIGNAL, SIGNAL) == pytest.approx(0.5)
    assert wiener_window(np.zeros(3), np.zeros(3)) == pytest.approx(1)


@pytest.mark.parametrize("residual", [NOISE, np.zeros(LMAX + 1)])
def test_monopole_and_dipole_stay_although_theory_gives_them_no_power(residual):
    theory = np.where(np.arange(LMAX + 1) < 2, 0.0, SIGNAL)
    window = wiener_window(theory, residual)
    assert window[:2].tolist() == [1, 1]
    assert window[2:] == pytest.approx(theory[2:] / (theory + residual)[2:])


def test_fields_without_signal_are_filtered_away():
    """B modes without lensing: no power at any l."""
    assert not wiener_window(np.zeros(LMAX + 1), NOISE)[2:].any()


def test_the_signal_is_theory_at_the_beam_however_far_theory_goes():
    beyond = {
        name: np.arange(200.0) * factor for name, factor in (("TT", 1), ("EE", 2), ("BB", 3), ("PP", 4))
    }
    power = signal_power(beyond, 3, 90.0, LMAX)
    expected = np.arange(LMAX + 1.0) * sht.gaussian_beam(90.0, LMAX) ** 2
    assert power == pytest.approx(np.array([expected, 2 * expected, 3 * expected]))
    assert signal_power({"TT": beyond["TT"]}, 1, 90.0, LMAX).shape == (1, LMAX + 1)
    with pytest.raises(ValueError, match=r"theory ends at l = 79: compute it to lmax 80"):
        signal_power({"TT": SIGNAL[:-1]}, 1, 90.0, LMAX)


def test_filtered_map_has_the_least_error_and_lacks_power():
    """Ensemble: error of the filter against its own prediction, and against windows nearby."""
    rng = np.random.default_rng(3)
    ratios = {0.7: [], 1.0: [], 1.3: []}
    power, window = [], wiener_window(SIGNAL, NOISE)
    for _ in range(20):
        truth, noise = sht.draw_alm(SIGNAL, rng), sht.draw_alm(NOISE, rng)
        filtered = sht.almxfl(truth + noise, window)
        power.append(sht.alm2cl(filtered, truth)[20:].sum() / sht.alm2cl(truth)[20:].sum())
        for exponent, errors in ratios.items():
            error = sht.almxfl(truth + noise, window**exponent) - truth
            errors.append(np.sum((2 * np.arange(LMAX + 1) + 1) * sht.alm2cl(error)))
    expected = np.sum((2 * np.arange(LMAX + 1) + 1) * SIGNAL * NOISE / (SIGNAL + NOISE))
    # 20 skies of 6561 modes: half a per cent
    assert np.mean(ratios[1.0]) == pytest.approx(expected, rel=0.02)
    assert np.mean(ratios[1.0]) < min(np.mean(ratios[0.7]), np.mean(ratios[1.3]))
    assert np.mean(power) == pytest.approx(np.average(window[20:], weights=SIGNAL[20:]), rel=0.05)


def test_residual_power_is_that_of_what_was_added_outside_the_mask():
    rng = np.random.default_rng(4)
    noise = sht.alm2map(np.array([sht.draw_alm(NOISE, rng)]), 32)
    truth = sht.alm2map(np.array([sht.draw_alm(SIGNAL, rng)]), 32)
    mask = apodise(galactic_mask(32, 20.0), 300.0)
    bright = np.where(mask == 0, 1e6, 0.0)
    found = residual_power(truth + noise + bright, truth, mask, LMAX)
    # 61 % of about 6000 modes scatter by 2 % of their variance
    assert found[0, 10:].mean() == pytest.approx(NOISE[0], rel=0.05)
    assert residual_power(truth, truth, mask, LMAX) == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize(
    ("signal", "residual", "message"),
    [
        (SIGNAL, NOISE[:-1], "81 multipoles and residual 80"),
        (-SIGNAL, NOISE, "signal spectrum is negative"),
        (SIGNAL, NOISE * np.nan, "residual spectrum is negative or not finite"),
    ],
    ids=["length", "negative", "nan"],
)
def test_spectra_that_cannot_be_are_refused(signal, residual, message):
    with pytest.raises(ValueError, match=message):
        wiener_window(signal, residual)
