"""Science assets: files that are there from the start, known by the hash of their content."""

import ctypes
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
