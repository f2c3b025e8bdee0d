"""What the package promises to editors and type checkers."""

import ast
import pickle
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import get_args, get_origin

import pytest
from mypy import api

from cmbml.core import Asset, AssetHandler, AssetRef, StageConfig
from cmbml.core.handlers import get_handler
from cmbml.core.spec.formats import BUILT_IN
from tests.conftest import ROOT

SCIENCE = ("sky", "methods", "analysis")


def says_any(annotation):
    """Whether an annotation has `Any` in it, also one in quotes."""
    for node in ast.walk(annotation):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                quoted = ast.parse(node.value, mode="eval")
            except SyntaxError:  # a text, as in Literal["T E"]
                continue
            if says_any(quoted):
                return True
        if (isinstance(node, ast.Name) and node.id == "Any") or (
            isinstance(node, ast.Attribute) and node.attr == "Any"
        ):
            return True
    return False


def is_public(name):
    return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))


def signature(function):
    """Arguments of a function by name, and what it returns, with their annotations."""
    given = function.args
    arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    yield from ((each.arg, each.annotation) for each in arguments if each is not None)
    yield "return", function.returns


def untyped(body, place="", inside_class=False):
    """Public signatures, fields and aliases with `Any`: line and name of each."""
    for node in body:
        if isinstance(node, ast.ClassDef) and is_public(node.name):
            yield from untyped(node.body, f"{place}{node.name}.", inside_class=True)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_public(node.name):
            for name, annotation in signature(node):
                if annotation is not None and says_any(annotation):
                    yield node.lineno, f"{place}{node.name}({name}: {ast.unparse(annotation)})"
        elif isinstance(node, ast.AnnAssign) and inside_class and says_any(node.annotation):
            yield node.lineno, f"{place}{ast.unparse(node)}"
        elif (
            isinstance(node, ast.Assign)
            and not inside_class
            and isinstance(node.value, ast.Name | ast.Attribute | ast.Subscript | ast.BinOp)
            and says_any(node.value)
        ):
            yield node.lineno, ast.unparse(node)


@pytest.mark.parametrize("room", SCIENCE)
def test_public_signatures_of_the_science_name_their_types(room):
    found = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for path in sorted((ROOT / "cmbml" / room).rglob("*.py"))
        for line, what in untyped(ast.parse(path.read_text(encoding="utf-8")).body)
    ]
    assert not found, "Any in public signatures:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "def f(x: Any) -> int: ...",
        "def f(x: int) -> dict[str, Any]: ...",
        "def f(*x: int, **more: typing.Any) -> int: ...",
        "def f(x: 'list[Any]') -> int: ...",
        "class C:\n    field: Mapping[str, Any] = {}",
        "class C:\n    def method(self, *, x: NDArray[Any] | None = None) -> int: ...",
        "class C:\n    def __call__(self, x: Any) -> int: ...",
        "State = dict[str, Any]",
        "async def f() -> Any: ...",
    ],
)
def test_any_is_found_wherever_it_stands(source):
    assert list(untyped(ast.parse(source).body))


@pytest.mark.parametrize(
    "source", ["def _f(x: Any) -> Any: ...", "class _C:\n    x: Any", "def f() -> int:\n    x: Any = 1"]
)
def test_what_is_private_may_say_any(source):
    assert not list(untyped(ast.parse(source).body))


def parameter_of(kind):
    """What a handler reads and writes, as its class says."""
    bases = [base for each in kind.__mro__ for base in each.__dict__.get("__orig_bases__", ())]
    return next(get_args(base)[0] for base in bases if get_origin(base) is AssetHandler)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_handler_says_what_it_reads_and_writes(name):
    said = parameter_of(type(get_handler(name)))
    assert name == "Empty" or said is not type(None)


class Plain(AssetHandler):
    """A handler as users write it: without a parameter, with options of its own."""

    def read(self, path, *, upper=False):
        text = path.read_text()
        return text.upper() if upper else text

    def write(self, path, data, *, end=""):
        path.write_text(data + end)


class Typed(AssetHandler[str]):
    """The same with a parameter."""

    def read(self, path: Path) -> str:
        return path.read_text()

    def write(self, path: Path, data: str) -> None:
        path.write_text(data)


@pytest.mark.parametrize("kind", [Plain, Typed])
def test_handlers_work_with_and_without_a_parameter(tmp_path, kind):
    kind().write(tmp_path / "a.txt", "words")
    assert kind().read(tmp_path / "a.txt") == "words"
    assert type(get_handler(f"{__name__}.{kind.__name__}")) is kind


def test_options_of_a_handler_reach_it(tmp_path):
    Plain().write(tmp_path / "a.txt", "words", end="!")
    assert Plain().read(tmp_path / "a.txt", upper=True) == "WORDS!"


def test_references_are_picklable_and_assets_may_be_parametrised(tmp_path):
    ref = AssetRef[str](tmp_path / "a.txt", "Text", "in")
    assert pickle.loads(pickle.dumps(ref)) == AssetRef(tmp_path / "a.txt", "Text", "in")  # noqa: S301
    assert get_origin(Asset[str]) is Asset


def test_stages_see_nothing_of_the_schema_itself():
    assert StageConfig.__mro__ == (StageConfig, object)


def test_the_package_says_that_it_is_typed():
    assert files("cmbml").joinpath("py.typed").is_file()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "py.typed" in project["tool"]["setuptools"]["package-data"]["cmbml"]


PROBE = """
from cmbml.core import Asset, StageConfig
from cmbml.sky.skymap import SkyMap

def f(cfg: StageConfig, sky: Asset[SkyMap]) -> None:
    nside: int = cfg.instrument.nside
    cfg.instrument.nsid  # wrong
    sky.read().fwhm_arcmin
    sky.at(sim=1).read().fwhm  # wrong
    sky.write(1.0)  # wrong
    block: int = cfg.mine
"""


@pytest.mark.long
def test_editors_and_mypy_know_parameters_and_assets(tmp_path):
    (tmp_path / "probe.py").write_text(PROBE)
    out, _, _ = api.run(
        ["--config-file", str(ROOT / "pyproject.toml"), "--no-error-summary", str(tmp_path / "probe.py")]
    )
    lines = [int(line.split(":")[1]) for line in out.splitlines() if "probe.py" in line and "error" in line]
    wrong = [number for number, line in enumerate(PROBE.splitlines(), 1) if line.endswith("# wrong")]
    assert lines == wrong, out
