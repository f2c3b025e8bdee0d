"""Pieces on their way from unfinished files to facts: on the disk, then under their names, then recorded."""

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cmbml.core.engine.watch import Watch
from cmbml.core.errors import StageError
from cmbml.core.files.checksums import md5_of, sync_disk
from cmbml.core.handlers.base import (
    AssetHandler,
    explain_storage,
    remove_unfinished,
    stage_file,
    temporary_path,
)
from cmbml.core.plan.pieces import Piece
from cmbml.core.record.dvc_cache import cached_file
from cmbml.core.record.facts import Fact, Facts
from cmbml.core.spec.repository import LOCAL
from cmbml.core.spec.signature import signature

# A disk is asked to write all that it holds back at most this often; a kill costs no more than that.
_SECONDS = 1.0


@dataclass
class Staging:
    """Collects the unfinished files of one piece."""

    root: Path
    files: dict[str, Path] = field(default_factory=dict)

    def __call__(self, handler: AssetHandler[Any], path: Path, data: Any, options: dict[str, Any]) -> None:
        """Write an unfinished file: what an executor's assets call."""
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

    def contents(self) -> dict[str, tuple[int, str]]:
        """Bytes and MD5 of every file."""
        return {name: (path.stat().st_size, md5_of(path)) for name, path in sorted(self.files.items())}

    def discard(self) -> None:
        """Remove what has not taken its name."""
        for path in self.files.values():
            remove_unfinished(path)


def scratch_folder(root: Path, fingerprint: str) -> Path:
    """Where a piece keeps its progress: never that of other code, parameters or inputs."""
    return root / LOCAL / "scratch" / fingerprint


class Batch:
    """Pieces of one portion that are made, and take their names together.

    Parameters
    ----------
    facts
        What has been made of the portion.
    root
        The repository.
    watch
        What they are made from; None where they come from DVC's cache.
    """

    def __init__(self, facts: Facts, root: Path, watch: Watch | None = None) -> None:
        self.facts = facts
        self._root = root
        self._watch = watch
        self._waiting: list[tuple[Piece, Fact, Staging]] = []
        self._since = time.monotonic()

    def add(self, piece: Piece, fact: Fact, staging: Staging) -> None:
        """Add a piece with its unfinished files."""
        self._waiting.append((piece, fact, staging))

    @property
    def is_due(self) -> bool:
        """Whether pieces have waited long enough."""
        return time.monotonic() - self._since > _SECONDS

    def commit(self) -> None:
        """Let files reach the disk, then take their names, let these reach it too, and record all.

        So a loss of power leaves no fact without its files, and files without a fact are made again.

        Raises
        ------
        StageError
            Where something that they were made from has changed.
        """
        if self._waiting:
            if self._watch is not None:
                self._watch.expect_unchanged(piece for piece, _, _ in self._waiting)
            sync_disk(self._root)
            for _, fact, staging in self._waiting:
                self._name(fact, staging)
            sync_disk(self._root)
            self.facts.add(fact for _, fact, _ in self._waiting)
            for _, fact, _ in self._waiting:
                shutil.rmtree(scratch_folder(self._root, fact.fingerprint), ignore_errors=True)
        self._waiting = []
        self._since = time.monotonic()

    def _name(self, fact: Fact, staging: Staging) -> None:
        for path, unfinished in staging.files.items():
            try:
                unfinished.replace(self._root / path)
            except OSError as error:  # a folder in its place, for instance
                raise explain_storage(self._root / path, error) from error
            found = signature(self._root / path)
            if found is not None:
                self.facts.memo.note(path, found, fact.files[path][1])

    def discard(self) -> None:
        """Remove what has not taken its name."""
        for _, _, staging in self._waiting:
            staging.discard()
