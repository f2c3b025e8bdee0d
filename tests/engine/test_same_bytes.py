"""The same bytes for any number of workers, on idle cores and on busy ones."""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT

RUN_ALL = ("luigi", "--module", "tasks", "RunAll")
PLACES = ("data", "metrics")


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """A repository of the profile demo: every stage of the linear methods, whatever library it uses."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    command = [sys.executable, "-m", "cmbml", "profile", "demo", "--into", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@contextmanager
def busy_cores() -> Iterator[None]:
    """Keep every core busy with something else."""
    with ExitStack() as stack:
        for _ in range(os.cpu_count() or 1):
            other = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(other.kill)
        yield


def made_by(demo: Path, workers: int) -> dict[str, bytes]:
    """Make all from nothing; return the bytes of all files."""
    for place in (*PLACES, ".cmbml"):
        shutil.rmtree(demo / place, ignore_errors=True)
    command = [sys.executable, "-m", *RUN_ALL, "--workers", str(workers)]
    subprocess.run(command, cwd=demo, check=True, capture_output=True, timeout=1200)
    files = (path for place in PLACES for path in sorted((demo / place).rglob("*")) if path.is_file())
    return {str(path.relative_to(demo)): path.read_bytes() for path in files}


def expect_the_same(demo: Path, workers: int, expected: dict[str, bytes], *, busy: bool) -> None:
    with ExitStack() as stack:
        if busy:
            stack.enter_context(busy_cores())
        found = made_by(demo, workers)
    assert found.keys() == expected.keys()
    differing = [path for path in expected if found[path] != expected[path]]
    assert not differing, f"{workers} workers, {'busy' if busy else 'idle'} cores: {differing}"


@pytest.mark.long
def test_the_science_is_the_same_with_any_number_of_workers(demo):
    expected = made_by(demo, 1)
    assert len(expected) > 100
    expect_the_same(demo, 2, expected, busy=False)
    expect_the_same(demo, 4, expected, busy=True)


@pytest.mark.soak
def test_the_science_is_the_same_20_times(demo):
    expected = made_by(demo, 1)
    rounds = itertools.cycle(itertools.product((1, 2, 4), (False, True)))
    for workers, busy in itertools.islice(rounds, 20):
        expect_the_same(demo, workers, expected, busy=busy)
