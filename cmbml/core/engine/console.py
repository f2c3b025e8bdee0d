"""What a run says: progress and notes on the console, everything in a file of .cmbml/runs."""

import argparse
import atexit
import errno
import json
import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from threading import Timer
from types import TracebackType
from typing import Any

from cmbml.core.engine.make import Reporter
from cmbml.core.errors import CmbmlError, SkippedError
from cmbml.core.handlers.base import explain_storage
from cmbml.core.plan.pieces import Piece
from cmbml.core.record.git import commit
from cmbml.core.spec.repository import LOCAL

LOG = logging.getLogger("cmbml")
# Makes a command of the command line from its name, its function and a description.
Add = Callable[[str, Callable[[argparse.Namespace], None], str], argparse.ArgumentParser]
_EVERY_SECONDS = 1.0
# What a shell says of a program that Ctrl-C has ended.
_INTERRUPTED = 130
_AGAIN_SECONDS = 0.05
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


@contextmanager
def one_line_errors(status: int = 1) -> Iterator[None]:
    """End the program without a traceback, but with a line, for what is no fault of the code.

    Parameters
    ----------
    status
        Exit status of a user's mistake.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        sys.exit(1)
    except (CmbmlError, OSError, KeyboardInterrupt) as error:
        text = in_one_line(error)
        if text is None:
            raise
        if isinstance(error, OSError) and error.filename is None:
            _drop_output()
        _tell(text)
        sys.exit(_INTERRUPTED if isinstance(error, KeyboardInterrupt) else status)


def in_one_line(error: BaseException | None) -> str | None:
    """What a user's mistake, an interrupt or a refusal of the disk says; None for a fault of the code."""
    if isinstance(error, CmbmlError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted: the same command carries on where it stopped"
    if isinstance(error, OSError):
        path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
        if error.errno in _FULL or (path is not None and LOCAL in path.parts):
            return str(explain_storage(path or Path("output or log"), error))
    return None


def tell_in_one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Take the place of `sys.excepthook` in a program that is not ours."""
    text = in_one_line(error)
    if text is None:
        sys.__excepthook__(kind, error, trace)
    else:
        _tell(text)


def interrupt_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Take the place of `sys.unraisablehook`: an interrupt counts also where Python lets no exception pass.

    Such a place is between the two sides of a fork, where a scheduler of workers often is.
    """
    if unraisable.exc_type is KeyboardInterrupt:
        Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(unraisable)


def _tell(text: str) -> None:
    for line in text.splitlines():
        sys.stderr.write(f"cmbml: {line}\n")


def _drop_output() -> None:
    """Send what nobody takes nowhere: Python would try once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


class _LogFile(logging.FileHandler):
    """A log that cannot be written ends the run, where logging itself would print a traceback and go on."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the name is logging's)
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise error
        super().handleError(record)


class _OneLine(logging.Filter):
    """Takes the traceback off a user's mistake that Luigi reports."""

    def filter(self, record: logging.LogRecord) -> bool:
        # Where a task's requirements cannot be found, Luigi puts the traceback into the message itself.
        _, is_ours, tail = record.getMessage().rpartition(f"\n{CmbmlError.__module__}.")
        if is_ours:
            record.msg, record.args = tail.partition(": ")[2].strip(), ()
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(error, SkippedError):
            return False
        if (text := in_one_line(error)) is not None:
            record.msg, record.args = text, ()
            record.exc_info = record.exc_text = None
        return True


def open_log(root: Path) -> "RunRecord":
    """Send the run's notes to the console and, with all that Luigi says, to a file of its own.

    Returns
    -------
    RunRecord
        The record of the run, which lies beside its log.
    """
    folder = root / LOCAL / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    file = _LogFile(folder / f"{name}.log", encoding="utf-8", delay=True)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    console = logging.StreamHandler(sys.stderr)
    console.setFormatter(logging.Formatter("%(message)s"))
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    LOG.handlers = [file, console]
    luigi = logging.getLogger("luigi-interface")
    luigi.addFilter(_OneLine())
    luigi.addHandler(file)
    return RunRecord(root, folder / f"{name}.json")


class RunRecord:
    """What a run was: its command, commit, machine, time and what it made; none of a run that makes nothing.

    Parameters
    ----------
    root
        The repository.
    path
        Where it is written: when the run starts to make something, and again when it ends.
    """

    def __init__(self, root: Path, path: Path) -> None:
        self._root = root
        self._path = path
        self._content: dict[str, Any] = {}

    def begin(self, counts: Callable[[], dict[str, int]]) -> None:
        """Write the first version; at the end of the program, with `counts` of what was made, the last."""
        if self._content:
            return
        self._content = {
            "command": sys.argv,
            "commit": commit(self._root),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": time.strftime("%FT%T%z"),
        }
        self._write()
        atexit.register(self._end, counts)

    def _end(self, counts: Callable[[], dict[str, int]]) -> None:
        if os.getpid() == self._content["pid"]:
            self._content |= {"ended": time.strftime("%FT%T%z"), "made": counts()}
            # The run is over, and a full disk was told already.
            with suppress(OSError):
                self._write()

    def _write(self) -> None:
        self._path.write_text(json.dumps(self._content, indent=2) + "\n", encoding="utf-8")


class _Count:
    """A count that forked workers share: the length of a file that each appends to.

    No semaphore guards it, for one stays taken when its holder is killed, and all others wait for ever.
    """

    def __init__(self) -> None:
        self._file = TemporaryFile("ab", buffering=0)  # noqa: SIM115 (it is open as long as the workers live)

    def add(self) -> int:
        self._file.write(b".")
        return self.value

    @property
    def value(self) -> int:
        return os.fstat(self._file.fileno()).st_size


class Progress(Reporter):
    """Says which stage, how many of how many, and how long it may still take; across forked workers.

    Parameters
    ----------
    stages
        Keys of the stages.
    record
        Record of the run.
    """

    def __init__(self, stages: Iterable[str], record: RunRecord) -> None:
        self._record = record
        self._pending: dict[str, set[Piece]] = {key: set() for key in stages}
        self._done = {key: _Count() for key in self._pending}
        self._started = {key: multiprocessing.Value("d", 0.0, lock=False) for key in self._pending}
        self._spoken = multiprocessing.Value("d", 0.0, lock=False)

    def expect(self, pieces: Iterable[Piece]) -> None:
        """Count pieces that are still to be made."""
        for piece in pieces:
            self._record.begin(self._counts)
            self._pending[piece.portion.stage].add(piece)

    def _counts(self) -> dict[str, int]:
        return {stage: done.value for stage, done in self._done.items() if done.value}

    def start(self, stage: str) -> None:
        """Note when the first block of a stage starts."""
        if not self._started[stage].value:
            self._started[stage].value = time.time()

    def piece(self, piece: Piece, how: str) -> None:
        """Say how far the stage is, at most once a second and at its end."""
        stage = piece.portion.stage
        done = self._done[stage].add()
        total = len(self._pending[stage])
        if done == total or time.time() - self._spoken.value > _EVERY_SECONDS:
            self._spoken.value = time.time()
            elapsed = time.time() - self._started[stage].value
            left = elapsed / done * (total - done)
            tail = f"{elapsed:.1f} s" if done == total else f"{left:.0f} s left"
            LOG.info(f"{stage:<16} {done:>5}/{total}  {piece} {how}  {tail}")

    def note(self, line: str) -> None:
        """Say a line."""
        LOG.info(line)
