"""What code reads beside its assets: files that it opens itself, and programs of others."""

import os
import shutil
import subprocess
from pathlib import Path

from cmbml.core.errors import ConfigError, DataError
from cmbml.core.spec.pipeline import Program

_BYTECODE = (".pyc", ".pyo")


def find_files(root: Path, pattern: str) -> list[Path]:
    """Files behind a path or pattern below the repository, sorted.

    Raises
    ------
    DataError
        Where there is none.
    """
    found = sorted(path for path in root.glob(pattern) if path.is_file())
    plain = root / pattern
    if not found and Path(f"{plain}.dvc").is_file():
        return [plain]
    if not found:
        raise DataError(f"{pattern}: no such file in the repository: put it there, or mend the path")
    return found


def find_program(root: Path, name: str, program: Program) -> Path:
    """Folder or file of a program.

    Raises
    ------
    ConfigError
        Where it is not on this machine, with the remedy.
    """
    place = program.place
    variable = place[1:].partition("/")[0] if place.startswith("$") else ""
    if variable and not os.environ.get(variable):
        problem = f"{variable} is not set"
    else:
        found = _located(root, os.path.expandvars(place))
        if found is not None:
            return found
        problem = f"there is no {os.path.expandvars(place)}"
    get = f"get it from {program.source}" if program.source else "get it"
    remedy = f"set {variable} to its folder" if variable else f"put it at {place}"
    raise ConfigError(f"program '{name}': {problem}: {get}, and {remedy}")


def _located(root: Path, place: str) -> Path | None:
    if "/" not in place:
        found = shutil.which(place)
        return Path(found) if found else None
    path = (root / Path(place).expanduser()).resolve()
    return path if path.exists() else None


def program_files(program: Path) -> dict[str, Path]:
    """Files that a program consists of, by their names in it: what git would keep, or all but bytecode."""
    if program.is_file():
        return {"": program.resolve()}
    names = _listed_by_git(program) or _walked(program)
    return {name: program / name for name in sorted(names) if (program / name).is_file()}


def _listed_by_git(folder: Path) -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    return [name for name in done.stdout.split("\0") if name] if done.returncode == 0 else []


def _walked(folder: Path) -> list[str]:
    relative = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix not in _BYTECODE)
    return [str(path) for path in relative if not any(part.startswith(".") for part in path.parts)]
