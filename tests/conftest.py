"""What tests share: a toy repository whose executors need no science, and the reference data where present."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

# The workers of pytest share the cores; threads that wait for each other cost ten times what they save.
# Read by NumPy and PyTorch when they are imported, here and in the processes that tests start.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import pytest
from hypothesis import HealthCheck, settings

from cmbml.core.engine.dvc import dvc_yaml
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.config import Config, load_config
from tests.budget import pytest_addoption, pytest_runtest_call  # noqa: F401 (hooks)
from tests.commands import Ended, call, forget_toy_modules

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"

# How long a draw takes says how busy the machine is.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# What takes longest comes first, so that both workers end at about the same time.
FIRST = (
    "test_networks.py",
    "test_end_to_end.py",
    "test_kill.py",
    "test_ranks.py",
    "test_profiles.py",
    "test_notebooks.py",
    "test_publish.py",
    "test_three_ways.py",
    "test_cluster.py",
    "test_gsc_unet.py",
    "test_same_bytes.py",
    "test_interleavings.py",
    "test_workers.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort modules by the time that they take."""
    order = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(item.path.name, len(FIRST)))


@pytest.fixture
def shared() -> Path:
    """Reference data beside the repository; the test is skipped where it is absent."""
    if not (SHARED / "sky64").is_dir():
        pytest.skip("needs the reference data in ../shared")
    return SHARED


@pytest.fixture
def real_config() -> Config:
    """The configuration that ships."""
    return load_config(ROOT)


TOY_SPLITS = """
splits:
  train: {n_sims: 3, population: nominal}
  valid: {n_sims: 3, population: nominal}
  test: {n_sims: 3, population: nominal}
  shifted: {n_sims: 3, population: dusty}
"""

TOY_EXECUTORS = '''\
"""Executors on plain numbers."""

import time

from cmbml.core import BaseStageExecutor, generator
from toy_math import double


class NumberExecutor(BaseStageExecutor):
    """Draws a number for every simulation."""

    def __init__(self, cfg):
        super().__init__(cfg, stage_str="number")
        self.out_number = self.assets_out["number"]
        self.seed = cfg.seed

    def process_sim(self, split, sim):
        time.sleep(PAUSE)
        rng = generator(self.seed, split.stream, sim, "number")
        self.out_number.write({"value": float(rng.standard_normal())})


class DoubleExecutor(BaseStageExecutor):
    """Doubles it."""

    def __init__(self, cfg):
        super().__init__(cfg, stage_str="double")
        self.out_double = self.assets_out["double"]
        self.in_number = self.assets_in["number"]
        self.factor = cfg.analysis.n_bootstrap

    def process_sim(self, split, sim):
        self.out_double.write({"value": double(self.in_number.read()["value"]) * self.factor})


class TotalExecutor(BaseStageExecutor):
    """Adds up all numbers of a split."""

    def __init__(self, cfg):
        super().__init__(cfg, stage_str="total")
        self.out_total = self.assets_out["total"]
        self.in_double = self.assets_in["double"]

    def process_split(self, split):
        values = [self.in_double.at(sim=sim).read()["value"] for sim in split.iter_sims()]
        self.out_total.write({"total": sum(values), "count": len(values)})


PAUSE = 0.0
'''

TOY_MATH = '''\
"""Pure functions."""


def double(x):
    """Double a number."""
    return 2 * x
'''

TOY_PIPELINE = """\
stages:
  number:
    executor: toy.NumberExecutor
    dir_name: number
    params: [seed]
    assets_out:
      number: {handler: Config, path_template: "{root}/{dataset}/{stage}/{split}/{sim}/number.yaml"}
  double:
    executor: toy.DoubleExecutor
    dir_name: double
    params: [analysis.n_bootstrap]
    assets_out:
      double: {handler: Config, path_template: "{root}/{dataset}/{stage}/{split}/{sim}/double.yaml"}
    assets_in:
      number: {stage: number}
  total:
    executor: toy.TotalExecutor
    dir_name: total
    assets_out:
      total: {handler: Config, path_template: "{root}/{dataset}/{stage}/{split}/total.yaml"}
    assets_in:
      double: {stage: double}
"""


