"""Runs, edits, checkouts, kills, two runs at once and damage in any order: nothing wrong, nothing twice."""

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cmbml.core.engine import batch
from cmbml.core.engine.watch import Watch
from cmbml.core.errors import StageError, StorageError
from cmbml.core.files import memo
from cmbml.core.plan.code import forget
from cmbml.core.spec.repository import MANIFEST
from tests.commands import modules_of
from tests.conftest import ToyRepository
from tests.engine.world import MINE, STAGES, World, die_at, make_template, remove

EDITS = {
    "seed": (1, 2),
    "factor": (100, 200),
    "word": ("one", "two"),
    "n_sims": (2, 3),
    "folder": ("double", "doubles"),
}
LINKS = {
    "copy": shutil.copyfile,
    "hardlink": os.link,
    "symlink": lambda source, path: path.symlink_to(source),
}


def other_bytes(path: Path) -> None:
    """Other content of the same size and date."""
    data, before = path.read_bytes(), path.stat()
    remove(path)
    path.write_bytes(data[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def put(path: Path, data: bytes) -> None:
    remove(path)
    path.write_bytes(data)


def folder_instead(path: Path) -> None:
    remove(path)
    (path / "inner").mkdir(parents=True)


def file_instead_of_its_folder(path: Path) -> None:
    remove(path.parent)
    path.parent.write_text("")


OF_A_FILE = {
    "deleted": remove,
    "truncated": lambda path: put(path, path.read_bytes()[:-1]),
    "zeros": lambda path: put(path, bytes(path.stat().st_size)),
    "other bytes": other_bytes,
    "a link to itself": lambda path: (remove(path), path.symlink_to(path.name)),
    "a folder": folder_instead,
    "its folder a file": file_instead_of_its_folder,
    "its folder deleted": lambda path: remove(path.parent),
    "another date": lambda path: os.utime(path, (0, 0)),
}
OF_A_RECORD = {
    "deleted": remove,
    "empty": lambda path: put(path, b""),
    "zeros": lambda path: put(path, bytes(path.stat().st_size)),
    "half": lambda path: put(path, path.read_bytes()[: path.stat().st_size // 2]),
    "garbage": lambda path: put(path, path.read_bytes() + b'\xff\xfe\n5\n[1]\n{"fingerprint": "x"}\n{"sim'),
    "first line lost": lambda path: put(path, path.read_bytes().partition(b"\n")[2]),
}
OF_A_PLACE = (".cmbml", ".cmbml/memo", ".cmbml/locks", "data", "data/toy/number", ".dvc/cache/cmbml")


class Interleavings(RuleBasedStateMachine):
    """One repository, and all that may happen to it."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        root = Path(self.folder.name) / "toy"
        shutil.copytree(self.template, root)
        self.world = World(root, Path(self.folder.name) / "log")
        self.new_seed = 10
        self.patch = pytest.MonkeyPatch()
        self.patch.setenv("TOY_LOG", str(self.world.log))
        self.patch.syspath_prepend(str(root))
        for module in (batch, memo):
            self.patch.setattr(module, "sync_disk", lambda _: None)  # no power is lost here
        self.patch.setattr(os, "fsync", lambda _: None)
        self.modules = modules_of(root)
        self.modules.__enter__()

    def teardown(self) -> None:
        try:
            self.obstacles()
            self.run_all()
            self.world.expect_sound_cache()
        finally:
            self.modules.__exit__(None, None, None)
            self.patch.undo()
            forget()
            self.folder.cleanup()

    def obstacles(self, stages: tuple[str, ...] = STAGES) -> None:
        """Let a run name what is in its way, and take it away, as a user would."""
        for _ in range(20):
            error = self.world.run(stages)
            if error is None:
                return
            assert isinstance(error, StorageError), error
            named = Path(str(error).partition(": cannot be written")[0].rpartition(" ")[2])
            in_the_way = (path for path in reversed(named.parents) if not path.is_dir())
            remove(next(in_the_way, named))
        pytest.fail(f"never ends: {error}")

    @initialize()
    def start(self) -> None:
        self.run_all()

    @rule()
    def run_all(self) -> None:
        self.obstacles()
        self.world.expect_all_right()
        before = len(self.world.notes())
        assert self.world.run() is None
        assert len(self.world.notes()) == before

    @rule(stage=st.sampled_from(STAGES))
    def run_one(self, stage: str) -> None:
        """It may say that its inputs are not complete."""
        self.world.run([stage])
        self.world.audit()

    @rule(data=st.data(), what=st.sampled_from(sorted(EDITS)))
    def edit(self, data: st.DataObject, what: str) -> None:
        self.world.write(replace(self.world.settings, **{what: data.draw(st.sampled_from(EDITS[what]))}))
        self.world.audit()

    @rule()
    def commit(self) -> None:
        self.obstacles()
        self.world.commit()

    @precondition(lambda self: self.world.versions)
    @rule(data=st.data(), link=st.sampled_from(sorted(LINKS)))
    def checkout(self, data: st.DataObject, link: str) -> None:
        number = data.draw(st.integers(0, len(self.world.versions) - 1))
        self.world.checkout(number, LINKS[link])
        self.world.audit()

    @rule(step=st.integers(0, 400))
    def kill(self, step: int) -> None:
        needless, before = self.world.needless(), len(self.world.notes())
        child = self.world.in_a_child(STAGES, lambda patch: die_at(patch, step))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 1
        self.world.expect_no_waste(before, needless)
        self.world.audit()

    def begin_anew(self) -> None:
        """Want what was never made."""
        self.new_seed += 1
        self.world.write(replace(self.world.settings, seed=self.new_seed))

    def begin_something_new(self, stages: tuple[str, ...]) -> tuple[int, int]:
        """Let another process begin with what was never made; return it, and how much was noted before."""
        self.obstacles()  # what is in the way would end both
        self.begin_anew()
        before = len(self.world.notes())
        return self.world.in_a_child(stages, lambda patch: patch.setenv("TOY_PAUSE", "0.005")), before

    @rule(stages=st.sampled_from([STAGES, ("number",), ("number", "double")]))
    def two_at_once(self, stages: tuple[str, ...]) -> None:
        child, before = self.begin_something_new(stages)
        error = self.world.run(beside=True)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert error is None
        self.world.expect_no_waste(before, set())
        self.world.expect_all_right()

    @rule(data=st.data(), what=st.sampled_from(["seed", "word", "n_sims"]), after=st.integers(2, 7))
    def edit_under_a_run(self, data: st.DataObject, what: str, after: int) -> None:
        """Edit, make what is wanted then, and go back."""
        child, before = self.begin_something_new(STAGES)
        until = time.monotonic() + 5
        while len(self.world.notes()) < before + after and time.monotonic() < until:
            time.sleep(0.001)
        first = self.world.settings
        self.world.write(replace(first, **{what: data.draw(st.sampled_from(EDITS[what]))}))
        self.world.run(beside=True)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 1
        self.world.audit()
        self.world.write(first)
        self.world.audit()

    @rule(path=st.sampled_from(["data/toy/number/train/sim0000/number_a.txt", "pipeline/toy.yaml"]))
    def change_under_a_run(self, path: str) -> None:
        """What is read changes after it was fingerprinted, and before it is read."""
        self.begin_anew()
        self.obstacles(("number",))
        taken = Watch.__init__

        def then_changed(watch: Watch, *given: object) -> None:
            taken(watch, *given)
            (self.world.root / path).write_text((self.world.root / path).read_text() + " ")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Watch, "__init__", then_changed)
            error = self.world.run(["double"])
        assert isinstance(error, StageError)
        assert "has changed under the run" in str(error)
        self.world.audit()

    @rule(data=st.data(), how=st.sampled_from(sorted(OF_A_FILE)))
    def damage_a_file(self, data: st.DataObject, how: str) -> None:
        files = sorted(path for files in self.world.settings.pieces().values() for path in files)
        path = self.world.root / data.draw(st.sampled_from(files))
        if path.is_file() and path.parent not in {file.parent for file in self.world.mine}:
            OF_A_FILE[how](path)
        self.world.audit()

    # Which records there are depends on time, and what is drawn must not.
    @rule(number=st.integers(0, 999), how=st.sampled_from(sorted(OF_A_RECORD)))
    def damage_a_record(self, number: int, how: str) -> None:
        root = self.world.root
        places = (root / "data", root / ".cmbml/memo", root / ".dvc/cache/cmbml", root)
        names = (MANIFEST, "*.jsonl", "*.jsonl", "dvc.lock")
        found = sorted(
            p for place, name in zip(places, names, strict=True) for p in place.rglob(name) if p.is_file()
        )
        if not found:
            return
        OF_A_RECORD[how](found[number % len(found)])
        self.world.audit()

    @rule(numbers=st.tuples(st.integers(0, 999), st.integers(0, 999)))
    def swap_records(self, numbers: tuple[int, int]) -> None:
        """Manifests of two portions change places."""
        found = sorted((self.world.root / "data").rglob(MANIFEST))
        if len(found) > 1:
            one, two = (found[number % len(found)] for number in numbers)
            first, second = one.read_bytes(), two.read_bytes()
            put(one, second)
            put(two, first)
        self.world.audit()

    @rule(place=st.sampled_from(OF_A_PLACE))
    def delete(self, place: str) -> None:
        remove(self.world.root / place)
        self.world.mine = {path for path in self.world.mine if path.exists()}
        self.world.audit()

    @rule()
    def lose_the_cache(self) -> None:
        """`dvc gc` that keeps nothing."""
        remove(self.world.cache / "files")
        self.world.cached.clear()
        self.world.audit()

    @rule(number=st.integers(0, 1))
    def add_a_file_of_mine(self, number: int) -> None:
        path = self.world.root / self.world.settings.folders()[number] / "sim0000" / MINE
        if path.parent.is_dir():
            path.write_text("mine")
            self.world.mine.add(path)

    @rule()
    def leave_an_unfinished_file(self) -> None:
        path = self.world.root / self.world.settings.folders()[0] / ".cmbml-tmp.999999999.x.txt"
        if path.parent.is_dir():
            path.write_text("half")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    root = tmp_path_factory.mktemp("template") / "toy"
    toy = ToyRepository(root)
    with pytest.MonkeyPatch.context() as patch, modules_of(root):
        patch.syspath_prepend(str(root))
        make_template(toy)
    return root


def interleave(template: Path, count: int) -> None:
    machine = type("Machine", (Interleavings,), {"template": template})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=count,
            stateful_step_count=12,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


@pytest.mark.long
def test_20_interleavings(template):
    interleave(template, 20)


@pytest.mark.soak
def test_200_interleavings(template):
    interleave(template, 200)
