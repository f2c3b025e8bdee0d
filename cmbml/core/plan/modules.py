"""Where modules lie, what they are and what their source says; nothing is imported or run.

All that a fingerprint of code depends on beside the code's own text is asked for here, and kept: for the rest
of the process, and as the `Evidence` by which a later process can tell that all is as it was.
"""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from cmbml.core.spec.signature import Signature, signature

# What a top-level module is: part of Python, installed with a version, the user's own or ours, or neither.
Standing = Literal["python", "installed", "own", "unknown"]

# Packages that run the science without being part of it; "cmbml" is the package's own door.
MACHINERY = ("cmbml.core", "cmbml.cli", "tasks")
_SOURCE = ".py"
_SUFFIXES = (*EXTENSION_SUFFIXES, _SOURCE)
_INSTALLED = {"site-packages", "dist-packages"}


@dataclass
class Evidence:
    """What was looked up.

    Attributes
    ----------
    places
        Of every module that was asked for, its file, or the folder of a package without ``__init__``.
    standings
        What every top-level module is.
    signatures
        Of every source file, just before it was read first.
    """

    places: dict[str, Path | None] = field(default_factory=dict)
    standings: dict[str, Standing] = field(default_factory=dict)
    signatures: dict[Path, Signature | None] = field(default_factory=dict)


EVIDENCE = Evidence()


def forget_modules() -> None:
    """Look everything up anew the next time."""
    for known in (EVIDENCE.places, EVIDENCE.standings, EVIDENCE.signatures):
        known.clear()
    for cached in (text_of, version_of, release_of, _by_module, _names_in):
        cached.cache_clear()


def place_of(name: str) -> Path | None:
    """File of a module, source or compiled, or folder of one without ``__init__``; None where absent."""
    if name not in EVIDENCE.places:
        EVIDENCE.places[name] = find_place(name)
    return EVIDENCE.places[name]


def file_of(name: str) -> Path | None:
    """File of a module, source or compiled."""
    place = place_of(name)
    return place if place is not None and place.suffix else None


def is_source(file: Path) -> bool:
    """Whether a module's file can be read by people."""
    return file.suffix == _SOURCE


def find_place(name: str) -> Path | None:
    """Look a module up on the disk, without importing it or its packages."""
    top, *rest = name.split(".")
    try:
        spec = find_spec(top)
    except ValueError:  # __main__ of a notebook has no source file
        return None
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    if not rest:
        origin = spec.origin if spec.has_location else None
        return Path(origin or folders[0]) if origin or folders else None
    return next(filter(None, (_place_in(folder, rest) for folder in folders)), None)


def _place_in(package: str, rest: list[str]) -> Path | None:
    """Where a module below a package's folder lies, in Python's own order."""
    *parents, last = rest
    folder = os.path.join(package, *parents)  # noqa: PTH118 (asked a thousand times)
    names = _names_in(folder)
    inside = _names_in(f"{folder}/{last}") if last in names else frozenset[str]()
    for suffix in _SUFFIXES:
        if f"__init__{suffix}" in inside:
            return Path(folder, last, f"__init__{suffix}")
    for suffix in _SUFFIXES:
        if f"{last}{suffix}" in names:
            return Path(folder, f"{last}{suffix}")
    return Path(folder, last) if last in names and Path(folder, last).is_dir() else None


@cache
def _names_in(folder: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208 (a third of the time)
    except OSError:
        return frozenset()


def standing_of(top: str) -> Standing:
    """What a top-level module is, wherever it lies."""
    if top not in EVIDENCE.standings:
        EVIDENCE.standings[top] = find_standing(top)
    return EVIDENCE.standings[top]


def is_own(name: str) -> bool:
    """Whether a module is the user's own or ours: its content says what it is, not its version."""
    return standing_of(name.partition(".")[0]) == "own"


def is_machinery(name: str) -> bool:
    """Whether a module runs the science without being part of it."""
    return name == "cmbml" or any(name == part or name.startswith(f"{part}.") for part in MACHINERY)


def find_standing(top: str) -> Standing:
    """Look up what a top-level module is."""
    if top == "cmbml":
        return "own"
    if top in sys.stdlib_module_names:
        return "python"
    place = place_of(top)
    if place is None:
        return "installed" if version_of(top) else "unknown"
    return "installed" if _is_installed(top, place) else "own"


def _is_installed(top: str, place: Path) -> bool:
    """Whether a package was installed, so that its version says what it is; one that is linked to was not."""
    found = _distributions(top, guess=bool(_INSTALLED & set(place.parts)))
    return any(
        _INSTALLED & set(place.parts) or place.is_relative_to(str(each.locate_file(""))) for each in found
    )


def _distributions(top: str, *, guess: bool) -> list[Distribution]:
    """What brought a module; `guess`: also where that has another name, which takes a second to find out."""
    try:
        return [distribution(top)]
    except PackageNotFoundError:
        return [distribution(name) for name in sorted(set(_by_module().get(top, ())))] if guess else []


@cache
def _by_module() -> dict[str, list[str]]:
    return dict(packages_distributions())


def versions_of(modules: Iterable[str]) -> dict[str, str]:
    """major.minor of the packages behind some modules of others."""
    return {name: version_of(name) for name in sorted({module.partition(".")[0] for module in modules})}


@cache
def version_of(package: str) -> str:
    """major.minor of a package, of all that have a part in it; empty where none has a version."""
    return " ".join(".".join(version.split(".")[:2]) for version in release_of(package).split())


@cache
def release_of(package: str) -> str:
    """Version of a package in full, of all that have a part in it; empty where none has a version."""
    return " ".join(each.version for each in _distributions(package, guess=True))


@cache
def text_of(file: Path) -> str:
    """Text of a source file, as it was when it was read first."""
    EVIDENCE.signatures.setdefault(file, signature(file))
    return file.read_text(encoding="utf-8")


def read_at(file: Path) -> Signature | None:
    """Signature of a source file when its text was taken into a fingerprint."""
    if file not in EVIDENCE.signatures:
        text_of(file)
    return EVIDENCE.signatures[file]
