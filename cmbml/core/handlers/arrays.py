"""Plain numpy arrays."""

from pathlib import Path
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
            return np.asarray(np.load(path, allow_pickle=False))
        except (ValueError, EOFError) as error:
            raise DataError(f"{path}: not a whole .npy file of numbers: {error}") from None

    def write(self, path: Path, data: NDArray[Any]) -> None:
        """Write the array with its own dtype."""
        with path.open("wb") as file:
            np.save(file, data, allow_pickle=False)
