"""Files that other programs make: figures, moved files, files of which only the path matters."""

import shutil
from pathlib import Path
from typing import Any, NoReturn

from cmbml.core.errors import DataError
from cmbml.core.handlers.base import AssetHandler


class Figure(AssetHandler[bytes]):
    """A picture as bytes, in the format that the path's suffix names."""

    def read(self, path: Path) -> bytes:
        """Read the picture's bytes."""
        return path.read_bytes()

    def write(self, path: Path, data: bytes) -> None:
        """Write the picture's bytes."""
        path.write_bytes(data)


class Mover(AssetHandler[Any]):
    """A file that another program left somewhere: it moves to the asset's path."""

    def read(self, path: Path) -> bytes:
        """Read the file's bytes."""
        return path.read_bytes()

    def write(self, path: Path, data: Path) -> None:
        """Move the file `data` here.

        Raises
        ------
        DataError
            Where there is no such file.
        """
        if not Path(data).is_file():
            raise DataError(f"{data}: no such file to move: did the program that makes it succeed?")
        shutil.move(data, path)


class Empty(AssetHandler[None]):
    """A file that this system neither reads nor writes: only its path matters."""

    def read(self, path: Path) -> NoReturn:
        """Refuse: read `asset.path` in your own way."""
        raise DataError(f"{path}: handler Empty does not read: use the asset's path, or another handler")

    def write(self, path: Path, data: None = None) -> None:
        """Make an empty file, the sign that something was done."""
        if data is not None:
            raise DataError("handler Empty takes no data: use another handler")
        path.touch()
