"""What is remembered of files is what they hold, one by one or side by side."""

import os
import threading

import pytest

from cmbml.core.files import memo as memos
from cmbml.core.files.checksums import md5_of
from cmbml.core.files.memo import Memo

NAMES = [f"{number}.txt" for number in range(40)]


@pytest.fixture
def memo(tmp_path, monkeypatch):
    """Of 40 files; `hashed` has the threads by the names of what they hashed."""
    for name in NAMES:
        (tmp_path / name).write_text(f"content of {name}")
    memo = Memo(tmp_path, tmp_path / "local/memo.jsonl")
    memo.hashed = []

    def noted(path):
        memo.hashed.append((threading.get_ident(), path.name))
        return md5_of(path)

    monkeypatch.setattr(memos, "md5_of", noted)
    return memo


def test_many_files_are_hashed_side_by_side_and_once(memo, tmp_path):
    memo.refresh(NAMES)
    assert threading.get_ident() not in {thread for thread, _ in memo.hashed}
    assert sorted(name for _, name in memo.hashed) == sorted(NAMES)
    assert [memo.md5(name) for name in NAMES] == [md5_of(tmp_path / name) for name in NAMES]
    memo.refresh(NAMES)
    assert len(memo.hashed) == len(NAMES)


def test_another_mode_means_hashing_again(memo, tmp_path):
    """The content may have changed at the same instant: DVC sets the mode of all files of a stage."""
    memo.refresh(NAMES)
    memo.save()
    old, changed = memo.md5(NAMES[3]), tmp_path / NAMES[3]
    before = changed.stat()
    changed.write_text("CONTENT of 3.txt")
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    for name in NAMES:
        (tmp_path / name).chmod(0o600)
    another, third = (Memo(tmp_path, tmp_path / "local/memo.jsonl") for _ in range(2))
    another.refresh(NAMES)
    another.save()
    assert another.flaw(NAMES[3], before.st_size, old) == "is not what was made"
    third.refresh(NAMES)
    assert len(memo.hashed) == 2 * len(NAMES), "hashed again though another process had"


def test_what_is_gone_or_no_file_is_passed_over(memo, tmp_path):
    (tmp_path / NAMES[0]).unlink()
    (tmp_path / NAMES[1]).unlink()
    (tmp_path / NAMES[1]).mkdir()
    memo.refresh(NAMES)
    assert len(memo.hashed) == len(NAMES) - 2
    assert memo.flaw(NAMES[0], 1, "") == "is missing"
    assert memo.flaw(NAMES[1], 1, "") == "is no file"
