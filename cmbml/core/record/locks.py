"""Locks between processes that would make the same files; the kernel frees them when a holder dies.

One lock file for a portion, one byte of it for a piece: processes that cut a portion into different blocks
still exclude each other.  A forked child holds none of its parent's locks.
"""

import ctypes
import fcntl
import json
import multiprocessing
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

# Length of the note that a holder leaves in the file, at its first byte times this.
_NOTE = 128
# The struct flock of fcntl(2) on Linux: type, whence, start, length, process.
_FLOCK = struct.Struct("hhqqi0q")

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Let the kernel kill this process when the one that forked it dies; nothing in a process of its own."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent.pid:
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def hold(
    path: Path, what: str, on_wait: Callable[[str], None], first: int = 0, count: int = 0
) -> Iterator[None]:
    """Hold a range of a lock file inside a ``with`` block, waiting until its holder is done.

    Parameters
    ----------
    path
        The lock file.
    what
        What is being made, for the message of others who wait.
    on_wait
        Called once with a line that names the holder, before waiting.
    first, count
        The range: one for each piece; no count means all from the first on.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0) as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, count, first)
        except (BlockingIOError, PermissionError):
            on_wait(f"{what}: waiting for {_holder(file, first, count)}")
            fcntl.lockf(file, fcntl.LOCK_EX, count, first)
        note = json.dumps({"pid": os.getpid(), "host": socket.gethostname()[:60]})
        os.pwrite(file.fileno(), note.ljust(_NOTE).encode(), first * _NOTE)
        yield


def _holder(file: BinaryIO, first: int, count: int) -> str:
    """Who holds a lock in the way, by the note that it left."""
    if sys.platform != "linux":
        return "another process"
    question = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, first, count, 0)
    _, _, start, _, _ = _FLOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, question))
    try:
        note = json.loads(os.pread(file.fileno(), _NOTE, start * _NOTE))
    except ValueError:
        return "another process"
    return f"process {note['pid']} on {note['host']}, which is making it"
