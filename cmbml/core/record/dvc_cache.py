"""DVC's cache, read only: what was once made may still lie there."""

import configparser
import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from cmbml.core.errors import CmbmlError
from cmbml.core.spec.repository import DVC_LOCK, LOCAL, MANIFEST
from cmbml.core.spec.signature import Signature, signature
from cmbml.core.spec.yamlio import read_yaml

_DVC = ".dvc"
_OURS = "cmbml"


def cache_folder(root: Path) -> Path | None:
    """DVC's cache folder as `dvc cache dir` says it; None where the repository has no DVC.

    DVC itself takes a second to start, so its configuration files are read here: of the system, of the user,
    of the repository, and of this clone; the last that names a folder holds.
    """
    return _configured(root) if (root / _DVC).is_dir() else None


@cache
def _configured(root: Path) -> Path:
    file, given = setting(root, "cache", "dir")
    return Path(os.path.normpath(file.parent / Path(given or "cache").expanduser()))


def setting(root: Path, section: str, key: str) -> tuple[Path, str]:
    """Value of a setting of DVC and the file that says it; the repository's own and "" where none does."""
    found = root / _DVC / "config", ""
    for file in _settings(root):
        settings = configparser.ConfigParser(interpolation=None)
        settings.read(file)
        if given := settings.get(section, key, fallback="").strip("\"' "):
            found = file, given
    return found


def _settings(root: Path) -> list[Path]:
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser())
    system = (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").partition(os.pathsep)[0]
    folders = [
        Path(os.environ.get("DVC_SYSTEM_CONFIG_DIR") or Path(system, "dvc")),
        Path(os.environ.get("DVC_GLOBAL_CONFIG_DIR") or home / "dvc"),
    ]
    return [*(folder / "config" for folder in folders), root / _DVC / "config", root / _DVC / "config.local"]


def index_folder(root: Path) -> Path:
    """Where facts are kept: beside DVC's cache, so that all who share the cache share them."""
    folder = cache_folder(root)
    return root / LOCAL / "facts" if folder is None else folder / _OURS


def locked_manifest(root: Path, folder: str) -> Path | None:
    """Manifest of an out directory in DVC's cache, as dvc.lock names the directory."""
    found = cached_listing(root, _locked(root / DVC_LOCK).get(folder, ""))
    return None if found is None else cached_file(root, found.get(MANIFEST, ""))


def cached_listing(root: Path, md5: str) -> dict[str, str] | None:
    """MD5 of every file of a directory, by its path in it; None where DVC's cache does not say it."""
    listing = cached_file(root, md5)
    if listing is None:
        return None
    try:
        return {entry["relpath"]: entry["md5"] for entry in json.loads(listing.read_text(encoding="utf-8"))}
    except (ValueError, KeyError, TypeError):
        return None


def directory_md5(files: Mapping[str, str]) -> str:
    """Hash by which DVC knows a directory that holds files of these MD5, by their paths in it."""
    listing = [{"md5": md5, "relpath": path} for path, md5 in sorted(files.items())]
    return hashlib.md5(json.dumps(listing).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _locked(lock: Path) -> dict[str, str]:
    """MD5 of every out directory in dvc.lock."""
    return _read_lock(lock, signature(lock)) if lock.is_file() else {}


@lru_cache(maxsize=1)
def _read_lock(lock: Path, _: Signature | None) -> dict[str, str]:
    try:
        return locked_outs((read_yaml(lock) or {}).get("stages") or {})
    except (CmbmlError, AttributeError, KeyError, TypeError):  # another's business: DVC will say it
        return {}


def locked_outs(stages: Mapping[str, Any]) -> dict[str, str]:
    """MD5 of every out of the stages in a dvc.lock, by its path."""
    outs = [out for stage in stages.values() for out in stage.get("outs") or ()]
    return {out["path"]: out["md5"] for out in outs if "md5" in out}


def cached_file(root: Path, md5: str) -> Path | None:
    """File of that content in DVC's cache; None where it holds none."""
    folder = cache_folder(root)
    path = None if folder is None or not md5 else folder / "files" / "md5" / md5[:2] / md5[2:]
    return path if path is not None and path.is_file() else None
