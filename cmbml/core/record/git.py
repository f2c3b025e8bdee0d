"""Which commit a result belongs to."""

import subprocess
from pathlib import Path


def is_under_git(root: Path) -> bool:
    """Whether the repository, or a folder above it, is a working tree of git; a downloaded archive is not."""
    return any((folder / ".git").exists() for folder in (root, *root.parents))


def commit(root: Path) -> str:
    """Commit of the working tree, and whether anything was changed since; empty outside of git."""
    head = _git(root, "rev-parse", "--short", "HEAD")
    if not head:
        return ""
    return f"{head} (with changes)" if _git(root, "status", "--porcelain") else head


def is_commit(root: Path, revision: str) -> bool:
    """Whether git knows a commit by that name."""
    return bool(_git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"))


def committed(root: Path, file: str, revision: str = "HEAD") -> str | None:
    """Content of a file in a commit; None outside of git, empty where git has none."""
    if not _git(root, "rev-parse", "--git-dir"):
        return None
    return _git(root, "show", "--end-of-options", f"{revision}:./{file}")


def introduced(root: Path, text: str, file: str) -> str:
    """First commit whose version of a file holds some text, with its date; empty where there is none."""
    found = _git(root, "log", "--all", "--reverse", "--format=%h of %as, %s", f"-S{text}", "--", file)
    return found.partition("\n")[0]


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
