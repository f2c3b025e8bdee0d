from functools import partial

import numpy as np
import pysm3.units as u
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pysm3.utils import bandpass_unit_conversion

from cmbml.core.spec.instruments import read_bands, table_path
from cmbml.core.spec.params import Band
from cmbml.methods.ilc import weights
from cmbml.methods.nilc.seds import SPECTRA as SEDS
from cmbml.methods.nilc.seds import SpectralParameters, mixing_columns
from cmbml.sky.passbands import as_bandpass, passband_of, tabulated, top_hat
from cmbml.sky.units import free_free, modified_blackbody, power_law, rj_to_cmb, spinning_dust
from tests.conftest import ROOT

from .conftest import SHARED

LAWS = {
    "dust": lambda freq: modified_blackbody(freq, 545.0, 1.55, 19.6),
    "synchrotron": lambda freq: power_law(freq, 0.408, -3.0),
    "spinning dust": lambda freq: spinning_dust(freq, 22.8, np.log(29.0)),
}
PLANCK = {name: Band(**row) for name, row in read_bands(table_path(ROOT, "planck")).items()}
# What Planck's bands are asked for, in uK_RJ by GHz.
SPECTRA = {
    **{
        f"dust {beta} {kelvin} K": partial(
            modified_blackbody, reference_ghz=353.0, index=beta, temperature=kelvin
        )
        for beta in (1.4, 1.7)
        for kelvin in (15.0, 25.0)
    },
    **{f"synchrotron {beta}": partial(power_law, reference_ghz=30.0, index=beta) for beta in (-2.7, -3.3)},
    "free-free": partial(free_free, reference_ghz=30.0),
    "tSZ": lambda freq: float(SEDS["tsz"](freq, SpectralParameters())),
    "brightness": lambda freq: freq**-3,
}


def direct(freqs, transmission, law):
    """The definition, on the table's own rows."""
    power = transmission * freqs**2
    numerator = np.trapezoid(power * np.array([law(freq) for freq in freqs]), freqs)
    return numerator / np.trapezoid(power / rj_to_cmb(freqs), freqs)


@settings(max_examples=50)
@given(st.floats(10, 900), st.floats(0.01, 0.4))
def test_the_cmb_is_the_same_in_every_band(centre, width):
    """1 uK_CMB is 1 uK_CMB through any bandpass."""
    low, high = centre * (1 - width / 2), centre * (1 + width / 2)
    freqs = np.linspace(low, high, 50)
    bell = np.exp(-(((freqs - centre) / (high - low)) ** 2))
    for band in (as_bandpass(centre), top_hat(low, high), tabulated(freqs, bell, centre)):
        assert band.average(lambda freq: 1 / rj_to_cmb(freq)) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("law", list(LAWS))
def test_six_nodes_are_a_thousand_rows(law):
    """A bell of 30 per cent width: emission laws are smooth, the kink of spinning dust least."""
    freqs = np.linspace(110.0, 180.0, 1001)
    bell = np.exp(-0.5 * ((freqs - 143) / 15) ** 2) * (1 + 0.3 * np.sin(freqs))
    band = tabulated(freqs, bell, 143.0)
    assert len(band.freqs_ghz) == 6
    assert band.average(LAWS[law]) == pytest.approx(direct(freqs, bell, LAWS[law]), rel=1e-6)


def test_a_narrow_band_is_a_single_frequency():
    """Of relative width w the correction is of order w^2, times about 10 where spinning dust falls."""
    for law in LAWS.values():
        narrow, delta = top_hat(142.9, 143.1).average(law), as_bandpass(143.0).average(law)
        assert narrow == pytest.approx(delta, rel=2e-5)


def test_conventions_are_pysms():
    """A constant Rayleigh-Jeans emission through PySM's own conversion; it uses the trapezium rule too."""
    freqs = np.linspace(80.0, 115.0, 351)
    bell = np.exp(-0.5 * ((freqs - 97) / 8) ** 2)
    expected = bandpass_unit_conversion(freqs * u.GHz, bell, u.uK_CMB).value
    assert tabulated(freqs, bell, 97.0).average(lambda _: 1.0) == pytest.approx(expected, rel=1e-6)


def full_table(name):
    """Frequencies, and the response to power, of a band of Planck as it was published."""
    path = SHARED / f"bandpasses/{'LFI' if int(name) < 99 else 'HFI'}_BANDPASS_F{int(name):03d}_reformat.txt"
    if not path.is_file():
        pytest.skip("no Planck bandpasses beside the repository")
    freqs, response = np.loadtxt(path, unpack=True)
    keep = (freqs > 0) & (freqs < 2e4)
    return freqs[keep], np.maximum(response[keep], 0)


