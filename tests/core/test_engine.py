import errno
import json
import multiprocessing
import os
import resource
import shutil
import signal
import time

import pytest

from cmbml.core import CmbmlError
from cmbml.core.engine.context import run_stage
from cmbml.core.engine.make import Engine, Reporter
from cmbml.core.errors import DataError, StageError, StorageError
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.plan.pieces import Piece, Portion
from cmbml.core.record.facts import Facts

TRAIN = Portion("number", None, "train")


class Seen(Reporter):
    """Keeps what it is told."""

    def __init__(self):
        self.pieces = []
        self.notes = []

    def piece(self, piece, how):
        self.pieces.append((str(piece), how))

    def note(self, line):
        self.notes.append(line)


def run(toy, **overrides):
    """Run all stages; return what was made, by stage."""
    seen = Seen()
    engine = Engine(Plan(toy.config(**overrides)), seen)
    for stage in engine.plan.stages.values():
        run_stage(engine, stage)
    return [name for name, _ in seen.pieces]


def test_everything_is_made_once(toy):
    made = run(toy)
    assert len(made) == len(set(made)) == 4 * 3 + 4 * 3 + 4
    assert run(toy) == []


def test_the_manifest_is_sorted_and_holds_no_time_host_or_place(toy):
    run(toy)
    text = (toy.root / "data/toy/number/train/_manifest.jsonl").read_text()
    recipe, *entries = [json.loads(line) for line in text.splitlines()]
    assert [entry["sim"] for entry in entries] == [0, 1, 2]
    assert recipe["params"] == {"seed": toy.config().params.seed}
    assert entries[0]["files"]["sim0000/number.yaml"][0] > 0
    for word in (str(toy.root), os.uname().nodename, str(time.localtime().tm_year)):
        assert word not in text.replace(str(toy.config().params.seed), "")


def test_growing_makes_the_new_ones_only_and_keeps_the_old_bytes(toy):
    run(toy)
    before = toy.files()
    made = run(toy, splits__train__n_sims=5)
    assert sorted(made) == [
        "double/train/sim0003",
        "double/train/sim0004",
        "number/train/sim0003",
        "number/train/sim0004",
        "total/train",
    ]
    after = toy.files()
    kept = {path: data for path, data in before.items() if "sim" in path}
    assert all(after[path] == data for path, data in kept.items())


def test_shrinking_removes_what_is_ours_and_nothing_else(toy):
    run(toy, splits__train__n_sims=5)
    five = toy.files()
    run(toy)
    stray = toy.root / "data/toy/number/train/sim0004/notes.txt"
    run(toy, splits__train__n_sims=5)
    assert toy.files() == five
    stray.write_text("mine")
    made = run(toy)
    assert made == ["total/train"]
    assert stray.read_text() == "mine"
    assert not (toy.root / "data/toy/number/train/sim0004/number.yaml").exists()
    assert not (toy.root / "data/toy/number/train/sim0003").exists()


def test_consumers_follow_the_plan_not_the_folder(toy):
    run(toy)
    stray = toy.root / "data/toy/double/train/sim0009/double.yaml"
    stray.parent.mkdir(parents=True)
    stray.write_text("value: 1e9")
    (toy.root / "data/toy/total/train/total.yaml").unlink()
    run(toy)
    assert "count: 3" in (toy.root / "data/toy/total/train/total.yaml").read_text()


@pytest.mark.parametrize("damage", ["delete", "truncate", "foreign"])
def test_damaged_files_are_noticed_and_rebuilt(toy, damage):
    run(toy)
    whole = toy.files()
    path = toy.root / "data/toy/double/test/sim0001/double.yaml"
    if damage == "delete":
        path.unlink()
    else:
        path.write_text("" if damage == "truncate" else "something else entirely, and longer\n")
    assert run(toy) == ["double/test/sim0001"]
    assert toy.files() == whole


def test_a_parameter_changes_its_dependents_and_says_why(toy):
    run(toy)
    plan = Plan(toy.config(analysis__n_bootstrap=100))
    portion = Portion("double", None, "test")
    assert Facts(plan, portion).stale(Piece(portion, 0)) == "changed: params analysis.n_bootstrap"
    total = Portion("total", None, "test")
    assert Facts(plan, total).stale(Piece(total, None)) == "changed: input double"
    assert {name.split("/")[0] for name in run(toy, analysis__n_bootstrap=100)} == {"double", "total"}


