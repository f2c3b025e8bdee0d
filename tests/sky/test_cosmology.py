from dataclasses import asdict, replace

import camb
import numpy as np
import pytest

from cmbml.sky import cosmology
from cmbml.sky.cosmology import (
    draw_gaussian,
    draw_measured,
    fixed,
    theory_spectra,
    theta_star_100,
)


@pytest.fixture(scope="module")
def temperature():
    return theory_spectra(fixed("planck2018"), 160, n_stokes=1)


@pytest.fixture(scope="module")
def full():
    return theory_spectra(fixed("planck2018"), 200)


def test_spectra_start_at_zero_and_are_not_d_l(temperature):
    """The Sachs-Wolfe plateau: l (l + 1) C_l / 2 pi is about 1000 uK^2 at l = 10; C_0 and C_1 vanish."""
    cl = temperature["TT"]
    assert cl.shape == (161,)
    assert cl[0] == cl[1] == 0
    assert 700 < 110 * cl[10] / (2 * np.pi) < 1000


def test_quick_temperature_agrees_with_the_full_run(temperature, full):
    """Both are good to 1e-3."""
    np.testing.assert_allclose(temperature["TT"][2:], full["TT"][2:161], rtol=1e-3)


def test_all_spectra_are_there(full):
    assert set(full) == {"TT", "EE", "BB", "TE", "PP", "TP", "EP"} | {
        f"{key}_unlensed" for key in ("TT", "EE", "BB", "TE")
    }
    assert all(cl.shape == (201,) for cl in full.values())
    assert full["BB"][100] > 0
    assert not full["BB_unlensed"].any()


def test_lensing_potential_is_not_scaled(full):
    """[l (l + 1)]^2 C_l^phiphi / 2 pi peaks at 1.3e-7 near l = 40 (Planck 2018 VIII, arXiv:1807.06210)."""
    assert (40 * 41) ** 2 * full["PP"][40] / (2 * np.pi) == pytest.approx(1.3e-7, rel=0.15)


