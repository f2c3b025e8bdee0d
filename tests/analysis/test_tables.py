import csv
import io
import json

import numpy as np
import pytest

from cmbml.analysis import tables
from cmbml.analysis.metric import metric_name
from cmbml.analysis.statistics import Interval

SCORES = {
    "test": {
        "nilc": {"rmse": Interval(4.2351, 4.21, 4.262), "psnr": Interval(45.7, None, None)},
        "my_net": {"rmse": Interval(3.0, 2.9, 3.1), "psnr": Interval(48.0, 47.0, 49.0)},
        "noise_floor": {"rmse": Interval(1.0, 0.99, 1.01)},
        "perfect_estimate": {"rmse": Interval(0.0, 0.0, 0.0), "psnr": Interval(np.inf, None, None)},
    }
}


def test_json_is_what_dvc_reads():
    data = json.loads(tables.to_json(SCORES), parse_constant=pytest.fail)
    assert data["test"]["nilc"]["rmse"] == {"mean": 4.2351, "lo": 4.21, "hi": 4.262}
    assert data["test"]["perfect_estimate"]["psnr"]["mean"] is None


def test_the_headline_is_short_and_begins_with_the_best():
    many = {"test": {f"m{i:02d}": {"rmse": Interval(20.0 - i, None, None)} for i in range(14)}, "train": {}}
    found = json.loads(tables.headline(many))["test"]["rmse"]
    assert list(found.items())[:2] == [("m13", 7.0), ("m12", 8.0)]
    assert len(found) == 12
    assert json.loads(tables.headline(SCORES)) == {
        "test": {"rmse": {"noise_floor": 1.0, "my_net": 3.0, "nilc": 4.2351}}
    }


def test_the_first_split_stands_for_test_where_there_is_none():
    assert tables.home_split(["train", "test"]) == "test"
    assert tables.home_split(["mine", "theirs"]) == "mine"


def test_json_comes_back():
    assert tables.from_dict(json.loads(tables.to_json(SCORES))) == SCORES


def test_csv_holds_the_same_numbers():
    rows = list(csv.DictReader(io.StringIO(tables.to_csv(SCORES))))
    assert len(rows) == 7
    row = next(r for r in rows if r["method"] == "nilc" and r["metric"] == "rmse")
    assert {k: float(row[k]) for k in ("mean", "lo", "hi")} == {"mean": 4.2351, "lo": 4.21, "hi": 4.262}


def test_methods_are_ranked_below_the_references():
    assert tables.ordered_methods(SCORES["test"]) == ["perfect_estimate", "noise_floor", "my_net", "nilc"]


def test_the_leading_four_metrics():
    names = ("rmse", "mae", "psnr", "spectrum_error", "transfer_error", "coherence")
    plain = {"nilc": dict.fromkeys(names, Interval(1.0, None, None))}
    assert tables.leading(plain) == ["rmse", "spectrum_error", "transfer_error", "coherence"]
    more = {"nilc": plain["nilc"] | dict.fromkeys(("coherence_EE", "coherence_BB"), Interval(1.0, 0.9, 1.1))}
    assert tables.leading(more) == ["rmse", "spectrum_error", "coherence_EE", "coherence_BB"]
    (header,) = tables.to_markdown({"test": plain}, "test", ["rmse"]).splitlines()[:1]
    assert header == "| method | RMSE [µK] |"


def test_markdown_is_a_table():
    lines = tables.to_markdown(SCORES, "test").splitlines()
    assert lines[0] == "| method | RMSE [µK] | PSNR [dB] |"
    assert "| *noise floor* | 1.000 [0.990, 1.010] | - |" in lines
    assert {line.count("|") for line in lines} == {4}


def test_latex_escapes_and_closes():
    text = tables.to_latex(SCORES, "test")
    assert r"my\_net & 3.00 [2.90, 3.10] & 48.0 [47.0, 49.0] \\" in text
    assert r"\textit{perfect estimate}" in text
    assert r"$\infty$" in text
    assert text.endswith("\\end{tabular}\n")


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (None, "-"),
        (Interval(np.inf, None, None), "∞"),
        (Interval(12.34567, None, None), "12.35"),
        (Interval(31.88, 31.52, 32.24), "31.88 [31.52, 32.24]"),
        (Interval(1234.6, 1200.0, 1260.0), "1235 [1200, 1260]"),
        (Interval(0.0, 0.0, 0.0), "0 [0, 0]"),
        (Interval(2e-9, 1e-9, 3e-9), "2e-09 [1e-09, 3e-09]"),
    ],
)
def test_digits_follow_the_interval(interval, text):
    assert tables.format_interval(interval) == text


def test_metrics_of_polarisation_keep_their_meaning():
    assert metric_name("rmse", "T") == metric_name("rmse", "TT") == "rmse"
    name = metric_name("rmse", "Q")
    assert tables.header(name) == "RMSE Q [µK]"
    masked = metric_name("rmse", "Q", "masked")
    assert tables.header(masked) == "RMSE Q under the mask [µK]"
    assert [tables.parse_name(n) for n in (name, masked, "rmse", "spectrum_error", "my_Q_own")] == [
        ("rmse", "Q", "scored"), ("rmse", "Q", "masked"), ("rmse", "", "scored"),
        ("spectrum_error", "", "scored"), ("my_Q_own", "", "scored"),
    ]  # fmt: skip
    assert tables.metric("psnr_U").higher_is_better
    assert tables.header("my_own") == "my_own"


def test_columns_are_ordered_by_field():
    row = dict.fromkeys(["own", "rmse_U", "coherence_EE", "psnr", "rmse", "rmse_Q"], Interval(1, None, None))
    assert tables.metric_names({"nilc": row}) == ["rmse", "psnr", "rmse_Q", "rmse_U", "coherence_EE", "own"]


def test_every_format_holds_every_split():
    for text in (tables.all_markdown(SCORES), tables.all_latex(SCORES)):
        assert "test" in text
        assert "4.235" in text or "4.24" in text


def test_differences_keep_their_digits():
    pair = {"rmse": {"test": {"a": {"b": Interval(0.1, None, None)}, "b": {"a": Interval(-0.1, -0.2, 0.0)}}}}
    rows = list(csv.DictReader(io.StringIO(tables.differences_csv(pair))))
    assert rows[0] == {
        "metric": "rmse", "split": "test", "method": "a", "other": "b", "mean": "0.1", "lo": "", "hi": ""
    }  # fmt: skip
    assert rows[1]["lo"] == "-0.2"
