"""Trees that are not a clone of ours: a downloaded archive without git, and a pipeline of three own stages."""

import shutil

import pytest

from tests.commands import call
from tests.conftest import git


def runs_without_traceback(repository, *arguments):
    done = call(repository.root, *arguments)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.long
def test_an_archive_without_git_is_made_and_recorded(counted):
    shutil.rmtree(counted.root / ".git")
    first = counted.run("cmbml", "repro")
    assert "no report" in first
    assert len(counted.names()) == len(set(counted.names())) == 2 * 4 * 6 + 4
    lock = (counted.root / "dvc.lock").read_bytes()
    counted.log.unlink()
    again = call(counted.root, "repro", ok=True, TOY_LOG=str(counted.log))
    assert again.stderr == "", "git is missed once"
    assert counted.names() == []
    assert (counted.root / "dvc.lock").read_bytes() == lock
    assert counted.cmbml("status") == "everything is complete\n"
    assert "up to date" in counted.run("dvc", "repro")
    for command in (("check",), ("card",), ("dvc", "--check"), ("trace", "data/toy/total/test/total.yaml")):
        counted.cmbml(*command)


@pytest.mark.long
def test_git_may_come_later(counted):
    shutil.rmtree(counted.root / ".git")
    said = call(counted.root, "repro", ok=True).stderr.splitlines()
    remedy = next(line for line in said if "no git here" in line).rpartition("`dvc ")[2].strip("`)")
    git(counted.root, "init", "-q")
    counted.run("dvc", *remedy.split())
    git(counted.root, "add", ".")
    git(counted.root, "commit", "-q", "-m", "start")
    counted.run("dvc", "exp", "run", "-n", "wide", "-S", "analysis.n_bootstrap=100")


@pytest.mark.long
def test_a_pipeline_of_three_own_stages(counted):
    counted.run("cmbml", "repro")
    assert counted.cmbml("status") == "everything is complete\n"
    done = runs_without_traceback(counted, "report")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "number" in counted.cmbml("trace", "data/toy/total/test/total.yaml")
    git(counted.root, "add", ".")
    git(counted.root, "commit", "-q", "-m", "the run")
    counted.run("dvc", "exp", "run", "-n", "wide", "-S", "analysis.n_bootstrap=100")
    assert "wide" in counted.run("dvc", "exp", "show", "--csv")
    assert counted.cmbml("status") == "everything is complete\n"
