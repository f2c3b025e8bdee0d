"""Damage that sizes do not show, and what the DVC cache can give back."""

import shutil

from cmbml.core.raw import md5_of
from cmbml.core.status import status_lines

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


def flip(path):
    """Change a byte, not the size."""
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)


def test_same_size_damage_is_found_by_reading(counted, monkeypatch):
    counted.finish(monkeypatch)
    plan = counted.plan()
    assert list(status_lines(plan, verify=True)) == ["everything is complete"]
    flip(counted.root / FILE)
    assert list(status_lines(plan)) == ["everything is complete"]
    assert list(status_lines(plan, verify=True)) == [
        f"number/test: 1 to make: {FILE} is damaged: its content is not what was made: remove it",
        "1 to make",
    ]


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
