"""Where files come from, also in another clone after `dvc pull`."""

import shutil

import pytest

from cmbml.core.engine.dvc import dvc_yaml
from cmbml.core.files.checksums import md5_of
from cmbml.core.views.trace import diff_lines, trace_lines
from tests.conftest import git

FILE = "data/toy/double/test/sim0001/double.yaml"
TOTAL = "data/toy/total/test/total.yaml"


def add_table(repository):
    """Let the second stage read a science asset."""
    stage = (
        '  tables:\n    assets_out:\n      table: {handler: Text, path_template: "{src_root}/table.txt"}\n'
    )
    repository.toy.edit("pipeline/toy.yaml", "stages:\n", f"stages:\n{stage}")
    repository.toy.edit(
        "pipeline/toy.yaml",
        "      number: {stage: number}\n",
        "      number: {stage: number}\n      table: {stage: tables}\n",
    )
    (repository.root / "data/raw").mkdir(parents=True)
    repository.toy.write("data/raw/table.txt", "1 2 3")
    repository.toy.write("dvc.yaml", dvc_yaml(repository.plan()))


def test_a_file_is_traced_down_to_science_assets(counted, monkeypatch):
    add_table(counted)
    counted.finish(monkeypatch)
    text = "\n".join(trace_lines(counted.root / FILE))
    assert f"md5 {md5_of(counted.root / FILE)}, as it was made" in text
    assert "stage: double" in text
    assert "piece: method None, split test, simulation 1" in text
    assert f"random numbers: seed {counted.plan().config.params.seed}, stream test, simulation 1" in text
    assert "  analysis.n_bootstrap: 2000" in text
    assert "  toy_math: " in text
    assert "  number: data/toy/number/test, simulation 1 (stage number)" in text
    assert (
        f"  table: data/raw/table.txt, science asset, md5 {md5_of(counted.root / 'data/raw/table.txt')}"
        in text
    )
    assert "in no commit's dvc.lock yet" in text
    (counted.root / FILE).write_text("value: 3\n")
    assert "CHANGED since it was made" in next(iter(trace_lines(counted.root / FILE)))
    text = "\n".join(trace_lines(counted.root / TOTAL))
    assert "  double: data/toy/double/test, all 6 pieces (stage double)" in text


def test_the_run_says_whether_the_tree_was_clean(counted):
    counted.run("luigi", "--module", "tasks", "RunAll")
    assert ", at commit " in last_run(counted)
    assert "(with changes)" not in last_run(counted)
    counted.toy.edit("toy_math.py", "2 * x", "3 * x")
    counted.run("luigi", "--module", "tasks", "RunAll")
    assert "(with changes): " in last_run(counted)


def last_run(repository):
    return next(line for line in trace_lines(repository.root / FILE) if line.startswith("last run here: "))


def test_the_reason_for_a_difference_is_found_upstream(counted, monkeypatch):
    counted.finish(monkeypatch)
    other = counted.root.parent / "other"
    shutil.copytree(counted.root, other)
    same = list(diff_lines(counted.root / TOTAL, other / TOTAL))
    assert same == ["the same bytes", "made alike: same code, parameters, inputs and simulation"]
    seed = counted.plan().config.params.seed
    counted.toy.edit("params.yaml", f"seed: {seed}", "seed: 5")
    counted.toy.edit("toy_math.py", "2 * x", "3 * x")
    counted.finish(monkeypatch)
    lines = list(diff_lines(counted.root / TOTAL, other / TOTAL))
    assert lines[0] == "different bytes"
    assert lines[1] == "input double: data/toy/double/test and data/toy/double/test:"
    assert lines[2].startswith("  code toy_math: ")
    assert lines[3:] == [
        "  input number: data/toy/number/test and data/toy/number/test:",
        f"    params seed: 5 and {seed}",
    ]
    by_sim = list(diff_lines(other / FILE, other / FILE.replace("sim0001", "sim0002")))
    assert "simulation: 1 and 2" in by_sim


@pytest.mark.long
def test_a_clone_that_pulled_knows_the_commit(counted):
    remote, clone = counted.root.parent / "remote", counted.root.parent / "clone"
    counted.run("dvc", "remote", "add", "-d", "here", str(remote))
    counted.run("dvc", "repro")
    counted.run("dvc", "push")
    git(counted.root, "add", ".")
    git(counted.root, "commit", "-q", "-m", "the run")
    git(counted.root.parent, "clone", "-q", str(counted.root), str(clone))
    counted.root = clone
    counted.run("dvc", "pull")
    assert counted.cmbml("status") == "everything is complete\n"
    text = counted.cmbml("trace", FILE)
    assert "commit: " in text
    assert "the run (its dvc.lock records exactly this data)" in text


def test_a_file_that_nobody_made_is_refused(counted):
    done = counted.toy.cmbml("trace", "params.yaml", ok=False)
    assert (done.returncode, done.stderr) == (
        2,
        "cmbml: params.yaml: no manifest knows this file: was it made by the pipeline, to the end?\n",
    )
