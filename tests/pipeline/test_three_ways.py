"""`dvc repro`, `luigi --module tasks RunAll` and `dvc exp run`: the same bytes, and failures that are seen."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, git


@pytest.fixture
def repository(toy_dvc):
    toy_dvc.add_summary()
    toy_dvc.cmbml("dvc")
    git(toy_dvc.root, "add", ".")
    git(toy_dvc.root, "commit", "-q", "-m", "summary")
    return toy_dvc


def luigi(repository, *arguments, ok=True):
    """The console script, as a user calls it."""
    program = Path(sys.executable).with_name("luigi")
    done = subprocess.run(
        [program, "--module", "tasks", *arguments],
        cwd=repository.root,
        capture_output=True,
        text=True,
        check=False,
        env={
            "PATH": str(Path(sys.executable).parent) + ":/usr/bin:/bin",
            # The toy's own modules, and this tree rather than what is installed.
            "PYTHONPATH": f"{repository.root}:{ROOT}",
        },
    )
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done


def dvc(repository, *arguments, ok=True):
    import os

    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=repository.root,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done


def clear(repository):
    for folder in ("data", "metrics", ".cmbml", ".dvc/cache"):
        shutil.rmtree(repository.root / folder, ignore_errors=True)


@pytest.mark.long
def test_all_three_end_with_the_same_bytes(repository):
    dvc(repository, "repro")
    by_dvc = repository.files()
    assert len(by_dvc) > 40
    assert "up to date" in dvc(repository, "repro").stdout
    clear(repository)
    (repository.root / "dvc.lock").rename(repository.root / "lock")
    luigi(repository, "RunAll")
    assert repository.files() == by_dvc
    clear(repository)
    luigi(repository, "RunAll", "--workers", "2")
    assert repository.files() == by_dvc
    assert luigi(repository, "RunAll").stderr == ""
    clear(repository)
    git(repository.root, "add", ".")
    dvc(repository, "exp", "run")
    assert repository.files() == by_dvc
    assert (repository.root / "dvc.lock").read_text() == (repository.root / "lock").read_text()


@pytest.mark.long
def test_an_experiment_recomputes_what_depends_and_can_be_compared(repository):
    dvc(repository, "repro")
    git(repository.root, "add", ".")
    git(repository.root, "commit", "-q", "-m", "run")
    numbers = repository.files("data/toy/number")
    before = json.loads((repository.root / "metrics/totals.json").read_text())
    done = dvc(repository, "exp", "run", "-n", "wide", "-S", "analysis.n_bootstrap=100")
    assert "Stage 'number' didn't change" in done.stdout
    assert repository.files("data/toy/number") == numbers
    after = json.loads((repository.root / "metrics/totals.json").read_text())
    assert after["test"] == pytest.approx(before["test"] / 20)
    difference = json.loads(dvc(repository, "metrics", "diff", "--json").stdout)
    assert difference["metrics/totals.json"]["test"]["new"] == pytest.approx(after["test"])
    shown = dvc(repository, "exp", "show", "--csv").stdout
    assert "wide" in shown
    assert "analysis.n_bootstrap" in shown
    # Back to the first parameters: nothing is computed, all is restored from the cache.
    old_logs = set((repository.root / ".cmbml/runs").iterdir())
    dvc(repository, "exp", "run", "-S", "analysis.n_bootstrap=2000")
    logs = set((repository.root / ".cmbml/runs").iterdir()) - old_logs
    told = "".join(path.read_text() for path in logs if path.suffix == ".log")
    assert "restored" in told
    assert "made" not in told.replace("summary made", "")
    assert json.loads((repository.root / "metrics/totals.json").read_text()) == before


@pytest.mark.long
def test_each_way_ends_with_an_error_when_a_stage_fails(repository):
    repository.edit("toy_math.py", "2 * x", "x / 0")
    failed = luigi(repository, "RunAll", ok=False)
    assert failed.returncode == 30
    assert failed.stderr.count("ZeroDivisionError") == 1, "one fault is told once"
    dvc(repository, "repro", ok=False)
    dvc(repository, "exp", "run", ok=False)
    assert "toy/number/test/sim0002/number.yaml" in repository.files(), "what was finished is kept"


def test_a_users_mistake_is_one_line_on_each_way(repository):
    repository.edit("params.yaml", "latitude_deg", "latitud_deg")
    for done in (luigi(repository, "RunAll", ok=False), dvc(repository, "repro", "-f", ok=False)):
        text = done.stdout + done.stderr
        assert "params.yaml: mask.latitud_deg: unknown key: did you mean 'latitude_deg'?" in text
        assert "Traceback" not in text


def test_splits_and_methods_are_not_changed_by_an_experiment(repository):
    done = dvc(repository, "exp", "run", "-S", "+splits.extra={n_sims: 2, population: nominal}", ok=False)
    assert "run `cmbml dvc`" in done.stdout + done.stderr


def test_inside_a_stage_upstream_is_checked_never_rebuilt(repository):
    done = luigi(repository, "Double", "--alone", ok=False)
    assert "its input number/train is not complete: run stage 'number' first" in done.stderr
    assert "Traceback" not in done.stderr
    luigi(repository, "Double")
    luigi(repository, "Total", "--alone")


def test_another_clones_code_is_refused(repository):
    (repository.root / "cmbml").mkdir()
    (repository.root / "cmbml/__init__.py").write_text("")
    program = "import sys; sys.path.pop(0); import tasks"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository.root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "run `python -m luigi` in this folder" in done.stderr


def test_the_scheduling_process_stays_light(repository):
    program = "import sys, tasks; print(sorted({'healpy', 'pysm3', 'camb', 'torch', 'ducc0', 'scipy'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
