"""What is no fault of the code ends a program with one line and without a traceback."""

import errno
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError

import pytest

from cmbml.cli import entry as cli
from cmbml.cli.entry import main
from cmbml.core.engine import dvc as engine_dvc
from cmbml.core.engine.console import in_one_line
from cmbml.core.engine.context import run_stage
from cmbml.core.engine.make import Engine
from cmbml.core.plan.fingerprints import Plan

LUIGI = ("luigi", "--module", "tasks", "RunAll")


def told(capsys, *arguments):
    """Exit status and lines of a command that fails."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code, capsys.readouterr().err.splitlines()


def shell(toy, line):
    return subprocess.run(
        ["bash", "-c", line.replace("python", sys.executable)],
        cwd=toy.root,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_checkout_that_is_not_installed_works(toy, monkeypatch, capsys):
    def no_version(_):
        raise PackageNotFoundError

    monkeypatch.setattr(cli, "version", no_version)
    monkeypatch.chdir(toy.root)
    main(["stages"])
    assert "number" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, "cmbml of a checkout that is not installed\n")


def test_output_that_cannot_be_written(toy):
    done = shell(toy, "python -m cmbml stages > /dev/full")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cannot be written: the disk is full" in done.stderr


@pytest.mark.parametrize("command", ["stages", "--help", "graph"])
def test_a_closed_pipe_is_no_news(toy, command):
    done = shell(toy, f"python -m cmbml {command} | true")
    assert done.stderr == ""


def test_an_interrupt_is_told_in_one_line(toy):
    toy.edit("toy.py", "time.sleep(PAUSE)", "raise KeyboardInterrupt")
    done = toy.cmbml("run", ok=False)
    assert (done.returncode, done.stderr) == (
        130,
        "cmbml: interrupted: the same command carries on where it stopped\n",
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_of_luigi_is_told_in_one_line(toy_dvc, workers):
    toy_dvc.edit("toy.py", "PAUSE = 0.0", "PAUSE = 5.0")
    running = subprocess.Popen(
        [sys.executable, "-m", *LUIGI, "--workers", str(workers)],
        cwd=toy_dvc.root,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    memo = toy_dvc.root / ".cmbml/memo"
    until = time.monotonic() + 60
    while not list(memo.glob("*.jsonl")) and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode != 0
    assert "Traceback" not in said
    assert said.count("cmbml: interrupted") == 1


@pytest.mark.parametrize("place", [".cmbml", ".cmbml/locks", ".cmbml/memo", ".cmbml/runs", ".cmbml/cost"])
def test_a_local_folder_that_cannot_be_written(toy, place):
    path = toy.root / place
    path.parent.mkdir(exist_ok=True)
    path.touch()
    done = toy.cmbml("run", ok=False)
    assert done.returncode == 2
    assert sum(place in line and "cannot be written" in line for line in done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("place", [".cmbml", ".cmbml/locks"])
def test_luigi_tells_it_as_well(toy_dvc, place):
    path = toy_dvc.root / place
    path.parent.mkdir(exist_ok=True)
    path.touch()
    done = toy_dvc.run(*LUIGI, ok=False)
    assert done.returncode != 0
    assert place in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_below_the_local_files(toy):
    path = toy.root / ".cmbml/cost/toy.jsonl"
    path.parent.mkdir(parents=True)
    path.symlink_to("/dev/full")
    done = toy.cmbml("run", "number", ok=False)
    assert done.returncode == 2
    assert "the disk is full" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_faults_of_code_keep_their_traceback():
    assert in_one_line(FileNotFoundError(errno.ENOENT, "no", "mine.txt")) is None
    assert in_one_line(PermissionError(errno.EACCES, "no", "mine.txt")) is None
    assert in_one_line(ValueError("x")) is None


def test_a_pipeline_without_our_stages_has_no_report(toy_dvc, monkeypatch, capsys):
    toy = toy_dvc
    monkeypatch.chdir(toy.root)
    engine = Engine(Plan(toy.config()))
    for stage in engine.plan.stages.values():
        run_stage(engine, stage)
    monkeypatch.setattr(engine_dvc, "run_dvc", lambda *_: None)
    main(["dvc"])
    main(["repro"])
    _, _, lacking = capsys.readouterr().out.partition("no report: the pipeline has no stage ")
    assert {"observations", "cmb", "theory"} <= set(lacking.strip().split(", "))
    status, lines = told(capsys, "report")
    assert (status, len(lines)) == (2, 1)
    assert "the pipeline has no stage 'scores'" in lines[0]
    status, lines = told(
        capsys, "score", "--name", "x", "--maps", "{sim}.fits", "--split", "test", "--fwhm", "5"
    )
    assert (status, len(lines)) == (2, 1)
    assert "the pipeline has no stage 'comparison'" in lines[0]


def test_a_place_without_dvc_is_named_before_anything_is_made(toy):
    toy.cmbml("dvc")
    done = toy.cmbml("repro", ok=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "`dvc init --no-scm`" in done.stderr
    assert not (toy.root / "data").exists()


FORKING = """\
import os, signal, sys, time
from cmbml.core.engine.console import interrupt_again, one_line_errors

sys.unraisablehook = interrupt_again
os.register_at_fork(after_in_parent=lambda: signal.raise_signal(signal.SIGINT))
with one_line_errors():
    if os.fork() == 0:
        os._exit(0)
    time.sleep(30)
"""


def test_an_interrupt_between_the_sides_of_a_fork_counts():
    """There Python lets no exception pass."""
    done = subprocess.run(
        [sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stderr) == (
        130,
        "cmbml: interrupted: the same command carries on where it stopped\n",
    )
