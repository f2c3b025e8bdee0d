"""The report in a real browser."""

import shutil

import numpy as np
import pytest

from cmbml.analysis.charts.scores import bars_chart
from cmbml.analysis.statistics import Interval
from cmbml.report.html import Flip, Page, ReportContext, Table, chart_picture, render, render_page
from cmbml.report.maps.images import map_picture

from .chromium import Chromium

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on this machine")
FIRST_SHOWN = "[...document.querySelectorAll('.frames figure')].findIndex((f) => !f.hidden)"
ACTIVE = "document.activeElement"


def report():
    ramp = np.linspace(-1, 1, 12 * 16**2)
    skies = {"truth": ramp, "estimate": ramp**3, "difference": ramp**3 - ramp}
    frames = {name: map_picture(sky, f"Map of {name}", span=1) for name, sky in skies.items()}
    row = {"rmse": Interval(4.0, 3.9, 4.1), "psnr": Interval(40.0, 39.0, 41.0)}
    scores = {"test": {"nilc": row, "a_network_with_a_long_name": row, "noise_floor": row}}
    return ReportContext(
        title="Cleaning the mini dataset",
        dataset="mini",
        run={"Commit": "abc1234" * 6},
        scores=scores,
        n_sims={"test": 20},
        maps=[Flip("Simulation 0", frames), Flip("Simulation 1", frames)],
        figures=[chart_picture(bars_chart(scores, "rmse"), "RMSE of all methods")],
        parameters={f"key.{i}": str(i) for i in range(5)},
        tables=[Table("Stages", [f"column {i}" for i in range(12)], [["a long entry"] * 12])],
        downloads={"scores.csv": "split,method"},
        pages=[Page("nilc", "test", maps=[Flip("Simulation 0", frames)])],
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "index.html").write_text(render(report()), encoding="utf-8")
    for page in report().pages:
        (folder / page.file_name).write_text(render_page(report(), page), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Chromium(CHROMIUM, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(params=["index.html", "nilc--test.html"])
def page(request, site, browser):
    browser.open(site / request.param)
    return browser, site / request.param


@pytest.fixture
def index(site, browser):
    browser.open(site / "index.html")
    return browser


def test_page_is_silent_and_complete(page):
    browser, path = page
    assert browser.requested() == [path.as_uri()]
    assert browser.complaints() == []
    widths = browser.evaluate("[...document.images].map((image) => image.complete && image.naturalWidth)")
    assert widths
    assert all(width > 100 for width in widths)


@pytest.mark.parametrize(("width", "mobile"), [(360, True), (768, True), (1600, False)])
@pytest.mark.parametrize("name", ["index.html", "nilc--test.html"])
def test_page_never_scrolls_sideways(site, browser, width, mobile, name):
    browser.open(site / name, width=width, mobile=mobile)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_one_frame_is_shown_and_buttons_flip(index):
    assert index.evaluate(FIRST_SHOWN) == 0
    shown = "[...document.querySelectorAll('.frames figure')].map((figure) => !figure.hidden)"
    index.evaluate("document.querySelectorAll('.flip input')[2].click()")
    assert index.evaluate(shown) == [False, False, True, True, False, False]


def test_keyboard_flips_and_zooms(index):
    index.evaluate("document.querySelector('.flip input').focus()")
    index.press("ArrowRight")
    assert index.evaluate(FIRST_SHOWN) == 1
    for _ in range(4):
        index.press("Tab")
    assert index.evaluate(f"{ACTIVE}.className") == "frames"
    transform = "document.querySelector('.view img').style.transform"
    index.press("+", "+")
    assert index.evaluate(transform).endswith("scale(1.5)")
    before = index.evaluate(transform)
    index.press("ArrowRight")
    assert index.evaluate(transform) != before
    index.press("0", "0")
    assert index.evaluate(transform) == "translate(0px, 0px) scale(1)"


def test_zoom_stays_while_flipping(index):
    index.evaluate("document.querySelector('[data-zoom=in]').click()")
    index.evaluate("document.querySelectorAll('.flip input')[1].click()")
    transforms = index.evaluate("[...document.querySelectorAll('.view img')].map((i) => i.style.transform)")
    assert transforms[1] == transforms[0]
    assert transforms[1].endswith("scale(1.5)")
    assert transforms[3] in ("", "translate(0px, 0px) scale(1)"), "the other group has its own zoom"


def test_wheel_zooms_about_the_pointer(index):
    index.evaluate("document.querySelector('.frames').scrollIntoView()")
    x, y = index.evaluate(
        "(() => { const b = document.querySelector('.view').getBoundingClientRect();"
        " return [b.left + b.width / 4, b.top + b.height / 2]; })()"
    )
    wheel = {"type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": -300, "modifiers": 2}
    index.call("Input.dispatchMouseEvent", **wheel)
    box = index.evaluate(
        "(() => { const b = document.querySelector('.view img').getBoundingClientRect();"
        " return [b.left, b.width]; })()"
    )
    # What was under the pointer, a quarter along the map, still is.
    assert (x - box[0]) / box[1] == pytest.approx(0.25, abs=0.01)


def test_first_tab_skips_to_the_content(index):
    index.press("Tab")
    assert index.evaluate(f"{ACTIVE}.textContent") == "Skip to content"
    index.press("Enter", "\r")
    assert index.evaluate("location.hash") == "#main"


def test_screen_reader_finds_landmarks_names_and_images(page):
    browser, _ = page
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    seen = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if "role" in node and not node["ignored"]
    ]
    roles = [role for role, _ in seen]
    for role in ("banner", "main", "navigation", "contentinfo", "table", "image"):
        assert role in roles, role
    for role in ("image", "link", "button", "radio", "region", "table", "heading"):
        assert all(name for kind, name in seen if kind == role), f"{role} without a name"
    assert [name for role, name in seen if role == "radio"][:3] == ["truth", "estimate", "difference"]


def test_print_shows_every_frame(index):
    index.call("Emulation.setEmulatedMedia", media="print")
    heights = index.evaluate("[...document.querySelectorAll('.frames img')].map((i) => i.offsetHeight)")
    index.call("Emulation.setEmulatedMedia", media="")
    assert all(height > 0 for height in heights)


def test_page_stands_without_scripts(site, browser):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(site / "index.html")
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    metrics = browser.evaluate("[...document.querySelectorAll('.frames img')].map((i) => i.offsetHeight)")
    assert all(height > 0 for height in metrics)


def test_arrows_scroll_the_page_until_the_map_is_zoomed(index):
    taken = (
        "(() => { const e = new KeyboardEvent('keydown', {key: 'ArrowDown', cancelable: true, bubbles: true});"
        " document.querySelector('.frames').dispatchEvent(e); return e.defaultPrevented; })()"
    )
    assert index.evaluate(taken) is False
    index.evaluate("document.querySelector('[data-zoom=in]').click()")
    assert index.evaluate(taken) is True


def test_colours_change_and_come_back(index):
    source = "document.querySelector('img.map').src"
    shown = "[...document.images].every((image) => image.complete && image.naturalWidth > 100)"
    before = index.evaluate(source)
    press = "document.querySelector('.recolour').click()"
    index.evaluate(press)
    index.evaluate("Promise.all([...document.querySelectorAll('img.map')].map((image) => image.decode()))")
    assert index.evaluate(source) != before
    assert index.evaluate(shown)
    assert index.evaluate("document.querySelector('.recolour').getAttribute('aria-pressed')") == "true"
    pixel = (
        "(() => { const c = document.createElement('canvas'); c.width = c.height = 1;"
        " const x = c.getContext('2d'); const i = document.querySelector('img.map');"
        " x.drawImage(i, i.naturalWidth / 2, 2, 1, 1, 0, 0, 1, 1); return [...x.getImageData(0, 0, 1, 1).data]; })()"
    )
    red, green, blue, _ = index.evaluate(pixel)
    # The lowest value, in the north of this map: dark blue in cividis, pure blue in Planck's colours.
    assert max(red, green, blue) < 130
    index.evaluate(press)
    index.evaluate("Promise.all([...document.querySelectorAll('img.map')].map((image) => image.decode()))")
    assert index.evaluate(pixel)[:3] == [0, 0, 255]
    assert index.complaints() == []


@pytest.mark.parametrize(("kind", "start"), [("SVG", "data:image/svg+xml"), ("PNG", "data:image/png")])
def test_charts_can_be_saved(index, kind, start):
    """The button hands over a whole picture under a name of its own."""
    index.evaluate(
        "HTMLAnchorElement.prototype.click = function () { window.saved = [this.download, this.href]; }"
    )
    index.evaluate(
        f"[...document.querySelectorAll('.save button')].find((b) => b.textContent.endsWith('{kind}')).click()"
    )
    name, address = index.evaluate("window.saved")
    assert name == f"RMSE_of_all_methods.{kind.lower()}"
    assert address.startswith(start)
    assert len(address) > 2000


def test_tables_can_be_taken_away(index):
    links = index.evaluate(
        "[...document.querySelectorAll('a[download]')].map((a) => [a.download, a.href.slice(0, 16)])"
    )
    assert links == [["scores.csv", "data:text/plain;"]]


def test_printed_report_has_every_chart_and_no_buttons(index):
    index.call("Emulation.setEmulatedMedia", media="print")
    hidden = index.evaluate("[...document.querySelectorAll('button')].every((b) => b.offsetHeight === 0)")
    charts = index.evaluate(
        "[...document.querySelectorAll('.gallery img')].every((i) => i.offsetHeight > 100)"
    )
    index.call("Emulation.setEmulatedMedia", media="")
    assert hidden
    assert charts
