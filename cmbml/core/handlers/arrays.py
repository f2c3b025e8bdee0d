"""Plain numpy arrays."""

from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmbml.core.errors import DataError
from cmbml.core.handlers.base import AssetHandler


class NumpyMap(AssetHandler[NDArray[Any]]):
    """One array as .npy."""

    def read(self, path: Path) -> NDArray[Any]:
        """Read the array.

        Raises
        ------
        DataError
            Where the file is damaged, or holds objects.
        """
        try:
            with path.open("rb") as file:
                return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
        except (ValueError, EOFError, TokenError, MemoryError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{path}: not a whole .npy file of numbers: {reason}") from None

    def write(self, path: Path, data: NDArray[Any]) -> None:
        """Write the array with its own dtype."""
        with path.open("wb") as file:
            np.save(file, data, allow_pickle=False)
