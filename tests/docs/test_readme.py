"""Every command of the README runs: most of them here, in a clone with few coarse skies; the rest in the tests named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import cmbml
from cmbml.core.handlers import get_handler
from cmbml.sky.sht import alm2map, almxfl, gaussian_beam
from cmbml.sky.skymap import SkyMap
from tests.conftest import ROOT, copy_repository, git
from tests.docs.test_docs import README, blocks, code_spans

# In this order, after `make run`; FILE and FOLDER stand for what the README leaves to its reader.
HERE = [
    "make run",
    ". .venv/bin/activate",
    "dvc repro",
    "luigi --module tasks RunAll",
    "luigi --module tasks RunAll --workers 2",
    "cmbml run",
    "cmbml run cmb nilc",
    "cmbml run nilc --split test --sim 3",
    "python -m cmbml run nilc --split test --sim 3 --pdb",
    "cmbml regenerate observations --split test --sim 3 --into FOLDER",
    "cmbml check",
    "cmbml stages",
    "cmbml graph",
    "cmbml status",
    "cmbml status nilc",
    "cmbml trace FILE",
    "cmbml card",
    "cmbml dvc",
    "cmbml schema",
    "cmbml completion bash",
    "cmbml fetch",
    "cmbml score --maps 'pred_{sim}.fits' --split test --fwhm 80 --name mine",
    "cmbml report",
    "cmbml export cmb-ml --into FOLDER",
    "cmbml push",
    "cmbml pull",
    "dvc exp run -S nilc.ilc_bias=0.01",
    "dvc metrics diff",
    "dvc exp show --only-changed",
    "cmbml repro",
    "make demo",
    "make lint",
    "cmbml profile mini",
    "cmbml profile demo",
]
# A test that runs it, or why none does.
ELSEWHERE = {
    "cmbml inspect FILE": "tests/analysis/test_inspection.py",
    "cmbml compare": "tests/engine/test_compare.py::test_one_unit_in_the_last_place_is_found_and_named",
    "cmbml clean nilc": "tests/methods/test_clean.py::test_the_command_imports_no_more_than_it_needs",
    "cmbml score": "tests/pipeline/test_end_to_end.py::test_maps_made_elsewhere_get_the_score_they_deserve",
    "cmbml import cmb-ml FOLDER": "tests/data/test_import.py",
    "cmbml new method NAME": "tests/authoring/test_new_method.py::test_it_runs_and_is_scored_as_it_is",
    "dvc exp run -S foregrounds.model=pysm3": "tests/pipeline/test_end_to_end.py::test_the_same_pipeline_on_the_templates_of_the_field",
    "export PYSM_LOCAL_DATA=~/pysm-data": "tests/sky/test_pysm.py::test_template_files",
    "make regenerate": "docs/readme.py",
    "make docs": "tests/docs/test_site.py::test_the_site_builds_without_a_warning_and_needs_no_network",
    "make notebooks": "tests/notebooks/test_notebooks.py::test_it_runs_from_a_clean_kernel",
    "make test": ".ci/run",
    "make test-all": ".ci/run",
    "make soak": "Makefile",
    "cmbml submit slurm --workers 16": "tests/pipeline/test_submit.py::test_a_job_finds_the_python_that_submitted_it",
    "make bench": "benchmarks/engine.py",
    "make bench-ml": "benchmarks/training.py",
    "make portability": "benchmarks/portability.py",
    "make clean": "Makefile",
    "python3 -m venv .venv": "Makefile",
    "pip install -c constraints.txt -e '.[dev]'": "Makefile",
    "pip install -c constraints.txt -e '.[classic]'": "pyproject.toml",
    "pip install jupyterlab": "pyproject.toml",
    "python -m cmbml": "tests/conftest.py",
    "python -m luigi": "tests/conftest.py",
    "cmbml run nilc --force": "tests/engine/test_facts.py::test_force_computes_what_is_complete",
}
# What a place that is no test says of it.
WORDS = {
    "make test": "make test\n",
    "make test-all": "make test-all\n",
    "make clean": "rm -rf $(VENV)",
    "make soak": "-m soak",
    "python3 -m venv .venv": "-m venv $(VENV)",
    "pip install -c constraints.txt -e '.[dev]'": "'.[dev]'",
    "pip install -c constraints.txt -e '.[classic]'": "classic = [",
}
PROGRAMS = ("cmbml", "make", "dvc", "luigi", "python", "python3", "pip", "export", ".")


def shown() -> set[str]:
    """All commands of the README."""
    lines = [line for block in blocks(README) if block.language == "sh" for line in block.text.splitlines()]
    commands = [line.split("  #")[0].strip() for line in [*lines, *code_spans(README)]]
    return {line for line in commands if " " in line and line.split()[0] in PROGRAMS}


def test_every_command_is_run_somewhere():
    assert shown() <= {*HERE, *ELSEWHERE}, "neither run here nor elsewhere"
    assert {*HERE, *ELSEWHERE} <= shown() | {"cmbml run"}, "no longer shown"
    for command, place in ELSEWHERE.items():
        file, _, name = place.partition("::")
        expected = f"def {name}(" if name else WORDS.get(command, "")
        assert expected in (ROOT / file).read_text(encoding="utf-8"), command


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone of the files at hand with few coarse skies, and the environment as its own."""
    folder = tmp_path_factory.mktemp("readme") / "clone"
    copy_repository(folder)
    (folder / "dvc.lock").unlink()
    profile = folder / "profiles/demo.yaml"
    profile.write_text(profile.read_text(encoding="utf-8").replace("test: {n_sims: 3}", "test: {n_sims: 4}"))
    borrow_environment(folder / ".venv")
    call(folder, "cmbml profile demo")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "start")
    return folder


