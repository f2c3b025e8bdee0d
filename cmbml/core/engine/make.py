"""Runs executors over the pieces of a plan: never half-written, never twice, nothing undeclared."""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from threadpoolctl import threadpool_limits

from cmbml import baseline
from cmbml.core.engine.batch import Batch, Staging, scratch_folder
from cmbml.core.engine.watch import Watch
from cmbml.core.errors import CmbmlError, DataError, StageError
from cmbml.core.plan.bytecode import pin_bytecode
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.plan.pieces import Piece, Portion
from cmbml.core.record.cost import measured
from cmbml.core.record.facts import Facts
from cmbml.core.record.locks import hold
from cmbml.core.spec.config import resolve
from cmbml.core.spec.pipeline import Stage
from cmbml.core.stage.executor import BaseStageExecutor
from cmbml.core.stage.sealed import Access, StageConfig

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Reporter:
    """Told what happens; by default it says nothing."""

    def piece(self, piece: Piece, how: str) -> None:
        """A piece is there: ``made`` or ``restored``."""

    def note(self, line: str) -> None:
        """Something a user would want to read."""


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
        self._facts: dict[Portion, Facts] = {}
        if library := baseline.hold().too_late:
            self.reporter.note(
                f"{library} was loaded before cmbml: the last digits may depend on the processor: "
                "import cmbml first"
            )

    def facts(self, portion: Portion) -> Facts:
        """What has been made of a portion."""
        if portion not in self._facts:
            self._facts[portion] = Facts(self.plan, portion)
        return self._facts[portion]

    def unfinished(self) -> list[Stage]:
        """Stages of which not all is complete."""
        return [
            stage
            for stage in self.plan.stages.values()
            if not all(self.facts(portion).complete() for portion in self.plan.portions(stage))
        ]

    def make_executor(self, stage_key: str, method: str | None) -> BaseStageExecutor:
        """Make the executor of a stage, for one method where the stage loops over them."""
        stage = self.plan.stages[stage_key]
        pin_bytecode(self.plan.code(stage).files)
        kind = self.plan.executors.get(stage_key) or resolve(stage.executor or "", stage.where)
        facts = self.plan.split_facts(stage, method)
        view = StageConfig(Access(self.plan.config, method, split_facts=facts))
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
            Make them even where they are complete, or could be brought back.
        """
        facts = self.facts(pieces[0].portion)
        with self._hold(facts, pieces[0].sim or 0, len(pieces)):
            wanted = pieces if force else facts.flaws(pieces)
            missing = [piece for piece in wanted if force or not self._restore(facts, piece)]
            if missing:
                self._make(facts, missing)

    def finalise(self, portion: Portion) -> None:
        """Close a portion: prune, and write its manifest."""
        facts = self.facts(portion)
        with self._hold(facts):
            if facts.complete():
                facts.sweep()
            else:
                facts.finalise()

    def _hold(self, facts: Facts, first: int = 0, count: int = 0) -> AbstractContextManager[None]:
        """Lock some pieces of a portion, or the whole of it."""
        return hold(facts.lock, str(facts.portion), self.reporter.note, first, count)

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
                if source not in found and not self.facts(source).complete():
                    found.append(source)
                    waiting.append(source)
        return found

    def _restore(self, facts: Facts, piece: Piece) -> bool:
        """Bring back from DVC's cache what was once made with this fingerprint; say whether it is there."""
        for fact in facts.known(piece):
            batch, staging = Batch(facts, self.plan.config.root), Staging(self.plan.config.root)
            batch.add(piece, fact, staging)
            try:
                if all(staging.copy_cached(path, md5) for path, (_, md5) in fact.files.items()):
                    batch.commit()
                    self.reporter.piece(piece, "restored")
                    return True
            finally:
                batch.discard()
        return False

    def _make(self, facts: Facts, pieces: list[Piece]) -> None:
        portion = pieces[0].portion
        stage = self.plan.stages[portion.stage]
        watch = Watch(self.plan, self.facts, pieces)
        batch = Batch(facts, self.plan.config.root, watch)
        with _threads(stage.threads), ExitStack() as stack:
            executor = self.make_executor(portion.stage, portion.method)
            if portion.split:
                executor.restrict_to(portion.split)
                stack.enter_context(executor.name_tracker.set_context("split", portion.split))
            loop = self.plan.code(stage).loop
            made = stack.enter_context(measured(self.plan, portion))
            stack.callback(batch.discard)
            stack.callback(batch.commit)
            for number, piece in enumerate(pieces):
                with _located(piece):
                    if number == 0 and loop != "execute" and portion.split:
                        executor.setup()
                    self._make_piece(batch, executor, piece, loop)
                made.append(piece)
                self.reporter.piece(piece, "made")
                if batch.is_due:
                    batch.commit()

    def _make_piece(self, batch: Batch, executor: BaseStageExecutor, piece: Piece, loop: str) -> None:
        root = self.plan.config.root
        executor.writer = staging = Staging(root)
        executor.scratch = scratch_folder(root, self.plan.fingerprint(piece))
        try:
            _call(executor, piece, loop)
            _expect_files(piece, sorted(staging.files), self.plan.files(piece))
            batch.add(piece, batch.facts.new(piece, staging.contents()), staging)
        except BaseException:
            staging.discard()
            raise


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
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(number)))
    with threadpool_limits(limits=number):
        yield
