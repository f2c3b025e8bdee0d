import re

import pytest

import cmbml
from cmbml.core.errors import CmbmlError, PipelineError


def test_check_finds_nothing_then_everything(toy_dvc):
    assert "3 stages, no problem found" in toy_dvc.cmbml("check").stdout
    toy_dvc.edit("pipeline/toy.yaml", "params: [seed]", "params: [seed, mask]")
    toy_dvc.edit("pipeline/toy.yaml", "toy.TotalExecutor", "toy.TotlaExecutor")
    done = toy_dvc.cmbml("check", ok=False)
    assert done.returncode == 2
    assert "did you mean 'TotalExecutor'" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_notices_that_dvc_yaml_is_old(toy_dvc):
    toy_dvc.edit("params.yaml", "  valid:", "  extra: {n_sims: 2, population: nominal}\n  valid:")
    done = toy_dvc.cmbml("check", ok=False)
    assert (done.returncode, done.stderr.strip().endswith("run `cmbml dvc`")) == (2, True)
    assert toy_dvc.cmbml("dvc", "--check", ok=False).returncode == 2
    toy_dvc.cmbml("dvc")
    toy_dvc.cmbml("dvc", "--check")
    assert "data/toy/number/extra" in (toy_dvc.root / "dvc.yaml").read_text()


def test_stages_and_graph_show_the_pipeline(toy):
    lines = toy.cmbml("stages").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["number", "double", "total"]
    assert re.search(r"number +process_sim +12 pieces +12 files +train, valid, test, shifted", lines[0])
    assert "number --> double" in toy.cmbml("graph").stdout


def test_status_says_what_would_run_and_why(toy):
    assert "number/train: 3 to make: never made" in toy.cmbml("status").stdout
    toy.cmbml("run")
    assert toy.cmbml("status").stdout == "everything is complete\n"
    toy.edit("toy_math.py", "2 * x", "3 * x")
    text = toy.cmbml("status").stdout
    assert "double/test: 3 to make: changed: code toy_math" in text
    assert "total/test: 1 to make: changed: input double" in text


def test_run_makes_one_stage_then_repeats_one_simulation(toy):
    assert "number           " in toy.cmbml("run", "number").stderr
    assert len(toy.files()) == 12 + 4
    done = toy.cmbml("run", "number", "--split", "test", "--sim", "1")
    assert "number/test/sim0001 made" in done.stderr
    assert toy.cmbml("run", "number").stderr == ""
    # A repeated simulation leaves the stage closed: what reads it can go on.
    toy.cmbml("run")
    assert toy.cmbml("status").stdout == "everything is complete\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "nmber"], "did you mean 'number'"),
        (["status", "nmber"], "did you mean 'number'"),
        (["run", "number", "double", "--sim", "1"], "name the stage"),
        (["run", "number", "--split", "tset"], "its splits are train/valid/test/shifted"),
        (["run", "--sim", "1"], "name the stage"),
        (["run", "number", "--split", "test", "--sim", "7"], "no such simulation: it has 3"),
        (["run", "double"], "run stage 'number' first"),
        (["profile", "dmeo"], "no profile 'dmeo'"),
        (["report"], "finish the run first"),
    ],
)
def test_mistakes_are_one_line(toy, arguments, expected):
    done = toy.cmbml(*arguments, ok=False)
    assert done.returncode == 2
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_some_stages_are_run_in_their_order_and_asked_for_alone(toy):
    toy.cmbml("run", "double", "number")
    assert toy.cmbml("status", "double", "number").stdout == "everything is complete\n"
    waiting = toy.cmbml("status", "total").stdout.splitlines()
    assert waiting[0] == "total/train: 1 to make: never made"
    assert not any(line.startswith(("number", "double")) for line in waiting)


def test_a_dataset_names_the_stages_that_are_switched_on(toy):
    toy.edit(
        "pipeline/toy.yaml", "    dir_name: total\n", "    dir_name: total\n    when: {mask.kind: map}\n"
    )
    assert list(cmbml.open(toy.root)) == ["number", "double"]


def test_outside_of_a_repository(tmp_path, toy):
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "cmbml", "check"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no dvc.yaml here or above" in done.stderr


def test_code_that_cannot_be_parsed_is_named_by_its_line(toy):
    toy.edit("toy_math.py", "return 2 * x", "return 2 * (x")
    done = toy.cmbml("check", ok=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0] == (
        f"cmbml: pipeline/toy.yaml: stages.double: {toy.root}/toy_math.py:6: '(' was never closed: correct it"
    )


def test_a_fault_keeps_its_traceback_and_the_command_that_repeats_it(toy):
    toy.edit("toy_math.py", "2 * x", "x / 0")
    toy.cmbml("run", "number")
    done = toy.cmbml("run", "double", ok=False)
    assert done.returncode == 1
    assert 'toy_math.py", line' in done.stderr
    assert "repeat with: python -m cmbml run double --split train --sim 0 --pdb" in done.stderr


def test_data_is_read_in_one_line(toy):
    toy.cmbml("run")
    data = cmbml.open(toy.root)
    assert set(data) == {"number", "double", "total"}
    value = data["number"].number.at(split="test", sim=2).read()["value"]
    assert data["double"].double.at(split="test", sim=2).read()["value"] == 2 * value * 2000
    with pytest.raises(PipelineError, match="makes no 'nmber': did you mean 'number'"):
        _ = data["number"].nmber
    with pytest.raises(PipelineError, match="did you mean 'double'"):
        _ = data["doubel"]


def test_what_is_not_there_is_named_with_what_is(toy):
    toy.cmbml("run")
    data = cmbml.open(toy.root)
    assert repr(data) == "<dataset toy: number, double, total>"
    assert repr(data["number"]) == "<stage number: number (Config)>"
    with pytest.raises(CmbmlError, match="'splt': did you mean 'split'"):
        data["number"].number.at(splt="test", sim=1)
    with pytest.raises(CmbmlError, match="split 'tset' is not declared: the splits are train, valid, test"):
        data["number"].number.at(split="tset", sim=1)
