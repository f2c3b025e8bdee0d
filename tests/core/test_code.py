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


def test_files_and_packages_are_those_behind_the_executor():
    code = code_of("cmbml.sky.executors.MaskExecutor")
    assert {path.name for path in code.files} == {"executors.py", "mask.py", "sht.py", "skymap.py"}
    assert {"numpy", "ducc0"} <= set(code.packages)
    assert not any(module.startswith("cmbml.core") for module in code.modules)


def test_loop_follows_the_overridden_method(toy):
    assert code_of("toy.NumberExecutor").loop == "process_sim"
    assert code_of("toy.TotalExecutor").loop == "process_split"
    assert code_of("cmbml.sky.executors.MaskExecutor").loop == "execute"


def test_a_missing_class_is_named(toy):
    with pytest.raises(PipelineError, match="did you mean 'DoubleExecutor'"):
        code_of("toy.DoubelExecutor")
    with pytest.raises(PipelineError, match="no module 'nowhere'"):
        code_of("nowhere.Executor")


def test_nothing_is_imported():
    import subprocess
    import sys

    program = (
        "import sys; from cmbml.core.code import code_of; code_of('cmbml.sky.executors.ObservationsExecutor');"
        "print(sorted({'healpy', 'pysm3', 'camb', 'torch', 'ducc0'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
