import pytest

from cmbml.core.code import code_of
from cmbml.core.errors import PipelineError


def hashes(name):
    return code_of(f"toy.{name}Executor").modules


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("toy_math.py", "def double", "# a comment\ndef double"),
        ("toy_math.py", '"""Double a number."""', '"""Twice as much."""'),
        ("toy_math.py", "return 2 * x", "return (2\n            * x)"),
        ("toy.py", '"""Doubles it."""', '"""Multiplies."""'),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(toy, file, old, new):
    before = hashes("Double")
    toy.edit(file, old, new)
    assert hashes("Double") == before


def test_a_formula_changes_its_dependents_only(toy):
    before = {name: hashes(name) for name in ("Number", "Double", "Total")}
    toy.edit("toy_math.py", "2 * x", "3 * x")
    changed = [name for name, old in before.items() if hashes(name) != old]
    assert changed == ["Double"]


def test_another_class_of_the_module_does_not_count(toy):
    before = {name: hashes(name) for name in ("Number", "Double", "Total")}
    toy.edit("toy.py", "sum(values)", "max(values)")
    assert [name for name, old in before.items() if hashes(name) != old] == ["Total"]


def test_a_constant_that_the_class_uses_counts(toy):
    before = {name: hashes(name) for name in ("Number", "Double")}
    toy.edit("toy.py", "PAUSE = 0.0", "PAUSE = 0.1")
    assert [name for name, old in before.items() if hashes(name) != old] == ["Number"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("PAUSE = 0.0", "PAUSE = 0.0\nPAUSE += 0.1"),
        ("PAUSE = 0.0", "if True:\n    PAUSE = 0.1"),
        ("PAUSE = 0.0", "PAUSE = 0.0\nglobals().update(PAUSE=PAUSE + 1)"),
        ("PAUSE = 0.0", "try:\n    from elsewhere import PAUSE\nexcept ImportError:\n    PAUSE = 0.0"),
    ],
)
def test_whatever_else_sets_a_constant_counts(toy, old, new):
    before = {name: hashes(name) for name in ("Number", "Double")}
    toy.edit("toy.py", old, new)
    assert [name for name, old in before.items() if hashes(name) != old] == ["Number"]


@pytest.mark.parametrize("line", ["from toy_tools import double", "from toy_tools import *"])
def test_packages_lead_to_what_they_import(toy, line):
    (toy.root / "toy_tools").mkdir()
    toy.write("toy_tools/__init__.py", "from .inner import double\n")
    toy.write("toy_tools/inner.py", "from ..toy_math import double\nfrom .deepest import THREE\n")
    toy.write("toy_tools/deepest.py", "THREE = 3\n")
    toy.edit("toy.py", "from toy_math import double", line)
    before = hashes("Double")
    assert {"toy_tools", "toy_tools.inner", "toy_tools.deepest"} <= before.keys()
    toy.edit("toy_tools/deepest.py", "3", "4")
    assert hashes("Double") != before


def test_files_and_packages_are_those_behind_the_executor():
    code = code_of("cmbml.sky.executors.mask.MaskExecutor")
    assert {path.name for path in code.files} == {"mask.py", "sht.py", "skymap.py", "units.py"}
    assert {"numpy", "ducc0"} <= set(code.packages)
    assert not any(module.startswith("cmbml.core") for module in code.modules)


def test_loop_follows_the_overridden_method(toy):
    assert code_of("toy.NumberExecutor").loop == "process_sim"
    assert code_of("toy.TotalExecutor").loop == "process_split"
    assert code_of("cmbml.sky.executors.mask.MaskExecutor").loop == "execute"


def test_loop_and_code_follow_a_base_class_from_elsewhere(toy):
    toy.write("toy_base.py", (toy.root / "toy.py").read_text())
    toy.write(
        "toy.py",
        "from toy_base import TotalExecutor as Base\n\n\n"
        "class TotalExecutor(Base):\n    pass\n\n\nprint(TotalExecutor)\n",
    )
    code = code_of("toy.TotalExecutor")
    assert code.loop == "process_split"
    assert "toy_base" in code.modules


@pytest.mark.parametrize(
    ("imports", "base"),
    [
        ("import toy_base", "toy_base.TotalExecutor"),
        ("import toy_base as base", "base.TotalExecutor"),
        ("import toy_package.inner", "toy_package.inner.TotalExecutor"),
        ("import toy_package.inner as inner", "inner.TotalExecutor"),
        ("import toy_package", "toy_package.Total"),
        ("from toy_package import inner", "inner.TotalExecutor"),
        ("from toy_package import Total", "Total"),
        ("from toy_base import *", "TotalExecutor"),
        ("import toy_base", "toy_base.Shared, toy_base.TotalExecutor"),
        ("import toy_base", "toy_base.TotalExecutor[int]"),
        ("import toy_base\nfrom toy_base import TotalExecutor as Mine", "Mine"),
    ],
)
def test_the_loop_of_a_base_is_found_however_it_is_written(toy, imports, base):
    text = (toy.root / "toy.py").read_text() + "\n\nclass Shared:\n    pass\n"
    toy.write("toy_base.py", text)
    (toy.root / "toy_package").mkdir()
    toy.write("toy_package/inner.py", text)
    toy.write("toy_package/__init__.py", "from .inner import TotalExecutor as Total\n")
    toy.write("toy.py", f"{imports}\n\n\nclass Mine({base}):\n    pass\n")
    assert code_of("toy.Mine").loop == "process_split"


@pytest.mark.parametrize("base", ["core.BaseStageExecutor", "nowhere.Base", "make_base()"])
def test_a_base_without_a_loop_leaves_the_default(toy, base):
    toy.write("toy.py", f"import cmbml.core as core\n\n\nclass Mine({base}):\n    pass\n")
    assert code_of("toy.Mine").loop == "process_sim"


def test_a_function_has_code_too():
    """The report is as old as the code that builds it."""
    code = code_of("cmbml.analysis.reporting.executors.builder.leaderboard")
    assert "cmbml.analysis.report" in code.modules


def test_a_missing_class_is_named(toy):
    with pytest.raises(PipelineError, match="did you mean 'DoubleExecutor'"):
        code_of("toy.DoubelExecutor")
    with pytest.raises(PipelineError, match="no module 'nowhere'"):
        code_of("nowhere.Executor")


def test_nothing_is_imported():
    import subprocess
    import sys

    program = (
        "import sys; from cmbml.core.code import code_of; code_of('cmbml.sky.executors.observations.ObservationsExecutor');"
        "print(sorted({'healpy', 'pysm3', 'camb', 'torch', 'ducc0'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
