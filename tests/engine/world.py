"""A toy repository in all its states, and a plain model of what must be true of it."""

import hashlib
import json
import os
import shutil
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cmbml.core.engine import batch
from cmbml.core.engine.context import run_stage
from cmbml.core.engine.make import Engine
from cmbml.core.errors import CmbmlError
from cmbml.core.files.checksums import md5_of
from cmbml.core.handlers.base import TEMPORARY
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.config import load_config
from cmbml.core.spec.repository import DVC_LOCK, MANIFEST
from tests.commands import forget_toy_modules

STAGES = ("number", "double", "total")
SPLITS = ("train", "test")
MINE = "mine.txt"

EXECUTORS = '''\
"""Executors on words, which note in $TOY_LOG what they compute."""

import os
import time

from cmbml.core import BaseStageExecutor
from toy_math import word


def note(text):
    time.sleep(float(os.environ.get("TOY_PAUSE", "0")))
    with open(os.environ["TOY_LOG"], "a") as file:
        file.write(text + "\\n")
    return text


class NumberExecutor(BaseStageExecutor):
    def __init__(self, cfg):
        super().__init__(cfg, stage_str="number")
        self.out_number = self.assets_out["number"]
        self.seed = cfg.seed

    def process_sim(self, split, sim):
        text = note(f"number {self.seed} {split.name} {sim}")
        for letter in "ab":
            with self.name_tracker.set_context("field", letter):
                self.out_number.write(f"{text} {letter}")


class DoubleExecutor(BaseStageExecutor):
    def __init__(self, cfg):
        super().__init__(cfg, stage_str="double")
        self.out_double = self.assets_out["double"]
        self.in_number = self.assets_in["number"]
        self.factor = cfg.analysis.n_bootstrap

    def process_sim(self, split, sim):
        read = self.in_number.at(field="a").read()
        self.out_double.write(note(f"double {self.factor} {word()} ({read})"))


class TotalExecutor(BaseStageExecutor):
    def __init__(self, cfg):
        super().__init__(cfg, stage_str="total")
        self.out_total = self.assets_out["total"]
        self.in_double = self.assets_in["double"]

    def process_split(self, split):
        read = [self.in_double.at(sim=sim).read() for sim in split.iter_sims()]
        self.out_total.write(note(f"total {split.name} ({', '.join(read)})"))
'''

PIPELINE = """\
stages:
  number:
    executor: toy.NumberExecutor
    dir_name: number
    splits: [train, test]
    params: [seed]
    assets_out:
      number:
        handler: Text
        path_template: "{root}/{dataset}/{stage}/{split}/{sim}/number_{field}.txt"
        fields: [a, b]
  double:
    executor: toy.DoubleExecutor
    dir_name: FOLDER
    splits: [train, test]
    params: [analysis.n_bootstrap]
    assets_out:
      double: {handler: Text, path_template: "{root}/{dataset}/{stage}/{split}/{sim}/double.txt"}
    assets_in:
      number: {stage: number}
  total:
    executor: toy.TotalExecutor
    dir_name: total
    splits: [train, test]
    assets_out:
      total: {handler: Text, path_template: "{root}/{dataset}/{stage}/{split}/total.txt"}
    assets_in:
      double: {stage: double}
"""


@dataclass(frozen=True)
class Settings:
    """All that is ever edited."""

    seed: int = 1
    factor: int = 100
    word: str = "one"
    n_sims: int = 2
    folder: str = "double"

    def pieces(self) -> dict[str, dict[str, str]]:
        """Content of the files of every piece, by what it notes."""
        found: dict[str, dict[str, str]] = {}
        for split in SPLITS:
            doubles = []
            for sim in range(self.n_sims):
                number = f"number {self.seed} {split} {sim}"
                place = f"data/toy/number/{split}/sim{sim:04d}"
                found[number] = {f"{place}/number_{letter}.txt": f"{number} {letter}" for letter in "ab"}
                doubles.append(f"double {self.factor} {self.word} ({number} a)")
                found[doubles[-1]] = {f"data/toy/{self.folder}/{split}/sim{sim:04d}/double.txt": doubles[-1]}
            total = f"total {split} ({', '.join(doubles)})"
            found[total] = {f"data/toy/total/{split}/total.txt": total}
        return found

    def folders(self) -> list[str]:
        return [f"data/toy/{stage}/{split}" for stage in ("number", self.folder, "total") for split in SPLITS]


