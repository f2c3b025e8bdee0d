"""Numerical libraries compute alike on every processor with AVX2, and a process that cannot hold them says so."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from cmbml.baseline import NAME, SETTINGS, Held, hold
from cmbml.core.engine.make import Engine, Reporter
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.record.facts import Facts
from cmbml.core.spec.config import load_config
from tests.conftest import ROOT

HASHES = Path(__file__).parent / "numerics.json"
LONG = [pytest.param(group, marks=pytest.mark.long) for group in ("camb", "torch")]
ASK = "import sys; {before}; import cmbml; from cmbml.baseline import hold; print(*hold(), sep=',')"


def python(*arguments: str, **variables: str) -> str:
    """What a fresh interpreter prints that inherits none of the settings."""
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS} | variables
    command = [sys.executable, "-W", "error", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def ask(before: str = "pass", **variables: str) -> Held:
    return Held(*python("-c", ASK.format(before=before), **variables).split(","))


@pytest.fixture(autouse=True)
def held():
    if hold().name != NAME:
        pytest.skip("needs a processor with AVX2 and FMA")


def test_it_is_held_before_anything_is_loaded():
    assert ask() == Held(NAME)
    assert ask("import numpy") == Held(platform.machine(), "numpy")


def test_a_child_of_ours_is_never_too_late():
    assert ask("import numpy", **SETTINGS) == Held(NAME)


def test_what_the_user_has_set_stays():
    assert ask(OPENBLAS_CORETYPE="Zen") == Held(platform.machine())


def test_an_engine_that_is_too_late_says_so(toy, monkeypatch):
    said = []
    monkeypatch.setattr(Reporter, "note", lambda _, line: said.append(line))
    Engine(Plan(load_config(toy.root)))
    assert said == []
    monkeypatch.setattr("cmbml.baseline.hold", lambda: Held("x86_64", "numpy"))
    Engine(Plan(load_config(toy.root)))
    assert len(said) == 1
    assert "numpy was loaded before cmbml" in said[0]


def test_facts_name_it_and_fingerprints_do_not(toy, monkeypatch):
    plan = Plan(load_config(toy.root))
    stage = next(iter(plan.stages.values()))
    portion = plan.portions(stage)[0]
    piece = plan.pieces(portion)[0]
    facts = Facts(plan, portion)
    ours = facts.new(piece, {})
    monkeypatch.setattr("cmbml.core.record.facts.hold", lambda: Held("aarch64"))
    other = facts.new(piece, {})
    assert (ours.baseline, other.baseline) == (NAME, "aarch64")
    assert other._replace(baseline=NAME) == ours


@pytest.mark.parametrize("group", ["numpy", "scipy", "sphere", *LONG])
def test_every_function_in_use_gives_the_bytes_that_it_gave_elsewhere(group):
    """The hashes are those of the packages in constraints.txt; `make portability` has emulated processors."""
    kept, found = (
        json.loads(HASHES.read_text()),
        json.loads(python("-W", "ignore", "-m", "tests.numerics", group)),
    )
    if kept["packages"] != found["packages"]:
        pytest.skip("other versions of the packages, which may compute otherwise")
    assert found["hashes"][group] == kept["hashes"][group]