def test_a_formula_is_named_as_the_reason(toy):
    run(toy)
    toy.edit("toy_math.py", "2 * x", "3 * x")
    portion = Portion("double", None, "test")
    assert Facts(Plan(toy.config()), portion).stale(Piece(portion, 0)) == "changed: code toy_math"


def test_inputs_that_are_not_there_name_the_stage_to_run(toy):
    engine = Engine(Plan(toy.config()))
    with pytest.raises(
        DataError, match=r"double/train: its input number/train is not complete: run stage 'number' first"
    ):
        run_stage(engine, engine.plan.stages["double"])
    with pytest.raises(DataError, match=r"'double' first: `cmbml run number double total`$"):
        run_stage(engine, engine.plan.stages["total"])


def edited(toy, old, new, match, error=StageError):
    toy.edit("toy.py", old, new)
    with pytest.raises(error, match=match) as caught:
        run(toy)
    return caught.value


def test_declared_is_written(toy):
    edited(
        toy,
        'self.out_number.write({"value": float(rng.standard_normal())})',
        "pass",
        "declares data/toy/number/train/sim0000/number.yaml but did not write it",
    )


def test_no_file_is_written_twice(toy):
    line = 'self.out_number.write({"value": float(rng.standard_normal())})'
    edited(toy, line, f"{line}\n        {line}", "written twice")
    assert toy.files() == {}


def test_a_users_mistake_in_an_executor_says_how_to_repeat_it(toy):
    error = edited(toy, "time.sleep(PAUSE)", "self.assets_in['x']", "no 'x'", CmbmlError)
    assert str(error).startswith("number/train/sim0000: ")
    assert str(error).endswith("(repeat with: python -m cmbml run number --split train --sim 0)")


def test_a_fault_keeps_its_traceback_with_a_note(toy):
    error = edited(toy, "time.sleep(PAUSE)", "1 / (sim - 1)", "division", ZeroDivisionError)
    assert error.__notes__ == [
        "in number/train/sim0001; repeat with: python -m cmbml run number --split train --sim 1 --pdb"
    ]
    # What was finished before is kept, and is not made again.
    toy.edit("toy.py", "1 / (sim - 1)", "1 / (sim + 1)")
    assert len(toy.files()) == 1


def test_a_unit_is_all_or_nothing(toy):
    toy.edit(
        "pipeline/toy.yaml",
        "assets_out:\n      number:",
        'assets_out:\n      extra: {handler: Text, path_template: "{root}/{dataset}/{stage}/{split}/{sim}/extra.txt"}\n      number:',
    )
    edited(
        toy,
        "time.sleep(PAUSE)",
        'self.assets_out["extra"].write("x")\n        1 / 0',
        "division",
        ZeroDivisionError,
    )
    assert toy.files() == {}


@pytest.mark.parametrize(("code", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "over quota"), (errno.EROFS, "read-only"), (errno.EACCES, "no permission")])  # fmt: skip
def test_refusals_of_the_disk_are_one_line_and_leave_no_partial_file(toy, code, words):
    toy.edit("toy.py", "time.sleep(PAUSE)", f'raise OSError({code}, "no") if sim == 2 else None')
    toy.edit("toy.py", '"""Executors on plain numbers."""', "import pathlib")
    toy.edit(
        "toy.py",
        f'raise OSError({code}, "no") if sim == 2 else None',
        f"pathlib.Path.write_text = refuse({code}, sim)",
    )
    toy.write("toy.py", (toy.root / "toy.py").read_text() + REFUSE)
    try:
        with pytest.raises(StorageError, match=f"sim0002.*{words}"):
            run(toy)
    finally:
        import toy as module

        module.pathlib.Path.write_text = module.REAL
    assert len(toy.files()) == 2


REFUSE = """

REAL = pathlib.Path.write_text


def refuse(code, sim):
    def write_text(path, *args, **kwargs):
        if sim == 2:
            raise OSError(code, "refused")
        return REAL(path, *args, **kwargs)
    return write_text
"""


