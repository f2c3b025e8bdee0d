"""PyTorch states."""

import struct
import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from cmbml.core.errors import DataError
from cmbml.core.handlers.base import AssetHandler

# What torch raises, wherever in a damaged file it stumbles.
_DAMAGED = (
    UnpicklingError, RuntimeError, EOFError, LookupError, OSError, ValueError, TypeError, AttributeError,
    AssertionError, struct.error,
)  # fmt: skip


class PyTorchModel(AssetHandler[dict[str, Any]]):
    """A state of tensors and plain values; nothing in the file is ever executed."""

    def read(self, path: Path, *, map_location: str = "cpu") -> dict[str, Any]:
        """Read the state onto the device `map_location`.

        Raises
        ------
        DataError
            Where the file is truncated, or holds anything but tensors and plain values.
        """
        import torch

        # In memory, so that an OSError of torch means damage and not the disk.
        content = BytesIO(path.read_bytes())
        try:
            # What torch warns of here ends in an error below.
            with warnings.catch_warnings(action="ignore"):
                return torch.load(content, map_location=map_location, weights_only=True)
        except _DAMAGED:
            # What torch says is advice to load the file in a way that may execute it.
            raise DataError(f"{path}: not a whole file of tensors and plain values: get it again") from None

    def write(self, path: Path, data: Mapping[str, Any]) -> None:
        """Write a state: tensors in mappings, lists and plain values."""
        import torch

        # Through a file object, since the archive would otherwise embed the file's name.
        with path.open("wb") as file:
            torch.save(data, file)
