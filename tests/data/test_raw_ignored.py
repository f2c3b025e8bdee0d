"""Git sees what says which raw files there are, never the files: they may be of gigabytes."""

import shutil
import subprocess

import pytest

from tests.conftest import ROOT, git


@pytest.fixture
def clone(tmp_path):
    git(tmp_path, "init", "-q")
    shutil.copy(ROOT / ".gitignore", tmp_path)
    git(tmp_path, "add", ".gitignore")
    return tmp_path


def seen_by_git(root):
    done = subprocess.run(
        ["git", "status", "--porcelain", "-uall"], cwd=root, capture_output=True, text=True, check=True
    )
    return {line[3:] for line in done.stdout.splitlines() if line.startswith("??")}


def put(root, *names):
    for name in names:
        path = root / "data/raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_raw_files_are_ignored_at_any_depth(clone):
    put(clone, "map.fits", "planck/sky_100.fits", "noise/a/b/variance_27.fits", "a/b.dvc/map.fits")
    (clone / "data/raw/linked").symlink_to("planck")
    assert seen_by_git(clone) == set()


def test_their_records_and_what_ships_are_seen(clone):
    names = {
        "map.fits.dvc",
        "planck/sky_100.fits.dvc",
        "a/b/c.txt.dvc",
        "pretrained/net/model.pt",
        "cmb_ml/index.yaml",
    }
    put(clone, *names)
    assert seen_by_git(clone) == {f"data/raw/{name}" for name in names}
