import healpy as hp
import numpy as np
import pysm3
import pysm3.units as u
import pytest
from pysm3.utils import bandpass_unit_conversion

from cmbml.core.spec.instruments import read_bands, table_path
from cmbml.core.spec.params import Band
from cmbml.sky.foregrounds import ForegroundDraw
from cmbml.sky.passbands import passband_of, tabulated
from cmbml.sky.pysm.components import load_model, native_nside
from cmbml.sky.pysm.model import pysm_alm, pysm_component_alm
from cmbml.sky.pysm.templates import (
    DATA_URL,
    SHARED_FOLDERS,
    locate,
    preset_table,
    template_files,
)
from cmbml.sky.sht import map2alm, resize_alm
from tests.conftest import ROOT
from tests.sky.maps import pysm_maps

FREQS = (28.4, 142.876, 545.0, 866.8)


def emission(freqs, presets, nside=64):
    """Plain PySM: all presets, every band, uK_CMB, (n_freq, 3, npix)."""
    sky = pysm3.Sky(nside=nside, preset_strings=list(presets))
    maps = []
    for freq in freqs:
        rj = sky.get_emission(freq * u.GHz)
        maps.append(rj.to_value(u.uK_CMB, equivalencies=u.cmb_equivalencies(freq * u.GHz)))
    return np.array(maps)


@pytest.mark.parametrize(
    "presets", [("d1",), ("d2",), ("s1",), ("s3",), ("f1",), ("a1",), ("d1", "s1", "f1", "a1")]
)
def test_nominal_draw_is_plain_pysm(sky64, presets):
    """PySM multiplies in float32 here and there: 1e-5 of the rms, and 1e-6 uK where nothing is left."""
    ours = pysm_maps(presets, FREQS, ForegroundDraw(), 64)
    theirs = emission(FREQS, presets)[:, 0]
    for mine, reference in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-5, atol=1e-5 * reference.std() + 1e-6)


@pytest.mark.parametrize("presets", [("d1", "f1"), ("s1",), ("s3", "a1")])
def test_polarisation_is_plain_pysm(sky64, presets):
    """Not at 545 GHz: at its reference frequency PySM's dust leaves Q and U of 353 GHz unscaled."""
    ours = pysm_maps(presets, (28.4, 353.0), ForegroundDraw(), 64, n_stokes=3)
    theirs = emission((28.4, 353.0), presets)
    assert ours.shape == theirs.shape
    for mine, reference in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-5, atol=1e-5 * reference.std())


@pytest.mark.parametrize(
    ("preset", "key"),
    [
        ("d1", "dust_amplitude"),
        ("s1", "sync_amplitude"),
        ("f1", "freefree_amplitude"),
        ("a1", "ame_amplitude"),
    ],
)
def test_amplitudes_scale(sky64, preset, key):
    plain = pysm_maps((preset,), FREQS, ForegroundDraw(), 64)
    scaled = pysm_maps((preset,), FREQS, ForegroundDraw(**{key: 0.6}), 64)
    np.testing.assert_allclose(scaled, 0.6 * plain, rtol=1e-12)


def test_index_offsets_tilt_around_the_reference(sky64):
    for preset, key, reference in (("d1", "dust_beta", 545.0), ("s1", "sync_beta", 0.408)):
        plain = pysm_maps((preset,), FREQS, ForegroundDraw(), 64)
        tilted = pysm_maps((preset,), FREQS, ForegroundDraw(**{key: 0.05}), 64)
        for freq, ratio in zip(FREQS, tilted / plain, strict=True):
            np.testing.assert_allclose(ratio, (freq / reference) ** 0.05, rtol=1e-6)


def test_index_offset_of_synchrotron_leaves_free_free(sky64):
    plain = pysm_maps(("f1",), FREQS, ForegroundDraw(), 64)
    np.testing.assert_array_equal(pysm_maps(("f1",), FREQS, ForegroundDraw(sync_beta=0.1), 64), plain)


def test_draws_do_not_touch_the_cached_model(sky64):
    plain = pysm_maps(("d1",), FREQS, ForegroundDraw(), 64)
    pysm_maps(("d1",), FREQS, ForegroundDraw(dust_temp=2.0, dust_beta=0.1, dust_amplitude=2.0), 64)
    np.testing.assert_array_equal(pysm_maps(("d1",), FREQS, ForegroundDraw(), 64), plain)
    assert load_model("d1", 64) is load_model("d1", 64)


