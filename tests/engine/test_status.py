"""Damage that sizes do not show, and what the DVC cache can give back."""

import os
import shutil
import time

import pytest

from cmbml.cli import main
from cmbml.core.files import memo
from cmbml.core.files.checksums import md5_of
from cmbml.core.views.leftovers import leftovers
from cmbml.core.views.status import cost_lines, status_lines

FILE = "data/toy/number/test/sim0001/number.yaml"


def fill_cache(repository):
    """Put every file into the DVC cache, as `dvc commit` does."""
    for path in sorted((repository.root / "data").rglob("*.*")):
        if path.is_file():
            md5 = md5_of(path)
            target = repository.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
            yield path, target


def flip(path, *, when=None):
    """Change a byte, not the size."""
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    if when:
        os.utime(path, ns=(when, when))


def test_a_change_of_the_same_size_is_noticed_and_mended(counted, monkeypatch):
    counted.finish(monkeypatch)
    whole = counted.toy.files()
    flip(counted.root / FILE)
    assert list(status_lines(counted.plan())) == [
        f"number/test: 1 to make: {FILE} is not what was made",
        "1 to make",
    ]
    counted.log.unlink()
    counted.finish(monkeypatch)
    assert counted.names() == ["number/test/1"]
    assert counted.toy.files() == whole


def test_damage_that_no_date_betrays_is_found_and_mended(counted, monkeypatch):
    """The time at which a file's inode changed cannot be set back."""
    counted.finish(monkeypatch)
    whole = counted.toy.files()
    assert list(status_lines(counted.plan(), verify=True)) == ["everything is complete"]
    flip(counted.root / FILE, when=(counted.root / FILE).stat().st_mtime_ns)
    found = [f"number/test: 1 to make: {FILE} is not what was made", "1 to make"]
    assert list(status_lines(counted.plan(), verify=True)) == found
    assert list(status_lines(counted.plan())) == found
    counted.finish(monkeypatch)
    assert counted.toy.files() == whole


def test_files_that_a_checkout_brought_late_are_read_once(counted, monkeypatch):
    counted.finish(monkeypatch)
    late = time.time_ns()
    for path in (counted.root / "data").rglob("*.yaml"):
        os.utime(path, ns=(late, late))
    read = []
    monkeypatch.setattr(memo, "md5_of", lambda path: read.append(path) or md5_of(path))
    assert list(status_lines(counted.plan())) == ["everything is complete"]
    assert len(read) == len(set(read)) == 2 * 4 * 6 + 4
    assert list(status_lines(counted.plan())) == ["everything is complete"]
    assert len(read) == 2 * 4 * 6 + 4


def test_files_that_nobody_made_are_named(counted, monkeypatch):
    counted.finish(monkeypatch)
    counted.toy.write("data/toy/number/test/notes.txt", "mine")
    assert list(status_lines(counted.plan(), verify=True)) == [
        "number/test: 1 files that it did not make, as data/toy/number/test/notes.txt: move them away",
        "everything is complete",
    ]


@pytest.mark.long
def test_dvc_never_records_what_was_changed_by_hand(counted):
    counted.run("dvc", "repro")
    lock = (counted.root / "dvc.lock").read_bytes()
    flip(counted.root / FILE)
    counted.log.unlink()
    counted.run("dvc", "repro")
    assert counted.names() == [], "the DVC cache has it"
    assert (counted.root / "dvc.lock").read_bytes() == lock


def test_a_lost_file_comes_back_from_the_cache(counted, monkeypatch):
    counted.finish(monkeypatch)
    whole = counted.toy.files()
    assert len(list(fill_cache(counted))) > 100
    (counted.root / FILE).unlink()
    counted.log.unlink()
    counted.finish(monkeypatch)
    assert counted.computed() == []
    assert counted.toy.files() == whole


def test_a_damaged_cache_is_not_believed(counted, monkeypatch):
    counted.finish(monkeypatch)
    whole = counted.toy.files()
    for path, target in fill_cache(counted):
        if path == counted.root / FILE:
            flip(target)
    (counted.root / FILE).unlink()
    counted.log.unlink()
    counted.finish(monkeypatch)
    assert counted.names() == ["number/test/1"]
    assert counted.toy.files() == whole


def test_the_cost_is_measured_and_projected(counted, monkeypatch):
    assert list(cost_lines(counted.plan()))[-1] == (
        "with one worker: 0 s, and what number, double, total cost, never measured here"
    )
    monkeypatch.setenv("TOY_PAUSE", "0.05")
    counted.finish(monkeypatch)
    counted.toy.edit("params.yaml", "train: {n_sims: 6", "train: {n_sims: 26")
    stage, each, memory, waiting, seconds = list(cost_lines(counted.plan()))[1].split()
    assert (stage, waiting) == ("number", "20")
    assert 0.05 <= float(each) < 0.5
    assert float(memory) > 10
    assert float(seconds) == pytest.approx(20 * float(each), rel=0.1)


def test_leftovers_are_listed_and_removed(counted, monkeypatch):
    counted.finish(monkeypatch)
    root, data = counted.root, counted.root / "data/toy"
    assert list(leftovers(counted.plan())) == []
    counted.toy.write("data/toy/total/test/.cmbml-tmp.999999999.total.yaml", "half")
    counted.toy.write("data/toy/number/test/mine.txt", "mine")
    (root / "data/mine").mkdir()
    counted.toy.write("data/mine/notes.txt", "mine")
    counted.toy.edit("pipeline/toy.yaml", "dir_name: number", "dir_name: numbers")
    counted.finish(monkeypatch)
    monkeypatch.chdir(root)
    found = list(leftovers(counted.plan()))
    old = [data / "number" / split for split in ("shifted", "test", "train", "valid")]
    assert found == [*old, data / "total/test/.cmbml-tmp.999999999.total.yaml"]
    main(["status", "--leftovers", "--remove"])
    assert list(leftovers(counted.plan())) == []
    assert [path.name for path in (data / "number").rglob("*") if path.is_file()] == ["mine.txt"]
    assert (root / "data/mine/notes.txt").is_file()
    assert list(status_lines(counted.plan())) == ["everything is complete"]


def test_the_folders_of_other_datasets_are_no_leftovers(counted, monkeypatch):
    counted.finish(monkeypatch)
    (counted.root / "profiles").mkdir()
    counted.toy.write("profiles/toy.yaml", "dataset: toy\n")
    counted.toy.edit("params.yaml", "dataset: toy", "dataset: other")
    assert list(leftovers(counted.plan())) == []
    counted.toy.write("profiles/toy.yaml", "dataset: third\n")
    assert len(list(leftovers(counted.plan()))) == 12
