"""What the tests themselves rely on: the budget of a quick test, and commands called in process."""

import logging
import os
import sys

import pytest

from tests import budget
from tests.commands import call
from tests.small_run import made_once


def take_100_seconds(item):
    """Run the hook around a test that takes so long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(item.config.option, "no_budget", False)
        patch.setattr(budget, "used", iter([0.0, 100.0]).__next__)
        hook = budget.pytest_runtest_call(item)
        next(hook)
        with pytest.raises(StopIteration):
            hook.send(None)


def test_a_quick_test_that_takes_long_is_named_with_the_remedy(request):
    message = r"test_own_helpers.py::\w+ takes 100.0 s of processor time, .*: make it faster or mark it long"
    with pytest.raises(pytest.fail.Exception, match=message):
        take_100_seconds(request.node)


def test_a_busy_machine_gives_more(request, monkeypatch):
    monkeypatch.setattr(budget, "yardstick", lambda: 50 * budget.YARDSTICK)
    take_100_seconds(request.node)


def test_long_tests_have_no_budget(request, monkeypatch):
    monkeypatch.setattr(request.node, "own_markers", [pytest.mark.long.mark])
    take_100_seconds(request.node)


def test_a_command_in_process_says_what_a_process_says_and_leaves_nothing(toy):
    own, path, handlers = dict(os.environ), list(sys.path), list(logging.getLogger("cmbml").handlers)
    here, process = toy.cmbml("status"), toy.run("cmbml", "status")
    assert (here.returncode, here.stdout, here.stderr) == (0, process.stdout, process.stderr)
    assert call(toy.root, "run", "number", ok=True).stderr.count("number") > 0
    assert call(toy.root, "run", "nmber", ok=False).returncode == 2
    assert (dict(os.environ), sys.path, logging.getLogger("cmbml").handlers) == (own, path, handlers)
    assert not {"toy", "toy_math"} & set(sys.modules)


def test_what_is_shared_is_made_once_and_whole(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    made = []

    def fails(folder):
        (folder / "half").touch()
        raise ZeroDivisionError

    def make(folder):
        made.append(folder)
        (folder / "whole").touch()

    with pytest.raises(ZeroDivisionError):
        made_once(tmp_path, "run", fails)
    assert made_once(tmp_path, "run", make) == made_once(tmp_path, "run", make) == tmp_path / "run"
    assert len(made) == 1
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["whole"]