SUMMARY_EXECUTOR = '''

import json


class SummaryExecutor(BaseStageExecutor):
    """Adds up the totals of all splits."""

    def __init__(self, cfg):
        super().__init__(cfg, stage_str="summary")
        self.out_summary = self.assets_out["summary"]
        self.in_total = self.assets_in["total"]

    def execute(self):
        totals = {split.name: self.in_total.at(split=split.name).read()["total"] for split in self.splits}
        self.out_summary.write(json.dumps(totals))
'''

SUMMARY_STAGE = """\
  summary:
    executor: toy.SummaryExecutor
    dir_name: summary
    assets_out:
      summary: {handler: Text, path_template: "metrics/totals.json"}
    assets_in:
      total: {stage: total}
"""


class ToyRepository:
    """A repository with three stages: number, double (a number times a parameter), total (by split)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        (root / "pipeline").mkdir()
        self.write("toy.py", TOY_EXECUTORS)
        self.write("toy_math.py", TOY_MATH)
        self.write("pipeline/toy.yaml", TOY_PIPELINE)
        params = (ROOT / "params.yaml").read_text(encoding="utf-8")
        params = re.sub(r"^methods: .*$", "methods: []", params, flags=re.MULTILINE)
        params = params.replace("dataset: mini", "dataset: toy")
        # The blocks of the methods come last.
        params = params[: params.index("\nnilc:")] + "\n"
        params = re.sub(r"\nsplits:\n( .*\n)+", TOY_SPLITS, params)
        self.write("params.yaml", params)
        shutil.copy(ROOT / "luigi.cfg", root)
        self.write("dvc.yaml", "")

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text, encoding="utf-8")

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace text that must be there; the modules are read afresh afterwards."""
        text = (self.root / name).read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {name}"
        self.write(name, text.replace(old, new))
        forget_toy_modules()

    def append(self, name: str, text: str) -> None:
        """Add text at the end of a file."""
        self.write(name, (self.root / name).read_text(encoding="utf-8") + text)

    def add_summary(self) -> None:
        """Add a stage for the whole dataset: its output is a metric."""
        self.append("toy.py", SUMMARY_EXECUTOR)
        self.append("pipeline/toy.yaml", SUMMARY_STAGE)

    def config(self, **overrides: object) -> Config:
        return load_config(self.root, overrides={key.replace("__", "."): v for key, v in overrides.items()})

    def cmbml(self, *arguments: str, ok: bool = True) -> Ended:
        """Run a command of cmbml in this process."""
        return call(self.root, *arguments, ok=ok)

    def run(self, *command: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment in the repository, in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if ok:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def put_under_git_and_dvc(self) -> None:
        """Write dvc.yaml and what `git init` and `dvc init` leave, and commit all."""
        self.write("dvc.yaml", dvc_yaml(Plan(self.config())))
        # `dvc init` takes a second.
        (self.root / ".dvc").mkdir()
        shutil.copy(ROOT / ".dvc/config", self.root / ".dvc/config")
        self.write(".dvc/.gitignore", "/config.local\n/tmp\n/cache\n")
        self.write(".gitignore", "/data\n/.cmbml\n__pycache__\n")
        git(self.root, "init", "-q", "-b", "main")
        git(self.root, "add", ".")
        git(self.root, "commit", "-q", "-m", "start")

    def files(self, folder: str = "data") -> dict[str, bytes]:
        """Bytes of all data files."""
        base = self.root / folder
        return {
            str(path.relative_to(base)): path.read_bytes()
            for path in sorted(base.rglob("*"))
            if path.is_file() and path.name != ".gitignore"
        }


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A fresh toy repository, importable."""
    repository = ToyRepository(tmp_path / "toy")
    monkeypatch.syspath_prepend(str(repository.root))
    forget_toy_modules()
    yield repository
    forget_toy_modules()


def git(root: Path, *arguments: str) -> None:
    """Run git as a nameless user."""
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments],
        cwd=root,
        check=True,
        capture_output=True,
    )


@pytest.fixture
def toy_dvc(toy):
    """A toy repository under git and DVC, with its dvc.yaml."""
    toy.put_under_git_and_dvc()
    return toy


def copy_repository(folder: Path) -> None:
    """Copy the files that belong to the repository, new ones among them, without what runs have made."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, folder / name
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target, follow_symlinks=False)
