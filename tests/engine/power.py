"""A disk that may lose power: what was not synced when it went may be lost, cut short, or zeros."""

import json
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pytest

from cmbml.core.engine import batch
from cmbml.core.files import memo
from cmbml.core.spec.repository import MANIFEST
from cmbml.core.spec.signature import Signature, signature_of

PLACES = ("data", ".cmbml", ".dvc")
NAMES = ("new", "old")
LOSSES = ("whole", "zeros", "half", "lost")


@dataclass(frozen=True)
class Loss:
    """What the disk has, of data and of records, of all that was not synced.

    Attributes
    ----------
    names
        Whether files have their new names or their old ones.
    content
        What is left of it.
    """

    names: tuple[str, str]
    content: tuple[str, str]

    def of(self, path: str, rng: random.Random) -> tuple[str, str]:
        """Of one file; ``any`` is drawn for each."""
        record = path.startswith((".cmbml/", ".dvc/cache/cmbml/")) or path.endswith(MANIFEST)
        drawn = zip((self.names[record], self.content[record]), (NAMES, LOSSES), strict=True)
        names, content = (rng.choice(choices) if given == "any" else given for given, choices in drawn)
        return names, content


@dataclass
class State:
    """Files of a folder: inodes by name, and of each its content and stat."""

    names: dict[str, int] = field(default_factory=dict)
    content: dict[int, bytes] = field(default_factory=dict)
    stat: dict[int, Signature] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path) -> "State":
        state = cls()
        files = (path for place in PLACES for path in (root / place).rglob("*") if path.is_file())
        for path in files:
            found = path.stat()
            state.names[str(path.relative_to(root))] = found.st_ino
            state.content[found.st_ino] = path.read_bytes()
            state.stat[found.st_ino] = signature_of(found)
        return state


@dataclass
class Moment:
    """What programs saw at one moment, and what was then sure to be on the disk."""

    what: str
    seen: State
    synced: State

    def lose_power(self, root: Path, rng: random.Random, loss: Loss) -> None:
        """Leave what the disk has then."""
        for place in PLACES:
            shutil.rmtree(root / place, ignore_errors=True)
        signatures: dict[str, tuple[set[Signature], Signature]] = {}
        memos = []
        for path in sorted(self.seen.names.keys() | self.synced.names.keys()):
            names, content = loss.of(path, rng)
            inode = (self.seen if names == "new" else self.synced).names.get(path)
            if inode is None:
                continue
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self._content(inode, content))
            stats = {state.stat[inode] for state in (self.seen, self.synced) if inode in state.stat}
            signatures[path] = (stats, signature_of(file.stat()))
            memos += [file] if path.startswith(".cmbml/memo/") else []
        for file in memos:
            _keep_stat(file, signatures)

    def _content(self, inode: int, loss: str) -> bytes:
        new, old = self.seen.content.get(inode), self.synced.content.get(inode, b"")
        if new is None:
            return old
        kept = old if new.startswith(old) else b""
        rest = new[len(kept) :]
        left = {"whole": rest, "zeros": bytes(len(rest)), "half": rest[: len(rest) // 2], "lost": b""}
        return kept + left[loss]


def _keep_stat(file: Path, signatures: dict[str, tuple[set[Signature], Signature]]) -> None:
    """Let a memo speak of files as they are now wherever it spoke of the stat that they had: a stat may survive."""
    lines = []
    for line in file.read_bytes().split(b"\n"):
        try:
            known = json.loads(line)
        except ValueError:
            lines.append(line)
            continue
        for path, values in known.items():
            before, now = signatures.get(path, (set(), None))
            if now is not None and tuple(values[:4]) in before and now[0] == values[0]:
                known[path] = [*now, values[4]]
        lines.append(json.dumps(known).encode())
    file.write_bytes(b"\n".join(lines))


@contextmanager
def recorded(root: Path, synced: State | None = None) -> Iterator[list[Moment]]:
    """Collect the moments before and after every sync, rename and removal of what is done inside.

    `synced` is what is sure to be on the disk before; by default, all that is there.
    """
    moments: list[Moment] = []
    durable = [State.of(root) if synced is None else synced]
    opened: dict[int, BinaryIO] = {}

    def moment(what: str) -> State:
        seen = State.of(root)
        moments.append(Moment(what, seen, durable[0]))
        for name, inode in seen.names.items():
            if inode not in opened:  # while it is open, its number is not given to another file
                opened[inode] = files.enter_context((root / name).open("rb"))
        return seen

    def sync(_: Path) -> None:
        durable[0] = moment("sync")

    def fsync(descriptor: int) -> None:
        seen, inode = moment("fsync"), os.fstat(descriptor).st_ino
        content = {**durable[0].content, inode: seen.content[inode]}
        durable[0] = State(durable[0].names, content, {**durable[0].stat, inode: seen.stat[inode]})

    def watched(name: str, does):
        def wrapper(*given, **options):
            moment(name)
            return does(*given, **options)

        return wrapper

    with ExitStack() as files, pytest.MonkeyPatch.context() as patch:
        for module in (batch, memo):
            patch.setattr(module, "sync_disk", sync)
        patch.setattr(os, "fsync", fsync)
        for name in ("replace", "unlink"):
            patch.setattr(Path, name, watched(name, getattr(Path, name)))
        moment("start")
        yield moments
        moment("end")
