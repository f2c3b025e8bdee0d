"""What the documents say holds: commands, links, keys, and the how-to, run as written."""

import ast
import logging
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from cmbml.cli.entry import _parser, main
from cmbml.core import load_config
from cmbml.core.errors import ProblemsError
from cmbml.core.spec.formats import BUILT_IN
from cmbml.core.spec.namer import TAGS
from cmbml.core.spec.pipeline import AssetIn, AssetOut, Stage
from cmbml.core.spec.yamlio import read_yaml
from tests.conftest import ROOT

GENERATED = (ROOT / "docs/_build", ROOT / "docs/reference")
DOCUMENTS = sorted(
    path
    for path in [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("pipeline/*.md"),
        *ROOT.glob("cluster/*.md"),
    ]
    if not any(path.is_relative_to(folder) for folder in GENERATED)
)
README = ROOT / "README.md"
HOWTO = ROOT / "docs/howto.md"
CONCEPTS = ROOT / "docs/concepts.md"


@dataclass
class Block:
    """A fenced block: its language, its text, the section it stands in and the line before it."""

    language: str
    text: str
    section: str
    before: str

    @property
    def file(self) -> str | None:
        """The file that the line before names as the block's content."""
        named = re.fullmatch(r"`([^`]+)`:", self.before)
        return named[1] if named else None


def blocks(document: Path) -> list[Block]:
    found, section, before, fence = [], "", "", None
    for line in document.read_text(encoding="utf-8").splitlines():
        if fence is not None:
            if line == "```":
                found.append(Block(fence[0], "\n".join(fence[1:]) + "\n", section, before))
                fence, before = None, ""
            else:
                fence.append(line)
        elif line.startswith("```"):
            fence = [line.removeprefix("```")]
        elif line.startswith("#"):
            section, before = line.lstrip("# "), ""
        elif line.strip():
            before = line
    assert fence is None, f"{document}: a fenced block has no end"
    return found


def prose(document: Path) -> str:
    """The text outside of fenced blocks."""
    return re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)


def code_spans(document: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(document))


def commands(document: Path, program: str) -> list[list[str]]:
    """Calls of a program, in shell blocks and in code spans, without comments."""
    lines = [line for block in blocks(document) if block.language == "sh" for line in block.text.splitlines()]
    calls = [line for line in [*lines, *code_spans(document)] if line.startswith(f"{program} ")]
    return [shlex.split(call, comments=True)[1:] for call in calls]


def known_commands() -> dict[str, set[str]]:
    """Options of every command of the command line."""
    actions = _parser()._subparsers._group_actions[0].choices
    return {name: set(parser._option_string_actions) for name, parser in actions.items()}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_exists(document):
    known = known_commands()
    for name, *arguments in commands(document, "cmbml"):
        assert name in known, f"cmbml {name}"
        options = {word for word in arguments if word.startswith("--")}
        assert options <= known[name], f"cmbml {name}: {options - known[name]}"


def test_the_readme_lists_every_command():
    assert {name for name, *_ in commands(README, "cmbml")} == set(known_commands())


def test_commands_that_are_shown_whole_can_be_parsed():
    shown = [block for document in DOCUMENTS for block in blocks(document) if block.language == "sh"]
    lines = [line for block in shown for line in block.text.splitlines() if line.startswith("cmbml ")]
    assert len(lines) > 5
    for line in lines:
        _parser().parse_args(shlex.split(line, comments=True)[1:])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_target_of_make_exists(document):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, flags=re.MULTILINE))
    for name, *_ in commands(document, "make"):
        assert name in targets, f"make {name}"


def test_the_readme_lists_every_target_of_make():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)[1].split()
    assert {name for name, *_ in commands(README, "make")} == set(phony)


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(document):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def module_file(name: str) -> Path | None:
    """File of a module, or of the module that has the name in it."""
    while name:
        path = ROOT / name.replace(".", "/")
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file
        name = name.rpartition(".")[0]
    return None


# What runs or readers make as they follow a document; capitals stand for a name of theirs.
READERS_OWN = re.compile(
    r"data/|mine[/.]|pipeline/(mine|simple_ilc|one_band)\.|cmbml/methods/simple_ilc|.*\b(NN_name|[A-Z]{4,}\b(?<!README))"
)


@pytest.mark.parametrize("document", [*DOCUMENTS, *ROOT.glob("notebooks/*.md")], ids=lambda path: path.name)
def test_every_file_and_module_that_is_named_exists(document):
    for span in code_spans(document):
        if READERS_OWN.match(span):
            continue
        if re.fullmatch(r"[a-z_]\w*(/\w+)+\.(py|yaml|md|cfg)", span):
            places = (ROOT, ROOT / "cmbml", ROOT / "cmbml/core", document.parent)
            assert any((place / span).is_file() for place in places), span
        if re.fullmatch(r"(cmbml|tasks)(\.\w+)+", span):
            file = module_file(span)
            missing = span.removeprefix(".".join(file.relative_to(ROOT).with_suffix("").parts)).strip(".")
            first = missing.removeprefix("__init__").strip(".").partition(".")[0]
            assert re.search(rf"\b{first}\b", file.read_text(encoding="utf-8")), span


