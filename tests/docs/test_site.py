"""The site of the documents: its pictures, its reference, and that it builds."""

import importlib.util
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from tests.conftest import ROOT

DOCS = ROOT / "docs"
# Pages that the project promises to its readers.
PAGES = [
    "quickstart",
    "struggles",
    "concepts",
    "luigi_and_dvc",
    "from_cmb_ml",
    "faq",
    "howto",
    "data",
    "networks",
    "physics",
    "simulation",
    "methods",
    "scoring",
    "benchmarks",
    "architecture",
    "validation/index",
    "validation/codes",
    "validation/galaxy",
    "reference/parameters",
    "reference/pipeline",
    "reference/commands",
]


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def drawn():
    return load(DOCS / "pictures/draw.py").drawn()


@pytest.mark.parametrize("name", drawn())
def test_pictures_are_current_and_shown(name):
    """Else: ``python docs/pictures/draw.py``."""
    text = drawn()[name]
    assert (DOCS / "pictures" / name).read_text(encoding="utf-8") == text
    assert ET.fromstring(text).find("{http://www.w3.org/2000/svg}title").text  # noqa: S314
    assert any(f"pictures/{name})" in page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))


@pytest.fixture
def house(monkeypatch):
    monkeypatch.syspath_prepend(DOCS / "pictures")
    return load(DOCS / "pictures/house.py")


def test_the_picture_of_the_rooms_is_what_the_code_gives(house):
    """Else: ``python docs/pictures/house.py``, and look at it."""
    text = house.house_svg(house.read_house())
    assert (DOCS / "pictures/house.svg").read_text(encoding="utf-8") == text
    assert "](pictures/house.svg)" in (DOCS / "architecture.md").read_text(encoding="utf-8")


def test_every_room_imports_only_those_below_it(house):
    found = house.read_house()
    rooms = {path.parent.name for path in ROOT.glob("cmbml/core/*/__init__.py")} | {"errors"}
    wings = {path.parent.name for path in ROOT.glob("cmbml/*/__init__.py")} - {"cli", "core"}
    assert set(found.core) == rooms
    assert {*found.applications, *found.science} == wings
    assert len(found.among(found.core)) <= 40
    assert found.upward(found.core) == []
    assert found.upward([*found.applications, *found.science]) == []
    assert {a.source for a in found.arrows if a.target in ("cli", "tasks")} <= {"__main__"}
    assert house.circle(found.modules) == []


def test_an_arrow_upwards_and_a_circle_are_seen(house, tmp_path):
    for name, text in {
        "pyproject.toml": (ROOT / "pyproject.toml").read_text(encoding="utf-8"),
        "cmbml/core/spec/split.py": "def late():\n    from cmbml.core.plan import pieces\n",
        "cmbml/core/plan/pieces.py": "import cmbml.core.spec.split\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = house.read_house(tmp_path)
    assert found.upward(found.core) == [("spec", "plan")]
    assert set(house.circle(found.modules)) == {"cmbml.core.spec.split", "cmbml.core.plan.pieces"}
    said = "9 rooms of core, 2 arrows between them, 1 upwards, "
    assert house.counts(found).startswith(said + "cmbml.core.")


def test_every_idea_has_a_picture():
    sections = (DOCS / "concepts.md").read_text(encoding="utf-8").split("\n## ")[1:]
    # TQU and T are a shape of arrays.
    bare = [section.splitlines()[0] for section in sections if "](pictures/" not in section]
    assert bare == ["Fields"]


def reference_pages(config):
    return dict(load(DOCS / "reference.py").pages(config))


def rows_of(text):
    return [line.split("|")[1:6] for line in text.splitlines() if line.startswith("| `")]


def test_the_reference_has_every_key_with_its_meaning(real_config):
    from cmbml.authoring.schemas import schemas

    pages = reference_pages(real_config)
    for kind, page in (("params", "parameters.md"), ("pipeline", "pipeline.md")):
        schema = schemas(real_config.pipeline)[kind]
        blocks = [schema, *schema["$defs"].values()] if kind == "params" else list(schema["$defs"].values())
        keys = {key for block in blocks for key in block.get("properties", {})}
        table = {cells[0].strip(" `"): cells for cells in rows_of(pages[page])}
        headings = {line.removeprefix("## ") for line in pages[page].splitlines() if line.startswith("## ")}
        # A distribution is described where it is used.
        assert keys - set(table) - headings <= {"mean", "sd", "low", "high"}
        # Archives and their files are described in docs/data.md.
        catalogue = {"title", "licence", "citation", "addresses", "source", "files", "path", "count"}
        catalogue |= {"bytes", "md5", "about_mb", "unpack"} if kind == "pipeline" else set()
        silent = {key for key, cells in table.items() if not cells[1].strip()}
        assert silent <= (catalogue if kind == "pipeline" else set())


def test_a_row_says_meaning_range_default_and_value(real_config):
    rows = {
        cells[0].strip(" `"): [c.strip() for c in cells[1:]]
        for cells in rows_of(reference_pages(real_config)["parameters.md"])
    }
    assert rows["band_width"] == [
        "width of the bands of power spectra, in multipoles",
        "whole number ≥ 1",
        "",
        "`10`",
    ]
    assert rows["apodisation"] == [
        "taper towards the border",
        '`"none"`, `"C1"`, `"C2"`, `"gaussian"`',
        '`"none"`',
        '`"none"`',
    ]
    assert rows["dust_temp"][:2] == ["offset of the dust temperature, K", "a distribution"]


class Links(HTMLParser):
    """What a page loads when it is opened."""

    def __init__(self):
        super().__init__()
        self.loaded = []

    def handle_starttag(self, tag, attrs):
        wanted = {"img": "src", "script": "src", "link": "href"}.get(tag)
        self.loaded += [value for key, value in attrs if key == wanted and value]


@pytest.mark.long
def test_the_site_builds_without_a_warning_and_needs_no_network(tmp_path):
    command = ["-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "-c", "docs", "."]
    done = subprocess.run(
        [sys.executable, *command, str(tmp_path / "html")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "no_proxy": "", "https_proxy": "http://127.0.0.1:9"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    for page in PAGES:
        parser = Links()
        parser.feed((tmp_path / f"html/docs/{page}.html").read_text(encoding="utf-8"))
        assert [link for link in parser.loaded if link.startswith(("http:", "https:", "//"))] == []
    physics = (tmp_path / "html/docs/physics.html").read_text(encoding="utf-8")
    assert physics.count("<math") > 40
    modules = (tmp_path / "html/docs/reference/modules/methods.html").read_text(encoding="utf-8")
    assert 'id="cmbml.methods.ilc.weights"' in modules
    assert "Weights of least variance" in modules
    assert ":param" not in modules
