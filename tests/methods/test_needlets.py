import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbml.methods.needlets import BANDS, cosine_bands, gaussian_bands, mexican_bands

PEAKS = st.lists(st.integers(1, 300), min_size=1, max_size=8, unique=True).map(sorted)


@pytest.mark.parametrize("kind", BANDS)
@given(peaks=PEAKS)
def test_squares_sum_to_one_at_every_multipole(kind, peaks):
    bands = BANDS[kind](peaks, 300)
    assert bands.shape == (len(peaks), 301)
    # a sum of a few squares of rounded roots: a few ulp of one
    assert np.abs(np.sum(bands**2, axis=0) - 1).max() <= 1e-15


def test_gaussian_needlets_are_differences_of_beams():
    low, middle, _ = gaussian_bands([10, 40, 160], 200) ** 2
    ell = np.arange(201)
    # windows below 1e-3 are cut, so squares are off by 1e-6
    assert low == pytest.approx(np.exp(-ell * (ell + 1) / 400), abs=2e-6)
    assert low + middle == pytest.approx(np.exp(-ell * (ell + 1) / 6400), abs=3e-6)
    assert 10 < np.argmax(middle) < 160


def test_mexican_needlets_peak_near_their_own_multipole_and_end():
    bands = mexican_bands([20, 60, 180], 400)
    # normalisation against the neighbours shifts the maximum, but not to where a neighbour is larger
    assert 35 < np.argmax(bands[1]) < 104
    assert bands[0, 100:].max() < bands[0, 60] < bands[0, 30]
    assert bands[0, 150:].max() == 0


def test_each_scale_peaks_at_its_own_multipole_and_ends_at_its_neighbours():
    bands = cosine_bands([10, 30, 60], 80)
    for band, peak in zip(bands, [10, 30, 60], strict=True):
        assert band[peak] == pytest.approx(1)
    assert bands[1, 10] == pytest.approx(0, abs=1e-15)
    assert bands[1, 60] == pytest.approx(0, abs=1e-15)
    assert bands[0, :11] == pytest.approx(1)
    assert bands[2, 60:] == pytest.approx(1)


def test_a_window_between_two_peaks_is_a_cosine():
    # halfway between peaks 10 and 30 both windows are cos(pi / 4)
    assert cosine_bands([10, 30], 40)[:, 20] == pytest.approx(np.sqrt(0.5))


@pytest.mark.parametrize("peaks", [[], [0, 10], [10, 10], [20, 10]], ids=str)
def test_peaks_that_do_not_increase_are_refused(peaks):
    with pytest.raises(ValueError, match="strictly increasing"):
        cosine_bands(peaks, 50)


def test_a_scale_beyond_the_band_limit_is_refused():
    with pytest.raises(ValueError, match="no multipole up to lmax 50"):
        cosine_bands([10, 50, 70], 50)
