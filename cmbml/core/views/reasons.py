"""Why two files that were made for the same place are not the same, from what their manifests say."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from cmbml.core.plan.fingerprints import differences
from cmbml.core.record.facts import Fact
from cmbml.core.views.sides import Made

_WORDS = {"params": "parameter", "packages": "package", "handlers": "handler", "settings": "setting"}
UNKNOWN = "nothing that is known: another processor, or a library of the system"


def reasons_for(here: Made, other: Made, path: str, equal: Collection[str]) -> list[str]:
    """Why a file differs.

    Parameters
    ----------
    here, other
        What both sides have of its portion.
    path
        The file.
    equal
        Folders that are the same on both sides: what was read from there is no reason, whatever made it.
    """
    mine, theirs = _fact(here, path), _fact(other, path)
    if _was_changed(here, mine, path) or _was_changed(other, theirs, path):
        return [f"{path} is not what was made"]
    if mine is None or theirs is None:
        return ["other simulations or files" if here.manifest.facts and other.manifest.facts else UNKNOWN]
    headers = here.manifest.headers.get(mine.recipe, {}), other.manifest.headers.get(theirs.recipe, {})
    reads = headers[0].get("reads", {})
    return [
        *_of_recipes(*headers),
        *_of_packages(headers, mine, theirs),
        *_of_facts(mine, theirs),
        *(f"input {name}" for name in _inputs(mine, theirs) if not _is_equal(reads.get(name), equal)),
    ] or [UNKNOWN]


def _fact(made: Made, path: str) -> Fact | None:
    return next((fact for fact in made.manifest.facts.values() if path in fact.files), None)


def _was_changed(made: Made, fact: Fact | None, path: str) -> bool:
    return fact is not None and made.files is not None and made.files.get(path) != fact.files[path][1]


def _of_recipes(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    for kind, key in differences(mine, theirs):
        if kind != "packages":
            yield f"{_WORDS.get(kind, kind)} {key}"


def _of_packages(headers: tuple[Mapping[str, Any], Mapping[str, Any]], *facts: Fact) -> Iterator[str]:
    """Packages by their full versions, or by major.minor where facts of an earlier time say no more."""
    known = [header.get("packages", {}) | fact.versions for header, fact in zip(headers, facts, strict=True)]
    mine, theirs = known
    for name in sorted(mine.keys() | theirs.keys()):
        one, two = mine.get(name, "none"), theirs.get(name, "none")
        if not (one == two or one.startswith(f"{two}.") or two.startswith(f"{one}.")):
            yield f"package {name} {one} and {two}"


def _of_facts(mine: Fact, theirs: Fact) -> Iterator[str]:
    if mine.identity != theirs.identity:
        yield "another random stream"
    if mine.baseline != theirs.baseline:
        yield f"another baseline ({mine.baseline or 'unknown'} and {theirs.baseline or 'unknown'})"


def _inputs(mine: Fact, theirs: Fact) -> list[str]:
    names = mine.inputs.keys() | theirs.inputs.keys()
    return sorted(name for name in names if mine.inputs.get(name) != theirs.inputs.get(name))


def _is_equal(places: list[str] | None, equal: Collection[str]) -> bool:
    return bool(places) and all(place in equal for place in places or ())