def test_the_table_of_where_to_look_leads_there():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    section = text[text.index("## Where to look") : text.index("## Words")]
    rows = [line.split("|")[2:4] for line in section.splitlines() if line.count("|") == 4]
    places = {file.strip(" `"): re.findall(r"`(\w+)`", names) for file, names in rows[2:]}
    assert len(places) > 11
    for file, names in places.items():
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert set(names) <= defined, file


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_parameter_key_exists(document, real_config):
    blocks_of_params = type(real_config.params).model_fields
    spans = [*code_spans(document), *re.findall(r"-S ([\w.]+)=", document.read_text(encoding="utf-8"))]
    for span in spans:
        named = re.fullmatch(r"[a-z_]+(\.\w+)+", span) and not span.endswith(".yaml")
        if named and span.partition(".")[0] in blocks_of_params:
            real_config.value(span)


def rows(document: Path, header: str) -> list[str]:
    """First cells of the table whose header row starts with `header`."""
    lines = document.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {header} |"))
    cells = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells.append(line.split("|")[1])
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize(
    ("header", "model", "internal"),
    [("key of a stage", Stage, {"key", "file"}), ("key of an output", AssetOut, set()), ("key of an input", AssetIn, set())],
)  # fmt: skip
def test_the_tables_of_pipeline_keys_are_complete(header, model, internal):
    assert set(rows(CONCEPTS, header)) == set(model.model_fields) - internal


def test_the_table_of_handlers_is_complete():
    assert set(rows(CONCEPTS, "name")) == set(BUILT_IN)


def test_all_tags_are_named():
    text = CONCEPTS.read_text(encoding="utf-8")
    section = text[text.index("## Namer") : text.index("## Split")]
    assert all(f"`{tag}`" in section for tag in TAGS)


def test_the_shown_stage_is_the_real_one():
    shown = next(block.text for block in blocks(CONCEPTS) if block.language == "yaml")
    assert shown.removeprefix("stages:\n") in (ROOT / "pipeline/nilc.yaml").read_text(encoding="utf-8")


def test_the_picture_names_real_stages(real_config):
    picture = (ROOT / "docs/pipeline.svg").read_text(encoding="utf-8")
    texts = re.findall(r"<text x=\"\d+\" y=\"\d+\">([^<]*)</text>", picture)
    names = {name for text in texts for name in text.split(", ")}
    assert len(names) > 10
    assert names - {"report"} <= set(real_config.pipeline.stages)


def test_folders_of_the_readme_exist():
    made_by_runs = {"cards/", "data/", "metrics/", "plots/", "reports/"}
    places = set(rows(README, "place"))
    assert {place for place in places - made_by_runs if not (ROOT / place).exists()} == set()


def test_the_lines_of_python_name_real_data(real_config):
    shown = next(block.text for block in blocks(README) if block.language == "python")
    compile(shown, "README.md", "exec")
    stage, output, split, sim = re.search(
        r'data\["(\w+)"\]\.(\w+)\.at\(split="(\w+)", sim=(\d+)\)', shown
    ).groups()
    assert output in real_config.pipeline.stage(stage).assets_out
    assert int(sim) < real_config.splits[split].n_sims


def test_the_mistake_looks_as_shown(tmp_path):
    shown = next(block.text for block in blocks(README) if block.language == "console")
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline")
    params = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(params.replace("ilc_bias", "ilc_bais", 1), encoding="utf-8")
    with pytest.raises(ProblemsError) as caught:
        load_config(tmp_path)
    told = {f"cmbml: {line}" for line in str(caught.value).splitlines()}
    assert told == set(shown.splitlines()[1:])


@pytest.fixture
def call(toy, monkeypatch, capsys):
    """The command line, called in the toy repository; returns what it prints."""
    monkeypatch.chdir(toy.root)
    monkeypatch.setattr("sys.dont_write_bytecode", True)

    def run(*arguments):
        forget_my_modules()
        main(list(arguments))
        return capsys.readouterr().out

    yield run
    forget_my_modules()
    for name in ("cmbml", "luigi-interface"):
        for handler in list(logging.getLogger(name).handlers):
            handler.close()
            logging.getLogger(name).removeHandler(handler)


def forget_my_modules():
    import importlib
    import sys

    from cmbml.core.handlers import get_handler
    from tests.conftest import forget_toy_modules

    forget_toy_modules()
    get_handler.cache_clear()
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]


