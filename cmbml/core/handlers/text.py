"""Text formats: plain text, yaml and csv."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cmbml.core.errors import DataError
from cmbml.core.handlers.base import AssetHandler
from cmbml.core.spec.yamlio import dump_yaml, read_yaml


class Text(AssetHandler[str]):
    """Plain text, UTF-8."""

    def read(self, path: Path) -> str:
        """Read the whole text."""
        return path.read_text(encoding="utf-8")

    def write(self, path: Path, data: str) -> None:
        """Write `data` as it is."""
        path.write_text(data, encoding="utf-8")


class Config(AssetHandler[dict[str, Any]]):
    """Plain values (mappings, lists, numbers, text) as yaml."""

    def read(self, path: Path) -> dict[str, Any]:
        """Read the values; nothing but plain values is ever made."""
        if not path.is_file():
            raise FileNotFoundError(path)
        return read_yaml(path)

    def write(self, path: Path, data: Mapping[str, Any]) -> None:
        """Write plain values, keys in their own order."""
        path.write_text(dump_yaml(data), encoding="utf-8")


class Csv(AssetHandler[Sequence[Mapping[str, Any]]]):
    """A table as rows of named values: a list of mappings with the same keys."""

    def read(self, path: Path) -> list[dict[str, Any]]:
        """Read the rows; numbers come back as numbers, empty cells as None.

        Raises
        ------
        DataError
            Where a row has more or fewer cells than there are columns, or the file is no table.
        """
        with path.open(encoding="utf-8", newline="") as file:
            try:
                columns, *rows = list(csv.reader(file, strict=True)) or [[]]
            except csv.Error as error:
                raise DataError(f"{path}: no table: {error}: make or fetch it again") from None
        if not columns or any(len(row) != len(columns) for row in rows):
            raise DataError(f"{path}: no table, or not {len(columns)} cells in a row: make or fetch it again")
        return [dict(zip(columns, map(_value, row), strict=True)) for row in rows]

    def write(self, path: Path, data: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows; floats keep all their digits.

        Raises
        ------
        DataError
            Where there is no row, or rows differ in their keys.
        """
        if not data:
            raise DataError("a table without rows has no columns: give at least one row")
        columns = list(data[0])
        for row in data:
            if list(row) != columns:
                raise DataError(f"rows differ in their columns: {list(row)} and {columns}")
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(data)


def _value(text: str) -> int | float | str | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None
