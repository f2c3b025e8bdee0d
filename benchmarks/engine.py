"""What the engine costs beyond the science: trivial outputs by Luigi, no-op runs, status, growth under DVC.

Run as ``python benchmarks/engine.py``; writes benchmarks/results/engine.json.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from cmbml.core.spec.yamlio import dump_yaml, read_yaml

ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).parent / "results" / "engine.json"
BUDGETS = {
    "overhead_ms_each": 1.0,
    "no_op_s": 3.0,
    "status_s": 2.0,
    "parent_memory_mb": 300,
    "growth_beyond_computing_s": 5.0,
}

RUN_ALL = ("-m", "luigi", "--module", "tasks", "RunAll")

EXECUTOR = '''\
"""Trivial outputs for every simulation."""

from cmbml.core import BaseStageExecutor

PAD = {pad}
FIELDS = {fields}


def sky(sim, field):
    """The whole science."""
    return f"{{sim}} {{field}}" + "x" * PAD


class SkyExecutor(BaseStageExecutor):
    """Writes it."""

    def __init__(self, cfg):
        super().__init__(cfg, stage_str="sky")
        self.out_sky = self.assets_out["sky"]

    def process_sim(self, split, sim):
        for field in FIELDS:
            with self.name_tracker.set_context("field", field):
                self.out_sky.write(sky(sim, field))
'''

PIPELINE = """\
stages:
  sky:
    executor: trivial.SkyExecutor
    dir_name: sky
    assets_out:
      sky:
        handler: Text
        path_template: "{root}/{dataset}/{stage}/{split}/{sim}/sky_{field}.txt"
        fields: FIELDS
"""

BARE = """\
import sys
from pathlib import Path
from trivial import sky
for sim in range(int(sys.argv[1])):
    path = Path(f"bare/sim{sim:04d}/sky.txt")
    path.parent.mkdir(parents=True)
    path.write_text(sky(sim, 0))
"""


def make_repository(root: Path, sims: int, pad: int, files: int = 1) -> None:
    """A repository of one stage and one split."""
    fields = [f"f{number}" for number in range(files)]
    (root / "pipeline").mkdir(parents=True)
    (root / "pipeline/sky.yaml").write_text(PIPELINE.replace("FIELDS", json.dumps(fields)))
    (root / "trivial.py").write_text(EXECUTOR.format(pad=pad, fields=fields))
    (root / "bare.py").write_text(BARE)
    (root / "luigi.cfg").write_text((ROOT / "luigi.cfg").read_text())
    set_sims(root, sims)
    (root / "dvc.yaml").touch()
    run(root, "-m", "cmbml", "dvc")


def set_sims(root: Path, sims: int) -> None:
    """Write params.yaml with that many simulations."""
    params = read_yaml(ROOT / "params.yaml")
    blocks = {name for file in (ROOT / "pipeline").glob("*.yaml") for name in _blocks(file)}
    values = {key: value for key, value in params.items() if key not in blocks}
    values |= {
        "dataset": "trivial",
        "methods": [],
        "splits": {"all": {"n_sims": sims, "population": "nominal"}},
    }
    (root / "params.yaml").write_text(dump_yaml(values))


def _blocks(file: Path) -> dict[str, str]:
    return read_yaml(file).get("parameters") or {}


class Cost(NamedTuple):
    """What a program took: seconds on the wall, seconds of the processors, and memory in MB."""

    wall: float
    cpu: float
    memory: float


def run(root: Path, *command: str) -> Cost:
    """Run a program of Python to its end."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, *command], cwd=root, env=environment) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{' '.join(command)} failed in {root}")
    return Cost(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def measure_luigi(sims: int) -> dict[str, Any]:
    """Make, look at, and find complete a dataset of trivial outputs."""
    with TemporaryDirectory() as folder:
        root = Path(folder) / "repository"
        make_repository(root, sims, pad=10)
        bare = run(root, "bare.py", str(sims))
        made = run(root, *RUN_ALL)
        no_op = min(run(root, *RUN_ALL) for _ in range(3))
        status = min(run(root, "-m", "cmbml", "status") for _ in range(3))
    return {
        "outputs": sims,
        "bare_s": bare.wall,
        "luigi_s": made.wall,
        "overhead_ms_each": (made.wall - bare.wall) / sims * 1e3,
        "overhead_cpu_ms_each": (made.cpu - bare.cpu) / sims * 1e3,
        "no_op_s": no_op.wall,
        "no_op_cpu_s": no_op.cpu,
        "status_s": status.wall,
        "status_cpu_s": status.cpu,
        "parent_memory_mb": max(made.memory, no_op.memory),
    }


def measure_growth(outputs: int, new: int, pad: int, files: int) -> dict[str, Any]:
    """Grow a dataset under DVC with the shipped settings; a fresh one of the new size is the yardstick.

    `files` of the outputs belong to one simulation and share its folder, as the bands of an observation do.
    """
    with TemporaryDirectory() as folder:
        fresh, root = Path(folder) / "fresh", Path(folder) / "repository"
        make_repository(fresh, new // files, pad, files)
        computing = run(fresh, *RUN_ALL).wall
        make_repository(root, outputs // files, pad, files)
        (root / ".gitignore").write_text("/data\n/.cmbml\n")
        for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
            subprocess.run(command, cwd=root, check=True)
        (root / ".dvc/config").write_text((ROOT / ".dvc/config").read_text())
        repro = ("-m", "dvc", "repro", "-q")
        first = run(root, *repro).wall
        no_op = run(root, *repro).wall
        set_sims(root, (outputs + new) // files)
        grown = run(root, *repro)
        disk = subprocess.check_output(["du", "-sm", root], text=True)
    return {
        "outputs": outputs,
        "files_in_a_folder": files,
        "bytes": outputs * pad,
        "new": new,
        "first_s": first,
        "no_op_repro_s": no_op,
        "computing_the_new_alone_s": computing,
        "grown_s": grown.wall,
        "grown_cpu_s": grown.cpu,
        "growth_beyond_computing_s": grown.wall - computing,
        "disk_mb": int(disk.split()[0]),
    }


def within(result: dict[str, Any]) -> bool:
    """Say which budgets are kept; that of growth is for files that lie together, as the bands of a sky."""
    if result.get("files_in_a_folder") == 1:
        return True
    for name, limit in BUDGETS.items():
        if name in result:
            print(f"{result['outputs']:>7} outputs: {name} {result[name]:.2f} (at most {limit})")
    return all(result[name] <= limit for name, limit in BUDGETS.items() if name in result)


def main() -> None:
    """Measure, write the result, and fail where a budget is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outputs", type=int, nargs="*", default=[10_000, 25_000, 50_000])
    parser.add_argument("--no-growth", action="store_true")
    options = parser.parse_args()
    made = [measure_luigi(sims) for sims in options.outputs]
    growth = [] if options.no_growth else [measure_growth(10_000, 100, 200_000, files) for files in (10, 1)]
    result = {
        "subject": "engine",
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load_average": os.getloadavg()[0],
        },
        "budgets": BUDGETS,
        "luigi": made,
        "dvc_growth": growth,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    kept = [within(one) for one in [*made, *growth]]
    if not all(kept):
        sys.exit("a budget is broken")


if __name__ == "__main__":
    main()
