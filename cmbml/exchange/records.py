"""What is remembered of science assets: the lock file of learnt checksums, and a .dvc file for each."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cmbml.core.spec.repository import LOCAL, PIPELINE
from cmbml.core.spec.yamlio import dump_yaml, read_yaml

LOCK = f"{PIPELINE}/raw.lock"
_HEADER = "# Length and md5 of science assets as first fetched: `cmbml fetch` learns and enforces them.\n"


class LockFile:
    """Checksums that were learnt where none is published; kept in git.

    Parameters
    ----------
    root
        The repository.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.path = root / LOCK

    def read(self) -> dict[str, dict[str, Any]]:
        """Length and md5 by place below data/raw/."""
        return (read_yaml(self.path) or {}) if self.path.is_file() else {}

    def learn(self, key: str, md5: str, size: int) -> None:
        """Remember a file."""
        with self._alone():
            known = self.read()
            if key in known:
                return
            entries = dict(sorted({**known, key: {"bytes": size, "md5": md5}}.items()))
            unfinished = self.path.with_name(f".{self.path.name}.tmp")
            unfinished.write_text(_HEADER + dump_yaml(entries), encoding="utf-8")
            unfinished.replace(self.path)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads and processes out; each call opens a lock of its own."""
        folder = self._root / LOCAL / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "raw.lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def write_record(path: Path, md5: str, size: int) -> None:
    """Write the .dvc file of a file, as `dvc add` would, without copying the file into the cache."""
    record = {"outs": [{"md5": md5, "size": size, "hash": "md5", "path": path.name}]}
    target = Path(f"{path}.dvc")
    text = dump_yaml(record)
    if not target.is_file() or target.read_text(encoding="utf-8") != text:
        target.write_text(text, encoding="utf-8")
