import numpy as np
import pysm3.units as u
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pysm3.utils import bandpass_unit_conversion

from cmbml.sky.passbands import as_bandpass, tabulated, top_hat
from cmbml.sky.units import modified_blackbody, power_law, rj_to_cmb, spinning_dust

from .conftest import SHARED

LAWS = {
    "dust": lambda freq: modified_blackbody(freq, 545.0, 1.55, 19.6),
    "synchrotron": lambda freq: power_law(freq, 0.408, -3.0),
    "spinning dust": lambda freq: spinning_dust(freq, 22.8, np.log(29.0)),
}
PLANCK = {
    "LFI_BANDPASS_F030": 28.4,
    "HFI_BANDPASS_F100": 100.9,
    "HFI_BANDPASS_F353": 357.5,
    "HFI_BANDPASS_F857": 866.8,
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
def test_five_nodes_are_a_thousand_rows(law):
    """A bell of 30 per cent width: emission laws are smooth, the kink of spinning dust least."""
    freqs = np.linspace(110.0, 180.0, 1001)
    bell = np.exp(-0.5 * ((freqs - 143) / 15) ** 2) * (1 + 0.3 * np.sin(freqs))
    band = tabulated(freqs, bell, 143.0)
    assert len(band.freqs_ghz) == 5
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


@pytest.mark.parametrize("name", list(PLANCK))
def test_planck_tables(name):
    path = SHARED / "bandpasses" / f"{name}_reformat.txt"
    if not path.is_file():
        pytest.skip("no Planck bandpasses beside the repository")
    freqs, transmission = np.loadtxt(path, unpack=True)
    keep = freqs > 0
    freqs, transmission = freqs[keep], np.maximum(transmission[keep], 0)
    band = tabulated(freqs, transmission, PLANCK[name])
    for law in (LAWS["dust"], LAWS["synchrotron"]):
        assert band.average(law) == pytest.approx(direct(freqs, transmission, law), rel=2e-4)
    with pytest.raises(ValueError, match="does not cover its band"):
        tabulated(freqs, transmission, 2.5 * PLANCK[name])


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
