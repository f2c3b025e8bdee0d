"""Where a file comes from, read from the manifests that travel with the data; and why two files differ."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cmbml.core.errors import DataError
from cmbml.core.files.checksums import md5_of
from cmbml.core.plan.fingerprints import differences
from cmbml.core.record.dvc_cache import directory_md5
from cmbml.core.record.facts import Fact, Manifest, read_manifest
from cmbml.core.record.git import commit, introduced
from cmbml.core.spec.repository import DATA, LOCAL, MANIFEST, find_root

_KINDS = ("params", "code", "packages", "handlers", "settings", "declared")


@dataclass(frozen=True)
class Folder:
    """An out directory, as its manifest describes it.

    Attributes
    ----------
    root
        The repository.
    name
        Path of the directory below it.
    """

    root: Path
    name: str

    @cached_property
    def _manifest(self) -> Manifest:
        return read_manifest(self.root / self.name / MANIFEST, self.name)

    @property
    def header(self) -> dict[str, Any]:
        """Stage, parameters, code, packages, and the places that the stage reads from."""
        if not self._manifest.headers:
            raise DataError(f"{self.name}/{MANIFEST}: is damaged: run the stage again, or `dvc checkout`")
        return next(iter(self._manifest.headers.values()))

    @property
    def facts(self) -> list[Fact]:
        """Pieces that were made."""
        return list(self._manifest.facts.values())

    def dvc_md5(self) -> str:
        """Hash by which DVC knows the directory, from the manifest alone."""
        files = {path: md5 for fact in self.facts for path, (_, md5) in fact.files.items()}
        inside = {
            path.removeprefix(f"{self.name}/"): md5
            for path, md5 in files.items()
            if path.startswith(f"{self.name}/")
        }
        inside[MANIFEST] = md5_of(self.root / self.name / MANIFEST)
        return directory_md5(inside)


@dataclass(frozen=True)
class Origin:
    """A piece that was made, in its directory; `whole` where it stands for all that were made there."""

    folder: Folder
    fact: Fact
    whole: bool = False

    def __str__(self) -> str:
        if self.whole:
            return f"{self.folder.name}, all {len(self.folder.facts)} pieces"
        sim = "" if self.fact.sim is None else f", simulation {self.fact.sim}"
        return f"{self.folder.name}{sim}"

    @property
    def header(self) -> dict[str, Any]:
        """What the piece shares with all of its directory."""
        return self.folder.header

    def sources(self) -> Iterator[tuple[str, str, "Origin | None"]]:
        """Name and place of every input, and the piece behind it where it is a single one."""
        for name, places in self.header["reads"].items():
            for place in places:
                folder = Folder(self.folder.root, place)
                yield name, place, _behind(folder, self.fact.inputs[name])


def _behind(folder: Folder, fingerprint: str) -> Origin | None:
    if not (folder.root / folder.name / MANIFEST).is_file():
        return None
    for fact in folder.facts:
        if fact.fingerprint == fingerprint:
            return Origin(folder, fact)
    return Origin(folder, folder.facts[0], whole=True)


def find_origin(file: Path) -> Origin:
    """Find the piece that made a file.

    Raises
    ------
    DataError
        Where no manifest knows it.
    """
    root = find_root(file.resolve().parent)
    name = file.resolve().relative_to(root).as_posix()
    beside = [folder / MANIFEST for folder in file.resolve().parents if folder.is_relative_to(root / DATA)]
    for manifest in beside or (root / DATA).rglob(MANIFEST):
        folder = Folder(root, manifest.parent.relative_to(root).as_posix())
        if manifest.is_file():
            for fact in folder.facts:
                if name in fact.files:
                    return Origin(folder, fact)
    raise DataError(f"{name}: no manifest knows this file: was it made by the pipeline, to the end?")


def trace_lines(file: Path) -> Iterator[str]:
    """Say all that is known about the making of a file."""
    origin = find_origin(file)
    folder, fact = origin.folder, origin.fact
    name = file.resolve().relative_to(folder.root).as_posix()
    size, md5 = fact.files[name]
    method, split, stream, sim = fact.identity
    yield f"{name}: {size} bytes, md5 {md5}, {_state(file, md5)}"
    yield f"stage: {folder.header['stage']}"
    yield f"piece: method {method}, split {split}, simulation {sim}"
    yield f"random numbers: seed {_seed(origin)}, stream {stream}, simulation {sim}"
    yield f"fingerprint: {fact.fingerprint}"
    yield f"commit: {_commit(folder)}"
    yield from _last_run(folder)
    for kind in _KINDS:
        yield f"{kind}:"
        yield from (f"  {key}: {value}" for key, value in flat(folder.header[kind]))
    yield "made from:"
    yield from _tree(origin, "  ", set())


def _state(file: Path, md5: str) -> str:
    if not file.is_file():
        return "not here: run `dvc pull`"
    return "as it was made" if md5_of(file) == md5 else "CHANGED since it was made"


def _seed(origin: Origin, seen: frozenset[str] = frozenset()) -> Any:
    """The seed, from the stage itself or the nearest that it reads from."""
    if "seed" in origin.header["params"]:
        return origin.header["params"]["seed"]
    for _, place, source in origin.sources():
        if source is not None and place not in seen:
            seed = _seed(source, seen | {place})
            if seed is not None:
                return seed
    return None


def _commit(folder: Folder) -> str:
    found = introduced(folder.root, folder.dvc_md5(), "dvc.lock")
    if found:
        return f"{found} (its dvc.lock records exactly this data)"
    now = commit(folder.root)
    return f"in no commit's dvc.lock yet; the tree is at {now}" if now else "not under git"


def _last_run(folder: Folder) -> Iterator[str]:
    """Say which run of this machine made something of the stage last, and whether the tree was clean then."""
    for path in sorted((folder.root / LOCAL / "runs").glob("*.json"), reverse=True):
        run = json.loads(path.read_text(encoding="utf-8"))
        if folder.header["stage"] in run.get("made", {}):
            at = run["commit"] or "none"
            yield f"last run here: {path.stem}, at commit {at}: {' '.join(run['command'])}"
            return


def _tree(origin: Origin, indent: str, seen: set[str]) -> Iterator[str]:
    for name, place, source in origin.sources():
        if source is None:
            yield f"{indent}{name}: {place}, science asset, {_raw_state(origin, name, place)}"
            continue
        stage = source.header["stage"]
        again = str(source) in seen
        yield f"{indent}{name}: {source} (stage {stage}){', as above' if again else ''}"
        seen.add(str(source))
        if not again:
            yield from _tree(source, f"{indent}  ", seen)


def ancestry(origin: Origin) -> tuple[list[Origin], list[str]]:
    """All that a piece was made from: itself and the pieces behind it, and places of science assets."""
    found: dict[str, Origin] = {}
    assets: dict[str, None] = {}

    def visit(one: Origin) -> None:
        if str(one) in found:
            return
        found[str(one)] = one
        for _, place, source in one.sources():
            if source is None:
                assets.setdefault(place)
            else:
                visit(source)

    visit(origin)
    return list(found.values()), list(assets)


def _raw_state(origin: Origin, name: str, place: str) -> str:
    path = origin.folder.root / place
    if path.is_file():
        return f"md5 {md5_of(path)}"
    return f"not in this repository, hash of the whole input {origin.fact.inputs[name]}"


def diff_lines(one: Path, two: Path) -> Iterator[str]:
    """Say why two files differ: down to the parameters, code and science assets that are not the same."""
    first, second = find_origin(one), find_origin(two)
    prints = [_file_md5(origin, file) for origin, file in ((first, one), (second, two))]
    yield "the same bytes" if prints[0] == prints[1] else "different bytes"
    lines = list(_differences(first, second, "", set()))
    yield from lines or ["made alike: same code, parameters, inputs and simulation"]


def _file_md5(origin: Origin, file: Path) -> str:
    return str(origin.fact.files[file.resolve().relative_to(origin.folder.root).as_posix()][1])


def _differences(one: Origin, two: Origin, indent: str, seen: set[str]) -> Iterator[str]:
    pieces = len(one.folder.facts), len(two.folder.facts)
    if one.whole and pieces[0] != pieces[1]:
        yield f"{indent}pieces: {pieces[0]} and {pieces[1]}"
    if one.fact.fingerprint == two.fact.fingerprint or str(one) in seen:
        return
    seen.add(str(one))
    labels = ("method", "split", "random stream", "simulation")
    pairs = [("stage", one.header["stage"], two.header["stage"])]
    pairs += zip(labels, one.fact.identity, two.fact.identity, strict=True)
    said = [{kind: dict(flat(each.header[kind])) for kind in _KINDS} for each in (one, two)]
    pairs += [
        (f"{kind} {key}", said[0][kind].get(key), said[1][kind].get(key)) for kind, key in differences(*said)
    ]
    yield from (f"{indent}{what}: {old} and {new}" for what, old, new in pairs if old != new)
    others = {name: (place, source) for name, place, source in two.sources()}
    for name, place, source in one.sources():
        if name in others and one.fact.inputs[name] != two.fact.inputs.get(name):
            yield f"{indent}input {name}: {place} and {others[name][0]}:"
            other = others[name][1]
            if source is not None and other is not None:
                yield from _differences(source, other, f"{indent}  ", seen)


def flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values of nested mappings by their dotted keys."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
