"""Some simulations of a published dataset, read from a remote without the rest of their directories."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from cmbml.core.engine.dvc import published_files
from cmbml.core.errors import DataError
from cmbml.core.files.checksums import md5_of

# Files at a time: most are small, and the wait for each is longer than its transfer.
JOBS = 8


class Published(Protocol):
    """The files of a remote: what is used of DVC's file system."""

    def find(self, path: str) -> list[str]:
        """Files below a path."""

    def info(self, path: str) -> dict[str, Any]:
        """What is known of a file, its md5 among it."""

    def get_file(self, path: str, target: str) -> None:
        """Bring a file."""


def pull_files(
    root: Path, wanted: Sequence[str], *, remote: str | None = None, jobs: int | None = None
) -> int:
    """Bring files below the given paths that are not here yet.

    DVC's cache is not filled: what comes is for reading.

    Parameters
    ----------
    root
        The repository.
    wanted
        Directories and files in outs of DVC, from the root.
    remote
        Name of the remote; by default the repository's own.
    jobs
        Files at a time.

    Returns
    -------
    int
        Number of files that came.

    Raises
    ------
    DataError
        Where DVC has no record of a path, or a file is not in the remote or has another checksum there.
    """
    published = published_files(root, remote)
    missing = [file for path in wanted for file in _files(published, path) if not (root / file).exists()]
    with ThreadPoolExecutor(jobs or JOBS) as pool:
        list(pool.map(lambda file: _bring(published, file, root / file), missing))
    return len(missing)


def _files(published: "Published", path: str) -> Iterator[str]:
    found = published.find(path)
    if not found:
        raise DataError(f"{path}: DVC has no record of it: `git pull`, or ask for other simulations")
    yield from found


def _bring(published: "Published", file: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        published.get_file(file, str(part))
        if md5_of(part) != published.info(file)["md5"]:
            raise DataError(f"{file}: the remote's copy is damaged: publish it again with `cmbml push`")
        part.replace(target)
    except FileNotFoundError as error:
        raise DataError(f"{file}: not in the remote: publish it with `cmbml push`") from error
    finally:
        part.unlink(missing_ok=True)
