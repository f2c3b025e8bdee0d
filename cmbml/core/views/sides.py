"""Where makings of a dataset lie that are compared: here, in DVC's cache by a dvc.lock, in another folder."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from cmbml.core.errors import ConfigError, DataError
from cmbml.core.files.checksums import md5_of
from cmbml.core.handlers.base import TEMPORARY
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.plan.pieces import Portion
from cmbml.core.record.dvc_cache import cached_file, cached_listing, directory_md5, locked_outs
from cmbml.core.record.facts import Facts, Manifest, read_manifest
from cmbml.core.record.git import committed, is_commit
from cmbml.core.spec.repository import DATA, DVC_LOCK, MANIFEST
from cmbml.core.spec.yamlio import parse_yaml, read_yaml

_NOTHING = Manifest({}, {})


class Place(NamedTuple):
    """Where the files of a portion lie, relative to the repository.

    Attributes
    ----------
    stage
        Its stage.
    folder
        Out directory.
    outside
        Metrics and plots, which lie elsewhere.
    """

    stage: str
    folder: str
    outside: tuple[str, ...]


class Made(NamedTuple):
    """What one side has of a portion.

    Attributes
    ----------
    files
        MD5 of every file but the manifest, by path; None where only that of the directory is known.
    md5
        MD5 of the directory, as DVC has it; empty where nobody will ask for it.
    manifest
        How it was made; empty where that is not known.
    """

    files: dict[str, str] | None
    md5: str
    manifest: Manifest


class Side(Protocol):
    """The making of a dataset that the one here is compared with."""

    @property
    def name(self) -> str:
        """What to call it."""

    def made(self, place: Place) -> Made | None:
        """What it has of a portion; None where it has nothing."""

    def find(self, path: str, md5: str) -> Path | None:
        """A file of a portion, to be read; None where it is not at hand."""

    def folders(self, dataset: str) -> set[str]:
        """Out directories of a dataset that it has."""

    def changed(self, stage: str) -> list[str]:
        """What is known of how a stage was made, beside manifests, and is not so here."""


def place_of(plan: Plan, portion: Portion) -> Place:
    """Where the files of a portion lie."""
    folder = plan.folder(portion).relative_to(plan.config.root).as_posix()
    files = (file for piece in plan.pieces(portion) for file in plan.files(piece))
    outside = sorted({file for file in files if not file.startswith(f"{folder}/")})
    return Place(portion.stage, folder, tuple(outside))


@dataclass(frozen=True)
class Here:
    """The files in the repository as they are now, whatever their manifests say of them."""

    plan: Plan

    def made(self, place: Place) -> Made | None:
        """Hash what the manifest names; what the memo knows is not read again."""
        root = self.plan.config.root
        if not (root / place.folder / MANIFEST).is_file():
            return None
        facts = Facts(self.plan, self._portions[place.folder])
        paths = [path for fact in facts.manifest.facts.values() for path in fact.files]
        there = [path for path in paths if (root / path).is_file()]
        facts.memo.refresh(there)
        files = {path: facts.memo.md5(path) for path in there}
        facts.memo.save()
        inside = {path: md5 for path, md5 in files.items() if path.startswith(f"{place.folder}/")}
        listing = {path.removeprefix(f"{place.folder}/"): md5 for path, md5 in inside.items()}
        listing[MANIFEST] = md5_of(root / place.folder / MANIFEST)
        return Made(files, directory_md5(listing), facts.manifest)

    @cached_property
    def _portions(self) -> dict[str, Portion]:
        portions = [each for stage in self.plan.stages.values() for each in self.plan.portions(stage)]
        return {place_of(self.plan, portion).folder: portion for portion in portions}

    def find(self, path: str) -> Path | None:
        """The file itself."""
        file = self.plan.config.root / path
        return file if file.is_file() else None


@dataclass(frozen=True)
class Locked:
    """What a dvc.lock names; its files are in DVC's cache, or nowhere.

    Parameters
    ----------
    plan
        The dataset here.
    name
        What to call it.
    stages
        Stages of the dvc.lock.
    """

    plan: Plan
    name: str
    stages: Mapping[str, Any]
    _outs: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_outs", locked_outs(self.stages))

    def made(self, place: Place) -> Made | None:
        """Look the files up in the listing of the directory that DVC's cache holds."""
        md5 = self._outs.get(place.folder)
        if md5 is None:
            return None
        root = self.plan.config.root
        listing = cached_listing(root, md5)
        if listing is None:
            return Made(None, md5, _NOTHING)
        kept = cached_file(root, listing.pop(MANIFEST, ""))
        manifest = _NOTHING if kept is None else read_manifest(kept, place.folder)
        files = {f"{place.folder}/{path}": each for path, each in listing.items()}
        files |= {path: self._outs[path] for path in place.outside if path in self._outs}
        return Made(files, "", manifest)

    def find(self, path: str, md5: str) -> Path | None:  # noqa: ARG002 (the cache knows content alone)
        """The file of that content in DVC's cache."""
        return cached_file(self.plan.config.root, md5)

    def folders(self, dataset: str) -> set[str]:
        """Directories that the dvc.lock names."""
        below = f"{DATA}/{dataset}/"
        return {path for path, md5 in self._outs.items() if path.startswith(below) and md5.endswith(".dir")}

    def changed(self, stage: str) -> list[str]:
        """Files of code, and parameters, that are not those that dvc.lock names."""
        recorded = self.stages.get(stage) or {}
        return [*self._changed_code(recorded), *self._changed_params(recorded)]

    def _changed_code(self, recorded: Mapping[str, Any]) -> Iterator[str]:
        root = self.plan.config.root
        for dep in recorded.get("deps") or ():
            path = root / dep["path"]
            if not path.is_dir() and not (path.is_file() and md5_of(path) == dep.get("md5")):
                kind = "input" if dep["path"].startswith(f"{DATA}/") else "code"
                yield f"{kind} {dep['path']}"

    def _changed_params(self, recorded: Mapping[str, Any]) -> Iterator[str]:
        for file, values in (recorded.get("params") or {}).items():
            path = self.plan.config.root / file
            now = read_yaml(path) if path.is_file() else {}
            yield from (f"parameter {key}" for key, value in values.items() if _value(now, key) != value)


