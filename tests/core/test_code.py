import pytest

from cmbml.core.errors import PipelineError
from cmbml.core.plan.code import code_of


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
        ("PAUSE = 0.0", "PAUSE = {}\nPAUSE['a'] = 1"),
        ("PAUSE = 0.0", "PAUSE = 0.0\nNumberExecutor.pause = 1"),
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
    code = code_of("cmbml.report.build.leaderboard")
    assert "cmbml.report.html" in code.modules


def test_a_missing_class_is_named(toy):
    with pytest.raises(PipelineError, match="did you mean 'DoubleExecutor'"):
        code_of("toy.DoubelExecutor")
    with pytest.raises(PipelineError, match="no module 'nowhere'"):
        code_of("nowhere.Executor")


def test_nothing_is_imported():
    import subprocess
    import sys

    program = (
        "import sys; from cmbml.core.plan.code import code_of; code_of('cmbml.sky.executors.observations.ObservationsExecutor');"
        "print(sorted({'healpy', 'pysm3', 'camb', 'torch', 'ducc0'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


EXECUTOR = """
class X(BaseStageExecutor):
    def process_sim(self, split, sim):
        return VALUE
"""


def executor(value, before=""):
    return f"from cmbml.core import BaseStageExecutor\n{before}{EXECUTOR.replace('VALUE', value)}"


F1, F2 = "def f():\n    return 1\n", "def f():\n    return 2\n"


@pytest.mark.parametrize(
    ("files", "edited", "old", "new"),
    [
        ({"toy.py": executor("T['a']", "T = {}\nT['a'] = 1\n")}, "toy.py", "= 1", "= 2"),
        ({"toy.py": executor("N.a", "N = object()\nN.a = 1\n")}, "toy.py", "= 1", "= 2"),
        ({"toy.py": executor("A.sum()", "import numpy as np\nA = np.ones(2)\nA[:] = 1\n")}, "toy.py", "= 1", "= 2"),
        ({"toy.py": executor("self.v") + "X.v = 1\n"}, "toy.py", "= 1", "= 2"),
        ({"toy.py": executor("0") + F1 + "X.process_sim = f\n"}, "toy.py", "return 1", "return 2"),
        ({"toy.py": executor("m.C", "import m\nm.C = 1\n"), "m.py": "C = 0\n"}, "toy.py", "= 1", "= 2"),
        ({"toy.py": executor("C", "C = 0\ndef init():\n    global C\n    C = 1\ninit()\n")}, "toy.py", "= 1", "= 2"),
        ({"toy.py": executor("globals()['C']", "C = 1\n")}, "toy.py", "= 1", "= 2"),
        ({"toy.py": executor("eval('C')", "C = 1\n")}, "toy.py", "= 1", "= 2"),
        ({"toy.py": executor("getattr(sys.modules[__name__], 'C')", "import sys\nC = 1\n")}, "toy.py", "= 1", "= 2"),
        ({"toy.py": executor("__import__('toy').C", "C = 1\n")}, "toy.py", "= 1", "= 2"),
        (
            {"toy.py": executor("R['a']()", "R = {}\ndef reg(f):\n    R[f.__name__] = f\n@reg\ndef a():\n    return 1\n")},
            "toy.py",
            "return 1",
            "return 2",
        ),
        (
            {
                "toy.py": executor("R['a']()", "from m import R, reg\n@reg\ndef a():\n    return 1\n"),
                "m.py": "R = {}\ndef reg(f):\n    R[f.__name__] = f\n",
            },
            "toy.py",
            "return 1",
            "return 2",
        ),
        ({"toy.py": executor("f()", "try:\n    from m import f\nexcept ImportError:\n    from n import f\n"), "m.py": F1, "n.py": F1}, "m.py", "1", "2"),
        ({"toy.py": executor("import_module('m').f()", "from importlib import import_module\n"), "m.py": F1}, "m.py", "1", "2"),
        ({"toy.py": executor("__import__('m').f()"), "m.py": F1}, "m.py", "1", "2"),
        ({"toy.py": executor("C", "from own.m import C\n"), "own/__init__.py": "from own import m\nm.C = 1\n", "own/m.py": "C = 0\n"}, "own/__init__.py", "= 1", "= 2"),
        ({"toy.py": executor("own.f()", "import own\n"), "own/__init__.py": "from own.m import f\n", "own/m.py": F1}, "own/m.py", "1", "2"),
        ({"toy.py": executor("own.m.f()", "import own.n\n"), "own/__init__.py": "", "own/n.py": "import own.m\n", "own/m.py": F1}, "own/m.py", "1", "2"),
        ({"toy.py": "import m\n\n\nclass X(m.X):\n    pass\n", "m.py": executor("1")}, "m.py", "return 1", "return 2"),
        ({"toy.py": executor("f()", "from m import f\n"), "m.py": F1, "n.py": F2}, "toy.py", "from m import f", "from n import f"),
        ({"toy.py": executor("f()", "from m import f\n"), "m.py": "from p import f\n", "p.py": F1 + "def g():\n    return 2\n"}, "m.py", "import f", "import g as f"),
    ],
)  # fmt: skip
def test_every_route_to_a_value_counts(toy, files, edited, old, new):
    write_all(toy, files)
    before = code_of("toy.X").modules
    toy.edit(edited, old, new)
    assert sorted(code_of("toy.X").modules.values()) != sorted(before.values())


def write_all(toy, files):
    for name, text in files.items():
        (toy.root / name).parent.mkdir(exist_ok=True)
        toy.write(name, text)
    toy.edit("toy.py", "", "")  # what was read before is forgotten


def test_a_module_may_be_renamed_and_moved(toy):
    """What counts is what the code says, not where it lies or what its import lines say."""
    write_all(toy, {"toy.py": executor("f()", "from m import f\nfrom n import g\n"), "m.py": "import n\n\n" + F1, "n.py": "def g(): pass\n"})  # fmt: skip
    before = code_of("toy.X").modules
    (toy.root / "own").mkdir()
    (toy.root / "m.py").rename(toy.root / "own/deep.py")
    toy.write("own/__init__.py", '"""Says nothing."""\n')
    toy.edit("toy.py", "from m import f\nfrom n import g\n", "from n import g\nfrom own.deep import f\n")
    after = code_of("toy.X").modules
    assert before.keys() != after.keys()
    assert sorted(before.values()) == sorted(after.values())


def test_modules_outside_of_the_repository_count_by_what_they_say(toy, monkeypatch):
    lab = toy.root.parent / "lab"
    lab.mkdir()
    (lab / "mylab.py").write_text(F1)
    monkeypatch.syspath_prepend(str(lab))
    write_all(toy, {"toy.py": executor("f()", "from mylab import f\n")})
    before = code_of("toy.X").modules
    assert "mylab" in before
    (lab / "mylab.py").write_text(F2)
    toy.edit("toy.py", "", "")
    assert code_of("toy.X").modules != before


@pytest.mark.parametrize("name", ["toy.NumberExecutor", "cmbml.sky.executors.draws.DrawsExecutor"])
def test_the_rule_of_random_numbers_counts(toy, name):
    """Also where it is imported by the public door, `from cmbml.core import generator`."""
    assert "cmbml.sky.rng" in code_of(name).modules


def test_an_import_of_modules_in_a_circle_ends(toy):
    write_all(
        toy, {"toy.py": executor("f()", "from m import f\n"), "m.py": "import n\n" + F1, "n.py": "import m\n"}
    )
    assert {"m", "n"} <= code_of("toy.X").modules.keys()


@pytest.mark.parametrize("base", ["m.Base", "own.m.Base", "Aliased"])
def test_loop_follows_a_base_class_however_it_is_spelt(toy, base):
    imports = {"m.Base": "import m", "own.m.Base": "import own.m", "Aliased": "from m import Base as Aliased"}
    text = "from cmbml.core import BaseStageExecutor\n\n\nclass Base(BaseStageExecutor):\n    def process_split(self, split): pass\n"
    files = {"m.py": text, "own/__init__.py": "", "own/m.py": text}
    write_all(toy, {"toy.py": f"{imports[base]}\n\n\nclass X({base}):\n    pass\n", **files})
    assert code_of("toy.X").loop == "process_split"
