"""Experiments in the queue and in workspaces of their own; two clones of one commit."""

import json
import shutil
from collections import Counter

import pytest

from tests.conftest import git


def add_summary(repository):
    root = repository.root
    repository.toy.add_summary()
    repository.cmbml("dvc")
    repository.run("dvc", "repro")
    repository.log.unlink()
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "the run")


def computed_by_stage(repository):
    stages = Counter(name.partition("/")[0] for name in repository.names())
    repository.log.unlink(missing_ok=True)
    return dict(stages)


@pytest.mark.long
def test_a_workspace_of_its_own_reuses_simulations(counted, monkeypatch):
    add_summary(counted)
    before = counted.toy.files()
    counted.run("dvc", "exp", "run", "--temp", "-n", "wide", "-S", "analysis.n_bootstrap=100")
    assert computed_by_stage(counted) == {"double": 24, "total": 4}
    assert counted.toy.files() == before, "the workspace is untouched"
    shown = counted.run("dvc", "exp", "show", "--csv")
    assert "wide" in shown
    expect_nothing_to_compute(counted, monkeypatch, "100")


def expect_nothing_to_compute(repository, monkeypatch, value):
    """Try in the workspace what an experiment elsewhere has made."""
    old = repository.plan().config.params.analysis.n_bootstrap
    repository.toy.edit("params.yaml", f"n_bootstrap: {old}", f"n_bootstrap: {value}")
    repository.finish(monkeypatch)
    assert computed_by_stage(repository) == {}


@pytest.mark.long
def test_the_queue_reuses_simulations(counted, monkeypatch):
    add_summary(counted)
    counted.run("dvc", "exp", "run", "--queue", "-S", "analysis.n_bootstrap=100,200")
    counted.run("dvc", "exp", "run", "--run-all")
    assert computed_by_stage(counted) == {"double": 48, "total": 8}
    values = {row["test"]["new"] for row in totals(counted)}
    assert len(values) == 2
    for value in ("100", "200"):
        expect_nothing_to_compute(counted, monkeypatch, value)


def totals(repository):
    names = [line.split()[0] for line in repository.run("dvc", "exp", "list", "--name-only").splitlines()]
    for name in names:
        diff = json.loads(repository.run("dvc", "metrics", "diff", "HEAD", name, "--json"))
        yield diff["metrics/totals.json"]


@pytest.mark.long
def test_plots_and_metrics_are_compared_offline(counted):
    add_summary(counted)
    counted.run("dvc", "exp", "run", "-n", "wide", "-S", "analysis.n_bootstrap=100")
    assert "metrics/totals.json" in counted.run("dvc", "exp", "diff", "HEAD", "wide")
    counted.run("dvc", "plots", "diff", "HEAD", "wide")


@pytest.mark.long
def test_two_clones_of_one_commit_give_the_same_lock(counted):
    clone = counted.root.parent / "clone"
    git(counted.root.parent, "clone", "-q", str(counted.root), str(clone))
    shutil.copytree(counted.root / ".dvc", clone / ".dvc", dirs_exist_ok=True)
    counted.run("dvc", "repro")
    first, counted.root = counted.root, clone
    process = counted.start("luigi", "--module", "tasks", "RunAll", "--workers", "2")
    assert process.wait(timeout=120) == 0
    counted.run("dvc", "commit", "-f")
    assert (clone / "dvc.lock").read_bytes() == (first / "dvc.lock").read_bytes()
