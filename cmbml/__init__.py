"""cmbml: a reproducible data repository for cleaning the cosmic microwave background."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cmbml.core.dataset import Dataset

__all__ = ["open"]


def open(root: Path | str | None = None) -> "Dataset":  # noqa: A001
    """Open a repository's data for reading: ``cmbml.open()["nilc"].cleaned.at(split="test", sim=3).read()``.

    Parameters
    ----------
    root
        The repository; by default the nearest folder upwards that holds dvc.yaml.
    """
    from cmbml.core.dataset import Dataset

    return Dataset.open(root)
