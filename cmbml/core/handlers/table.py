"""Tables with units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cmbml.core.errors import DataError
from cmbml.core.handlers.base import AssetHandler

if TYPE_CHECKING:
    from pathlib import Path

    from astropy.table import QTable as Table


class QTable(AssetHandler["Table"]):
    """An astropy QTable as ECSV: columns with units in readable text."""

    def read(self, path: Path) -> Table:
        """Read the table as an `astropy.table.QTable`.

        Raises
        ------
        DataError
            Where the file is not ECSV.
        """
        from astropy.io.registry import IORegistryError
        from astropy.table import QTable as Table

        if not path.is_file():
            raise FileNotFoundError(path)
        try:
            return Table.read(path, format="ascii.ecsv")
        except (ValueError, IORegistryError) as error:
            raise DataError(f"{path}: not a readable ECSV table: {' '.join(str(error).split())}") from None

    def write(self, path: Path, data: Table) -> None:
        """Write an astropy table."""
        data.write(path, format="ascii.ecsv", overwrite=True)
