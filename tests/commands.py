"""Commands of cmbml in this process: what a process of its own would say and do, without its imports."""

import atexit
import gc
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path

import pytest

from cmbml.cli import main
from cmbml.core.plan.code import forget

OURS = ("cmbml", "tasks", "tests")
LOGGERS = ("cmbml", "luigi-interface")


@dataclass(frozen=True)
class Ended:
    """How a command ended, named as `subprocess.run` names it."""

    returncode: int
    stdout: str
    stderr: str


def call(folder: Path, *arguments: str, ok: bool | None = None, **environment: str) -> Ended:
    """Run a command of cmbml in a folder; `ok` is whether it must end well, None where either will do."""
    out, err = StringIO(), StringIO()
    with as_a_process(folder, arguments, environment), redirect_stdout(out), redirect_stderr(err):
        status = _status(arguments)
    assert ok is None or (status == 0) == ok, out.getvalue() + err.getvalue()
    return Ended(status, out.getvalue(), err.getvalue())


def _status(arguments: tuple[str, ...]) -> int:
    try:
        main(list(arguments))
    except SystemExit as end:
        return int(end.code or 0)
    except Exception:  # noqa: BLE001 (whatever it is, the interpreter would print it and end with 1)
        traceback.print_exc()
        return 1
    return 0


@contextmanager
def as_a_process(folder: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> Iterator[None]:
    """Let what a process keeps to itself begin afresh and end: modules, paths, loggers, what runs at its end."""
    ends: list[partial[object]] = []
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), modules_of(folder), loggers():
        # A process leaves its files to its end; only what came after this line is looked through then.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.freeze()
        patch.chdir(folder)
        # As in an activated environment: some commands call dvc.
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["cmbml", *arguments])
        patch.setattr(sys, "path", [str(folder), *sys.path])
        patch.setattr(atexit, "register", lambda function, *given: ends.append(partial(function, *given)))
        yield
        while ends:
            ends.pop()()
        gc.collect()
        gc.unfreeze()


@contextmanager
def modules_of(folder: Path) -> Iterator[None]:
    """Import the folder's own modules, where it has any, afresh, and forget them afterwards."""
    if not any(folder.glob("*.py")):
        yield
        return
    forget_toy_modules()
    with pytest.MonkeyPatch.context() as patch:
        # A file edited within a second, to the same size, would be taken for what was compiled.
        patch.setattr(sys, "dont_write_bytecode", True)
        before = set(sys.modules)
        try:
            yield
        finally:
            for name in set(sys.modules) - before:
                if name.partition(".")[0] not in OURS and _lies_in(folder, name):
                    del sys.modules[name]
            forget_toy_modules()


def _lies_in(folder: Path, name: str) -> bool:
    file = getattr(sys.modules[name], "__file__", None)
    return file is not None and Path(file).is_relative_to(folder)


def forget_toy_modules() -> None:
    """Forget what was imported and parsed of the toy modules."""
    forget()
    for name in ("toy", "toy_math"):
        sys.modules.pop(name, None)


@contextmanager
def loggers() -> Iterator[None]:
    """Leave the loggers as they were, and close what was opened for them."""
    kept = [(logging.getLogger(name), vars(logging.getLogger(name)).copy()) for name in LOGGERS]
    for logger, state in kept:
        logger.handlers, logger.filters = list(state["handlers"]), list(state["filters"])
    try:
        yield
    finally:
        for logger, state in kept:
            for handler in set(logger.handlers) - set(state["handlers"]):
                handler.close()
            logger.handlers, logger.filters = state["handlers"], state["filters"]
            logger.propagate = state["propagate"]
            logger.setLevel(state["level"])
