"""Columns of numbers in text: Markov chains, read by seeking."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from cmbml.core.errors import DataError
from cmbml.core.handlers.base import AssetHandler


@dataclass(frozen=True)
class ChainRows:
    """Values of one parameter of a chain, each read from the file when it is asked for.

    Attributes
    ----------
    path
        The file.
    width
        Bytes of a row.
    """

    path: Path
    width: int

    def __len__(self) -> int:
        return self.path.stat().st_size // self.width

    def __getitem__(self, row: int) -> float:
        with self.path.open("rb") as file:
            first, number = (self._row(file, at)[0] for at in (0, row))
            value = self._row(file, row)[1]
        if number - first != row:
            raise DataError(f"{self.path}: row {row} is numbered {number - first}: rows are missing")
        if not np.isfinite(value):
            raise DataError(f"{self.path}: row {row} is not finite ({value}): fetch it again")
        return value

    def _row(self, file: BinaryIO, row: int) -> tuple[int, float]:
        file.seek(row * self.width)
        line = file.read(self.width)
        try:
            number, value = line.split()
            return int(number), float(value)
        except ValueError:
            raise DataError(
                f"{self.path}: row {row} is not a row number and a value: {line[:60]!r}"
            ) from None


class ChainColumn(AssetHandler[ChainRows]):
    """One parameter of a WMAP chain as LAMBDA has it: rows of one width, each a row number and a value.

    The file is never read whole: a chain has a million rows.
    """

    def read(self, path: Path) -> ChainRows:
        """Open the column.

        Raises
        ------
        DataError
            Where the rows are not of one width.
        """
        with path.open("rb") as file:
            width = len(file.readline())
        size = path.stat().st_size
        if not width or size % width:
            raise DataError(f"{path}: {size} bytes are not rows of {width}: the file is cut short or ragged")
        return ChainRows(path, width)


def number_table(path: Path, lines: Iterable[str]) -> NDArray[np.float64]:
    """Read lines of numbers, ``(n_rows, n_columns)``; `path` is for messages.

    Raises
    ------
    DataError
        Where there is no row, or one is ragged or no numbers.
    """
    rows = [line for line in lines if line.partition("#")[0].strip()]
    if not rows:
        raise DataError(f"{path}: holds no row: make or fetch it again")
    try:
        return np.loadtxt(rows, ndmin=2)
    except ValueError as error:
        raise DataError(f"{path}: not a table of numbers: {error}") from None
