"""What a block reads, watched: what changes under a run would be recorded as what it was before."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cmbml.core.errors import DataError, StageError
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.plan.modules import read_at
from cmbml.core.plan.pieces import Piece, Portion
from cmbml.core.record.facts import Facts
from cmbml.core.spec.signature import Signature, signature


class Watch:
    """Files that the pieces of a block are made from, with their signatures when they were fingerprinted.

    Parameters
    ----------
    plan
        What is wanted.
    facts_of
        Gives what has been made of a portion.
    pieces
        The pieces, neighbours in one portion.

    Raises
    ------
    DataError
        Where an input is not complete.
    """

    def __init__(self, plan: Plan, facts_of: Callable[[Portion], Facts], pieces: Iterable[Piece]) -> None:
        self._plan = plan
        self._facts_of = facts_of
        self._of_portion: dict[Path, Signature | None] = {}
        self._own: dict[Piece, dict[Path, Signature | None]] = {}
        for piece in pieces:
            if not self._own:
                self._of_portion = self._shared(piece.portion)
            self._own[piece] = dict(self._inputs(piece))

    def _shared(self, portion: Portion) -> dict[Path, Signature | None]:
        """Of parameters, pipeline, code, files, programs, science assets, and inputs that all read whole."""
        stage = self._plan.stages[portion.stage]
        assets = [
            p for name in self._plan.config.inputs(stage) for p in self._plan.raw_files(stage, name).values()
        ]
        assets += [p for paths in self._plan.files_of(stage).values() for p in paths]
        assets += [p for files in self._plan.program_files(stage.key).values() for p in files.values()]
        found = {
            **self._plan.config.read_at,
            **{file: read_at(file) for file in self._plan.code(stage).files},
            **{path: signature(path) for path in assets},
        }
        for readings in self._plan.readings(portion).values():
            for source, alone in readings:
                for piece in () if alone else self._plan.pieces(source):
                    found |= self._of_input(piece)
        return found

    def _inputs(self, piece: Piece) -> Iterator[tuple[Path, Signature | None]]:
        """Of the inputs of which a piece reads its own part alone."""
        for readings in self._plan.readings(piece.portion).values():
            for source, alone in readings:
                if alone:
                    yield from self._of_input(Piece(source, piece.sim)).items()

    def _of_input(self, piece: Piece) -> dict[Path, Signature | None]:
        facts = self._facts_of(piece.portion)
        fact = facts.present(piece)
        if fact is None:
            raise DataError(f"{piece}: is read, and not complete: {facts.stale(piece)}: run its stage first")
        return {facts.root / path: facts.memo.signature(path) for path in fact.files}

    def expect_unchanged(self, pieces: Iterable[Piece]) -> None:
        """Check that what some of the pieces were made from is still as it was.

        Raises
        ------
        StageError
            Where it is not; it names the file.
        """
        for found in (self._of_portion, *(self._own[piece] for piece in pieces)):
            for path, before in found.items():
                if signature(path) != before:
                    raise StageError(
                        f"{path} has changed under the run: what was made of it is not kept: run again"
                    )
