"""Files that a command is told to write: whether they can be written is told before any work."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from cmbml.core.errors import ConfigError


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