@pytest.mark.parametrize("name", list(PLANCK))
def test_planck_tables(name):
    """Those that ship are within 1e-3 of the full ones, and nodes of the full ones within 1e-4."""
    freqs, response = full_table(name)
    convention = PLANCK[name].passband.convention
    power = response / (freqs**2 if convention == "rj" else 1)
    shipped = passband_of(PLANCK[name])
    nodes = tabulated(freqs, response, PLANCK[name].freq_ghz, convention=convention)
    for law in SPECTRA.values():
        expected = direct(freqs, power, law)
        assert shipped.average(law) == pytest.approx(expected, rel=1e-3)
        assert nodes.average(law) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="does not cover its band"):
        tabulated(freqs, response, 2.5 * PLANCK[name].freq_ghz)


def test_a_response_to_temperature_is_not_one_to_power():
    """LFI's at 30 GHz: synchrotron is 4 per cent brighter than the same numbers as power have it."""
    table = PLANCK["30"].passband
    columns = np.array(table.freq_ghz), np.array(table.response)
    as_power = tabulated(*columns, 28.4).average(LAWS["synchrotron"])
    assert passband_of(PLANCK["30"]).average(LAWS["synchrotron"]) / as_power == pytest.approx(1.038, abs=3e-3)
    freqs, response = np.array([27.0, 28.0, 29.0]), np.array([1.0, 2.0, 1.0])
    assert tabulated(freqs, response, 28.0, convention="rj").weights == pytest.approx(
        tabulated(freqs, response / freqs**2, 28.0).weights
    )


def test_nulling_through_passbands():
    """A component of one spectrum, seen through Planck's passbands, is gone; by centres 4 per cent stay."""
    bands = [passband_of(band) for band in PLANCK.values()]
    centres = [band.freq_ghz for band in PLANCK.values()]
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(9, 9))
    covariance = noise @ noise.T + 9 * np.eye(9)
    for name in ("dust", "tsz", "synchrotron"):
        sky = mixing_columns([name], bands)[:, 0]
        left = {}
        for how, seen in (("bands", bands), ("centres", centres)):
            mixing = np.column_stack([np.ones(9), mixing_columns([name], seen)])
            left[how] = abs(weights(covariance, mixing) @ sky) / abs(sky).max()
        assert left["bands"] < 1e-9 < left["centres"]
    assert mixing_columns(["dust"], bands)[-1, 0] < 0.7 * mixing_columns(["dust"], centres)[-1, 0]


@pytest.mark.parametrize(("width", "table"), [(10.0, None), (None, None)])
def test_a_band_without_a_table_is_a_top_hat_or_its_centre(width, table):
    band = Band(freq_ghz=100.0, fwhm_arcmin=1.0, depth_uk_arcmin=1.0, bandwidth_ghz=width, passband=table)
    assert passband_of(band) == (as_bandpass(100.0) if width is None else top_hat(95.0, 105.0))


@pytest.mark.parametrize(
    ("freqs", "transmission", "message"),
    [
        ([90.0, 100.0, 110.0], [1.0, 1.0], "two columns of equal length"),
        ([100.0], [1.0], "at least two rows"),
        ([110.0, 100.0, 90.0], [1.0, 1.0, 1.0], "positive and increasing"),
        ([0.0, 100.0, 110.0], [1.0, 1.0, 1.0], "positive and increasing"),
        ([90.0, 100.0, 110.0], [0.0, 0.0, -1.0], "zero everywhere"),
        ([90.0, 100.0, 100.0], [1.0, 1.0, 1.0], "increasing, each once"),
        ([90.0, 100.0, 110.0], [1.0, np.nan, 1.0], "row 2 is not finite"),
        ([90.0, 100.0, np.inf], [1.0, 1.0, 1.0], "row 3 is not finite"),
        ([90.0, 100.0, 110.0], [1.0, 1.0, -np.inf], "row 3 is not finite"),
        ([90.0, 100.0, 110.0], [1.0, 1.0, -0.5], "negative at 110 GHz"),
        ([200.0, 210.0], [1.0, 1.0], "200 to 210 GHz only"),
        ([90e9, 100e9, 110e9], [1.0, 1.0, 1.0], "is it in GHz"),
        ([90.0, 110.0, 3e4], [1.0, 1.0, 1e-3], "transmits at 30000 GHz: cut it off"),
    ],
)
def test_bad_tables_are_refused(freqs, transmission, message):
    with pytest.raises(ValueError, match=message):
        tabulated(np.array(freqs), np.array(transmission), 100.0)


def test_the_unit_of_a_transmission_does_not_matter():
    """Neither does a little noise below zero."""
    freqs, bell = np.linspace(90.0, 110.0, 9), np.array([0, 1, 3, 5, 6, 5, 3, 1, 0.0])
    usual = tabulated(freqs, bell, 100.0)
    for factor in (1e-300, 1e306):
        assert tabulated(freqs, factor * bell, 100.0).weights == pytest.approx(usual.weights, rel=1e-9)
    assert tabulated(freqs, bell - 0.1 * (bell == 0), 100.0) == usual


@pytest.mark.parametrize(("low", "high"), [(100.0, 90.0), (0.0, 10.0), (100.0, 100.0)])
def test_empty_top_hats_are_refused(low, high):
    with pytest.raises(ValueError, match="is empty"):
        top_hat(low, high)
