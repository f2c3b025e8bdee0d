"""The unfinished file of a download, beside its final name."""

import ctypes
import errno
import fcntl
import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cmbml.core.errors import LockedError

PART = ".cmbml-part."
CHUNK = 1 << 20
_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE of fallocate(2)


class Part:
    """The unfinished file: what has come so far, its hash, and which version of the file it is.

    Parameters
    ----------
    path
        The final name; the part lies beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{PART}{path.name}")
        self._version = path.with_name(f"{PART}{path.name}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise LockedError(f"{path}: another process is fetching it: wait for that one") from None
        self.size = 0
        self._hash = hashlib.md5(usedforsecurity=False)
        while chunk := self._file.read(CHUNK):
            self._count(chunk)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def md5(self) -> str:
        """Hash of what has come so far."""
        return self._hash.copy().hexdigest()

    def version(self, address: str) -> str | None:
        """What the server at an address called the version of the file that the part is of."""
        known = self._note()
        return known.get("version") if known.get("address") == address else None

    @property
    def total(self) -> int | None:
        """Length of the whole, as it was said when the part was begun."""
        return self._note().get("total")

    def _note(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._version.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError):
            return {}

    def append(self, chunk: bytes) -> None:
        """Add bytes at the end."""
        self._file.write(chunk)
        self._count(chunk)

    def restart(self, address: str = "", version: str | None = None, total: int | None = None) -> None:
        """Throw away what has come, and note what comes now."""
        self._file.seek(0)
        self._file.truncate()
        self.size = 0
        self._hash = hashlib.md5(usedforsecurity=False)
        self._version.unlink(missing_ok=True)
        if address:
            note = {"address": address, "version": version, "total": total}
            self._version.write_text(json.dumps(note), encoding="utf-8")

    def reserve(self, total: int) -> None:
        """Take the space on the disk at once: a full disk is told early, and writing costs a tenth.

        Raises
        ------
        OSError
            Where the disk has not that much.
        """
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "fallocate"):  # not Linux
            return
        where = (ctypes.c_int64(self.size), ctypes.c_int64(max(1, total - self.size)))
        if libc.fallocate(self._file.fileno(), _KEEP_SIZE, *where) and ctypes.get_errno() == errno.ENOSPC:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def finish(self, path: Path) -> None:
        """Give the part its final name."""
        os.fsync(self._file.fileno())
        self.path.replace(path)
        self._version.unlink(missing_ok=True)

    def _count(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.size += len(chunk)
