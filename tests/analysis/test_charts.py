import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbml.analysis.charts import scores as score_charts
from cmbml.analysis.charts.axes import Axis, linear_ticks, make_axis
from cmbml.analysis.charts.svg import Chart, Panel, Series, style, svg, text_width
from cmbml.analysis.spectra.comparison import Comparison
from cmbml.analysis.statistics import Interval
from cmbml.analysis.subcategories import ParameterBin

NAMESPACE = "{http://www.w3.org/2000/svg}"
SCORES = {
    "test": {
        "nilc": {"rmse": Interval(4.0, 3.9, 4.1)},
        "perfect_estimate": {"rmse": Interval(0.0, None, None), "psnr": Interval(np.inf, None, None)},
    },
    "test_dust": {"nilc": {"rmse": Interval(6.0, None, None)}},
}
COMPARED = {"nilc": Comparison(np.arange(5) * 10.0 + 5, *(np.arange(1, 6) * k for k in (9.0, 8, 7, -1)))}
BINS = [ParameterBin(1, 1, 1, Interval(4, None, None)), ParameterBin(2, 2, 2, Interval(5, 4.9, 5.1))]
GAPS = {"test_dust": {"nilc": Interval(0.3, 0.2, 0.4)}, "test_sync": {"net": Interval(0.1, None, None)}}
LATITUDE = [
    {"split": "test", "method": m, "field": "T", "region": "all", "latitude_deg": b, "rmse_uk": 2.0 + b / 90}
    for m in ("nilc", "noise_floor", "perfect_estimate")
    for b in (-45.0, 45.0)
]
POWERS = [
    {"split": "test", "method": "nilc", "spectrum": s, "ell": ell, "truth": 9.0, "estimate": 9.5, "cross": 9.0,
     "residual": 0.5, "sigma": 1.0}
    for s in ("TT", "TE") for ell in (5.0, 15.0)
]  # fmt: skip
CHARTS = {
    "bars": lambda: score_charts.bars_chart(SCORES, "rmse"),
    "gap": lambda: score_charts.gap_chart(GAPS, "rmse", home="test"),
    "latitude": lambda: score_charts.latitude_chart(LATITUDE),
    "grid": lambda: score_charts.power_grid(POWERS),
    "power": lambda: score_charts.power_chart(COMPARED, np.full(5, 30.0), title="TT"),
    "power_te": lambda: score_charts.power_chart(COMPARED, np.full(5, 30.0), field="TE", title="TE"),
    "transfer": lambda: score_charts.transfer_chart(COMPARED),
    "distribution": lambda: score_charts.distribution_chart({"nilc": [4.0, 5, np.inf]}, "rmse"),
    "parameter": lambda: score_charts.parameter_chart(
        {"nilc": [4.0, 5]}, [1.0, 2], {"nilc": BINS}, name="rmse", label_x="dust amplitude"
    ),
    "parts": lambda: score_charts.parts_chart(
        {"nilc": {"additive": 0.9, "noise": 1.0}, "net": {"noise": 1.0}}
    ),
    "training": lambda: score_charts.training_chart(
        {"train": ([1, 2], [0.5, 0.1]), "valid": ([1, 2], [0.6, 0.2])}, title="loss", best=2
    ),
}
UNITLESS = {"gap", "transfer", "training"}


def parsed(drawn):
    return ET.fromstring(drawn)  # noqa: S314, our own text


def texts(drawn):
    return [node.text for node in parsed(drawn).iter(f"{NAMESPACE}text")]


def places(drawn):
    """Where the markers stand, in pixels."""
    return [tuple(map(float, found)) for found in re.findall(r"translate\((\S+) (\S+)\)", drawn)]


@pytest.mark.parametrize("name", CHARTS)
def test_chart_is_deterministic_whole_and_labelled(name):
    first, second = (svg(CHARTS[name]()) for _ in range(2))
    assert first == second
    parsed(first)
    assert "nan" not in first
    assert "inf" not in first
    for row in CHARTS[name]().panels:
        for panel in row:
            assert panel.x_label or panel.y_label
    assert name in UNITLESS or any("µK" in text for text in texts(first)), "an axis without unit"


