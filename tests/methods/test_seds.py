import numpy as np
import pytest

from cmbml.methods.nilc.seds import SPECTRA, SpectralParameters, mixing_columns
from cmbml.sky.units import rj_to_cmb

FREQS = (28.4, 44.1, 70.4, 143.0, 353.0, 857.0)


def test_power_law_moment_is_the_logarithm_times_the_spectrum():
    spectrum, moment = mixing_columns(["synchrotron", "synchrotron_dbeta"], FREQS).T
    # central differences of step 2e-5: second order, 1e-10, plus rounding 1e-11
    assert moment == pytest.approx(spectrum * np.log(np.array(FREQS) / 30), rel=1e-8, abs=1e-12)


def test_first_moments_describe_a_small_change_of_the_parameter():
    base, slope_beta, slope_temp = mixing_columns(["dust", "dust_dbeta", "dust_dtemp"], FREQS).T
    near = SpectralParameters(dust_beta=1.56, dust_temp=20.1)
    changed = mixing_columns(["dust"], FREQS, near)[:, 0]
    # what is left is second order: (0.01 ln 12)^2 and (0.1 / 20)^2
    assert changed == pytest.approx(base + 0.01 * slope_beta + 0.1 * slope_temp, rel=1e-3)


def test_thermal_sz_vanishes_at_its_null_and_is_minus_two_at_low_frequency():
    # crossover of the non-relativistic effect, 217.5 GHz at 2.7255 K
    signs = np.sign(mixing_columns(["tsz"], (216.0, 219.0))[:, 0])
    assert list(signs) == [-1, 1]
    assert mixing_columns(["tsz"], (0.1,))[0, 0] == pytest.approx(-2, rel=1e-4)


def test_dust_at_its_reference_is_the_unit_conversion():
    assert mixing_columns(["dust"], (353.0,))[0, 0] == pytest.approx(rj_to_cmb(353.0))


def test_every_spectrum_is_finite_and_differs_from_the_others():
    columns = mixing_columns(list(SPECTRA), FREQS)
    assert np.linalg.matrix_rank(columns / np.abs(columns).max(axis=0), tol=1e-9) == len(FREQS)
    assert mixing_columns([], FREQS).shape == (6, 0)


def test_unknown_component_lists_the_known_ones():
    with pytest.raises(ValueError, match="no spectrum of component dusst: choose from dust, "):
        mixing_columns(["dusst"], FREQS)
