import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbml.sky import sht
from cmbml.sky.inpaint import inpaint
from cmbml.sky.mask import galactic_mask

NSIDE = 32
X, Y, Z = hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2))


def smooth_sky(seed):
    ell = np.arange(33)
    return sht.alm2map(sht.draw_alm(1e3 / (ell + 5.0) ** 2, np.random.default_rng(seed)), NSIDE)


def test_what_was_measured_stays_and_what_stood_in_holes_does_not_count():
    sky = smooth_sky(1)
    holes = hp.ang2pix(NSIDE, 1.0, 2.0) == np.arange(sky.size)
    holes |= Z > 0.9
    spoiled = np.where(holes, -1.6375e30, sky)
    assert np.array_equal(inpaint(spoiled, holes)[~holes], sky[~holes])
    assert np.array_equal(inpaint(spoiled, holes), inpaint(sky, holes))


@settings(max_examples=10)
@given(seed=st.integers(0, 1000), cut=st.floats(5, 60))
def test_filled_pixels_lie_between_the_others(seed, cut):
    sky = smooth_sky(seed)
    holes = galactic_mask(NSIDE, cut) == 0
    filled = inpaint(sky, holes)
    assert sky[~holes].min() <= filled.min()
    assert filled.max() <= sky[~holes].max()


def test_a_gradient_goes_on_through_small_and_large_holes():
    """A dipole is harmonic up to the curvature of the sphere: diffusion gives it back."""
    for radius, tolerance in ((0.05, 0.003), (0.5, 0.15)):
        holes = hp.query_disc(NSIDE, hp.ang2vec(1.2, 0.7), radius)
        missing = np.isin(np.arange(X.size), holes)
        # radius^2 / 2 of curvature, and what twenty sweeps leave
        assert np.abs(inpaint(X, missing) - X)[holes].max() < tolerance


def test_a_hole_as_wide_as_the_galaxy_is_filled_without_a_step():
    sky = smooth_sky(3)
    holes = galactic_mask(NSIDE, 25.0) == 0
    filled = inpaint(np.where(holes, 1e30, sky), holes)
    order = hp.get_all_neighbours(NSIDE, np.flatnonzero(holes))
    steps = np.abs(filled[holes] - np.where(order < 0, np.nan, filled[order]))
    usual = np.abs(sky[~holes] - sky[hp.get_all_neighbours(NSIDE, np.flatnonzero(~holes))]).max()
    assert np.nanmax(steps) < usual


def test_a_map_without_any_pixel_is_refused():
    with pytest.raises(ValueError, match="all pixels are missing"):
        inpaint(X, np.ones(X.size, dtype=bool))


def test_a_whole_map_is_returned_as_it_is():
    assert inpaint(X, np.zeros(X.size, dtype=bool)) is X