def borrow_environment(folder):
    """An environment that is the one at hand, and that make takes for installed."""
    folder.mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (folder / name).symlink_to(Path(sys.prefix) / name)
    (folder / ".installed").touch()


def call(folder, command):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(folder)},
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


def write_predictions(folder):
    """The truth with a beam of 80 arcmin, as someone else's estimate."""
    cmb = cmbml.open(folder)["cmb"].cmb
    for sim in range(4):
        truth = cmb.at(split="test", sim=sim).read()
        sky = alm2map(almxfl(truth.values, gaussian_beam(80.0, truth.lmax)), 32)
        get_handler("HealpyMap").write(folder / f"pred_{sim}.fits", SkyMap(sky, "uK_CMB", 80.0, truth.lmax))


@pytest.mark.long
def test_the_commands_run_as_they_stand(clone):
    said = {}
    for number, command in enumerate(HERE):
        if command.startswith("cmbml score"):
            write_predictions(clone)
        if command == "cmbml push":
            call(clone, f"dvc remote add -d store {clone.parent / 'store'}")
        # An experiment leaves its values in params.yaml, which a profile does not overwrite.
        if command in ("dvc exp run -S nilc.ilc_bias=0.01", "cmbml profile mini"):
            git(clone, "add", ".")
            git(clone, "commit", "-q", "-m", "made")
        call_as = command.replace("FILE", "data/demo/nilc/test/sim0003/cleaned.fits")
        said[command] = call(clone, call_as.replace("FOLDER", str(clone.parent / f"out{number}")))
    assert (clone / "reports/index.html").is_file()
    assert (clone / ".cmbml/demo/reports/index.html").is_file()
    assert "everything is complete" in said["cmbml status"]
    assert "mine" in said["cmbml score --maps 'pred_{sim}.fits' --split test --fwhm 80 --name mine"]
    assert "nilc" in said["dvc metrics diff"]
    assert (clone / "params.yaml").read_text(encoding="utf-8").startswith("# yaml-language-server")
