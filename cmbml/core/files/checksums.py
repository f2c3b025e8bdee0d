"""Science assets: files that are there from the start, known by the hash of their content."""

import ctypes
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cmbml.core.errors import DataError
from cmbml.core.files.jsonlines import read_lines
from cmbml.core.spec.yamlio import read_yaml


def raw_digests(paths: Iterable[Path], memory: Path) -> list[str]:
    """MD5 of science assets: of each file, or where it is not fetched, from its .dvc file.

    Parameters
    ----------
    paths
        The science assets.
    memory
        File that remembers the hashes of this machine's files, since there may be many GB of them.

    Raises
    ------
    DataError
        Where neither is there.
    """
    known: dict[tuple[Any, ...], str] = {}
    for line in read_lines(memory):
        match line:
            case {"state": [str(), int(), int(), int()] as state, "md5": str(md5)}:
                known[tuple(state)] = md5
    return [_raw_digest(path, memory, known) for path in paths]


def _raw_digest(path: Path, memory: Path, known: dict[tuple[Any, ...], str]) -> str:
    if path.is_file():
        status = path.stat()
        state = (str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ino)
        if state not in known:
            known[state] = md5_of(path)
            _remember(memory, {"state": state, "md5": known[state]})
        return known[state]
    record = Path(f"{path}.dvc")
    if record.is_file():
        return str(read_yaml(record)["outs"][0]["md5"])
    raise DataError(f"{path}: science asset is missing: fetch it, or run `dvc pull`")


def _remember(memory: Path, line: dict[str, Any]) -> None:
    memory.parent.mkdir(parents=True, exist_ok=True)
    with memory.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def md5_of(path: Path) -> str:
    """MD5 of a file's content, as DVC names it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def sync_disk(folder: Path) -> None:
    """Make sure that all that was written to the file system of a folder has reached the disk.

    One call for a whole block: syncing its files one by one takes 20 times as long.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "syncfs"):  # not Linux
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if libc.syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)