def follow(toy, call, section):
    """Do what a section of the how-to says: write its files, run its commands; return what they print."""
    said = {}
    for block in (block for block in blocks(HOWTO) if block.section == section):
        if block.file:
            (toy.root / block.file).parent.mkdir(parents=True, exist_ok=True)
            toy.write(block.file, block.text)
        elif "end of `params.yaml`" in block.before:
            toy.write("params.yaml", (toy.root / "params.yaml").read_text(encoding="utf-8") + block.text)
        elif block.language == "sh":
            for words in map(shlex.split, block.text.splitlines()):
                assert words[0] == "cmbml"
                said[" ".join(words[1:])] = call(*words[1:])
    return said


def read(toy, asset, split, sim):
    import cmbml

    stage, _, output = asset.partition(".")
    return getattr(cmbml.open(toy.root)[stage], output).at(split=split, sim=sim).read()


def with_stages(toy, *keys):
    """Give the toy repository stages of the real one."""
    text = (ROOT / "pipeline/simulation.yaml").read_text(encoding="utf-8")
    chosen = [re.search(rf"^  {key}:\n(    .*\n)+", text, flags=re.MULTILINE)[0] for key in keys]
    toy.write("pipeline/simulation.yaml", "stages:\n" + "\n".join(chosen))


def test_the_how_to_of_stage_parameter_and_handler_runs_as_written(toy, call):
    with_stages(toy, "draws")
    said = follow(toy, call, "Add a stage")
    assert said["check"].endswith("5 stages, no problem found\n")
    shown = next(b.text for b in blocks(HOWTO) if b.section == "Add a stage" and "cmbml.open" in b.text)
    assert eval(shown.splitlines()[1], {"cmbml": __import__("cmbml")}) > 0  # noqa: S307
    value = read(toy, "dust_excess.excess", "test", 2)["excess"]
    draw = read(toy, "draws.draw", "test", 2)
    assert value == pytest.approx(draw["dust_amplitude"] * (545 / 353) ** draw["dust_beta"])

    said = follow(toy, call, "Add a parameter")
    assert "changed: code mine.executors:DustExcessExecutor, params dust_excess.freq_ghz" in said["status"]
    assert read(toy, "dust_excess.excess", "test", 2)["excess"] == value

    follow(toy, call, "Add a handler")
    assert read(toy, "dust_excess.excess", "test", 2)["excess"] == value
    folder = toy.root / "data/toy/dust_excess/test/sim0002"
    assert [path.name for path in folder.iterdir()] == ["excess.json"]


def test_the_python_of_the_how_to_passes_ruff(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for block in blocks(HOWTO):
        if block.file and block.file.endswith(".py"):
            path = tmp_path / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
    shutil.copytree(
        ROOT / "cmbml/core", tmp_path / "cmbml/core"
    )  # so that its imports sort as in the repository
    # The walk passes split and sim to all.
    for check in (["check", "--ignore", "ARG002"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *check, "--no-cache", "mine"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


SKIES = """

import numpy as np
from cmbml.sky.skymap import SkyMap


class SkiesExecutor(BaseStageExecutor):
    def __init__(self, cfg):
        super().__init__(cfg, stage_str="observations")

    def process_sim(self, split, sim):
        for band, freq in enumerate(("143", "217")):
            with self.name_tracker.set_context("freq", freq):
                self.assets_out["obs"].write(SkyMap(np.full((1, 12), band + 10.0 * sim), "uK_CMB", 60.0, 2))
"""

SKIES_STAGE = """\
stages:
  observations:
    executor: toy.SkiesExecutor
    dir_name: observations
    assets_out:
      obs: {handler: HealpyMap, path_template: "{root}/{dataset}/{stage}/{split}/{sim}/obs_{freq}.fits"}
"""


def test_the_how_to_of_a_method_runs_as_written(toy, call):
    toy.write("toy.py", (toy.root / "toy.py").read_text(encoding="utf-8") + SKIES)
    toy.write("pipeline/skies.yaml", SKIES_STAGE)
    bands = re.findall(r'    "(?!143|217)\d+": .*\n', (toy.root / "params.yaml").read_text(encoding="utf-8"))
    for band in bands:
        toy.edit("params.yaml", band, "")
    follow(toy, call, "Add a method")
    toy.edit("params.yaml", "methods: []", "methods: [one_band]")
    call("dvc")
    assert call("check").endswith("5 stages, no problem found\n")
    call("run", "observations")
    call("run", "one_band")
    cleaned = read(toy, "one_band.cleaned", "test", 2)
    assert (cleaned.values == 21.0).all()
    assert (cleaned.unit, cleaned.fwhm_arcmin, cleaned.lmax) == ("uK_CMB", 60.0, 2)


def test_the_citation_names_this_version():
    citation = read_yaml(ROOT / "CITATION.cff")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.name
)
def test_issue_templates_are_whole(form):
    content = read_yaml(form)
    if form.stem != "config":
        assert {"name", "description", "body"} <= set(content)
        assert all(field["attributes"]["label"] for field in content["body"])
