"""`cmbml submit slurm` without Slurm: what it writes, hands over and refuses."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture
def clone(toy):
    shutil.copytree(ROOT / "cluster", toy.root / "cluster")
    return toy


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    """A program of that name, which notes the script that it is given."""
    program = tmp_path / "bin/sbatch"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncp "$2" {tmp_path}/given\necho "12;far"\n[ ! -e {tmp_path}/refuse ]\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return tmp_path


def directives(script):
    return dict(line.split()[1:] for line in script.splitlines() if line.startswith("#SBATCH"))


def test_the_script_says_what_was_asked_for(clone):
    clone.edit("pipeline/toy.yaml", "    dir_name: double\n", "    dir_name: double\n    threads: 3\n")
    said = clone.cmbml("submit", "slurm", "--workers", "16", "--time", "1:00", "--print").stdout
    asked = directives(said)
    assert (asked["--ntasks"], asked["--cpus-per-task"], asked["--time"]) == ("16", "3", "1:00")
    assert asked["--chdir"] == str(clone.root)
    assert "srun --kill-on-bad-exit=0 --wait=0 --ntasks 16 --cpus-per-task 3" in said
    subprocess.run(["bash", "-n"], input=said, text=True, check=True)
    assert not (clone.root / ".cmbml").exists()


def test_it_is_handed_to_sbatch_with_what_the_site_wants(clone, sbatch):
    done = clone.cmbml("submit", "slurm", "--cpus", "2", "--sbatch=--partition long")
    assert done.stdout == "job 12: its log is .cmbml/slurm-12.log\n"
    given = (sbatch / "given").read_text()
    assert directives(given)["--partition"] == "long"
    assert directives(given)["--cpus-per-task"] == "2"
    (sbatch / "refuse").touch()
    assert clone.cmbml("submit", "slurm", ok=False).returncode == 1


def refusal(toy, *arguments):
    done = toy.cmbml("submit", "slurm", *arguments, ok=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_where_there_is_no_slurm_it_can_be_shown(clone, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert "--print" in refusal(clone)


def test_what_cannot_be_is_refused(clone, sbatch):
    assert "--workers: should be" in refusal(clone, "--workers", "0")
    assert "--cpus: should be" in refusal(clone, "--cpus", "0")
    shutil.rmtree(clone.root / "cluster")
    assert "cluster/run.sh" in refusal(clone)
    assert not (sbatch / "given").exists()


def test_a_job_finds_the_python_that_submitted_it(clone):
    said = clone.cmbml("submit", "slurm", "--print").stdout
    line = next(line for line in said.splitlines() if "PATH=" in line)
    found = subprocess.run(
        ["bash", "-c", f"{line}; command -v python"], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == str(Path(sys.executable).with_name("python"))


@pytest.mark.parametrize("given", ["90", "90:30", "1:30:00", "2-6", "2-6:30", "2-06:30:15", "0"])
def test_times_of_slurm_are_handed_on(clone, given):
    assert directives(clone.cmbml("submit", "slurm", "--time", given, "--print").stdout)["--time"] == given


@pytest.mark.parametrize(
    "given", ["12h", "1:2:3:4", "2-", "1.5", "", "10:75", "noon", "1:00 --exclusive", "٣"]
)
def test_other_times_are_refused_before_anything_is_written(clone, sbatch, given):
    said = refusal(clone, "--time", given)
    assert said.startswith(f"cmbml: --time: '{given}' is no time of Slurm: say minutes, ")
    assert not (sbatch / "given").exists()
    assert not (clone.root / ".cmbml/slurm.sbatch").exists()


@pytest.mark.parametrize("given", ["0", "-3", "two", "1.5"])
def test_a_number_of_workers_is_whole_and_above_0(clone, given):
    assert refusal(clone, "--workers", given).startswith("cmbml: --workers: should be ")
