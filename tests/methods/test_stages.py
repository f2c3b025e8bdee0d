"""The stages of the methods in a small run: what they learn, from which splits, and what they return."""

import numpy as np
import pytest

import cmbml
from cmbml.core.engine.make import Engine
from cmbml.core.errors import CmbmlError, ConfigError
from cmbml.core.plan.fingerprints import Plan
from cmbml.methods.executors import without_levels
from cmbml.methods.hilc.hilc import HilcOptions, hilc
from cmbml.methods.nilc.seds import SPECTRA
from cmbml.sky.instrument import described
from cmbml.sky.levels import common_levels
from cmbml.sky.sht import alm2cl, alm2map, almxfl, gaussian_beam, map2alm
from tests.small_run import METHODS, finished, repository


@pytest.fixture(scope="module", params=["T", pytest.param("TQU", marks=pytest.mark.long)])
def data(request, tmp_path_factory):
    return cmbml.open(finished(tmp_path_factory.getbasetemp(), request.param))


def cleaned(data, method, split="test", sim=0):
    return data[method].cleaned.at(split=split, sim=sim).read(nside=16)


def truth(data, split="test", sim=0):
    alm = data["cmb"].cmb.at(split=split, sim=sim).read().values
    return alm2map(almxfl(alm, gaussian_beam(300.0, 40)), 16)


def errors(data, method, split="test", sim=0):
    """Error of each field, in units of the field: ``(n_stokes,)``."""
    sky, expected = cleaned(data, method, split, sim).values, truth(data, split, sim)
    return np.std(sky - expected, axis=1) / np.std(expected, axis=1)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_returns_the_cmb_in_all_fields(data, method):
    sky = cleaned(data, method)
    assert (sky.unit, sky.fwhm_arcmin, sky.lmax) == ("uK_CMB", 300.0, 40)
    assert sky.signal_preserving == (method != "wiener")
    # the Galactic plane included; Q and U are mostly noise
    assert errors(data, method)[0] < 0.6
    assert sky.values.shape == truth(data).shape


def test_what_was_learned_on_train_cleans_better_than_the_sky_alone(data):
    plain, learned = (errors(data, method) for method in ("nilc", "nilc_regularised"))
    assert learned[0] < 0.8 * plain[0]


def test_the_wiener_filter_removes_power_and_never_adds_error_by_much(data):
    estimate, filtered = (map2alm(cleaned(data, m).values, 40) for m in ("nilc_regularised", "wiener"))
    for before, after in zip(estimate, filtered, strict=True):
        assert (alm2cl(after)[2:] <= alm2cl(before)[2:] * 1.001).all()
    assert errors(data, "wiener")[-1] < 1.05 * errors(data, "nilc_regularised")[-1]


def test_the_wiener_filter_keeps_the_monopole_and_dipole(data):
    window = data["wiener_window"].window.at().read()
    assert all((values[:2] == 1).all() for values in window.values())
    learned = data["wiener_window"].settings.at().read()
    assert learned == {
        "instrument": described(data.config.params.instrument.bands),
        "estimate": "nilc_regularised",
        "fwhm_arcmin": 300.0,
        "lmax": 40,
    }
    estimate, filtered = (cleaned(data, method).values[0] for method in ("nilc_regularised", "wiener"))
    # maps are float32
    assert filtered.mean() == pytest.approx(estimate.mean(), abs=1e-4)


def test_hilc_plain_is_the_harmonic_ilc_of_the_sky_itself(data):
    bands = [
        data["observations"].obs.at(split="test", sim=0, freq=f).read()
        for f in data.config.params.instrument.bands
    ]
    off, levels = zip(*(without_levels(band) for band in bands), strict=True)
    common = common_levels(levels, [b.freq_ghz for b in data.config.params.instrument.bands.values()])
    plain = hilc(
        np.array([map2alm(band.values, 40)[0] for band in off]),
        fwhm_arcmin=[b.fwhm_arcmin for b in bands],
        fwhm_out=300.0,
        lmax=40,
        bin_width=5,
        options=HilcOptions(),
    )
    # maps are float32
    expected = alm2map(common.onto_alm(plain.alm[None], 300.0), 16)[0]
    assert cleaned(data, "hilc_plain", sim=0).values[0] == pytest.approx(expected, abs=1e-3)


def test_covariances_are_learned_for_every_field(data):
    n_fields = len(truth(data))
    assert data["nilc_covariance"].covariance.at().read().shape[:3] == (n_fields, 2, 45)
    assert data["hilc_covariance"].covariance.at().read().shape[::3] == (n_fields, 9)
    settings = data["nilc_covariance"].settings.at().read()
    assert (settings["peaks"], settings["lmax"]) == ([20, 41], 40)
    assert settings["instrument"] == described(data.config.params.instrument.bands)


@pytest.mark.parametrize("method", ["nilc", "nilc_regularised"])
def test_components_add_up_to_the_cleaned_map(data, method):
    asset = data[f"{method}_components"].component
    names = data.config.pipeline.stage(f"{method}_components").assets_out["component"].fields
    parts = {name: asset.at(split="test", sim=0, field=name).read().values for name in names}
    whole = cleaned(data, method).values
    # bright components cancel, in float32
    assert np.abs(sum(parts.values()) - whole).max() < 1e-3 * np.std(whole, axis=1).min() + 0.05
    assert parts["cmb"][0] == pytest.approx(truth(data)[0], abs=0.05)


def test_learning_reads_train_and_the_window_valid_only(data):
    stages = data.config.pipeline.stages
    assert {key: stages[key].splits for key in ("nilc_covariance", "hilc_covariance", "wiener_window")} == {
        "nilc_covariance": ("train",),
        "hilc_covariance": ("train",),
        "wiener_window": ("valid",),
    }


@pytest.mark.parametrize(
    ("method", "change", "message"),
    [
        ("nilc", {"nilc.nulled": ["dsut"]}, "params.yaml: nilc: no spectrum of component dsut"),
        ("nilc", {"nilc.ilc_bias": 1.0}, "nilc: singular covariance: needlet scale 0 has 8 modes .* lower ilc_bias"),
        ("nilc", {"nilc.peaks": [20, 60, 90]}, "nilc: the needlet scale of peak 90 has no multipole up to lmax 40: drop"),
        ("nilc_regularised", {"nilc_regularised.nulled": list(SPECTRA)[:9]}, "nilc_regularised: needlet scale 0 has 9 channels and cannot null 9 components"),
        ("hilc_plain", {"instrument.lmax": 3, "analysis.lmax": 3}, "hilc_plain: singular covariance: 16 modes"),
    ],
)  # fmt: skip
def test_settings_that_no_map_can_be_cleaned_with_are_found_by_check(tmp_path, method, change, message):
    config = repository(tmp_path, **{key.replace(".", "__"): value for key, value in change.items()})
    with pytest.raises(ConfigError, match=message):
        Engine(Plan(config)).make_executor(method, None)


def test_a_filter_whose_estimate_is_off_names_the_key(tmp_path):
    plan = Plan(repository(tmp_path, methods=["wiener"]))
    with pytest.raises(
        CmbmlError, match=r"'nilc_regularised', which is switched off: add its method to 'methods'"
    ):
        plan.sources(plan.portions(plan.stages["wiener"])[0])
