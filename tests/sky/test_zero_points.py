"""Zero points of real maps: published monopoles, and a dipole along the Sun's motion."""

import numpy as np
import pytest

from cmbml.sky.passbands import top_hat
from cmbml.sky.units import MJYSR_PER_KELVIN_GHZ2, rj_to_cmb
from cmbml.sky.zero_points import draw_zero_point, monopole_uk_rj


@pytest.mark.parametrize(
    ("freq", "mjysr", "rel"),
    [
        (100.0, 0.0031, 0.01),
        (353.0, 0.14, 0.01),
        (857.0, 0.76, 0.01),
        # Odegard et al. 2019 (arXiv:1904.11556) measured 0.149 and 0.371 at 353 and 545 GHz.
        (545.0, 0.371 + 0.04, 0.1),
        # Fixsen et al. 1998 at 1250 GHz: 0.99 MJy/sr of infrared background.
        (1250.0, 0.99, 0.25),
    ],
)
def test_monopoles_are_those_published(freq, mjysr, rel):
    assert monopole_uk_rj(freq) * MJYSR_PER_KELVIN_GHZ2 * freq**2 / 1e6 == pytest.approx(mjysr, rel=rel)


def test_a_zero_point_is_that_of_the_passband_and_its_dipole_the_sun_s():
    band = top_hat(500.0, 600.0)
    points = [draw_zero_point(band, 3.0, np.random.default_rng(sim)) for sim in range(200)]
    assert {round(one.monopole, 6) for one in points} == {round(points[0].monopole, 6)}
    centre = monopole_uk_rj(545.0) * float(rj_to_cmb(545.0))
    assert points[0].monopole == pytest.approx(centre, rel=0.1)
    assert points[0].monopole != pytest.approx(centre, rel=1e-3)
    lon, lat = points[0].direction
    # of either sign
    assert (lon % 180, abs(lat)) == pytest.approx((84.021, 48.253))
    assert np.sqrt(np.mean([one.dipole**2 for one in points])) == pytest.approx(3.0, rel=0.15)
