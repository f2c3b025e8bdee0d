"""What has been made: facts, which hold for ever, and which of them the files at hand are.

A fact says that a fingerprint gave files of this content.  No time, host or absolute path is in it.  The
facts of a portion are its manifest, which is sorted and travels with the data, and lines of the index beside
DVC's cache.  A piece is complete where its files have the content that a fact of its wanted fingerprint
names.
"""

import gc
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from cmbml.baseline import hold
from cmbml.core.errors import DataError
from cmbml.core.files.jsonlines import read_lines, write_lines
from cmbml.core.files.memo import Memo
from cmbml.core.handlers.base import TEMPORARY
from cmbml.core.plan.fingerprints import Plan, Recipe, differences
from cmbml.core.plan.pieces import Piece, Portion
from cmbml.core.record.dvc_cache import index_folder, locked_manifest
from cmbml.core.record.index import Index
from cmbml.core.spec.repository import LOCAL, MANIFEST
from cmbml.core.spec.signature import signature

_HEADER = "recipe"


class Fact(NamedTuple):
    """That a fingerprint gave files of this content.

    Attributes
    ----------
    sim
        The simulation, or None where the piece is a whole split or stage.
    fingerprint
        The fingerprint.
    recipe
        Hash of what the piece shares with the portion's others.
    identity
        Method, split, random stream, simulation.
    inputs
        Fingerprints of its inputs by name.
    files
        Bytes and MD5 of every file, by path relative to the repository.
    baseline
        What kind of processor the libraries computed for, as `cmbml.baseline` names it.
    """

    sim: int | None
    fingerprint: str
    recipe: str
    identity: list[Any]
    inputs: dict[str, str]
    files: dict[str, tuple[int, str]]
    baseline: str = ""

    @classmethod
    def read(cls, record: Any, folder: str) -> "Fact | None":
        """Take a fact from its line; None where it is none. Keys of later versions are passed over."""
        match record:
            case {
                "sim": (int() | None) as sim,
                "fingerprint": str(fingerprint),
                "recipe": str(recipe),
                "identity": list(identity),
                "inputs": dict(inputs),
                "files": dict(files),
            } if len(identity) == _IDENTITY and all(map(_is_content, files.values())):
                placed = {_placed(name, folder): (size, md5) for name, (size, md5) in files.items()}
                baseline = str(record.get("baseline", ""))
                return cls(sim, fingerprint, recipe, identity, inputs, placed, baseline)
        return None

    def line(self, folder: str) -> dict[str, Any]:
        """The line of a fact: files by their names in the folder, whatever the folder is called."""
        files = {_named(path, folder): content for path, content in sorted(self.files.items())}
        return {**self._asdict(), "files": files}


_IDENTITY = 4


def _is_content(value: Any) -> bool:
    match value:
        case [int(), str()]:
            return True
    return False


