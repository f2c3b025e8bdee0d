import io

import healpy as hp
import matplotlib as mpl
import matplotlib.image
import numpy as np
import pytest

from cmbml.report.maps import mollweide as figures
from cmbml.report.maps.colours import PLANCK
from cmbml.report.maps.gnomonic import gnomonic

NSIDE = 16
VECTORS = np.array(hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2)))


def triple(**options):
    return figures.map_triple(VECTORS[2], VECTORS[1], title="nilc", width=120, **options)


@pytest.mark.parametrize("cmap", ["planck", "uniform"])
def test_figure_is_deterministic_drawn_and_labelled(cmap):
    first, second = (triple(cmap=cmap) for _ in range(2))
    svg = figures.to_svg(first)
    assert svg == figures.to_svg(second)
    assert b"<dc:date>" not in svg
    png = io.BytesIO()
    first.savefig(png, dpi=40)
    assert mpl.image.imread(io.BytesIO(png.getvalue()))[..., :3].std() > 0.01, "the picture is blank"
    labels = [text for ax in first.axes for text in (ax.get_xlabel(), ax.get_ylabel()) if text]
    assert any("µK" in label for label in labels)


def test_mollweide_looks_from_inside():
    """Longitude grows to the left, latitude upward, the Galactic centre is in the middle."""
    width = 200
    x, y, z = (figures.mollweide(axis, width=width) for axis in VECTORS)
    middle = (width // 4, width // 2)
    assert x[middle] > 0.99
    assert y[width // 4, width // 4] > 0.9, "l = 90 deg lies left"
    assert z[-3, width // 2] > 0.9, "north lies on top"
    assert np.isnan(x[0, 0])


def test_gnomonic_picture_is_oriented_like_the_sky():
    """At l = 90 deg on the equator: outward is y, north is up, and longitude (-x) grows to the left."""
    x, y, z = (gnomonic(axis, 90, 0, 40, width=21) for axis in VECTORS)
    offset = np.linspace(-20, 20, 21)[0] * 20 / 21
    # Bilinear interpolation of pixels of 3.7 degrees: 1e-3 of curvature, more where pixels are skewed.
    np.testing.assert_allclose(y[10, 10], 1, atol=2e-3)
    assert z[-1, 10] == pytest.approx(np.sin(np.radians(-offset)), abs=0.01)
    assert x[10, 0] == pytest.approx(np.sin(np.radians(offset)), abs=0.01)


def test_mollweide_keeps_areas():
    cap = (VECTORS[2] > 0.5).astype(float)
    picture = figures.mollweide(cap, width=400)
    # The cap's edge runs through pixels of the picture, 800 of its 62000.
    assert np.nanmean(picture) == pytest.approx(cap.mean(), abs=0.003)


def test_masked_pixels_are_not_drawn():
    picture = figures.mollweide(VECTORS[2], width=100, mask=(VECTORS[2] > 0).astype(float))
    assert np.isnan(picture[:25]).all()
    assert np.nanmin(picture) > 0


def test_span_of_a_zero_map_can_be_drawn():
    assert figures.map_span(np.zeros(12)) == 1
    assert figures.map_span(np.array([2.0, 1e9]), np.array([1.0, 0.0])) == pytest.approx(6)


def test_planck_colours():
    assert PLANCK(0.0)[:3] == pytest.approx((0, 0, 1))
    # The parchment at zero.
    assert PLANCK(0.5)[:3] == pytest.approx((1, 237 / 255, 217 / 255), abs=0.02)


def test_pyplot_is_left_alone():
    before = dict(mpl.rcParams)
    figures.to_svg(triple())
    assert dict(mpl.rcParams) == before
