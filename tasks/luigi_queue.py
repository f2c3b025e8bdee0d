"""How a worker tells Luigi the end of a task."""

import pickle
from multiprocessing.queues import Queue
from typing import Any

# Characters of a traceback and of what was missing; at four bytes each, and with the task, below PIPE_BUF.
_MAX_TEXT = 400


class UnlockedResults:
    """Puts a worker's results into the pipe of Luigi's queue in one write, without the queue's lock.

    The lock is a semaphore: it stays taken where a worker is killed while it holds it, and then all others,
    and Luigi itself, wait for it for ever. A write of at most PIPE_BUF bytes is whole or nothing without it.

    Luigi makes one for every task (``task_process_context`` in luigi.cfg) and enters it in the worker.

    Parameters
    ----------
    process
        Luigi's ``TaskProcess``; one that runs in Luigi's own process keeps its queue, which is a list.
    """

    def __init__(self, process: Any) -> None:
        self._process = process
        self._queue = process.result_queue

    def __enter__(self) -> None:
        if isinstance(self._queue, Queue):
            self._process.result_queue = self

    def __exit__(self, *_: object) -> None:
        self._process.result_queue = self._queue

    def put(self, result: tuple[str, str, str | None, list[str], list[Any]]) -> None:
        """Send a task's id, status, explanation, missing inputs and new requirements."""
        task, status, text, missing, new = result
        short = (task, status, text and text[-_MAX_TEXT:], [name[:_MAX_TEXT] for name in missing[:1]], new)
        # Luigi gives back one of the queue's many places for each message that it takes.
        self._queue._sem.acquire()  # noqa: SLF001 (a queue offers no way past its lock)
        self._queue._writer.send_bytes(pickle.dumps(short))  # noqa: SLF001
