"""cmbml: a reproducible data repository for cleaning the cosmic microwave background."""

from pathlib import Path
from typing import TYPE_CHECKING

from cmbml.baseline import hold

if TYPE_CHECKING:
    from cmbml.core.views.dataset import Dataset
    from cmbml.exchange.torch_dataset import SkyDataset

__all__ = ["open", "torch_dataset"]

hold()  # before anything that computes is loaded


def open(root: Path | str | None = None) -> "Dataset":  # noqa: A001
    """Open a repository's data for reading: ``cmbml.open()["nilc"].cleaned.at(split="test", sim=3).read()``.

    Parameters
    ----------
    root
        The repository; by default the nearest folder upwards that holds dvc.yaml.
    """
    from cmbml.core.views.dataset import Dataset

    return Dataset.open(root)


def torch_dataset(split: str, root: Path | str | None = None) -> "SkyDataset":
    """Observed bands and CMB of a split, for a PyTorch DataLoader: ``cmbml.torch_dataset("train")``.

    Parameters
    ----------
    split
        Name of the split.
    root
        The repository; by default the nearest folder upwards that holds dvc.yaml.
    """
    from cmbml.exchange.torch_dataset import sky_dataset

    return sky_dataset(split, root)
