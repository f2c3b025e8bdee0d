import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbml.analysis.spectra.bands import Bands

edges = st.sets(st.integers(1, 200), min_size=2, max_size=12).map(lambda e: Bands(tuple(sorted(e))))


@given(edges)
def test_binning_undoes_unbinning(bands):
    np.testing.assert_allclose(bands.binning @ bands.unbinning, np.eye(len(bands)), atol=1e-12)


@given(edges)
def test_constant_d_l_is_its_own_band_power(bands):
    ell = np.arange(bands.lmax + 1)
    cl = np.divide(2 * np.pi * 7, ell * (ell + 1), out=np.zeros(len(ell)), where=ell > 0)
    np.testing.assert_allclose(bands.average(cl), 7)


@given(edges)
def test_modes_add_up(bands):
    assert bands.modes.sum() == bands.edges[-1] ** 2 - bands.edges[0] ** 2
    assert np.all(bands.centres >= np.array(bands.edges[:-1]))
    assert np.all(bands.centres < np.array(bands.edges[1:]))


@given(st.integers(1, 30), st.integers(31, 300), st.integers(1, 60))
def test_linear_bands_cover_all(lmin, lmax, width):
    bands = Bands.linear(lmin, lmax, width)
    assert (bands.edges[0], bands.lmax) == (lmin, lmax)
    widths = np.diff(bands.edges)
    assert np.all(widths[:-1] == width)
    assert len(bands) == 1 or width / 2 <= widths[-1] < 1.5 * width


@pytest.mark.parametrize("bad", [(2,), (0, 5), (5, 5), (9, 5)])
def test_unfit_edges_are_refused(bad):
    with pytest.raises(ValueError, match="increase from 1"):
        Bands(bad)
