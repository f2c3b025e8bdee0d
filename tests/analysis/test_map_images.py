import io

import matplotlib.image
import numpy as np
import pytest

from cmbml.analysis.figures import PLANCK
from cmbml.analysis.map_images import indexed_png, map_picture, map_png

NPIX = 12 * 16**2


def decode(png):
    return matplotlib.image.imread(io.BytesIO(png))


def test_indices_become_their_colours(rng):
    index = rng.integers(0, 256, size=(5, 7)).astype(np.uint8)
    palette = rng.integers(0, 256, size=(256, 3)).astype(np.uint8)
    picture = decode(indexed_png(index, palette, transparent=int(index[2, 3])))
    np.testing.assert_allclose(picture[..., :3] * 255, palette[index], atol=0.01)
    np.testing.assert_array_equal(picture[..., 3] == 0, index == index[2, 3])


@pytest.mark.parametrize(("value", "place"), [(0.0, 0.5), (-1.0, 0.0), (1.0, 1.0), (99.0, 1.0)])
def test_values_have_the_colours_of_the_scale(value, place):
    picture = decode(map_png(np.full(NPIX, value), span=1, width=100))
    # 254 colours: half of one is 1/508 of the scale, whose colours change by at most 6 per unit.
    np.testing.assert_allclose(picture[25, 50, :3], PLANCK(place)[:3], atol=0.03)


def test_picture_is_transparent_off_the_sky_and_grey_under_the_mask():
    mask = (np.arange(NPIX) > NPIX // 2).astype(float)
    picture = decode(map_png(np.zeros(NPIX), span=1, mask=mask, width=100))
    assert picture[0, 0, 3] == 0
    np.testing.assert_allclose(picture[10, 50, :3], 217 / 255, atol=0.01)
    np.testing.assert_allclose(picture[40, 50, :3], PLANCK(0.5)[:3], atol=0.02)


def test_scale_goes_with_the_picture():
    picture = map_picture(np.zeros(NPIX), "nothing", span=120.0, width=60)
    assert (picture.scale.span, picture.scale.unit) == (120.0, "µK")
    assert picture.scale.colours[0] == "#0000ff"
    assert picture.png == map_png(np.zeros(NPIX), span=7.0, width=60), "zero is zero on any scale"