def _says(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two lines name the same files with the same content."""
    return json.dumps(old.get("files"), sort_keys=True) == json.dumps(new["files"], sort_keys=True)


def _named(path: str, folder: str) -> str:
    """Name of a file in its out directory; elsewhere it begins with /, which stands for the repository."""
    return path.removeprefix(f"{folder}/") if path.startswith(f"{folder}/") else f"/{path}"


def _placed(name: str, folder: str) -> str:
    return name[1:] if name.startswith("/") else f"{folder}/{name}"


class Manifest(NamedTuple):
    """The manifest of an out directory.

    Attributes
    ----------
    headers
        What the facts share, by hash of the recipe: stage, code, parameters, and the places that it reads.
    facts
        The facts by simulation.
    """

    headers: dict[str, dict[str, Any]]
    facts: dict[int | None, Fact]


def read_manifest(path: Path, folder: str) -> Manifest:
    """Read a manifest; what is damaged in it, or is of another form, is as if it were not there."""
    with no_garbage():
        records = [record for record in read_lines(path) if isinstance(record, dict)]
        headers = {str(record[_HEADER]): record for record in records if _is_header(record)}
        facts = [fact for record in records if (fact := Fact.read(record, folder)) is not None]
    return Manifest(headers, {fact.sim: fact for fact in facts})


def _is_header(record: Mapping[str, Any]) -> bool:
    parts = [record.get(name) for name in ("reads", *(part.name for part in fields(Recipe)))]
    named = _HEADER in record and isinstance(record.get("stage"), str)
    return "sim" not in record and named and all(isinstance(part, dict) for part in parts)


class Facts:
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
        self.name = str(self.folder.relative_to(self.root))
        local = self.root / LOCAL
        name = ".".join([plan.config.dataset, *(part for part in portion if part)])
        self.lock = local / "locks" / f"{name}.lock"
        self.memo = Memo(self.root, local / "memo" / f"{name}.jsonl")
        self.index = Index(index_folder(self.root) / portion.stage)
        # Signatures of the manifest as it was last read, and as it was last found to be complete; () before.
        self._seen: Any = ()
        self._complete_at: Any = ()
        self._manifest = Manifest({}, {})
        self._is_at_hand = False

    @property
    def manifest(self) -> Manifest:
        """The manifest, or where it says nothing that in DVC's cache; read again when it changes."""
        seen = signature(self.folder / MANIFEST)
        if seen != self._seen:
            self._manifest = read_manifest(self.folder / MANIFEST, self.name)
            self._is_at_hand = bool(self._manifest.facts)
            if not self._is_at_hand and (kept := locked_manifest(self.root, self.name)):
                self._manifest = read_manifest(kept, self.name)
            self._seen = seen
        return self._manifest

    def stale(self, piece: Piece) -> str | None:
        """Say in a few words why a piece must be made; None where it is complete."""
        return self.flaws([piece]).get(piece)

    def flaws(self, pieces: Iterable[Piece]) -> dict[Piece, str]:
        """Say in a few words of those of some pieces that must be made, why."""
        self.index.refresh()
        pieces = list(pieces)
        self._refresh(pieces)
        with no_garbage():
            found = {piece: self._stale(piece) for piece in pieces}
        return {piece: flaw for piece, flaw in found.items() if flaw is not None}

    def _refresh(self, pieces: Iterable[Piece]) -> None:
        self.memo.refresh(path for piece in pieces for path in self.plan.files(piece))

    def _stale(self, piece: Piece) -> str | None:
        return self._flaw(self._in_manifest(piece), piece) and self._flaw(self._in_index(piece), piece)

    def _in_manifest(self, piece: Piece) -> list[Fact]:
        fact = self.manifest.facts.get(piece.sim)
        return [fact] if fact is not None and fact.fingerprint == self.plan.fingerprint(piece) else []

    def _in_index(self, piece: Piece) -> list[Fact]:
        records = self.index.find(self.plan.fingerprint(piece))
        return [fact for record in records if (fact := Fact.read(record, self.name)) is not None]

    def known(self, piece: Piece) -> Iterator[Fact]:
        """Facts of the wanted fingerprint whose files have the wanted names; the manifest's first."""
        names = self.plan.files(piece)
        for find in (self._in_manifest, self._in_index):
            yield from (fact for fact in find(piece) if sorted(fact.files) == names)

    def _flaw(self, facts: Iterable[Fact], piece: Piece) -> str | None:
        """Why the files at hand are those of none of some facts of the wanted fingerprint."""
        flaw = None
        for fact in facts:
            if sorted(fact.files) != self.plan.files(piece):
                flaw = flaw or "other files are declared"
                continue
            found = self._first_flaw(fact)
            if found is None:
                return None
            flaw = found
        return flaw or self._difference(piece)

    def _first_flaw(self, fact: Fact) -> str | None:
        for path, (size, md5) in fact.files.items():
            if flaw := self.memo.flaw(path, size, md5):
                return f"{path} {flaw}"
        return None

    def _difference(self, piece: Piece) -> str:
        """Name what changed since the piece was made last."""
        fact = self.manifest.facts.get(piece.sim)
        if fact is None:
            return "never made"
        wanted = self.plan.recipe(self.portion)
        if fact.recipe == wanted.digest:
            digests = self.plan.input_digests(piece)
            inputs = [name for name, digest in digests.items() if fact.inputs.get(name) != digest]
            return f"changed: input {', input '.join(inputs)}" if inputs else "another simulation's"
        old = self.manifest.headers.get(fact.recipe)
        if old is None:
            return "made with other code or parameters"
        return f"changed: {', '.join(f'{kind} {key}' for kind, key in differences(old, asdict(wanted)))}"

    def present(self, piece: Piece) -> Fact | None:
        """The fact that the files at hand are; None where the piece is not complete."""
        return next((fact for fact in self.known(piece) if self._first_flaw(fact) is None), None)

    def complete(self) -> bool:
        """Whether the manifest names all wanted pieces and no others, and the files are those that it names.

        A yes is kept while the manifest stays as it is: Luigi asks again for every task that reads from here.
        """
        if not self.closed():
            return False
        if self._complete_at != self._seen:
            pieces = self.plan.pieces(self.portion)
            self._refresh(pieces)
            with no_garbage():
                complete = not any(self._flaw(self._in_manifest(piece), piece) for piece in pieces)
            self.memo.save()
            if not complete:
                return False
            self._complete_at = self._seen
        return True

    def closed(self) -> bool:
        """Whether the manifest names all wanted pieces, as they are wanted, and no others."""
        pieces = self.plan.pieces(self.portion)
        named = self.manifest.facts.keys() == {piece.sim for piece in pieces} and self._is_at_hand
        described = self.plan.recipe(self.portion).digest in self.manifest.headers
        return named and described and all(self._in_manifest(piece) for piece in pieces)

    def new(self, piece: Piece, files: Mapping[str, tuple[int, str]]) -> Fact:
        """The fact of a piece that has just been made."""
        return Fact(
            sim=piece.sim,
            fingerprint=self.plan.fingerprint(piece),
            recipe=self.plan.recipe(self.portion).digest,
            identity=self.plan.identity(piece),
            inputs=self.plan.input_digests(piece),
            files=dict(files),
            baseline=hold().name,
        )

    def add(self, facts: Iterable[Fact]) -> None:
        """Write down facts whose files have just taken their names."""
        self._remember(facts)
        self.memo.save()

    def finalise(self) -> None:
        """Write the manifest, and remove what is ours and no longer wanted.

        Raises
        ------
        DataError
            Where a piece is not complete.
        """
        wanted = []
        self.index.refresh()
        for piece in self.plan.pieces(self.portion):
            fact = self.present(piece)
            if fact is None:
                raise DataError(f"{piece}: not complete: {self.stale(piece)}: run the stage again")
            wanted.append(fact)
        self._remember_dropped(wanted)
        self._remove_unwanted({path for fact in wanted for path in fact.files})
        self.folder.mkdir(parents=True, exist_ok=True)
        write_lines(self.folder / MANIFEST, [self._header(), *(fact.line(self.name) for fact in wanted)])
        self.memo.compact(path for fact in wanted for path in fact.files)

    def _remember_dropped(self, wanted: Iterable[Fact]) -> None:
        """Keep facts that came with the data and leave the manifest: DVC's cache may hold their files."""
        kept = {fact.fingerprint for fact in wanted}
        self._remember(fact for fact in self.manifest.facts.values() if fact.fingerprint not in kept)

    def _remember(self, facts: Iterable[Fact]) -> None:
        """Write facts into the index, where it has them not yet."""
        self.index.refresh()
        lines = [fact.line(self.name) for fact in facts]
        self.index.append(
            [
                line
                for line in lines
                if not any(_says(old, line) for old in self.index.find(line["fingerprint"]))
            ]
        )

    def _header(self) -> dict[str, Any]:
        """What all facts share, with the places that they were made from."""
        recipe = self.plan.recipe(self.portion)
        reads = self.plan.places(self.portion)
        return {_HEADER: recipe.digest, "stage": self.portion.stage, "reads": reads, **asdict(recipe)}

    def _remove_unwanted(self, wanted: set[str]) -> None:
        indexed = (fact for record in self.index.all() if (fact := Fact.read(record, self.name)) is not None)
        owned = {path for fact in (*self.manifest.facts.values(), *indexed) for path in fact.files}
        for path in sorted(owned - wanted):
            if is_below(self.root, self.name, path):
                remove(self.root / path, self.folder)
        self.sweep()

    def sweep(self) -> None:
        """Remove unfinished files: while the portion is closed, only the dead can have left them."""
        for folder, _, names in os.walk(self.folder):
            for name in names:
                if name.startswith(TEMPORARY):
                    remove(Path(folder, name), self.folder)

    def foreign(self) -> list[str]:
        """Files in the out directory that no piece made; DVC would version them all the same."""
        pieces = self.plan.pieces(self.portion)
        ours = {path for fact in self.manifest.facts.values() for path in fact.files}
        ours |= {path for piece in pieces for path in self.plan.files(piece)}
        found = (path for path in self.folder.rglob("*") if path.is_file() and path.name != MANIFEST)
        return sorted({str(path.relative_to(self.root)) for path in found} - ours)

    def damaged(self, piece: Piece) -> list[str]:
        """Files of a complete piece whose content is not what it was, whatever their stat says."""
        fact = self.present(piece)
        paths = {} if fact is None else fact.files
        for path in paths:
            self.memo.forget(path)
        return [path for path, (size, md5) in paths.items() if self.memo.flaw(path, size, md5)]


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


def is_below(root: Path, folder: str, name: str) -> bool:
    """Whether a file that a manifest names may be removed: manifests come with the data of others."""
    inner = PurePath(name)
    if ".." in inner.parts or not inner.is_relative_to(folder):
        return False
    path = root / inner
    if not (path.is_symlink() or path.is_file()):
        return False
    # A link on the way would lead to another folder.
    return path.parent.resolve() == (root / folder).resolve() / inner.parent.relative_to(folder)
