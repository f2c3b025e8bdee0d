import astropy.units as au
import numpy as np
import pysm3.units as pu
import pytest
from astropy.cosmology import Planck15
from astropy.modeling.physical_models import BlackBody

from cmbml.core.spec.instruments import read_bands, table_path
from cmbml.core.spec.params import Band
from cmbml.sky import units
from cmbml.sky.passbands import as_bandpass, passband_of
from tests.conftest import ROOT

FREQS = [0.408, 28.4, 142.876, 353.0, 866.8]


@pytest.mark.parametrize("freq", FREQS)
def test_rj_to_cmb_agrees_with_pysm(freq):
    """Astropy's default cosmology has T_CMB = 2.7255 K as well; constants agree to 1e-8."""
    assert Planck15.Tcmb0.value == units.T_CMB
    expected = (1 * pu.K_RJ).to_value(pu.K_CMB, equivalencies=pu.cmb_equivalencies(freq * pu.GHz))
    assert units.rj_to_cmb(freq) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("freq", FREQS)
def test_modified_blackbody_agrees_with_astropy(freq):
    """Flux of astropy's Planck function, divided by nu^2 to become Rayleigh-Jeans temperature."""
    body = BlackBody(temperature=19.6 * au.K)
    ratio = (body(freq * au.GHz) / body(545 * au.GHz)).value
    expected = ratio * (freq / 545) ** (1.55 - 2)
    assert units.modified_blackbody(freq, 545, 1.55, 19.6) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("law", [units.power_law, units.spinning_dust])
def test_laws_are_one_at_the_reference(law):
    assert law(30.0, 30.0, np.array([25.0, 31.0])) == pytest.approx(1)


def test_power_law_doubles_and_halves():
    assert units.power_law(60.0, 30.0, -3.0) == pytest.approx(1 / 8)


def test_free_free_is_close_to_the_usual_index():
    """Between 30 and 100 GHz the Gaunt factor makes the index about -2.15 (Planck 2015 X)."""
    index = np.log(units.free_free(100.0, 30.0)) / np.log(100 / 30)
    assert index == pytest.approx(-2.16, abs=0.03)


def test_spinning_dust_peaks_where_told():
    freqs = np.linspace(10, 60, 5001)
    flux = [units.spinning_dust(freq, 22.8, np.log(31.0)) * freq**2 for freq in freqs]
    assert freqs[np.argmax(flux)] == pytest.approx(31.0, abs=0.02)


@pytest.mark.parametrize(
    ("band", "factor"), [("545", 58.0356), ("857", 2.2681), ("217", 483.69), ("353", 287.45)]
)
def test_brightness_per_kelvin_is_that_of_the_measured_bands(shared, band, factor):
    """Planck 2013 IX: int tau dB/dT dnu / int tau (nu_c / nu) dnu, over the measured transmission."""
    freq = float(band)
    table = np.loadtxt(shared / f"bandpasses/HFI_BANDPASS_F{freq:.0f}_reformat.txt")
    freqs, transmission = table[table[:, 0] > 0].T
    derivative = units.MJYSR_PER_KELVIN_GHZ2 * freqs**2 / units.rj_to_cmb(freqs)
    expected = np.trapezoid(transmission * derivative, freqs) / np.trapezoid(
        transmission * freq / freqs, freqs
    )
    # published with five digits for the average of the detectors
    assert expected == pytest.approx(factor, rel=2e-3)
    ours = passband_of(Band(**read_bands(table_path(ROOT, "planck"))[band]))
    assert units.mjysr_per_kelvin(ours) == pytest.approx(factor, rel=2e-4)


def test_a_narrow_band_has_its_own_brightness_per_kelvin():
    """Not that of Planck's band nearby, 2.27."""
    assert units.mjysr_per_kelvin(as_bandpass(860.0)) == pytest.approx(1.38, abs=0.01)