def test_the_limit_of_file_sizes_keeps_what_is_finished(toy):
    toy.edit(
        "toy.py",
        '{"value": float(rng.standard_normal())}',
        '{"value": 1.0, "pad": "x" * (5000 if sim else 1)}',
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(StorageError, match="over the limit of file sizes: raise it"):
            run(toy)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(toy.files()) == ["toy/number/train/sim0000/number.yaml"]
    assert "number/train/sim0000" not in run(toy)


def indexed(toy):
    """Files of the index of facts of stage number."""
    return list((toy.root / ".cmbml/facts/number").iterdir())


def test_a_crash_after_the_fact_loses_nothing(toy):
    run(toy)
    (toy.root / "data/toy/number/train/_manifest.jsonl").unlink()
    assert run(toy) == []


def test_a_crash_between_the_rename_and_the_fact_is_made_again(toy):
    """Files without a fact may be anybody's."""
    run(toy)
    before = toy.files()
    (toy.root / "data/toy/number/train/_manifest.jsonl").unlink()
    for file in indexed(toy):
        lines = [
            line for line in file.read_text().splitlines() if '"train"' not in line or '"sim": 0' not in line
        ]
        file.write_text("\n".join(lines) + "\n")
    assert run(toy) == ["number/train/sim0000"]
    assert toy.files() == before


def test_half_a_line_of_the_index_is_ignored(toy):
    run(toy)
    for file in indexed(toy):
        file.write_text(file.read_text()[:-20])
    (toy.root / "data/toy/number/train/_manifest.jsonl").unlink()
    (toy.root / "data/toy/number/test/_manifest.jsonl").unlink()
    assert len(run(toy)) <= 1


@pytest.mark.parametrize("left", ["", ".cmbml", ".cmbml/memo"])
def test_losing_the_memo_costs_hashing_alone(toy, left):
    run(toy)
    shutil.rmtree(toy.root / left) if left else None
    assert run(toy) == []


def test_unfinished_files_of_dead_processes_are_removed(toy):
    run(toy)
    left = toy.root / "data/toy/number/train/sim0001/.cmbml-tmp.999999999.number.yaml"
    left.write_text("half")
    (toy.root / "data/toy/number/train/sim0001/number.yaml").unlink()
    run(toy)
    assert not left.exists()


def test_earlier_parameters_come_back_from_the_cache(toy):
    run(toy)
    first = toy.files()
    cache = toy.root / ".dvc/cache/files/md5"
    plan = Plan(toy.config())
    for stage in plan.stages.values():
        for portion in plan.portions(stage):
            for fact in Facts(plan, portion).manifest.facts.values():
                for path, (_, md5) in fact.files.items():
                    target = cache / md5[:2] / md5[2:]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes((toy.root / path).read_bytes())
    run(toy, seed=1)
    seen = Seen()
    engine = Engine(plan, seen)
    for stage in engine.plan.stages.values():
        run_stage(engine, stage)
    assert {how for _, how in seen.pieces} == {"restored"}
    assert toy.files() == first


def slow_run(root, started):
    from cmbml.core import load_config

    started.set()
    engine = Engine(Plan(load_config(root)))
    run_stage(engine, engine.plan.stages["number"])


def test_a_second_run_waits_for_the_first_and_names_it(toy):
    toy.edit("toy.py", "PAUSE = 0.0", "PAUSE = 0.2")
    context = multiprocessing.get_context("fork")
    started = context.Event()
    first = context.Process(target=slow_run, args=(toy.root, started))
    first.start()
    started.wait()
    time.sleep(0.3)
    seen = Seen()
    engine = Engine(Plan(toy.config()), seen)
    run_stage(engine, engine.plan.stages["number"])
    first.join()
    assert any(f"waiting for process {first.pid} on {os.uname().nodename}" in note for note in seen.notes)
    assert len(seen.pieces) <= 9, "what the first had made was made again"


def test_locks_of_the_dead_are_free(toy):
    toy.edit("toy.py", "PAUSE = 0.0", "PAUSE = 5.0")
    context = multiprocessing.get_context("fork")
    started = context.Event()
    first = context.Process(target=slow_run, args=(toy.root, started))
    first.start()
    started.wait()
    time.sleep(0.5)
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    toy.edit("toy.py", "PAUSE = 5.0", "PAUSE = 0.0")
    assert len(run(toy)) == 28
