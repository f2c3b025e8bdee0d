"""Shared by the sky's tests: where the reference templates are, and PySM without its compiler."""

import os
from pathlib import Path

import pytest

# PySM compiles its kernels for 40 s; as plain numpy they give the same numbers at once.
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")

SHARED = Path(__file__).parents[3] / "shared"


def _templates(monkeypatch, name):
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip("no PySM templates beside the repository")
    monkeypatch.setenv("PYSM_LOCAL_DATA", str(folder))
    return folder


@pytest.fixture
def sky64(monkeypatch):
    """PySM's templates at nside 64, from the folder beside the repository."""
    return _templates(monkeypatch, "sky64")


@pytest.fixture
def sky256(monkeypatch):
    """PySM's templates at nside 256, from the folder beside the repository."""
    return _templates(monkeypatch, "sky256")
