"""Nothing is computed that the cache holds, nothing is recorded that was not so, and damage heals."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from cmbml.cli import main
from cmbml.core.engine.context import run_stage
from cmbml.core.engine.make import Engine
from cmbml.core.errors import StageError
from cmbml.core.files.checksums import md5_of
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.record.dvc_cache import _configured, cache_folder
from cmbml.core.views.status import status_lines
from cmbml.core.views.trace import trace_lines
from tests.conftest import git
from tests.engine.conftest import CountedRepository, recorded_in
from tests.engine.world import remove

ALL = 2 * 4 * 6 + 4
FOLDER = "data/toy/number/train"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    root = recorded_in(folder)
    assert len((folder / "computed.log").read_text().splitlines()) == ALL
    return root


@pytest.fixture
def recorded(toy, tmp_path, template):
    """A finished toy whose data are in DVC's cache."""
    return CountedRepository(toy, tmp_path, template)


def test_a_deleted_folder_is_brought_back(recorded, monkeypatch):
    whole = recorded.toy.files()
    shutil.rmtree(recorded.root / FOLDER)
    recorded.finish(monkeypatch)
    assert recorded.names() == []
    assert recorded.toy.files() == whole


@pytest.mark.parametrize("lost", [("data", ".cmbml"), ("data", ".cmbml", ".dvc/cache/cmbml")])
def test_all_that_is_local_may_be_lost(recorded, monkeypatch, lost):
    """The last time the index too: dvc.lock names the manifests, which are in the cache."""
    whole = recorded.toy.files()
    for place in lost:
        shutil.rmtree(recorded.root / place)
    recorded.finish(monkeypatch)
    assert recorded.names() == []
    assert recorded.toy.files() == whole


@pytest.mark.parametrize("left", [b"", b"\0" * 500])
def test_a_damaged_manifest_is_that_of_the_cache(recorded, monkeypatch, left):
    """As after `dvc pull` in a new clone, whose index has nothing yet."""
    whole = recorded.toy.files()
    shutil.rmtree(recorded.root / ".dvc/cache/cmbml")
    for manifest in (recorded.root / "data").rglob("_manifest.jsonl"):
        manifest.unlink()
        manifest.write_bytes(left)
    recorded.finish(monkeypatch)
    assert recorded.names() == []
    assert recorded.toy.files() == whole


def test_another_name_of_the_folder_computes_nothing(recorded, monkeypatch):
    recorded.toy.edit("pipeline/toy.yaml", "dir_name: number", "dir_name: numbers")
    recorded.finish(monkeypatch)
    assert recorded.names() == []
    assert (recorded.root / "data/toy/numbers/train/sim0000/number.yaml").is_file()


def test_there_and_back_computes_nothing_twice(recorded, monkeypatch):
    whole = recorded.toy.files()
    seed = recorded.plan().config.params.seed
    for new, old in ((5, seed), (seed, 5)):
        recorded.toy.edit("params.yaml", f"seed: {old}", f"seed: {new}")
        recorded.finish(monkeypatch)
    assert len(recorded.names()) == ALL
    assert recorded.toy.files() == whole


def test_another_clone_that_shares_the_cache_computes_nothing(recorded, monkeypatch, tmp_path):
    git(recorded.root, "add", ".")
    git(recorded.root, "commit", "-q", "-m", "made")
    other = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(recorded.root), str(other))
    (other / ".dvc/config.local").write_text(f"[cache]\n    dir = {recorded.root}/.dvc/cache\n")
    (other / "dvc.lock").unlink()
    engine = Engine(Plan(type(recorded.plan().config)(**{**vars_of(recorded), "root": other})))
    for stage in engine.plan.stages.values():
        run_stage(engine, stage)
    assert recorded.names() == []


def vars_of(counted):
    config = counted.plan().config
    return {
        "root": config.root,
        "params": config.params,
        "pipeline": config.pipeline,
        "written": config.written,
    }


