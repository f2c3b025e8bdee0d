"""The content of files: its MD5, and that it has reached the disk."""

import ctypes
import hashlib
import os
from pathlib import Path

from cmbml.core.handlers.base import explain_storage


def md5_of(path: Path) -> str:
    """MD5 of a file's content, as DVC names it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def sync_disk(folder: Path) -> None:
    """Make sure that all that was written to the file system of a folder has reached the disk.

    One call for a whole block: syncing its files one by one takes 20 times as long.

    Raises
    ------
    StorageError
        Where the disk refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "syncfs"):  # not Linux
        os.sync()
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            if libc.syncfs(descriptor):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise explain_storage(folder, error) from error
