import io

import matplotlib.image
import numpy as np
import pytest

from cmbml.report.maps.colours import COLOUR_MAPS, PLANCK, indexed_png, palette, palette_chunk
from cmbml.report.maps.images import map_picture, zoom_picture

NPIX = 12 * 16**2


def decode(png):
    return matplotlib.image.imread(io.BytesIO(png))


def drawn(sky, **options):
    return decode(map_picture(sky, "a map", width=100, **({"span": 1} | options)).data)


def test_numbers_become_their_colours(rng):
    index = rng.integers(0, 256, size=(5, 7)).astype(np.uint8)
    picture = decode(indexed_png(index, "planck"))
    colours = np.frombuffer(palette("planck"), dtype=np.uint8).reshape(256, 3)
    np.testing.assert_allclose(picture[..., :3] * 255, colours[index], atol=0.01)
    np.testing.assert_array_equal(picture[..., 3] == 0, index == 255)


def test_another_palette_in_its_place_recolours_an_image(rng):
    """What the report's button does."""
    index = rng.integers(0, 256, size=(5, 7)).astype(np.uint8)
    png, other = indexed_png(index, "planck"), palette_chunk("uniform")
    start = png.index(b"PLTE") - 4
    assert png[:start] + other + png[start + len(other) :] == indexed_png(index, "uniform")


@pytest.mark.parametrize("cmap", COLOUR_MAPS)
@pytest.mark.parametrize(("value", "place"), [(0.0, 0.5), (-1.0, 0.0), (1.0, 1.0), (99.0, 1.0)])
def test_values_have_the_colours_of_the_scale(cmap, value, place):
    picture = drawn(np.full(NPIX, value), cmap=cmap)
    # 254 colours: half of one is 1/508 of the scale, whose colours change by at most 6 per unit.
    np.testing.assert_allclose(picture[25, 50, :3], COLOUR_MAPS[cmap](place)[:3], atol=0.03)


def test_picture_is_transparent_off_the_sky_and_grey_under_the_mask():
    mask = (np.arange(NPIX) > NPIX // 2).astype(float)
    picture = drawn(np.zeros(NPIX), mask=mask)
    assert picture[0, 0, 3] == 0
    np.testing.assert_allclose(picture[10, 50, :3], 217 / 255, atol=0.01)
    np.testing.assert_allclose(picture[40, 50, :3], PLANCK(0.5)[:3], atol=0.02)


def test_scale_goes_with_the_picture():
    picture = map_picture(np.zeros(NPIX), "nothing", span=120.0, width=60)
    assert (picture.scale.span, picture.scale.unit) == (120.0, "µK")


def test_zoom_shows_its_place():
    theta = np.arccos(np.linspace(1, -1, NPIX))
    north = decode(zoom_picture(np.cos(theta), "a zoom", centre=(0, 60), size=20, span=1).data)
    np.testing.assert_allclose(north[160, 160, :3], PLANCK((1 + np.sin(np.radians(60))) / 2)[:3], atol=0.05)
    assert north[0, 160, :3].sum() < north[-1, 160, :3].sum(), "north, on top, is darker red"
