"""Samples that a stage has prepared, behind references to their files."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from cmbml.core import AssetRef
from cmbml.core.errors import DataError
from cmbml.methods.nn.batches import Sample
from cmbml.methods.nn.samples import as_float32, first_to_last


@dataclass(frozen=True)
class FileSamples(Dataset[Sample]):
    """Samples that a stage has prepared, one array each: first features, then target, along the first axis.

    Attributes
    ----------
    names
        Split and simulation of every sample.
    files
        Its file.
    n_target
        How many rows at the end are the target.
    """

    names: tuple[str, ...]
    files: tuple[AssetRef[NDArray[np.float32]], ...]
    n_target: int

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"<FileSamples: {first_to_last(self.names)}, {self.n_target} rows of target>"

    def __getitem__(self, index: int) -> Sample:
        rows = as_float32(self.files[index].read())
        if not torch.isfinite(rows).all():
            raise DataError(
                f"{self.names[index]}: its sample has values that are not finite: look at its maps"
            )
        return Sample(self.names[index], rows[: -self.n_target], rows[-self.n_target :])
