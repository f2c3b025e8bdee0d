"""Locks between processes that would make the same files; the kernel frees them when a holder dies."""

import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def hold(path: Path, what: str, on_wait: Callable[[str], None], *, shared: bool = False) -> Iterator[None]:
    """Hold the lock file `path` inside a ``with`` block, waiting until its holder is done.

    Parameters
    ----------
    path
        The lock file; it names its last holder.
    what
        What is being made, for the message of others who wait.
    on_wait
        Called once with a line that names the holder, before waiting.
    shared
        Let others hold it too who share it.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait(f"{what}: waiting for {_holder(path)}")
            fcntl.flock(file, kind)
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        file.flush()
        yield


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "another process"
    return f"process {holder['pid']} on {holder['host']}, which is making it"
