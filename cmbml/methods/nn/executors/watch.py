"""What one sees of a training while it runs: a bar, and curves for DVC and TensorBoard."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tqdm import tqdm

from cmbml.methods.nn.batches import Batches, Sample

LOG = logging.getLogger("cmbml")
Row = dict[str, float]


class Watch:
    """Follows a training; as a context.

    Parameters
    ----------
    folder
        For the curves; what was there is replaced.  None: all is silent.
    name
        Of the training.
    epochs
        At most so many.
    rows
        The curve so far, of a training that is resumed.
    """

    def __init__(self, folder: Path | None, name: str, epochs: int, rows: list[Row]) -> None:
        self._folder, self._name, self._epochs, self._rows = folder, name, epochs, rows
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._open_files(self._folder)
            for row in self._rows:
                self._write(row)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def over(self, batches: Batches) -> Batches:
        """The batches, counted by the bar; it shows on a terminal only."""
        self._bar = tqdm(
            total=self._epochs * len(batches),
            initial=len(self._rows) * len(batches),
            desc=self._name,
            unit="batch",
            # None: where there is a terminal
            disable=None if self._folder else True,
            leave=False,
        )
        self._stack.enter_context(self._bar)
        return _Counted(batches, self._bar)

    def epoch(self, row: Row, line: str) -> None:
        """Show the end of an epoch; the line is logged, above the bar."""
        with tqdm.external_write_mode():
            LOG.info(line)
        self._bar.set_postfix({name: row[name] for name in ("train", "valid")})
        self._write(row)

    def _open_files(self, folder: Path) -> None:
        from dvclive import Live
        from tensorboardX import SummaryWriter

        # dvc.yaml is derived from the pipeline, and git is the user's
        self._live = Live(str(folder), save_dvc_exp=False, dvcyaml=False)
        self._events = SummaryWriter(str(folder))
        self._stack.callback(self._events.close)

    def _write(self, row: Row) -> None:
        self._live.step = step = int(row["epoch"])
        for name in row.keys() - {"epoch"}:
            self._live.log_metric(name, row[name])
            self._events.add_scalar(name, row[name], step)
        self._live.next_step()
        self._events.flush()


class _Counted:
    """Batches that a bar counts."""

    def __init__(self, batches: Batches, bar: "tqdm[None]") -> None:
        self._batches, self._bar = batches, bar

    def set_epoch(self, epoch: int) -> None:
        self._batches.set_epoch(epoch)

    def __iter__(self) -> Iterator[Sample]:
        for sample in self._batches:
            yield sample
            self._bar.update()

    def __len__(self) -> int:
        return len(self._batches)
