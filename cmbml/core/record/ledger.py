"""What has been made: the manifest in every out directory, and the journals of work under way.

A manifest is the only authority on completeness.  It is sorted, holds no time, host or absolute path, and
travels with the data.  A file that is younger than its manifest was touched by others, and is read before it
is believed.  While pieces are made, each process journals outside the out directories: *intent*, before files
take their names, and *done*, after.  What a crash leaves at intent is judged by its hashes.
"""

import gc
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any

from cmbml.core.errors import DataError
from cmbml.core.files.checksums import md5_of
from cmbml.core.files.jsonlines import read_lines, write_lines
from cmbml.core.handlers.base import TEMPORARY
from cmbml.core.plan.fingerprints import Plan, differences
from cmbml.core.plan.pieces import Piece, Portion
from cmbml.core.record.journal import Entry, Journal
from cmbml.core.spec.repository import LOCAL, MANIFEST

_HEADER = "recipe"
# Where the time of change stands in a signature.
_MTIME = 2


class Ledger:
    """What has been made of one portion.

    Parameters
    ----------
    plan
        What is wanted.
    portion
        Which out directory.
    """

    def __init__(self, plan: Plan, portion: Portion) -> None:
        self.plan = plan
        self.portion = portion
        self.root = plan.config.root
        self.folder = plan.folder(portion)
        self.manifest = self.folder / MANIFEST
        local = self.root / LOCAL
        name = ".".join([plan.config.dataset, *(part for part in portion if part)])
        self.journal = Journal(local / "journal" / name)
        self.attic = local / "attic" / f"{name}.jsonl"
        self.lock = local / "locks" / f"{name}.lock"
        # Times of change of files that were read since, and found to be what was made.
        self._read_at: dict[str, int] = {}
        # Signatures of files as they were last read; () before.
        self._manifest_seen: Any = ()
        self._attic_seen: Any = ()
        self._complete_at: Any = ()
        self._attic: dict[str, Entry] = {}
        self._recipes: dict[str, dict[str, Any]] = {}
        self._finalised: dict[int | None, Entry] = {}
        self._entries: dict[int | None, Entry] = {}

    @property
    def entries(self) -> dict[int | None, Entry]:
        """Entries of the manifest, overlaid by the journals; read on where another process wrote."""
        self._refresh()
        return self._entries

    @property
    def finalised(self) -> dict[int | None, Entry]:
        """Entries of the manifest alone."""
        self._refresh()
        return self._finalised

    def _refresh(self) -> None:
        seen = _signature(self.manifest)
        fresh = seen != self._manifest_seen
        if fresh:
            self._read_manifest()
            self._manifest_seen = seen
        before = set(self.journal.last)
        new = self.journal.refresh()
        if fresh or before - set(self.journal.last):
            self._entries = dict(self._finalised)
            new = set(self.journal.last)
        for sim in new:
            self._overlay(sim)

    def _read_manifest(self) -> None:
        with no_garbage():
            records = list(read_lines(self.manifest))
            self._recipes = {record[_HEADER]: record for record in records if "sim" not in record}
            self._finalised = {record["sim"]: Entry(**record) for record in records if "sim" in record}

    def _overlay(self, sim: int | None) -> None:
        """Take over the last state of a journalled piece; a crash may have left it broken."""
        record = self.journal.last[sim]
        if record.done or self._matches(record.entry):
            self._entries[sim] = record.entry
        else:
            self._entries.pop(sim, None)

    def _matches(self, entry: Entry) -> bool:
        return all(
            (self.root / path).is_file() and md5_of(self.root / path) == md5
            for path, (_, md5) in entry.files.items()
        )

    def stale(self, piece: Piece, entries: dict[int | None, Entry] | None = None) -> str | None:
        """Say in a few words why a piece must be made; None where it is complete."""
        entry = (self.entries if entries is None else entries).get(piece.sim)
        if entry is None:
            return "never made"
        if entry.fingerprint != self.plan.fingerprint(piece):
            return self._difference(entry, piece)
        if [*entry.files] != self.plan.files(piece):
            return "other files are declared"
        record = self.journal.last.get(piece.sim)
        recorded = record.time if record else self._manifest_seen[_MTIME]
        for path, (size, md5) in entry.files.items():
            if flaw := self._flaw(path, size, md5, recorded):
                return f"{path} {flaw}"
        return None

    def _flaw(self, path: str, size: int, md5: str, recorded: int) -> str | None:
        """What is wrong with a file; it is read only where it changed after it was recorded."""
        try:
            found = os.stat(f"{self.root}/{path}")  # noqa: PTH116 (half the time of Path.stat)
        except FileNotFoundError:
            return "is missing"
        if found.st_size != size:
            return f"is {found.st_size} bytes instead of {size}"
        if found.st_mtime_ns > max(recorded, self._read_at.get(path, 0)):
            if md5_of(self.root / path) != md5:
                return "is not what was made"
            self._read_at[path] = found.st_mtime_ns
        return None

    def damaged(self, piece: Piece) -> list[str]:
        """Files of a complete piece whose content is not what it was when they were made."""
        entry = self.entries[piece.sim]
        return [path for path, (_, md5) in entry.files.items() if md5_of(self.root / path) != md5]

    def foreign(self) -> list[str]:
        """Files in the out directory that no piece made; DVC would version them all the same."""
        ours = {path for entry in self.entries.values() for path in entry.files}
        found = (path for path in self.folder.rglob("*") if path.is_file() and path.name != MANIFEST)
        names = {str(path.relative_to(self.root)) for path in found if not path.name.startswith(TEMPORARY)}
        return sorted(names - ours)

    def _difference(self, entry: Entry, piece: Piece) -> str:
        """Name what changed between an entry's fingerprint and the wanted one."""
        wanted = self.plan.recipe(self.portion)
        if entry.recipe == wanted.digest:
            wanted_inputs = self.plan.input_digests(piece)
            inputs = [name for name, digest in wanted_inputs.items() if entry.inputs.get(name) != digest]
            return f"changed: input {', input '.join(inputs)}" if inputs else "another simulation's"
        old = self._recipes.get(entry.recipe)
        if old is None:
            return "made with other code or parameters, by a run that did not end"
        changed = [f"{kind} {key}" for kind, key in differences(old, asdict(wanted))]
        return f"changed: {', '.join(changed)}"

    def complete(self) -> bool:
        """Whether the manifest says, and sizes confirm, that all wanted pieces and no others are there.

        A yes is kept while the manifest stays as it is: Luigi asks again for every task that reads from here.
        """
        if not self.closed():
            return False
        if self._complete_at != self._manifest_seen:
            start = time.time_ns()
            finalised = self.finalised
            with no_garbage():
                if any(self.stale(piece, finalised) for piece in self.plan.pieces(self.portion)):
                    return False
            if self._read_at:
                self._vouch(start)
            self._complete_at = self._manifest_seen
        return True

    def _vouch(self, now: int) -> None:
        """Date the manifest after files that a checkout brought later than it, and that were read."""
        # Where the data may only be read, its files are read again every time.
        with suppress(PermissionError):
            os.utime(self.manifest, ns=(now, now))
            self._manifest_seen = _signature(self.manifest)
            self._read_at = {}

    def closed(self) -> bool:
        """Whether the manifest has an entry for all wanted pieces and no others, and no journal is open."""
        if self.journal.files():
            return False
        return self.finalised.keys() == {piece.sim for piece in self.plan.pieces(self.portion)}

    def new_entry(self, piece: Piece, files: dict[str, list[Any]]) -> Entry:
        """Describe a piece that has just been made."""
        return Entry(
            sim=piece.sim,
            fingerprint=self.plan.fingerprint(piece),
            recipe=self.plan.recipe(self.portion).digest,
            identity=self.plan.identity(piece),
            inputs=self.plan.input_digests(piece),
            files=files,
        )

    def finalise(self) -> None:
        """Write the manifest, remove what is ours and no longer wanted, and close the journals.

        Raises
        ------
        DataError
            Where a piece is not complete.
        """
        pieces = self.plan.pieces(self.portion)
        entries = self.entries
        for piece in pieces:
            if reason := self.stale(piece, entries):
                raise DataError(f"{piece}: not complete: {reason}: run the stage again")
        wanted = [entries[piece.sim] for piece in pieces]
        self._remove_unwanted(wanted)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_lines(self.manifest, [self._header(), *(entry._asdict() for entry in wanted)])
        self.journal.close()

    def _header(self) -> dict[str, Any]:
        """What all entries share, with the places that they were made from."""
        recipe = self.plan.recipe(self.portion)
        reads = self.plan.places(self.portion)
        return {_HEADER: recipe.digest, "stage": self.portion.stage, "reads": reads, **asdict(recipe)}

    def _remove_unwanted(self, wanted: list[Entry]) -> None:
        journalled = [record.entry for record in self.journal.last.values()]
        owned = {path for entry in (*self._finalised.values(), *journalled) for path in entry.files}
        for path in owned - {path for entry in wanted for path in entry.files}:
            if self._is_ours(path):
                remove(self.root / path, self.folder)
        # Nobody else writes here while the portion is closed: what is unfinished was left by the dead.
        for folder, _, names in os.walk(self.folder):
            for name in names:
                if name.startswith(TEMPORARY):
                    remove(Path(folder, name), self.folder)
        kept = {entry.fingerprint for entry in wanted}
        self._remember(entry for entry in self._finalised.values() if entry.fingerprint not in kept)

    def _is_ours(self, name: str) -> bool:
        """Whether a file that is no longer wanted may be removed: manifests come with the data of others."""
        folder = self.folder.relative_to(self.root)
        inner = PurePath(name)
        if ".." in inner.parts or not inner.is_relative_to(folder):
            return False
        path = self.root / inner
        if not (path.is_symlink() or path.is_file()):
            return False
        # A link on the way would lead to another folder.
        return path.parent.resolve() == self.folder.resolve() / inner.parent.relative_to(folder)

    def _remember(self, dropped: Iterable[Entry]) -> None:
        """Keep the entries that the manifest loses: their files may still be in the DVC cache."""
        known = self.remembered()
        lines = [json.dumps(entry._asdict()) + "\n" for entry in dropped if entry.fingerprint not in known]
        if lines:
            self.attic.parent.mkdir(parents=True, exist_ok=True)
            with self.attic.open("a", encoding="utf-8") as file:
                file.writelines(lines)

    def remembered(self) -> dict[str, Entry]:
        """Entries that the manifest once had, by fingerprint."""
        seen = _signature(self.attic)
        if seen != self._attic_seen:
            self._attic = {record["fingerprint"]: Entry(**record) for record in read_lines(self.attic)}
            self._attic_seen = seen
        return self._attic


@contextmanager
def no_garbage() -> Iterator[None]:
    """Do not look for garbage among much that is new and needed: it takes as long as making it."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def remove(path: Path, stop: Path) -> None:
    """Remove a file and the folders that it leaves empty, up to `stop`."""
    path.unlink(missing_ok=True)
    for folder in path.parents:
        if folder == stop or not folder.is_relative_to(stop) or any(folder.iterdir()):
            return
        folder.rmdir()


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
