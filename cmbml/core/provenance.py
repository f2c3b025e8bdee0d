"""Which commit a result belongs to."""

import subprocess
from pathlib import Path


def commit(root: Path) -> str:
    """Commit of the working tree, and whether anything was changed since; empty outside of git."""
    head = _git(root, "rev-parse", "--short", "HEAD")
    if not head:
        return ""
    return f"{head} (with changes)" if _git(root, "status", "--porcelain") else head


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