@pytest.mark.parametrize("name", CHARTS)
def test_nothing_leaves_the_picture(name):
    drawn = svg(CHARTS[name]())
    width, height = (float(size) for size in re.search(r'viewBox="0 0 (\d+) (\d+)"', drawn).groups())
    for node in parsed(drawn).iter(f"{NAMESPACE}text"):
        x, y, long = float(node.get("x")), float(node.get("y")), text_width(node.text)
        start = {"middle": x - long / 2, "end": x - long}.get(node.get("text-anchor"), x)
        if not node.get("transform"):
            assert start >= -1, node.text
            assert start + long <= width + 40, node.text
        assert 0 < y < height, node.text


def line(x, y, **options):
    return Chart([[Panel([Series("a", x, y, style(0))], "x", "y", **options)]])


def test_points_lie_where_their_numbers_say():
    drawn = places(svg(replace(line([0.0, 1.0, 2.0], [0.0, 1.0, 2.0]), legend=False)))
    (x0, y0), (x1, y1), (x2, y2) = drawn
    # Coordinates are written to a tenth of a pixel.
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)
    assert x0 < x1
    assert y0 > y1, "up is more"


def test_logarithmic_axes_space_decades_alike():
    drawn = places(svg(replace(line([1.0, 10.0, 100.0], [1, 1, 1], log_x=True), legend=False)))
    assert drawn[1][0] - drawn[0][0] == pytest.approx(drawn[2][0] - drawn[1][0], abs=0.2)


def test_what_cannot_be_shown_is_left_out():
    log = replace(line([1.0, 2.0, 3.0], [1.0, -5.0, 10.0], log_y=True), legend=False)
    assert len(places(svg(log))) == 2
    gap = replace(line([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, np.nan, 3.0, 2.0]), legend=False)
    assert len(places(svg(gap))) == 4
    # The line is broken there: two strokes in the series' colour.
    assert svg(gap).count(f'stroke="{style(0).colour}"') == 2


def test_empty_charts_are_drawn():
    parsed(svg(line([], [])))


def test_interval_without_ends_has_no_bar():
    chart = score_charts.bars_chart(SCORES, "rmse")
    bars = re.findall(r'stroke-width="1.5"', svg(chart))
    assert len(bars) == 1, "of three scores, one has an interval"


def test_more_methods_than_colours_stay_distinct():
    assert len({style(index) for index in range(28)}) == 28


def test_names_are_escaped():
    assert "<b>" not in svg(line([1.0], [1.0], title="<b> & co"))


@settings(max_examples=100)
@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_round_inside_and_told_apart(low, span):
    if span < 1e-6 * abs(low):
        return
    ticks = linear_ticks(low, low + span, 6)
    assert 2 <= len(ticks) <= 8
    assert all(low - 1e-6 * span <= number <= low + span * (1 + 1e-6) for number, _ in ticks)
    if span > 1e-3 * abs(low):
        assert len({label for _, label in ticks}) == len(ticks)


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (-100, 100, ["\N{MINUS SIGN}100", "\N{MINUS SIGN}50", "0", "50", "100"]),
        (0, 4e-9, ["0", "1·10⁻⁹", "2·10⁻⁹", "3·10⁻⁹", "4·10⁻⁹"]),
        (0, 1.1, ["0.00", "0.25", "0.50", "0.75", "1.00"]),
    ],
)
def test_tick_labels(low, high, labels):
    assert [label for _, label in linear_ticks(low, high, 4.5 if labels[1] != "0.2" else 6)] == labels


def test_logarithmic_labels():
    axis = make_axis([0.001, 1000.0], log=True, from_zero=False, ticks=5)
    assert [label for _, label in axis.ticks] == ["0.001", "0.01", "0.1", "1", "10", "100", "1000"]
    narrow = make_axis([5.0, 160.0], log=True, from_zero=False, ticks=5)
    assert [label for _, label in narrow.ticks] == ["5", "10", "20", "50", "100"]


def test_rows_go_from_top_to_bottom():
    axis = Axis.of_rows(["first", "second"])
    assert axis.place(0.0) > axis.place(1.0)