def make_template(toy) -> None:
    """Let a toy repository be that of the first settings."""
    toy.write("toy.py", EXECUTORS)
    for split in ("train", "valid", "test", "shifted"):
        toy.edit("params.yaml", f"{split}: {{n_sims: 3", f"{split}: {{n_sims: 2")
    params = (toy.root / "params.yaml").read_text()
    lines = ["seed: 1" if line.startswith("seed:") else line for line in params.splitlines()]
    lines = ["  n_bootstrap: 100" if line.startswith("  n_bootstrap:") else line for line in lines]
    toy.write("params.yaml", "\n".join(lines) + "\n")
    toy.write("toy_math.py", 'def word():\n    return "one"\n')
    toy.write("pipeline/toy.yaml", PIPELINE.replace("FOLDER", "double"))
    toy.put_under_git_and_dvc()


@dataclass
class World:
    """The repository, and what a plain model knows of it.

    Attributes
    ----------
    cached
        Contents that DVC's cache has.
    mine
        Files of the user's own.
    versions
        What was committed: settings, and the content of all files.
    """

    root: Path
    log: Path
    settings: Settings = field(default_factory=Settings)
    cached: set[str] = field(default_factory=set)
    mine: set[Path] = field(default_factory=set)
    versions: list[tuple[Settings, dict[str, bytes]]] = field(default_factory=list)

    @property
    def cache(self) -> Path:
        return self.root / ".dvc/cache"

    def write(self, settings: Settings) -> None:
        """Edit what differs."""
        old = self.settings
        for name, before, after in (
            ("params.yaml", f"seed: {old.seed}\n", f"seed: {settings.seed}\n"),
            ("params.yaml", f"n_bootstrap: {old.factor}\n", f"n_bootstrap: {settings.factor}\n"),
            ("params.yaml", f"{{n_sims: {old.n_sims}", f"{{n_sims: {settings.n_sims}"),
            ("toy_math.py", f'"{old.word}"', f'"{settings.word}"'),
            ("pipeline/toy.yaml", f"dir_name: {old.folder}\n", f"dir_name: {settings.folder}\n"),
        ):
            if before != after:
                path = self.root / name
                path.write_text(path.read_text().replace(before, after))
        self.settings = settings
        forget_toy_modules()

    def engine(self) -> Engine:
        return Engine(Plan(load_config(self.root)))

    def notes(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def right(self) -> set[str]:
        """What the pieces have noted whose files are as they should be."""
        return {
            name
            for name, files in self.settings.pieces().items()
            if all(self._content(path) == text for path, text in files.items())
        }

    def _content(self, name: str) -> str | None:
        try:
            return (self.root / name).read_text(errors="replace")
        except OSError:
            return None

    def known(self) -> set[str]:
        """What the pieces have noted of which the index has a fact."""
        facts = set()
        for file in (self.cache / "cmbml").rglob("*.jsonl"):
            for line in file.read_text(errors="replace").splitlines():
                with suppress(ValueError):  # a damaged line is no fact
                    if line.startswith('{"sim"'):
                        facts.add(frozenset(md5 for _, md5 in json.loads(line)["files"].values()))
        return {
            n for n, files in self.settings.pieces().items() if frozenset(map(_md5, files.values())) in facts
        }

    def needless(self, *, beside: bool = False) -> set[str]:
        """What no run may compute: its fact is known, and its files are in the cache, or there to stay."""
        here = set() if beside else self.right()
        pieces = self.settings.pieces()
        return {n for n in self.known() if n in here or self.cached.issuperset(pieces[n].values())}

    def run(self, stages: Iterable[str] = STAGES, *, beside: bool = False) -> CmbmlError | None:
        """Make some stages in this process; return the line that it ends with, where it does not end well.

        What is computed may be what another process beside it has computed, and dropped.
        """
        needless, before = self.needless(beside=beside), len(self.notes())
        try:
            make(self.engine(), stages)
        except CmbmlError as error:
            self.expect_no_waste(before, needless, beside=beside)
            return error
        self.expect_no_waste(before, needless, beside=beside)
        assert beside or self.known() >= set(self.notes()[before:]), "computed, and not remembered"
        return None

    def expect_no_waste(self, before: int, needless: set[str], *, beside: bool = False) -> None:
        computed = Counter(self.notes()[before:])
        assert not needless & computed.keys(), "computed though the cache has it"
        assert beside or not computed or max(computed.values()) == 1, "computed twice"

    def expect_all_right(self) -> None:
        """What must be true after a whole run."""
        pieces = self.settings.pieces()
        assert self.right() == pieces.keys()
        wanted = {path for files in pieces.values() for path in files}
        found = {
            str(path.relative_to(self.root))
            for folder in self.settings.folders()
            for path in (self.root / folder).rglob("*")
            if path.is_file() and path not in self.mine and not path.name.startswith(TEMPORARY)
        }
        assert found == wanted | {f"{folder}/{MANIFEST}" for folder in self.settings.folders()}
        assert not self.engine().unfinished()

    def audit(self) -> None:
        """What must be true at any time: status says what is there, and nobody's files are touched."""
        engine = self.engine()
        right, known, by_files = (
            self.right(),
            self.known(),
            {tuple(f): n for n, f in self.settings.pieces().items()},
        )
        for stage in engine.plan.stages.values():
            for portion in engine.plan.portions(stage):
                facts, pieces = engine.facts(portion), engine.plan.pieces(portion)
                names = {piece: by_files[tuple(engine.plan.files(piece))] for piece in pieces}
                flaws = facts.flaws(pieces)
                complete = {name for piece, name in names.items() if piece not in flaws}
                assert complete <= right, "called complete, and wrong"
                assert right & known & set(names.values()) <= complete, "right, and not called complete"
                assert not facts.complete() or not flaws
                facts.memo.save()
        assert all(path.read_text() == "mine" for path in self.mine), "a file of the user's own was touched"

    def in_a_child(self, stages: Iterable[str], prepare: Callable[[pytest.MonkeyPatch], None]) -> int:
        """Begin to make some stages in a forked process, which ends with 1 where an error is no line."""
        child = os.fork()
        if child:
            return child
        status = 1
        try:
            patch = pytest.MonkeyPatch()
            prepare(patch)
            make(self.engine(), stages)
            status = 0
        except CmbmlError:
            status = 2
        except BaseException:  # noqa: BLE001 (told, and the process ends)
            traceback.print_exc()
        finally:
            os._exit(status)

    def commit(self) -> None:
        """Do what `dvc commit` does, and note it as a version."""
        files: dict[str, bytes] = {}
        lock = []
        for folder in self.settings.folders():
            listing = []
            for path in sorted(p for p in (self.root / folder).rglob("*") if p.is_file()):
                files[str(path.relative_to(self.root))] = path.read_bytes()
                listing.append(
                    {
                        "md5": self._keep(path.read_bytes()),
                        "relpath": str(path.relative_to(self.root / folder)),
                    }
                )
            md5 = self._keep(json.dumps(listing).encode(), ".dir")
            lock.append(f"  - {{path: {folder}, md5: {md5}}}\n")
        (self.root / DVC_LOCK).write_text(f"stages:\n  all:\n    outs:\n{''.join(lock)}")
        self.cached |= {data.decode() for name, data in files.items() if not name.endswith(MANIFEST)}
        self.versions.append((self.settings, files))

    def _keep(self, data: bytes, suffix: str = "") -> str:
        unfinished = self.root / ".dvc/unfinished"
        unfinished.write_bytes(data)
        md5 = md5_of(unfinished)
        target = self.cache_file(md5 + suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished.replace(target)
        target.chmod(0o444)
        return md5 + suffix

    def cache_file(self, md5: str) -> Path:
        return self.cache / "files/md5" / md5[:2] / md5[2:]

    def checkout(self, number: int, link: Callable[[Path, Path], object]) -> None:
        """Go back to a version as git and `dvc checkout --force` do."""
        settings, files = self.versions[number]
        self.write(settings)
        for folder in settings.folders():
            remove(self.root / folder)
        for name, data in files.items():
            path = self.root / name
            if path.name != MANIFEST and data.decode() not in self.cached:
                continue  # DVC would say that its cache lacks it
            path.parent.mkdir(parents=True, exist_ok=True)
            link(self.cache_file(self._keep(data)), path)
        self.mine = set((self.root / "data").rglob(MINE))  # DVC versions them with the rest

    def expect_sound_cache(self) -> None:
        for path in (self.cache / "files/md5").glob("*/*"):
            assert md5_of(path) == path.parent.name + path.name.removesuffix(".dir"), (
                "the cache was written to"
            )


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def make(engine: Engine, stages: Iterable[str]) -> None:
    for stage in stages:
        run_stage(engine, engine.plan.stages[stage])


def remove(path: Path) -> None:
    """Remove whatever there is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def die_at(patch: pytest.MonkeyPatch, step: int) -> None:
    """End this process, as a kill does, at its so many-th step on the disk."""
    left = [step]

    def deadly(does: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*given: object, **options: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)
            return does(*given, **options)

        return wrapper

    for owner, names in (
        (Path, ("replace", "unlink", "open", "mkdir")),
        (os, ("fsync", "pwrite")),
        (batch, ("md5_of",)),
    ):
        for name in names:
            patch.setattr(owner, name, deadly(getattr(owner, name)))
