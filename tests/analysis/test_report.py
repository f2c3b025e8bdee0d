import base64
import re
from html.parser import HTMLParser

import pytest

from cmbml.analysis.statistics import Interval
from cmbml.report.html import (
    Flip,
    Page,
    Picture,
    ReportContext,
    Table,
    render,
    render_page,
    require_one_page_each,
)

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
VOID = {"meta", "link", "img", "input", "br"}


class Outline(HTMLParser):
    """Collects elements, and fails where tags do not nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.text = [], [], {}
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.text.setdefault(self.open[-1], []).append(data.strip())

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def context(**changes):
    picture = Picture(PNG, alt="a map of the sky")
    options = {
        "title": "Cleaning the mini dataset",
        "dataset": "mini",
        "run": {"commit": "abc1234", "data": "as in dvc.lock"},
        "scores": {
            "test": {
                "nilc": {"rmse": Interval(4.0, 3.9, 4.1), "r2": Interval(0.9, 0.89, 0.91)},
                "net": {"rmse": Interval(5.0, 4.9, 5.1), "r2": Interval(0.95, 0.94, 0.96)},
                "noise_floor": {"rmse": Interval(1.0, 0.9, 1.1)},
                "perfect_estimate": {"rmse": Interval(0.0, 0.0, 0.0)},
            },
            "test_dust": {"nilc": {"rmse": Interval(7.0, None, None)}},
        },
        "n_sims": {"test": 20, "test_dust": 1},
        "maps": [Flip("Simulation 0", {"truth": picture, "nilc": picture, "difference": picture})],
        "figures": [Picture(PNG, alt="residual by latitude", caption="Residual by latitude")],
        "parameters": {"nilc.ilc_bias": "0.01"},
        "tables": [Table("Stages", ["stage", "time"], [["nilc", "12 s"]])],
        "notes": ["A remark."],
    }
    return ReportContext(**(options | changes))


def test_report_is_one_file():
    text = render(context())
    page = Outline(text)
    letters = re.sub(r"[A-Za-z0-9+/=]{200,}", "", text)  # but for images and palettes
    assert not re.search(r"(https?:)?//[a-z]", letters), "a reference to the network"
    for tag, attribute in (("img", "src"), ("link", "href")):
        assert all(attrs[attribute].startswith("data:") for attrs in page.all(tag))
    assert not [attrs for attrs in page.all("script") if "src" in attrs]
    assert "@import" not in text
    assert "url(" not in text


def test_images_are_the_bytes_given():
    images = Outline(render(context())).all("img")
    assert len(images) == 4
    assert {base64.b64decode(img["src"].split(",")[1]) for img in images} == {PNG}


def test_links_and_labels_have_their_targets():
    page = Outline(render(context()))
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = [attrs["href"][1:] for attrs in page.all("a")]
    labels = [attrs["aria-labelledby"] for _, attrs in page.elements if "aria-labelledby" in attrs]
    targets += [target for label in labels for target in label.split()]
    assert set(targets) <= set(ids)


def test_page_is_accessible():
    page = Outline(render(context()))
    assert page.all("html") == [{"lang": "en"}]
    assert all(attrs["alt"] for attrs in page.all("img"))
    for landmark in ("header", "main", "nav", "footer", "title", "h1"):
        assert len(page.all(landmark)) == 1, landmark
    assert all("scope" in attrs for attrs in page.all("th"))
    assert [attrs for attrs in page.all("meta") if attrs.get("name") == "viewport"]


def test_leaderboard_marks_the_best_method_and_the_references():
    page = Outline(render(context()))
    assert page.text["strong"] == ["mini", "bold", "4.00", "0.950", "7.000"]
    assert sum(attrs.get("class") == "reference" for attrs in page.all("tr")) == 2


def test_single_simulation_says_so():
    assert "Pixels: 1 simulation, too few for an interval" in render(context())


def test_text_is_escaped():
    text = render(context(title="<script>alert(1)</script>", notes=['<img src="x">']))
    assert "<script>alert" not in text
    assert '<img src="x">' not in text


def test_empty_report_still_stands():
    page = Outline(render(context(maps=(), figures=(), tables=(), parameters={}, notes=())))
    assert not page.all("img")


def test_render_is_deterministic():
    assert render(context()) == render(context())


def test_missing_count_of_simulations_is_an_error():
    with pytest.raises(KeyError, match="test_dust"):
        render(context(n_sims={"test": 3}))


PAGES = [Page("nilc", "test", figures=[Picture(PNG, "spectra")]), Page("nilc", "test_dust")]


def test_leaderboard_links_to_pages_that_exist():
    whole = context(pages=PAGES)
    written = {page.file_name: render_page(whole, page) for page in PAGES}
    links = [attrs["href"] for attrs in Outline(render(whole)).all("a") if not attrs["href"].startswith("#")]
    assert links == list(written) == ["nilc--test.html", "nilc--test_dust.html"]
    for text in written.values():
        page = Outline(text)
        targets = {attrs["href"] for attrs in page.all("a") if not attrs["href"].startswith("#")}
        assert targets == {"index.html", *written}
        assert page.text["h1"][0].startswith("nilc, split test")


def test_page_shows_its_method_and_the_references():
    page = Outline(render_page(context(pages=PAGES), PAGES[0]))
    rows = [text for text in page.text["th"] if text]
    assert [text for text in rows if text in {"nilc", "net", "noise floor"}] == ["noise floor", "nilc"]


def test_references_keep_their_readable_names():
    page = Page("noise_floor", "test")
    text = render_page(context(pages=[page]), page)
    assert Outline(text).text["h1"] == ["noise floor, split test"]


def test_methods_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"two pages of the report would be my_net--test\.html"):
        require_one_page_each(context(pages=[Page("my net", "test"), Page("my/net", "test")]))


def test_page_names_stay_in_their_folder():
    assert Page("../../etc", "a b").file_name == ".._.._etc--a_b.html"


def test_differences_are_a_table():
    pair = {"nilc": {"net": Interval(-1.0, -1.2, -0.8)}, "net": {"nilc": Interval(1.0, 0.8, 1.2)}}
    text = render(context(differences={"test": pair}))
    assert "-1.00 [-1.20, -0.80]" in text
    assert Outline(text).text["summary"][0].startswith("Paired differences")


def test_traces_are_preformatted():
    assert Outline(render(context(traces={"scores.json": "stage scores\n  seed 1"}))).text["pre"] == [
        "stage scores\n  seed 1"
    ]


def test_pixels_and_spectra_have_their_own_tables():
    one = Interval(1.0, 0.9, 1.1)
    row = {"rmse": one, "coherence": one, "rmse_Q": one, "coherence_EE": one, "own": one}
    page = Outline(render(context(scores={"test": {"nilc": row}})))
    assert [text for text in page.text["caption"] if text] == [
        "Pixels: 20 simulations",
        "Spectra: 20 simulations",
        "Pixels Q: 20 simulations",
        "Spectra EE: 20 simulations",
        "Others: 20 simulations",
    ]
    headers = [
        text for text in page.text["th"] if text in {"RMSE [µK]", "RMSE Q [µK]", "coherence EE", "own"}
    ]
    assert headers == ["RMSE [µK]", "RMSE Q [µK]", "coherence EE", "own"]


def test_methods_that_change_the_signal_are_marked():
    assert "not signal-preserving" not in render(context())
    assert render(context(filtered=["net"])).count("not signal-preserving") == 1
