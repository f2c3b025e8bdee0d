"""Angular power spectra."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmbml.core.errors import DataError
from cmbml.core.handlers.base import AssetHandler
from cmbml.core.handlers.columns import number_table
from cmbml.core.spec.encoding import read_text

Spectra = Mapping[str, NDArray[Any]]


class PowerSpectrum(AssetHandler[Spectra]):
    """Spectra C_l by name, as a text table with a column of l that starts at 0; float64, all digits."""

    unit = "uK_CMB^2"

    def read(self, path: Path) -> dict[str, NDArray[Any]]:
        """Read C_l by name, each from l = 0.

        Raises
        ------
        DataError
            Where the table does not start with a row of names, is ragged, skips an l, or is not finite.
        """
        first, *lines = read_text(path).split("\n")
        names, table = first.lstrip("#").split(), number_table(path, lines)
        if not names or names[0] != "ell" or table.shape[1] != len(names):
            raise DataError(f"{path}: expected a first line of names, 'ell' first, one for each column")
        if not np.array_equal(table[:, 0], np.arange(len(table))):
            raise DataError(f"{path}: column 'ell' must count from 0 without gaps")
        if not np.isfinite(table).all():
            raise DataError(f"{path}: holds NaN or infinite values: make it anew")
        return dict(zip(names[1:], table.T[1:], strict=True))

    def write(self, path: Path, data: Spectra, *, note: str = "") -> None:
        """Write C_l by name, all of one length, from l = 0; `note` becomes a comment, the second line."""
        columns = [np.asarray(column) for column in data.values()]
        table = np.column_stack([np.arange(len(columns[0])), *columns])
        formats = ["%d", *["%.17g"] * len(columns)]
        np.savetxt(
            path, table, fmt=formats, header="\n".join([" ".join(["ell", *data]), *([note] if note else [])])
        )


class CambPowerSpectrum(PowerSpectrum):
    """Theory spectra of one cosmology: as `PowerSpectrum`, with the lensed and the unlensed ones by name.

    Unlike CAMB's own text files these are C_l, not l(l+1)C_l/2pi, so no factor can be applied twice.
    """

    def write(self, path: Path, data: Spectra, *, note: str = "") -> None:
        """Write C_l by name; `note` says how they were computed.

        Raises
        ------
        DataError
            Where the temperature spectrum TT is not among them.
        """
        if "TT" not in data:
            raise DataError(f"theory spectra without TT: {', '.join(data)}")
        super().write_whole(path, data, note=note)
