import io

import healpy as hp
import matplotlib as mpl
import matplotlib.image
import numpy as np
import pytest

from cmbml.analysis import figures, score_figures, spectrum_figures, training_figures, zoom_figures
from cmbml.analysis.spectra.comparison import Comparison
from cmbml.analysis.statistics import Interval
from cmbml.analysis.subcategories import ParameterBin

NSIDE = 16
VECTORS = np.array(hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2)))
SCORES = {
    "test": {
        "nilc": {"rmse": Interval(4.0, 3.9, 4.1)},
        "perfect_estimate": {"rmse": Interval(0.0, None, None), "psnr": Interval(np.inf, None, None)},
    },
    "test_dust": {"nilc": {"rmse": Interval(6.0, None, None)}},
}


EDGES = np.linspace(-90, 90, 7)
COMPARED = {"nilc": Comparison(np.arange(5) * 10.0 + 5, *(np.arange(1, 6) * k for k in (9.0, 8, 7, -1)))}
BINS = [ParameterBin(1, 1, 1, Interval(4, None, None)), ParameterBin(2, 2, 2, Interval(5, 4.9, 5.1))]
GAPS = {"test_dust": {"nilc": Interval(0.3, 0.2, 0.4)}, "test_sync": {"net": Interval(0.1, None, None)}}
UNITLESS = {
    "training": lambda: training_figures.training_figure(
        {"train": ([1, 2], [0.5, 0.1]), "valid": ([1, 2], [0.6, 0.2])}, label="loss", best=2
    ),
    "transfer": lambda: spectrum_figures.transfer_figure(COMPARED),
    "gap": lambda: score_figures.gap_figure(GAPS, "rmse", home="test"),
}
MAKERS = {
    "sky_map": lambda: figures.sky_map(VECTORS[2], title="truth", span=1, width=120),
    "map_triple": lambda: figures.map_triple(VECTORS[2], VECTORS[1], title="nilc", width=120),
    "latitude": lambda: figures.latitude_figure(EDGES, {"nilc": np.arange(6.0), "noise_floor": np.ones(6)}),
    "bars": lambda: figures.metric_bars(SCORES, "rmse"),
    "power": lambda: spectrum_figures.power_figure(COMPARED, np.full(5, 30.0)),
    "power_te": lambda: spectrum_figures.power_figure(COMPARED, np.full(5, 30.0), field="TE"),
    "distribution": lambda: score_figures.distribution_figure({"nilc": [4.0, 5, np.inf]}, "rmse"),
    "parameter": lambda: score_figures.parameter_figure(
        {"nilc": [4.0, 5]}, [1.0, 2], {"nilc": BINS}, name="rmse", label="dust amplitude"
    ),
    "parts": lambda: score_figures.parts_figure(
        {"nilc": {"gain": 0.9, "multiplicative": 1.0, "noise": 2.0}, "net": {"noise": 1.0}}
    ),
    "zoom": lambda: zoom_figures.zoom_triple(VECTORS[2], VECTORS[1], (20, 40), 10, title="nilc"),
}


@pytest.mark.parametrize("name", [*MAKERS, *UNITLESS])
def test_figure_is_deterministic_drawn_and_labelled(name):
    first, second = ((MAKERS | UNITLESS)[name]() for _ in range(2))
    png = figures.to_png(first, dpi=40)
    assert png == figures.to_png(second, dpi=40)
    assert mpl.image.imread(io.BytesIO(png))[..., :3].std() > 0.01, "the picture is blank"
    labels = [text for ax in first.axes for text in (ax.get_xlabel(), ax.get_ylabel()) if text]
    assert labels
    assert name in UNITLESS or any("µK" in label for label in labels)


def test_vector_bytes_are_deterministic():
    first, second = (figures.to_svg(UNITLESS["transfer"]()) for _ in range(2))
    assert first == second
    assert b"<dc:date>" not in first


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
    x, y, z = (zoom_figures.gnomonic(axis, 90, 0, 40, width=21) for axis in VECTORS)
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
    assert figures.PLANCK(0.0)[:3] == pytest.approx((0, 0, 1))
    # The parchment at zero.
    assert figures.PLANCK(0.5)[:3] == pytest.approx((1, 237 / 255, 217 / 255), abs=0.02)


def test_pyplot_is_left_alone():
    before = dict(mpl.rcParams)
    figures.to_svg(MAKERS["bars"]())
    assert dict(mpl.rcParams) == before


def test_more_methods_than_colours_stay_distinct():
    styles = [tuple(sorted(figures.series(i).items())) for i in range(20)]
    assert len(set(styles)) == len(styles)
