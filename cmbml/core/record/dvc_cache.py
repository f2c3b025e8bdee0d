"""The DVC cache, read only: what a fingerprint once made may still lie there."""

import configparser
from functools import cache
from pathlib import Path


@cache
def _cache_folder(root: Path) -> Path:
    """Folder of the DVC cache of a repository, as its configuration files say."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read([root / ".dvc" / "config", root / ".dvc" / "config.local"])
    folder = settings.get("cache", "dir", fallback="cache").strip("\"' ")
    return root / ".dvc" / folder


def cached_file(root: Path, md5: str) -> Path | None:
    """File of that content in the DVC cache; None where it holds none."""
    path = _cache_folder(root) / "files" / "md5" / md5[:2] / md5[2:]
    return path if path.is_file() else None