def _value(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


@dataclass(frozen=True)
class Elsewhere:
    """Files in another clone, or in a copy of `data/`, as they are.

    Parameters
    ----------
    folder
        The clone or the copy.
    """

    folder: Path

    @property
    def name(self) -> str:
        """Path of the folder."""
        return str(self.folder)

    def made(self, place: Place) -> Made | None:
        """Hash all that lies there."""
        folder = self._path(place.folder)
        if not folder.is_dir():
            return None
        inside = {f"{place.folder}/{path.relative_to(folder).as_posix()}": path for path in _files(folder)}
        outside = {path: self.folder / path for path in place.outside if self._is_clone}
        found = {path: file for path, file in {**inside, **outside}.items() if file.is_file()}
        manifest = read_manifest(folder / MANIFEST, place.folder)
        return Made({path: md5_of(file) for path, file in found.items()}, "", manifest)

    def find(self, path: str, md5: str) -> Path | None:  # noqa: ARG002 (it was hashed a moment ago)
        """The file itself."""
        file = self._path(path)
        return file if file.is_file() else None

    def folders(self, dataset: str) -> set[str]:
        """Folders that hold a manifest."""
        below = self._path(f"{DATA}/{dataset}")
        found = (manifest.parent.relative_to(below) for manifest in below.rglob(MANIFEST))
        return {Path(DATA, dataset, folder).as_posix() for folder in found}

    def changed(self, stage: str) -> list[str]:  # noqa: ARG002 (its manifests say all)
        """Nothing: its manifests say all."""
        return []

    @cached_property
    def _is_clone(self) -> bool:
        return (self.folder / DATA).is_dir()

    def _path(self, path: str) -> Path:
        return self.folder / (path if self._is_clone else path.removeprefix(f"{DATA}/"))


def _files(folder: Path) -> Iterable[Path]:
    """Files of an out directory as DVC would version them."""
    return (
        path for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST and not path.name.startswith(TEMPORARY)
    )  # fmt: skip


def find_side(plan: Plan, against: str) -> Side:
    """What the repository is compared with: a folder or a dvc.lock where there is one, else a commit.

    Raises
    ------
    ConfigError
        Where it is none of them.
    DataError
        Where the commit has no dvc.lock, or it is damaged.
    """
    path = Path(against)
    if path.is_dir():
        return Elsewhere(path)
    if path.is_file():
        return Locked(plan, against, _stages(path.read_text(encoding="utf-8", errors="replace"), against))
    if not is_commit(plan.config.root, against):
        raise ConfigError(
            f"{against}: no commit, no {DVC_LOCK} and no folder: name one, as in `cmbml compare HEAD`"
        )
    return of_commit(plan, against)


def of_commit(plan: Plan, revision: str) -> Locked:
    """What a commit records.

    Raises
    ------
    DataError
        Where it has no dvc.lock, or it is damaged.
    """
    text = committed(plan.config.root, DVC_LOCK, revision)
    if not text:
        raise DataError(f"{revision}: has no {DVC_LOCK}: name a commit that records data")
    return Locked(plan, revision, _stages(text, f"{DVC_LOCK} of {revision}"))


def _stages(text: str, name: str) -> Mapping[str, Any]:
    content = parse_yaml(text, name)
    stages = content.get("stages") if isinstance(content, dict) else None
    try:
        locked_outs(stages or {})
    except (AttributeError, KeyError, TypeError):
        stages = None
    if not stages:
        raise DataError(f"{name}: is no {DVC_LOCK}: give one that DVC has written")
    return stages
