"""A toy repository whose executors write down every simulation that they compute."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cmbml.core.engine.context import run_stage
from cmbml.core.engine.make import Engine
from cmbml.core.files.checksums import md5_of
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.config import load_config
from tests.commands import call, modules_of
from tests.conftest import ToyRepository, git

COUNTED = '''\
"""Executors on plain numbers, which note in $TOY_LOG what they compute."""

import os
import time

from cmbml.core import BaseStageExecutor, generator
from toy_math import double


def note(stage, split, sim):
    time.sleep(float(os.environ.get("TOY_PAUSE", "0")))
    if "TOY_LOG" in os.environ:
        with open(os.environ["TOY_LOG"], "a") as file:
            file.write(f"{stage}/{split.name}/{sim} {os.getpid()}\\n")


class NumberExecutor(BaseStageExecutor):
    def __init__(self, cfg):
        super().__init__(cfg, stage_str="number")
        self.out_number = self.assets_out["number"]
        self.out_digit = self.assets_out["digit"]
        self.seed = cfg.seed

    def process_sim(self, split, sim):
        note("number", split, sim)
        rng = generator(self.seed, split.stream, sim, "number")
        self.out_number.write({"value": float(rng.standard_normal())})
        for field in "abc":
            with self.name_tracker.set_context("field", field):
                self.out_digit.write(f"{field} {self.seed} {split.name} {sim}")


class DoubleExecutor(BaseStageExecutor):
    def __init__(self, cfg):
        super().__init__(cfg, stage_str="double")
        self.out_double = self.assets_out["double"]
        self.in_number = self.assets_in["number"]
        self.factor = cfg.analysis.n_bootstrap

    def process_sim(self, split, sim):
        note("double", split, sim)
        self.out_double.write({"value": double(self.in_number.read()["value"]) * self.factor})


class TotalExecutor(BaseStageExecutor):
    def __init__(self, cfg):
        super().__init__(cfg, stage_str="total")
        self.out_total = self.assets_out["total"]
        self.in_double = self.assets_in["double"]

    def process_split(self, split):
        note("total", split, None)
        values = [self.in_double.at(sim=sim).read()["value"] for sim in split.iter_sims()]
        self.out_total.write({"total": sum(values), "count": len(values)})
'''

DIGITS = """\
      digit:
        handler: Text
        path_template: "{root}/{dataset}/{stage}/{split}/{sim}/digit_{field}.txt"
        fields: [a, b, c]
"""

PER_SPLIT = 6


class CountedRepository:
    """A toy repository under git and DVC, with a log of what was computed; or the copy of another one."""

    def __init__(self, toy, folder: Path, template: Path | None = None) -> None:
        self.toy = toy
        self.root = toy.root
        self.log = folder / "computed.log"
        if template is not None:
            shutil.rmtree(self.root)
            shutil.copytree(template, self.root)
            return
        toy.write("toy.py", COUNTED)
        toy.edit(
            "pipeline/toy.yaml", "    assets_out:\n      number:", f"    assets_out:\n{DIGITS}      number:"
        )
        toy.edit("params.yaml", "{n_sims: 3", f"{{n_sims: {PER_SPLIT}")
        toy.put_under_git_and_dvc()

    @property
    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "TOY_LOG": str(self.log)}

    def start(self, *command: str, pause: float = 0.0, **changes: str) -> subprocess.Popen:
        """Start a program in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=self.root,
            env={**self.environment, "TOY_PAUSE": str(pause), **changes},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def cmbml(self, *arguments: str) -> str:
        """Run a command of cmbml in this process to its end, which must be a good one; return what it says."""
        return call(self.root, *arguments, ok=True, TOY_LOG=str(self.log)).stdout

    def run(self, *command: str) -> str:
        """Run a program to its end, which must be a good one; return what it says."""
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def computed(self) -> list[tuple[str, int]]:
        """What was computed, and by which process."""
        if not self.log.exists():
            return []
        return [
            (name, int(pid)) for name, pid in (line.split() for line in self.log.read_text().splitlines())
        ]

    def names(self) -> list[str]:
        """What was computed."""
        return [name for name, _ in self.computed()]

    def plan(self) -> Plan:
        return Plan(load_config(self.root))

    def done(self) -> set[str]:
        """Pieces that are complete, named as in the log."""
        plan = self.plan()
        engine = Engine(plan)
        return {
            f"{portion.stage}/{portion.split}/{piece.sim}"
            for stage in plan.stages.values()
            for portion in plan.portions(stage)
            for piece in plan.pieces(portion)
            if engine.facts(portion).stale(piece) is None
        }

    def finish(self, monkeypatch) -> None:
        """Run all to the end, in this process."""
        monkeypatch.setenv("TOY_LOG", str(self.log))
        engine = Engine(self.plan())
        for stage in engine.plan.stages.values():
            run_stage(engine, stage)

    def expect_sound_cache(self) -> None:
        """Hash the DVC cache again."""
        for path in (self.root / ".dvc/cache/files/md5").glob("*/*"):
            name = path.parent.name + path.name.removesuffix(".dir")
            assert md5_of(path) == name, f"{path} is damaged"


def recorded_in(folder: Path) -> Path:
    """A toy that `dvc repro` has finished, as a template to copy: four seconds, so make it once for a module."""
    root = folder / "toy"
    toy = ToyRepository(root)
    with pytest.MonkeyPatch.context() as patch, modules_of(root):
        patch.syspath_prepend(str(root))
        CountedRepository(toy, folder).run("dvc", "repro", "-q")
    return root


def committed_in(folder: Path) -> Path:
    """The same, committed."""
    root = recorded_in(folder)
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "made")
    return root


@pytest.fixture
def counted(toy, tmp_path):
    return CountedRepository(toy, tmp_path)
