"""The files that an order writes: whether they can be written is told before any work."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cmbml.core.errors import ConfigError
from cmbml.core.files.checksums import md5_of


def expect_writable(outputs: Sequence[Path], inputs: Iterable[Path]) -> None:
    """Refuse outputs that cannot be written, stand twice, or are read.

    Parameters
    ----------
    outputs
        Paths of all files that are written, the map first.
    inputs
        Paths of all files that are read.

    Raises
    ------
    ConfigError
        Where an output is a folder, an input (also by a link), one of the others, or in a folder that is
        missing or closed.
    """
    read = [path for path in inputs if path.exists()]
    for number, path in enumerate(outputs):
        folder = path.parent
        if path.is_dir():
            raise ConfigError(f"--out: {path} is a folder: name a file in it")
        if not folder.is_dir():
            reason = "is a file" if folder.exists() else "is not there: make it first"
            raise ConfigError(f"--out: the folder {folder} {reason}")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigError(f"--out: no permission to write into {folder}")
        if path in outputs[:number]:
            raise ConfigError(f"--out: {path} would be written twice: give the component another name")
        if taken := next((each for each in read if path.exists() and path.samefile(each)), None):
            raise ConfigError(f"--out: {path} is read as {taken}, and is not overwritten: name another file")


def contents(paths: Iterable[Path]) -> dict[str, str]:
    """MD5 of what was written, by name: by it a map is known again."""
    return {path.name: md5_of(path) for path in paths}


def file_facts(folder: Path, files: dict[str, Path | None]) -> dict[str, Any]:
    """What a provenance says of files that were read; nothing of those that are None."""
    return {
        name: {"file": str(path), "md5": md5_of(folder / path)}
        for name, path in files.items()
        if path is not None
    }
