"""The memo of code: believed while everything is as it was, noticed where anything is not."""

import json
import os
import time

import pytest

from cmbml.core.plan import code_memo
from cmbml.core.plan.code import CODES, code_of, forget
from cmbml.core.plan.code_memo import MEMO, prepare_codes
from cmbml.core.plan.modules import EVIDENCE, text_of


@pytest.fixture
def old(toy):
    """A toy repository with a memo, whose files are older than a tick of the clock."""
    (toy.root / "own").mkdir()
    toy.write("own/m.py", "def double(x):\n    return 2 * x\n")
    toy.edit("toy.py", "from toy_math import double", "from own.m import double")
    time.sleep(0.15)
    recalled(toy)
    assert (toy.root / MEMO).is_file()
    return toy


def recalled(toy):
    """What a new process finds, and whether it had to read any code for it."""
    forget()
    prepare_codes(toy.root, ["toy.NumberExecutor", "toy.DoubleExecutor"])
    read = text_of.cache_info().misses > 0
    found = dict(CODES)
    forget()
    assert {name: code_of(name) for name in found} == found
    return found["toy.DoubleExecutor"], read


def test_nothing_is_read_where_nothing_has_changed(old):
    before, _ = recalled(old)
    assert recalled(old) == (before, False)


CHANGES = {
    "an edit": lambda root: (root / "own/m.py").write_text("def double(x):\n    return 3 * x\n"),
    "a package that gains a beginning": lambda root: (root / "own/__init__.py").write_text("print()\n"),
    "a folder before the module": lambda root: [
        (root / "own/m").mkdir(),
        (root / "own/m/__init__.py").write_text("def double(x):\n    return 3 * x\n"),
    ],
    "a name that becomes a module": lambda root: [
        (root / "own/m").mkdir(),
        (root / "own/m/__init__.py").write_text(""),
        (root / "own/m/double.py").write_text("X = 1\n"),
    ],
    "a module that goes": lambda root: (root / "own/m.py").rename(root / "own/n.py"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_every_change_is_noticed(old, change):
    before, _ = recalled(old)
    change(old.root)
    after, read = recalled(old)
    assert read
    assert after != before


def test_a_module_that_comes_first_on_the_path_is_noticed(old, monkeypatch):
    before, _ = recalled(old)
    lab = old.root.parent / "lab/own"
    lab.mkdir(parents=True)
    (lab / "__init__.py").write_text("")
    (lab / "m.py").write_text("def double(x):\n    return 3 * x\n")
    monkeypatch.syspath_prepend(str(lab.parent))
    after, read = recalled(old)
    assert read
    assert after != before


def test_times_that_are_set_back_are_noticed(old):
    before, _ = recalled(old)
    file = old.root / "own/m.py"
    was = file.stat()
    file.write_text(file.read_text().replace("2", "3"))
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert recalled(old)[0] != before


@pytest.mark.parametrize("key", ["by", "signatures", "standings", "places", "codes"])
@pytest.mark.parametrize("value", [None, 3, [], {}, "x", {"toy": 1}, {"toy.DoubleExecutor": {}}])
def test_a_memo_of_another_kind_is_none(old, key, value):
    before, _ = recalled(old)
    memo = json.loads((old.root / MEMO).read_text())
    memo[key] = value
    (old.root / MEMO).write_text(json.dumps(memo) + "\n[1]\nnull\n{")
    assert recalled(old)[0] == before


def test_what_has_just_been_written_is_not_remembered(toy):
    toy.edit("toy_math.py", "2 * x", "3 * x")
    prepare_codes(toy.root, ["toy.DoubleExecutor"])
    assert not (toy.root / MEMO).exists()


def test_versions_of_packages_are_asked_for_anew(old, monkeypatch):
    old.edit("own/m.py", "def", "import numpy\n\n\ndef")
    time.sleep(0.15)
    before, _ = recalled(old)
    monkeypatch.setattr(code_memo, "packages_of", lambda imports: dict.fromkeys(imports, "9.9"))
    forget()
    prepare_codes(old.root, ["toy.DoubleExecutor"])
    assert CODES["toy.DoubleExecutor"].packages == {"numpy": "9.9"} != before.packages
    assert not any(file.name == "m.py" and file not in EVIDENCE.signatures for file in before.files)
