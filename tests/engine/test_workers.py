"""Several workers on one machine: the same bytes, imports once a block, resources kept."""

import itertools
import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

RUN_ALL = ("luigi", "--module", "tasks", "RunAll")


def runs_of_processes(repository, stage):
    """Processes in the order of what they computed of a stage, each named once for as long as it went on."""
    pids = [pid for name, pid in repository.computed() if name.startswith(f"{stage}/")]
    return [pid for pid, _ in itertools.groupby(pids)]


def test_workers_make_the_same_bytes_in_few_processes(counted, monkeypatch):
    counted.finish(monkeypatch)
    expected = counted.toy.files()
    (counted.root / "data").rename(counted.root / "before")
    counted.log.unlink()
    process = counted.start(*RUN_ALL, "--workers", "2", pause=0.02)
    assert process.wait(timeout=120) == 0
    assert counted.toy.files() == expected
    assert len(counted.names()) == len(set(counted.names())) == 2 * 4 * 6 + 4
    by_stage = {
        stage: {p for n, p in counted.computed() if n.startswith(stage)} for stage in ("number", "total")
    }
    assert len(by_stage["number"]) > 2
    assert len(runs_of_processes(counted, "number")) > len(by_stage["number"]), "nothing ran side by side"
    record = json.loads(next((counted.root / ".cmbml/runs").glob("*.json")).read_text())
    assert record["made"] == {"number": 24, "double": 24, "total": 4}
    assert record["command"][-4:] == ["tasks", "RunAll", "--workers", "2"]
    assert record["commit"]


def test_blocks_pay_for_their_imports_once(counted):
    counted.toy.edit("params.yaml", "{n_sims: 6", "{n_sims: 40")
    process = counted.start("luigi", "--module", "tasks", "Number", "--workers", "2")
    assert process.wait(timeout=120) == 0
    names, pids = zip(*counted.computed(), strict=True)
    assert len(names) == 160
    # Three blocks for each worker, and what the borders of four splits add.
    assert 6 <= len(set(pids)) <= 6 + 4


def demand(repository, resources):
    repository.toy.edit("pipeline/toy.yaml", "params: [seed]", f"params: [seed]\n    resources: {resources}")
    repository.toy.run("cmbml", "dvc")


@pytest.mark.parametrize("resources", ["{gpu: 1}", "{memory_gb: 5}"])
def test_what_needs_the_one_gpu_or_most_of_the_memory_runs_alone(counted, resources):
    demand(counted, resources)
    process = counted.start("luigi", "--module", "tasks", "Number", "--workers", "3", pause=0.01)
    assert process.wait(timeout=120) == 0
    in_turn = runs_of_processes(counted, "number")
    assert len(in_turn) == len(set(in_turn)) > 2


def test_what_no_worker_can_ever_have_is_refused(counted):
    demand(counted, "{gpu: 2}")
    done = counted.toy.run(*RUN_ALL, ok=False)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == (
        "cmbml: pipeline/toy.yaml: stages.number.resources.gpu: asks for 2, [resources] in luigi.cfg "
        "offers 1: lower one or raise the other"
    )


@pytest.mark.long
def test_the_science_is_the_same_with_any_number_of_workers(tmp_path):
    def run(name, *arguments):
        folder = tmp_path / name
        for command in (("cmbml", "profile", "demo", "--into", str(folder)),):
            subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=True, capture_output=True)
        subprocess.run(
            [sys.executable, "-m", *RUN_ALL, *arguments],
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=1200,
        )
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for place in ("data", "metrics")
            for path in sorted((folder / place).rglob("*"))
            if path.is_file()
        }

    alone = run("alone")
    assert len(alone) > 100
    assert run("four", "--workers", "4") == alone
