"""The index of facts: every line that was ever written of a stage, in a folder that only grows.

One file for each process, so that writers never meet; readers parse what is new, when they are told to look.
"""

import json
import os
import socket
from collections.abc import Iterable
from io import SEEK_END
from pathlib import Path
from typing import Any

from cmbml.core.files.jsonlines import parse_lines
from cmbml.core.handlers.base import explain_storage

Record = dict[str, Any]


class Index:
    """Facts of one stage, as plain records, by fingerprint.

    Parameters
    ----------
    folder
        Where the files lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._found: dict[str, list[Record]] = {}
        # How far every file was read.
        self._read: dict[str, int] = {}

    def find(self, fingerprint: str) -> list[Record]:
        """Facts of a fingerprint, the latest first; there are several where processors differ."""
        return self._found.get(fingerprint, [])[::-1]

    def all(self) -> Iterable[Record]:
        """Every fact of the stage."""
        return (record for records in self._found.values() for record in records)

    def append(self, records: Iterable[Record]) -> None:
        """Add facts; they are on the disk when this returns."""
        lines = "".join(json.dumps(record) + "\n" for record in records)
        if not lines:
            return
        path = self.folder / f"{socket.gethostname()}-{os.getpid()}.jsonl"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with path.open("ab", buffering=0) as file:
                # The first line ends one that a killed process of the same number left half written.
                torn = file.seek(0, SEEK_END) > 0
                file.write((b"\n" if torn else b"") + lines.encode())
                os.fsync(file.fileno())
        except OSError as error:
            raise explain_storage(path, error) from error
        self.refresh()

    def refresh(self) -> None:
        """Take over what was added since; it looks at every file, so do it once for many pieces."""
        try:
            names = sorted(os.listdir(self.folder))  # noqa: PTH208 (half the time of Path.iterdir)
        except OSError:
            return
        for name in names:
            if name.endswith(".jsonl"):
                for record in self._tail(name):
                    if isinstance(record, dict) and isinstance(record.get("fingerprint"), str):
                        self._found.setdefault(record["fingerprint"], []).append(record)

    def _tail(self, name: str) -> Iterable[Any]:
        """Whole lines of a file behind those that were read before."""
        start = self._read.get(name, 0)
        path = self.folder / name
        try:
            if path.stat().st_size <= start:
                return ()
            with path.open("rb") as file:
                file.seek(start)
                text = file.read()
        except OSError:
            return ()
        whole = text[: text.rfind(b"\n") + 1]
        self._read[name] = start + len(whole)
        return parse_lines(whole.decode(errors="replace"))
