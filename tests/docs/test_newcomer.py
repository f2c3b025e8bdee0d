"""The newcomer's walk is true: its files and commands, repeated in a fresh copy of the repository."""

import shlex
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.docs.test_docs import blocks

WALK = ROOT / "docs/newcomer.md"


@pytest.fixture
def clone(tmp_path):
    """What git would hand out, without its history."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target, follow_symlinks=False)
    return tmp_path


def call(clone, line):
    """Run a line of the walk; return what it says."""
    program, *arguments = shlex.split(line, comments=True)
    done = subprocess.run(
        [sys.executable, "-m", program, *arguments], cwd=clone, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.long
def test_the_walk_goes_as_written(clone):
    walked = [block for block in blocks(WALK) if block.section.startswith(("Step", "Stumble"))]
    assert {block.file for block in walked if block.file} >= {"pipeline/mine.yaml", "mine/executors.py"}
    for block in walked:
        if block.file:
            path = clone / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif "end of `params.yaml`" in block.before:
            with (clone / "params.yaml").open("a", encoding="utf-8") as file:
                file.write(block.text)
        elif block.language == "console":
            line, *said = block.text.removeprefix("$ ").splitlines()
            heard = call(clone, line).splitlines()
            assert [text for text in said if text != "..." and text not in heard] == [], heard
        elif block.language == "sh":
            for line in block.text.splitlines():
                call(clone, line)
        elif block.language == "python":
            done = subprocess.run(
                [sys.executable, "-c", block.text], cwd=clone, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
