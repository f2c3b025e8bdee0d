"""Runs executors over the pieces of a plan: never half-written, never twice, nothing undeclared."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from cmbml.core.errors import CmbmlError, DataError, StageError
from cmbml.core.files.checksums import md5_of, sync_disk
from cmbml.core.handlers.base import AssetHandler, explain_storage, stage_file, temporary_path
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.plan.pieces import Piece, Portion
from cmbml.core.record.cost import measured
from cmbml.core.record.dvc_cache import cached_file
from cmbml.core.record.journal import Entry
from cmbml.core.record.ledger import Ledger
from cmbml.core.record.locks import hold
from cmbml.core.spec.config import resolve
from cmbml.core.spec.repository import LOCAL
from cmbml.core.stage.executor import BaseStageExecutor
from cmbml.core.stage.sealed import Access, StageConfig

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Reporter:
    """Told what happens; by default it says nothing."""

    def piece(self, piece: Piece, how: str) -> None:
        """A piece is there: ``made`` or ``restored``."""

    def note(self, line: str) -> None:
        """Something a user would want to read."""


@dataclass
class _Staging:
    """Collects the unfinished files of one piece."""

    root: Path
    files: dict[str, Path] = field(default_factory=dict)

    def __call__(self, handler: AssetHandler[Any], path: Path, data: Any, options: dict[str, Any]) -> None:
        name = str(path).removeprefix(f"{self.root}/")
        if name in self.files:
            raise StageError(
                f"{name}: written twice for one simulation: set a context that tells the two apart"
            )
        self.files[name] = stage_file(handler, path, data, options)

    def copy_cached(self, name: str, md5: str) -> bool:
        """Copy a file from the DVC cache; say whether it is there, and sound."""
        source = cached_file(self.root, md5)
        if source is None:
            return False
        unfinished = self.files[name] = temporary_path(self.root / name)
        try:
            unfinished.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, unfinished)
        except OSError as error:
            raise explain_storage(self.root / name, error) from error
        return md5_of(unfinished) == md5

    def discard(self) -> None:
        """Remove what has not taken its name."""
        for path in self.files.values():
            path.unlink(missing_ok=True)


class Engine:
    """Makes the pieces of a plan.

    Parameters
    ----------
    plan
        What is wanted.
    reporter
        Told of every piece.
    """

    def __init__(self, plan: Plan, reporter: Reporter | None = None) -> None:
        self.plan = plan
        self.reporter = reporter or Reporter()
        self._ledgers: dict[Portion, Ledger] = {}

    def ledger(self, portion: Portion) -> Ledger:
        """What has been made of a portion."""
        if portion not in self._ledgers:
            self._ledgers[portion] = Ledger(self.plan, portion)
        return self._ledgers[portion]

    def make_executor(self, stage_key: str, method: str | None) -> BaseStageExecutor:
        """Make the executor of a stage, for one method where the stage loops over them."""
        stage = self.plan.stages[stage_key]
        kind = self.plan.executors.get(stage_key) or resolve(stage.executor or "", stage.where)
        view = StageConfig(Access(self.plan.config, method))
        executor = kind(view)
        if not isinstance(executor, BaseStageExecutor) or executor.stage.key != stage_key:
            raise StageError(
                f"{stage.where}: {kind.__name__} is not made for stage '{stage_key}': mend stage_str"
            )
        return executor

    def run_block(self, pieces: Sequence[Piece], *, force: bool = False) -> None:
        """Make those of `pieces`, neighbours in one portion, that are not complete.

        Parameters
        ----------
        pieces
            What to make; other blocks of the portion may be made at the same time.
        force
            Make them even where they are complete.
        """
        ledger = self.ledger(pieces[0].portion)
        with self._hold(ledger, pieces[0].sim or 0, len(pieces)):
            entries = ledger.entries
            wanted = [piece for piece in pieces if force or ledger.stale(piece, entries)]
            if wanted:
                with ledger.journal.writing():
                    self._fill(ledger, wanted, force=force)

    def _fill(self, ledger: Ledger, wanted: list[Piece], *, force: bool) -> None:
        """Restore or make pieces, and let them all reach the disk at once."""
        try:
            missing = wanted if force else self._without_restored(ledger, wanted)
            if missing:
                self._make(ledger, missing)
        finally:
            if ledger.folder.is_dir():
                sync_disk(ledger.folder)

    def finalise(self, portion: Portion) -> None:
        """Close a portion: prune, and write its manifest."""
        ledger = self.ledger(portion)
        with self._hold(ledger):
            if not ledger.complete():
                ledger.finalise()

    def _hold(self, ledger: Ledger, first: int = 0, count: int = 0) -> AbstractContextManager[None]:
        """Lock some pieces of a portion, or the whole of it."""
        return hold(ledger.lock, str(ledger.portion), self.reporter.note, first, count)

    def require_inputs(self, portion: Portion) -> None:
        """Check that all a portion reads from is complete.

        Raises
        ------
        DataError
            Where it is not; it names the command that runs all that is missing.
        """
        if missing := self._missing(portion):
            stages = [key for key in self.plan.stages if key in {source.stage for source in missing}]
            raise DataError(
                f"{portion}: its input {missing[0]} is not complete: run stage '{missing[0].stage}' first: "
                f"`cmbml run {' '.join([*stages, portion.stage])}`"
            )

    def _missing(self, portion: Portion) -> list[Portion]:
        """All that a portion reads from, directly or not, and that is not complete; the direct ones first."""
        waiting, found = [portion], list[Portion]()
        while waiting:
            for source in self.plan.sources(waiting.pop(0)):
                if source not in found and not self.ledger(source).complete():
                    found.append(source)
                    waiting.append(source)
        return found

    def _without_restored(self, ledger: Ledger, pieces: list[Piece]) -> list[Piece]:
        """Bring back from the DVC cache what was once made with the same fingerprint; return the others."""
        remembered = {entry.fingerprint: entry for entry in ledger.entries.values()} | ledger.remembered()
        return [piece for piece in pieces if not self._restore(ledger, piece, remembered)]

    def _restore(self, ledger: Ledger, piece: Piece, remembered: dict[str, Entry]) -> bool:
        entry = remembered.get(self.plan.fingerprint(piece))
        if entry is None or sorted(entry.files) != self.plan.files(piece):
            return False
        staging = _Staging(self.plan.config.root)
        try:
            if not all(staging.copy_cached(path, md5) for path, (_, md5) in entry.files.items()):
                return False
            self._commit(ledger, entry, staging)
        finally:
            staging.discard()
        self.reporter.piece(piece, "restored")
        return True

    def _make(self, ledger: Ledger, pieces: list[Piece]) -> None:
        portion = pieces[0].portion
        stage = self.plan.stages[portion.stage]
        with _threads(stage.threads), ExitStack() as stack:
            executor = self.make_executor(portion.stage, portion.method)
            if portion.split:
                executor.restrict_to(portion.split)
                stack.enter_context(executor.name_tracker.set_context("split", portion.split))
            loop = self.plan.code(stage).loop
            made = stack.enter_context(measured(self.plan, portion))
            for number, piece in enumerate(pieces):
                with _located(piece):
                    if number == 0 and loop != "execute" and portion.split:
                        executor.setup()
                    self._make_piece(ledger, executor, piece, loop)
                made.append(piece)
                self.reporter.piece(piece, "made")

    def _make_piece(self, ledger: Ledger, executor: BaseStageExecutor, piece: Piece, loop: str) -> None:
        root = self.plan.config.root
        executor.writer = staging = _Staging(root)
        # By fingerprint: progress made with other code, parameters or inputs is never taken up.
        executor.scratch = root / LOCAL / "scratch" / self.plan.fingerprint(piece)
        try:
            _call(executor, piece, loop)
            _expect_files(piece, sorted(staging.files), self.plan.files(piece))
            files = {
                path: [unfinished.stat().st_size, md5_of(unfinished)]
                for path, unfinished in sorted(staging.files.items())
            }
            self._commit(ledger, ledger.new_entry(piece, files), staging)
            shutil.rmtree(executor.scratch, ignore_errors=True)
        except BaseException:
            staging.discard()
            raise

    def _commit(self, ledger: Ledger, entry: Entry, staging: _Staging) -> None:
        """Let the files take their names, between two lines of the journal."""
        ledger.journal.intend(entry)
        for path, unfinished in staging.files.items():
            unfinished.replace(self.plan.config.root / path)
        ledger.journal.confirm(entry)


def _call(executor: BaseStageExecutor, piece: Piece, loop: str) -> None:
    portion, sim = piece
    if portion.split is None or loop == "execute":
        executor.execute()
        return
    split = executor.splits[0]
    if sim is None:
        executor.process_split(split)
        return
    with executor.name_tracker.set_context("sim", sim):
        executor.process_sim(split, sim)


def _expect_files(piece: Piece, written: list[str], declared: list[str]) -> None:
    """Declared = written."""
    if missing := [path for path in declared if path not in written]:
        raise StageError(f"{piece}: declares {missing[0]} but did not write it: write it, or mend assets_out")
    if extra := [path for path in written if path not in declared]:
        raise StageError(f"{piece}: wrote {extra[0]}, which assets_out does not declare: declare it")


@contextmanager
def _located(piece: Piece) -> Iterator[None]:
    """Say of any failure which piece it was, and how to repeat it."""
    split = f" --split {piece.portion.split}" if piece.portion.split else ""
    method = f" --method {piece.portion.method}" if piece.portion.method else ""
    sim = "" if piece.sim is None else f" --sim {piece.sim}"
    again = f"python -m cmbml run {piece.portion.stage}{method}{split}{sim}"
    try:
        yield
    except CmbmlError as error:
        raise type(error)(f"{piece}: {error} (repeat with: {again})") from error
    except Exception as error:
        error.add_note(f"in {piece}; repeat with: {again} --pdb")
        raise


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Fix the number of threads: of libraries that are loaded, and of those that will be."""
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(number)))
    with threadpool_limits(limits=number):
        yield
