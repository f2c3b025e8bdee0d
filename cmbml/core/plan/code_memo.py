"""The code behind executors, remembered on this machine: reading it takes seconds, and it seldom changes.

What was worked out is believed while everything that it was worked out from is as it was: the signature of
every source file, where every module lies that was asked for, or that there is none, what every package is,
and the code that works it out.  Versions of packages are asked for anew.  To lose the memo costs reading.
"""

import hashlib
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from cmbml.core.errors import CmbmlError
from cmbml.core.files.jsonlines import read_lines, write_lines
from cmbml.core.plan.code import CODES, Code, code_of, packages_of
from cmbml.core.plan.hidden import Hidden
from cmbml.core.plan.modules import EVIDENCE, place_of, standing_of
from cmbml.core.spec.repository import LOCAL
from cmbml.core.spec.signature import signature

MEMO = f"{LOCAL}/memo/code.json"
# A file that is as young as the tick of the clock can be written again and keep its signature.
_TICK_NS = 100_000_000


def prepare_codes(root: Path, names: Iterable[str]) -> None:
    """Work out the code behind some executors, or recall it, so that `code_of` has it at once.

    What is wrong with one of them is told by `code_of`.

    Parameters
    ----------
    root
        The repository, whose memo it is.
    names
        Dotted paths of executors, or of what else code is asked for.
    """
    wanted = {name for name in names if name not in CODES}
    if wanted:
        _recall(root / MEMO)
    missing = wanted - CODES.keys()
    for name in sorted(missing):
        with suppress(CmbmlError):
            code_of(name)
    if missing & CODES.keys():
        _write(root / MEMO)


def _recall(path: Path) -> None:
    for memo in read_lines(path):
        with suppress(
            KeyError, TypeError, ValueError, AttributeError
        ):  # of another kind: as if there were none
            if memo["by"] == _by() and _holds(memo):
                codes = {name: _code(values) for name, values in memo["codes"].items()}
                EVIDENCE.signatures |= {Path(file): tuple(was) for file, was in memo["signatures"].items()}
                CODES.update({name: code for name, code in codes.items() if name not in CODES})


def _holds(memo: dict[str, Any]) -> bool:
    """Whether all that was looked up is as it was."""
    return (
        all(_state(Path(file)) == tuple(was) for file, was in memo["signatures"].items())
        and all(standing_of(top) == was for top, was in memo["standings"].items())
        and all(_text(place_of(name)) == was for name, was in memo["places"].items())
    )


def _state(file: Path) -> tuple[int, ...] | None:
    return EVIDENCE.signatures[file] if file in EVIDENCE.signatures else signature(file)


def _text(place: Path | None) -> str | None:
    return None if place is None else str(place)


def _code(values: dict[str, Any]) -> Code:
    imports = tuple(values["imports"])
    return Code(
        modules=values["modules"],
        packages=packages_of(imports),
        imports=imports,
        files=tuple(map(Path, values["files"])),
        loop=values["loop"],
        hidden=tuple(Hidden(*each) for each in values["hidden"]),
    )


def _write(path: Path) -> None:
    times = [max(was[2:]) for was in EVIDENCE.signatures.values() if was is not None]
    if time.time_ns() - max(times, default=0) < _TICK_NS:
        return
    codes = {name: asdict(code) for name, code in CODES.items() if isinstance(name, str)}
    memo = {
        "by": _by(),
        "signatures": {str(file): was for file, was in EVIDENCE.signatures.items()},
        "standings": EVIDENCE.standings,
        "places": {name: _text(place) for name, place in EVIDENCE.places.items()},
        "codes": {name: {**code, "files": list(map(str, code["files"]))} for name, code in codes.items()},
    }
    with suppress(OSError, CmbmlError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_lines(path, [memo])


@cache
def _by() -> str:
    """What worked it out: this room's own code, and the Python that reads the syntax."""
    texts = [file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"\0".join([sys.version.encode(), *texts])).hexdigest()
