"""Science assets: files that are there from the start, known by the hash of their content."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from cmbml.core.errors import DataError
from cmbml.core.yamlio import read_yaml


def raw_digest(path: Path) -> str:
    """MD5 of a science asset: of the file, or where it is not fetched, from its .dvc file.

    Raises
    ------
    DataError
        Where neither is there.
    """
    if path.is_file():
        status = path.stat()
        return file_md5(path, status.st_size, status.st_mtime_ns)
    record = Path(f"{path}.dvc")
    if record.is_file():
        return str(read_yaml(record)["outs"][0]["md5"])
    raise DataError(f"{path}: science asset is missing: fetch it, or run `dvc pull`")


@lru_cache(maxsize=1024)
def file_md5(path: Path, size: int, mtime_ns: int) -> str:
    """MD5 of a file; size and time of change are the key of a cache in memory."""
    del size, mtime_ns
    return md5_of(path)


def md5_of(path: Path) -> str:
    """MD5 of a file's content, as DVC names it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def fsync_file(path: Path) -> None:
    """Make sure that a file has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
