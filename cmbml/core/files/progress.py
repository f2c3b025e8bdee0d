"""The progress of a long piece of work: what it goes on from after a kill, and no result."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmbml.core.handlers import get_handler


@dataclass(frozen=True)
class Progress:
    """A state in an executor's scratch folder, which belongs to one fingerprint and goes when that is made.

    Parameters
    ----------
    path
        Its file, ``self.scratch / NAME``; tensors and plain values.
    """

    path: Path

    def read(self) -> Any:
        """The state that was saved last; None before the first."""
        return get_handler("PyTorchModel").read(self.path) if self.path.is_file() else None

    def write(self, state: Any) -> None:
        """Save a state in the place of the one before."""
        get_handler("PyTorchModel").write(self.path, state)