@pytest.mark.parametrize("level", ["--local", "--project", "--global"])
def test_the_cache_is_where_dvc_says(counted, monkeypatch, tmp_path, level):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home/.config"))
    place = "../elsewhere" if level != "--global" else str(tmp_path / "everyone's")
    counted.run("dvc", "config", level, "cache.dir", place)
    _configured.cache_clear()
    assert str(cache_folder(counted.root)) == counted.run("dvc", "cache", "dir").strip()


def test_what_everyones_cache_holds_is_computed_nowhere(recorded, monkeypatch, tmp_path):
    """The folder that all repositories of a user share: facts lie beside the files."""
    whole, shared = recorded.toy.files(), tmp_path / "everyone's"
    (recorded.root / ".dvc/cache").rename(shared)
    (tmp_path / "config/dvc").mkdir(parents=True)
    (tmp_path / "config/dvc/config").write_text(f"[cache]\n    dir = {shared}\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for place in ("data", ".cmbml", "dvc.lock"):
        remove(recorded.root / place)
    recorded.finish(monkeypatch)
    assert recorded.names() == []
    assert recorded.toy.files() == whole


def test_another_dataset_and_back_computes_nothing_twice(recorded, monkeypatch):
    """As `cmbml profile` switches: another dataset with splits of its own."""
    whole, params = recorded.toy.files(), (recorded.root / "params.yaml").read_text()
    recorded.toy.edit("params.yaml", "dataset: toy", "dataset: small")
    recorded.toy.edit("params.yaml", "{n_sims: 6", "{n_sims: 2")
    recorded.toy.edit("params.yaml", "seed: ", "seed: 1")
    recorded.finish(monkeypatch)
    assert len(recorded.names()) == 2 * 4 * 2 + 4
    recorded.toy.write("params.yaml", params)
    recorded.finish(monkeypatch)
    assert len(recorded.names()) == 2 * 4 * 2 + 4
    assert {name: data for name, data in recorded.toy.files().items() if name.startswith("toy/")} == whole


@pytest.mark.parametrize("link", [shutil.copy, os.link, os.symlink])
def test_a_checkout_after_a_killed_run_is_not_taken_for_its_work(recorded, monkeypatch, link):
    """Links keep the dates of the cache, which are older than what the killed run has noted."""
    first = recorded.toy.files()
    seed = recorded.plan().config.params.seed
    recorded.toy.edit("params.yaml", f"seed: {seed}", "seed: 5")
    engine = Engine(recorded.plan())
    run_stage(engine, engine.plan.stages["number"])
    started = recorded.toy.files()
    for name in first:
        path = recorded.root / "data" / name
        path.write_bytes(first[name])
        md5 = md5_of(path)
        path.unlink()
        link(recorded.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:], path)
    recorded.finish(monkeypatch)
    last = recorded.toy.files()
    numbers = [name for name in last if name.startswith("toy/number/")]
    assert [name for name in numbers if last[name] != started[name]] == []
    assert list(status_lines(recorded.plan(), verify=True)) == ["everything is complete"]
    recorded.expect_sound_cache()


def test_a_repository_without_dvc_has_no_cache(toy):
    assert cache_folder(toy.root) is None


EDITS = {
    "an input": ("data/toy/number/train/sim0001/number.yaml", "value: 7.0\n"),
    "the code": ("toy_math.py", "def double(x):\n    return 23 * x\n"),
    "params.yaml": ("params.yaml", None),
    "the pipeline": ("pipeline/toy.yaml", None),
}


@pytest.mark.parametrize("what", EDITS)
def test_what_changes_under_a_run_is_not_recorded(toy, what):
    """Another terminal edits a file while stage double is made."""
    engine = Engine(Plan(toy.config()))
    run_stage(engine, engine.plan.stages["number"])
    name, text = EDITS[what]
    path = toy.root / name
    text = path.read_text() + "\n" if text is None else text
    toy.append("toy.py", f"\n\nfrom pathlib import Path\nEDIT = (Path({str(path)!r}), {text!r})\n")
    toy.edit(
        "toy.py",
        "        self.out_double.write(",
        "        EDIT[0].write_text(EDIT[1])\n        self.out_double.write(",
    )
    plan = Plan(toy.config())
    with pytest.raises(StageError, match=f"{path.name} has changed under the run"):
        run_stage(Engine(plan), plan.stages["double"])
    assert not any(file.startswith("toy/double/") for file in toy.files())


