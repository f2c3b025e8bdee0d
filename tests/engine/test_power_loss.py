"""Power is lost at every moment of a run: whatever the disk has then, no wrong file is ever called complete."""

import random
import shutil
from itertools import product

import pytest

from cmbml.core.engine import batch
from cmbml.core.engine.context import run_stage
from cmbml.core.engine.make import Engine
from cmbml.core.files.checksums import md5_of
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.plan.pieces import Portion
from cmbml.core.record.facts import Fact, Facts
from tests.engine.power import LOSSES, NAMES, Loss, State, recorded

PORTION = Portion("number", None, "test")
FEW = [
    Loss(("new", "new"), ("whole", "whole")),
    Loss(("new", "new"), ("zeros", "whole")),
    Loss(("old", "new"), ("whole", "whole")),
    Loss(("old", "old"), ("lost", "lost")),
]
ALIKE = [Loss(names, (content, "whole")) for names in product(NAMES, NAMES) for content in LOSSES]
DRAWN = [Loss(("any", "any"), ("any", "any"))] * 6


def make(plan):
    run_stage(Engine(plan), plan.stages["number"], [PORTION])


def files_of(plan):
    return {
        path: (plan.config.root / path).read_bytes()
        for piece in plan.pieces(PORTION)
        for path in plan.files(piece)
    }


class Scene:
    """A toy whose stage `number` is made for one split, with the parameters of now and of before."""

    def __init__(self, toy, monkeypatch):
        monkeypatch.setattr(batch, "_SECONDS", 0)  # every simulation is committed by itself
        self.root = toy.root
        self.old, self.new = Plan(toy.config(seed=1)), Plan(toy.config(seed=2))
        self.expected = {}
        for plan in (self.old, self.new):
            make(plan)
            self.expected[plan.config.params.seed] = files_of(plan)
            self.forget()

    def forget(self):
        for place in ("data", ".cmbml"):
            shutil.rmtree(self.root / place, ignore_errors=True)

    def expect_nothing_wrong(self, plan, what):
        """What is called complete has the right bytes."""
        facts, right = Facts(plan, PORTION), self.expected[plan.config.params.seed]
        pieces = plan.pieces(PORTION)
        flaws = facts.flaws(pieces)
        if facts.complete():
            assert not flaws, what
        for piece in pieces:
            for path in plan.files(piece) if piece not in flaws else ():
                assert (self.root / path).read_bytes() == right[path], f"{what}: {path}"

    def expect_files_behind_facts(self, what):
        """What the index says was made is there: only then may a training forget its progress."""
        facts = Facts(self.new, PORTION)
        facts.index.refresh()
        for record in facts.index.all():
            for path, (_, md5) in Fact.read(record, facts.name).files.items():
                assert md5_of(self.root / path) == md5, f"{what}: {path}"

    def expect_whole_files(self, what):
        """Whatever has its name is whole."""
        for path, right in self.expected[2].items():
            file = self.root / path
            assert not file.exists() or file.read_bytes() in (right, self.expected[1][path]), (
                f"{what}: {path}"
            )

    def lose_power_everywhere(self, moments, losses, *, all_ours=True, first_run=False):
        rng = random.Random(1)
        for number, moment in enumerate(moments):
            for loss in losses:
                what = f"power lost at {number}: {moment.what}, {loss}"
                moment.lose_power(self.root, rng, loss)
                if all_ours:
                    self.expect_whole_files(what)
                if first_run:
                    self.expect_files_behind_facts(what)
                self.expect_nothing_wrong(self.old, what)
                self.expect_nothing_wrong(self.new, what)
                make(self.new)
                assert files_of(self.new) == self.expected[2], what
                assert Facts(self.new, PORTION).complete(), what


@pytest.fixture
def scene(toy, monkeypatch):
    return Scene(toy, monkeypatch)


def first_run(scene, losses):
    with recorded(scene.root) as moments:
        make(scene.new)
    scene.lose_power_everywhere(moments, losses, first_run=True)


def over_an_earlier_version(scene, losses):
    make(scene.old)
    with recorded(scene.root) as moments:
        make(scene.new)
    scene.lose_power_everywhere(moments, losses)


def over_a_checkout(scene, losses):
    """Another program brings the files, and nobody syncs them; status reads them once, and they are made on."""
    make(scene.new)
    for place in ("memo", "facts"):
        shutil.rmtree(scene.root / ".cmbml" / place)
    (scene.root / scene.new.files(scene.new.pieces(PORTION)[1])[0]).unlink()
    with recorded(scene.root, State()) as moments:
        facts = Facts(scene.new, PORTION)
        assert not facts.complete()
        make(scene.new)
    scene.lose_power_everywhere(moments, losses, all_ours=False)


def back_from_the_cache(scene, losses):
    """DVC syncs nothing: the cache may lose what it gave."""
    cache = scene.root / ".dvc/cache/files/md5"
    make(scene.new)
    for path in files_of(scene.new):
        md5 = md5_of(scene.root / path)
        (cache / md5[:2]).mkdir(parents=True, exist_ok=True)
        shutil.copy(scene.root / path, cache / md5[:2] / md5[2:])
    shutil.move(scene.root / ".cmbml/facts", scene.root / ".dvc/cache/cmbml")
    make(scene.old)
    synced = State.of(scene.root)
    synced.names = {name: inode for name, inode in synced.names.items() if not name.startswith(".dvc")}
    synced.content = {inode: synced.content[inode] for inode in synced.names.values()}
    with recorded(scene.root, synced) as moments:
        make(scene.new)
    scene.lose_power_everywhere(moments, losses)


SCENES = [first_run, over_an_earlier_version, over_a_checkout, back_from_the_cache]


@pytest.mark.parametrize("play", SCENES)
def test_power_lost_at_any_moment(scene, play):
    play(scene, FEW)


@pytest.mark.long
@pytest.mark.parametrize("play", SCENES)
def test_power_lost_at_any_moment_in_any_way(scene, play):
    play(scene, ALIKE + DRAWN)
