"""Tables with units."""

from pathlib import Path
from typing import Any

from cmbml.core.errors import DataError
from cmbml.core.handlers.base import AssetHandler


class QTable(AssetHandler):
    """An astropy QTable as ECSV: columns with units in readable text."""

    def read(self, path: Path) -> Any:
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

    def write(self, path: Path, data: Any) -> None:
        """Write an astropy table."""
        data.write(path, format="ascii.ecsv", overwrite=True)