def test_code_runs_as_it_was_read(toy):
    """An edit of the same length, with the time of the former version: Python would take the old bytecode."""
    command = [sys.executable, "-m", "cmbml", "run", "double"]
    toy.run("cmbml", "run")
    path = toy.root / "toy_math.py"
    before = path.stat()
    path.write_text(path.read_text().replace("2 * x", "3 * x"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    old = toy.files()
    subprocess.run(command, cwd=toy.root, check=True, capture_output=True)
    new = toy.files()
    name = "toy/double/test/sim0000/double.yaml"
    assert float(new[name].split()[1]) == pytest.approx(1.5 * float(old[name].split()[1]))


MANIFEST = f"{FOLDER}/_manifest.jsonl"
# What can still be read is left as it is.
READABLE = {key: {"toy/number/train/_manifest.jsonl"} for key in ("not utf-8", "a key of a later version")}


def edit_manifest(root, change):
    lines = [json.loads(line) for line in (root / MANIFEST).read_text().splitlines()]
    change(lines)
    (root / MANIFEST).write_text("".join(json.dumps(line) + "\n" for line in lines))


DAMAGE = {
    "deleted": lambda root: (root / MANIFEST).unlink(),
    "empty": lambda root: (root / MANIFEST).write_text(""),
    "zeros": lambda root: (root / MANIFEST).write_bytes(b"\0" * 500),
    "not utf-8": lambda root: (root / MANIFEST).write_bytes((root / MANIFEST).read_bytes() + b"\xff\xfe\n"),
    "a number": lambda root: (root / MANIFEST).write_text("5\n"),
    "a list": lambda root: (root / MANIFEST).write_text("[1, 2]\n"),
    "a key is missing": lambda root: edit_manifest(root, lambda lines: lines[1].pop("identity")),
    "a key of a later version": lambda root: edit_manifest(root, lambda lines: lines[1].update(sha="x")),
    "no files": lambda root: edit_manifest(root, lambda lines: lines[1].update(files=None)),
    "a size in words": lambda root: edit_manifest(root, lambda lines: lines[1]["files"].update(x=["1", "x"])),
    "no header": lambda root: edit_manifest(root, lambda lines: lines.pop(0)),
    "a strange header": lambda root: edit_manifest(root, lambda lines: lines[0].update(code=5)),
    "memo": lambda root: (root / ".cmbml/memo/toy.number.train.jsonl").write_bytes(
        b'\xff\n5\n{"a": 1}\n[2]\n'
    ),
    "index": lambda root: next((root / ".cmbml/facts/number").iterdir()).write_bytes(
        b'\xff\n5\n{"fingerprint": 1}\n'
    ),
    "local folder": lambda root: shutil.rmtree(root / ".cmbml"),
    "a file is a link to itself": lambda root: relink(root / FOLDER / "sim0000/number.yaml"),
}


def relink(path):
    path.unlink()
    path.symlink_to(path.name)


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_heals(toy, damage):
    toy_run(toy)
    whole = toy.files()
    DAMAGE[damage](toy.root)
    toy_run(toy)
    healed = toy.files()
    assert {name for name in whole if healed[name] != whole[name]} <= READABLE.get(damage, set())
    assert list(status_lines(Plan(toy.config()))) == ["everything is complete"]
    assert "made from:" in list(trace_lines(toy.root / FOLDER / "sim0000/number.yaml"))


def toy_run(toy):
    engine = Engine(Plan(toy.config()))
    for stage in engine.plan.stages.values():
        run_stage(engine, stage)


def test_force_computes_what_is_complete(recorded, monkeypatch):
    monkeypatch.setenv("TOY_LOG", str(recorded.log))
    monkeypatch.chdir(recorded.root)
    main(["run", "number", "--split", "test", "--force"])
    assert sorted(recorded.names()) == [f"number/test/{sim}" for sim in range(6)]
    with pytest.raises(SystemExit):
        main(["run", "--force"])
