"""Records of what was made: entries of manifests, and the journals of processes at work.

A journal is a folder with one file for each process.  Files only grow, so that a reader parses what is new.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

from cmbml.core.files.jsonlines import parse_lines
from cmbml.core.handlers.base import explain_storage


class Entry(NamedTuple):
    """A piece that was made.

    Attributes
    ----------
    sim
        The simulation, or None where the piece is a whole split or stage.
    fingerprint
        Fingerprint at the time.
    recipe
        Hash of what it shares with the portion's other pieces.
    identity
        Method, split, random stream, simulation.
    inputs
        Fingerprints of its inputs by name.
    files
        Bytes and MD5 of every file, by path relative to the repository.
    """

    sim: int | None
    fingerprint: str
    recipe: str
    identity: list[Any]
    inputs: dict[str, str]
    files: dict[str, list[Any]]


class Record(NamedTuple):
    """The last that is known of a piece: what is made of it, and whether its files have taken their names."""

    time: int
    entry: Entry
    done: bool


class Journal:
    """The journals of all processes that make pieces of one portion.

    Parameters
    ----------
    folder
        Where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.last: dict[int | None, Record] = {}
        # How far every file was read.
        self._read: dict[str, int] = {}
        self._time = 0
        self._path = folder
        self._file: FileIO | None = None

    def files(self) -> list[str]:
        """Names of the journals."""
        try:
            return sorted(name for name in os.listdir(self.folder) if name.endswith(".jsonl"))  # noqa: PTH208
        except FileNotFoundError:
            return []

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Open this process's journal, while its pieces are locked."""
        self._path = self.folder / f"{socket.gethostname()}-{os.getpid()}.jsonl"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)
        except OSError as error:
            raise explain_storage(self._path, error) from error
        with self._file:
            # Ends a line that a killed process of the same number left half written.
            self._write(b"\n")
            yield
        self._file = None

    def intend(self, entry: Entry) -> None:
        """Note what files are about to take their names."""
        known = self.last.get(entry.sim)
        # Another machine's clock may be ahead.
        self._time = max(time.time_ns(), self._time + 1, known.time + 1 if known else 0)
        self._write(json.dumps({"time": self._time, "intent": entry._asdict()}).encode() + b"\n")

    def confirm(self, entry: Entry) -> None:
        """Note that the files of the last intent have taken their names."""
        self._write(json.dumps({"time": self._time, "done": entry.sim}).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        if self._file is None:
            raise ValueError("the journal is written inside of `writing` only")
        try:
            self._file.write(line)
        except OSError as error:
            raise explain_storage(self._path, error) from error

    def refresh(self) -> set[int | None]:
        """Read what is new into `last`; return the pieces that it is about."""
        names = self.files()
        if self._read.keys() - set(names):
            self.last, self._read = {}, {}
        changed = set()
        for name in names:
            for line in self._tail(name):
                changed |= self._take(line)
        return changed

    def _take(self, line: dict[str, Any]) -> set[int | None]:
        """Take over a line; return the piece that it is about, unless more is known of it already."""
        intent = "intent" in line
        sim = line["intent"]["sim"] if intent else line["done"]
        known = self.last.get(sim)
        if intent and (known is None or line["time"] > known.time):
            self.last[sim] = Record(line["time"], Entry(**line["intent"]), done=False)
        elif not intent and known is not None and line["time"] == known.time:
            self.last[sim] = known._replace(done=True)
        else:
            return set()
        return {sim}

    def _tail(self, name: str) -> Iterator[dict[str, Any]]:
        """Whole lines of a journal behind those that were read before."""
        start = self._read.get(name, 0)
        path = self.folder / name
        try:
            with path.open("rb") as file:
                file.seek(start)
                text = file.read()
        except FileNotFoundError:  # its portion has just been closed
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._read[name] = start + len(whole)
        yield from parse_lines(whole.decode())

    def close(self) -> None:
        """Remove the journals: the manifest now says all that they said."""
        for name in self.files():
            (self.folder / name).unlink(missing_ok=True)
        self.last, self._read = {}, {}
