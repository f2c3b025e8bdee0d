"""What tells a file from what it was before, without reading it."""

import os
from pathlib import Path

# Size, inode, time of change of the content and of the inode, ns: no write leaves all four as they were.
Signature = tuple[int, int, int, int]


def signature_of(found: os.stat_result) -> Signature:
    """The signature in a stat."""
    return found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def signature(path: Path | str) -> Signature | None:
    """The signature of a file; None where there is none to be read."""
    try:
        return signature_of(os.stat(path))  # noqa: PTH116 (half the time of Path.stat)
    except OSError:
        return None