def test_pivot_is_used():
    """As and ns moved to another pivot along the same spectrum leave the C_l as they are."""
    planck = fixed("planck2018")
    moved = replace(planck, pivot_scalar=0.002, As=planck.As * (0.002 / 0.05) ** (planck.ns - 1))
    ours = theory_spectra(planck, 30, n_stokes=1)["TT"]
    theirs = theory_spectra(moved, 30, n_stokes=1)["TT"]
    np.testing.assert_allclose(ours[2:], theirs[2:], rtol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("lmax", [160, 500, 1280])
def test_accuracy_is_as_recorded(lmax):
    """Against a run with doubled accuracy and a larger band-limit."""
    params = camb.CAMBparams()
    values = asdict(fixed("planck2018"))
    primordial = {key: values.pop(key) for key in ("As", "ns", "pivot_scalar")}
    params.set_cosmology(**values)
    params.InitPower.set_params(**primordial)
    params.set_for_lmax(3500, lens_potential_accuracy=3)
    params.Accuracy.AccuracyBoost = 1.5
    camb.config.ThreadNum = 1
    exact = camb.get_results(params).get_cmb_power_spectra(params, lmax=lmax, CMB_unit="muK", raw_cl=True)
    spectra = theory_spectra(fixed("planck2018"), lmax)
    tables = {"TT": (0, 1e-3), "EE": (1, 2e-3), "BB": (2, 1e-2)}
    for key, (column, tolerance) in tables.items():
        np.testing.assert_allclose(spectra[key][2:], exact["total"][2:, column], rtol=tolerance, err_msg=key)


@pytest.mark.parametrize("name", ["planck2018", "wmap9"])
def test_draws_have_the_published_moments(name):
    """2000 draws: means, deviations and correlations within 5 standard errors."""
    published = cosmology.GAUSSIANS[name]
    draws = [draw_measured(name, np.random.default_rng([7, i])) for i in range(2000)]
    values = np.array([list(draw.values()) for draw in draws])
    mean, sd = np.array(list(published.measured.values())).T
    assert (np.abs(values.mean(axis=0) - mean) < 5 * sd / np.sqrt(2000)).all()
    np.testing.assert_allclose(values.std(axis=0), sd, rtol=5 / np.sqrt(4000))
    rows = published.correlation or [(0.0,) * i + (1.0,) for i in range(6)]
    for measured, expected in zip(np.corrcoef(values.T), rows, strict=True):
        np.testing.assert_allclose(measured[: len(expected)], expected, atol=5 / np.sqrt(2000))


def test_universes_have_the_angle_and_the_amplitude_that_were_drawn():
    """CAMB finds in each the acoustic angle that was drawn, to a tenth of Planck's error."""
    for i in range(6):
        drawn = draw_measured("planck2018", np.random.default_rng(i))
        universe = draw_gaussian("planck2018", np.random.default_rng(i))
        assert theta_star_100(universe) == pytest.approx(drawn["theta_star_100"], abs=3e-5)
        assert universe.As * np.exp(-2 * universe.tau) == pytest.approx(drawn["As_damped"], rel=1e-12)
        assert (universe.mnu, universe.pivot_scalar) == (0.06, 0.05)


@pytest.mark.long
def test_what_follows_from_the_measured_has_planck_s_errors_too():
    """400 draws: theta_* as Planck allows, and the derived parameters of its table 2, which are not put in."""
    draws = [draw_gaussian("planck2018", np.random.default_rng([7, i])) for i in range(400)]
    derived = {
        "100 theta_*": ([theta_star_100(draw) for draw in draws], 1.04110, 0.00031),
        "H0": ([draw.H0 for draw in draws], 67.36, 0.54),
        "10^9 As": ([1e9 * draw.As for draw in draws], 2.100, 0.030),
        "Omega_m": (
            [100**2 * (draw.ombh2 + draw.omch2 + 0.06 / 93.14) / draw.H0**2 for draw in draws],
            0.3153,
            0.0073,
        ),
    }
    for name, (values, mean, sd) in derived.items():
        assert np.mean(values) == pytest.approx(mean, abs=5 * sd / np.sqrt(400)), name
        assert np.std(values) == pytest.approx(sd, rel=5 / np.sqrt(800)), name


def test_published_values_agree_between_the_pivots():
    """WMAP9's and Planck's amplitudes describe the same sky: equal within 10 per cent at one pivot."""
    wmap, planck = fixed("wmap9"), fixed("planck2018")
    moved = wmap.As * (0.05 / 0.002) ** (wmap.ns - 1)
    assert moved == pytest.approx(planck.As, rel=0.1)


def test_unknown_names_list_the_known():
    with pytest.raises(ValueError, match="known are planck2018, wmap9"):
        fixed("planck2015")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"H0": float("nan")}, r"H0 should be between 10 and 200 \(it is nan\)"),
        ({"H0": float("inf")}, "H0 should be between"),
        ({"H0": 0.674}, "H0 should be between"),
        ({"omch2": -0.1}, "omch2 should be between"),
        ({"ombh2": 2.2}, "ombh2 should be between"),
        ({"ns": 0.0}, "ns should be between"),
        ({"tau": -0.05}, "tau should be between"),
        ({"mnu": 60.0}, "mnu should be between"),
        ({"As": 2.1e-18}, "As should be between 1e-10 and 1e-08"),
        ({"H0": 10.0}, "critical density"),
        ({"tau": 0.9}, r"CAMB refuses .*tau=0\.9.*optical depth"),
        ({"As": 2.1}, r"As should be between 1e-10 and 1e-08 \(it is 2\.1\)"),
    ],
)
def test_unphysical_values_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        theory_spectra(replace(fixed("planck2018"), **change), 30, n_stokes=1)