def test_warmer_dust_and_a_higher_peak_move_the_spectrum(sky64):
    """Warmer dust is relatively brighter above its reference; spinning dust that peaks higher is bluer."""
    warm = pysm_maps(("d1",), FREQS, ForegroundDraw(dust_temp=2.0), 64) / pysm_maps(
        ("d1",), FREQS, ForegroundDraw(), 64
    )
    assert (warm[3] > 1).all()
    assert (warm[1] < 1).all()
    plain, shifted = (
        pysm_maps(("a1",), (28.4, 40.0), ForegroundDraw(ame_peak=peak), 64) for peak in (0.0, 2.0)
    )
    assert (shifted.sum(axis=1) > plain.sum(axis=1)).all()


def test_template_files():
    assert template_files(("d1", "f1"))[0] == "pysm_2/dust_t_new.fits"
    assert "pysm_2/ff_t_new.fits" in template_files(("d1", "f1"))
    assert len(template_files(("s1", "s3"))) == len(template_files(("s1",)))
    assert template_files(("d9",), 2048) == ["dust_gnilc/gnilc_dust_template_nside2048_2023.02.10.fits"]


def test_missing_templates_are_named_without_asking_the_network(tmp_path, monkeypatch):
    monkeypatch.setenv("PYSM_LOCAL_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=r"d9: no template dust_gnilc/.*PYSM_LOCAL_DATA"):
        pysm_alm(("d9",), FREQS, ForegroundDraw(), 100)


@pytest.mark.parametrize(
    ("preset", "message"),
    [("d99", "no preset 'd99'; known are a1"), ("c1", "is a CMB"), ("d6", "global generator")],
)
def test_unfit_presets_are_refused(sky64, preset, message):
    with pytest.raises(ValueError, match=message):
        pysm_alm((preset,), FREQS, ForegroundDraw(), 100)


DRAWN = ForegroundDraw(dust_amplitude=1.3, dust_beta=0.05, dust_temp=1.0, sync_beta=-0.05, ame_peak=1.0)


@pytest.mark.parametrize("draw", [ForegroundDraw(dust_amplitude=1.3), DRAWN], ids=["plain", "drawn"])
@pytest.mark.parametrize("n_stokes", [1, pytest.param(3, marks=pytest.mark.long)])
def test_coefficients_on_the_grid_are_those_of_the_map(sky256, draw, n_stokes):
    """Fine templates are evaluated on a coarser grid: 3e-4 of the rms by spinning dust, 1e-5 by others."""
    presets, bands = ("d1", "s1", "f1", "a1"), (28.4, 353.0)
    alm = pysm_alm(presets, bands, draw, 100, n_stokes=n_stokes)
    maps = pysm_maps(presets, bands, draw, 256, n_stokes=n_stokes)
    for ours, sky in zip(alm, maps, strict=True):
        expected = resize_alm(map2alm(sky, 640), 100)
        for one, other in zip(np.atleast_2d(ours), np.atleast_2d(expected), strict=True):
            assert np.std(one - other) < 3e-4 * np.std(other)


def test_coefficients_of_coarse_templates_are_those_of_their_pixels(sky64):
    alm = pysm_alm(("d1", "a1"), FREQS, DRAWN, 128)
    maps = pysm_maps(("d1", "a1"), FREQS, DRAWN, 64)
    for ours, sky in zip(alm, maps, strict=True):
        expected = resize_alm(map2alm(sky, 160), 128)
        np.testing.assert_allclose(ours, expected, atol=1e-9 * np.abs(expected).max())


def test_component_coefficients_add_up(sky64):
    parts = [pysm_component_alm(preset, FREQS, DRAWN, 60) for preset in ("d1", "s1")]
    np.testing.assert_allclose(sum(parts), pysm_alm(("d1", "s1"), FREQS, DRAWN, 60), rtol=1e-12)


@pytest.mark.parametrize("presets", [("d1",), ("s1",), ("a1",)])
def test_bandpasses_are_plain_pysm(sky64, presets):
    """PySM integrates 71 rows by the trapezium rule, we use six nodes; spinning dust is a table with kinks."""
    freqs = np.linspace(25.0, 32.0, 71)
    bell = np.exp(-(((freqs - 28.4) / 3) ** 2))
    rj = pysm3.Sky(nside=64, preset_strings=list(presets)).get_emission(freqs * u.GHz, bell)
    factor = bandpass_unit_conversion(freqs * u.GHz, bell, u.uK_CMB).value
    ours = pysm_maps(presets, (tabulated(freqs, bell, 28.4),), ForegroundDraw(), 64)[0]
    np.testing.assert_allclose(ours, rj[0].value * factor, rtol=5e-5)


@pytest.mark.parametrize("name", ["30", "143", "545", "857"])
def test_passbands_of_planck_are_plain_pysm(sky64, name):
    """The same rows, integrated by PySM, of which it would leave the faintest out for the unit alone."""
    band = Band(**read_bands(table_path(ROOT, "planck"))[name])
    freqs, response = np.array(band.passband.freq_ghz), np.array(band.passband.response)
    power = response / (freqs**2 if band.passband.convention == "rj" else 1)
    preset = "s1" if name == "30" else "d1"
    rj = pysm3.Sky(nside=64, preset_strings=[preset]).get_emission(freqs * u.GHz, power)
    factor = bandpass_unit_conversion(freqs * u.GHz, power, u.uK_CMB, cut=0).value
    ours = pysm_maps((preset,), (passband_of(band),), ForegroundDraw(), 64)[0]
    np.testing.assert_allclose(ours, rj[0].value * factor, rtol=1e-4)


def test_offsets_that_a_model_cannot_have_are_refused(sky64):
    with pytest.raises(ValueError, match="a2 has no parameter that ame_peak could shift"):
        pysm_alm(("a2",), FREQS, ForegroundDraw(ame_peak=1.0), 100)


def test_models_with_a_law_of_their_own_are_passed_through(sky64):
    ours = pysm_maps(("a2",), (28.4,), ForegroundDraw(ame_amplitude=2.0), 64, n_stokes=3)
    np.testing.assert_allclose(ours, 2 * emission((28.4,), ("a2",)), rtol=1e-6)
    alm = pysm_alm(("a2",), (28.4,), ForegroundDraw(ame_amplitude=2.0), 100, n_stokes=3)
    np.testing.assert_allclose(alm[0], resize_alm(map2alm(ours[0], 160), 100), rtol=1e-9)


def test_no_presets_are_refused():
    with pytest.raises(ValueError, match="no PySM preset is named"):
        pysm_alm((), FREQS, ForegroundDraw(), 100)


@pytest.mark.parametrize("preset", ["cib1", "rg1", "co1"])
def test_templates_named_in_code_do_not_ask_the_network_either(sky64, preset):
    with pytest.raises(ValueError, match=f"{preset}: a template is not on this machine"):
        pysm_alm((preset,), (142.876,), ForegroundDraw(), 100)


def test_presets_and_places_are_those_of_pysm():
    """What is read without importing PySM is what PySM itself says."""
    from pysm3.sky import PRESET_MODELS
    from pysm3.utils import data

    assert preset_table() == dict(PRESET_MODELS)
    assert data.DATAURL == DATA_URL
    assert tuple(data.PREDEFINED_DATA_FOLDERS) == SHARED_FOLDERS


def test_templates_named_in_code_are_found(tmp_path, monkeypatch):
    """The CIB reads a map for every frequency, which its table does not name."""
    monkeypatch.setenv("PYSM_LOCAL_DATA", str(tmp_path))
    folder = tmp_path / "websky/0.4/cib"
    folder.mkdir(parents=True)
    (folder / "cib_0353.0.fits").write_text("a map")
    found = locate("cib1", (), {"nominal": None}, 320)
    assert found == {"websky/0.4/cib/cib_0353.0.fits": folder / "cib_0353.0.fits"}
    assert locate("galaxy", ("d1",), {"nominal": ("layered",)}, 320) == {}
    with pytest.raises(ValueError, match="no template pysm_2/ff_t_new"):
        locate("galaxy", (), {"nominal": None, "other": ("f1",)}, 320)


def test_extragalactic_presets_pass_through(tmp_path, monkeypatch):
    """Kinetic SZ has the CMB's spectrum; thermal SZ is negative at 143 GHz and positive at 353."""
    monkeypatch.setenv("PYSM_LOCAL_DATA", str(tmp_path))
    folder = tmp_path / "websky/0.4"
    folder.mkdir(parents=True)
    sky = hp.pix2vec(32, np.arange(12 * 32**2))[2]
    for name in ("ksz.fits", "tsz_8192_hp.fits"):
        hp.write_map(folder / name, np.abs(sky) * 1e-6, dtype=np.float64, column_units="uK_CMB")
    kinetic, thermal = (
        pysm_alm((preset,), (143.0, 353.0), ForegroundDraw(dust_beta=0.1), 40) for preset in ("ksz1", "tsz1")
    )
    np.testing.assert_allclose(kinetic[0], kinetic[1], rtol=1e-6, atol=1e-9 * np.abs(kinetic).max())
    assert thermal[0, 0].real < 0 < thermal[1, 0].real


def test_templates_far_finer_than_the_maps_are_read_coarser(tmp_path, monkeypatch):
    monkeypatch.setenv("PYSM_LOCAL_DATA", str(tmp_path))
    (tmp_path / "websky/0.4").mkdir(parents=True)
    hp.write_map(
        tmp_path / "websky/0.4/ksz.fits", np.ones(12 * 1024**2, dtype=np.float32), column_units="uK_CMB"
    )
    assert native_nside("ksz1", 100) == 512
    assert native_nside("ksz1", 512) == 1024
