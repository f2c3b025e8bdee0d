"""Bytecode of what is fingerprinted: Python must run the text that was hashed."""

import marshal
import py_compile
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path

# Length of the head of bytecode, and its flags where it holds a hash of its source: PEP 552.
_HEAD = 16
_CHECKED_HASH = (0b11).to_bytes(4, "little")


def pin_bytecode(files: Iterable[Path]) -> None:
    """Let Python import what the files say now, and not what their time and size remind it of.

    Bytecode is believed by the second and the size of its source; compiled anew, it holds a hash of the text,
    which is compared at every import.
    """
    for file in files:
        compiled = Path(cache_from_source(str(file)))
        try:
            with compiled.open("rb") as stream:
                checked = stream.read(8)[4:] == _CHECKED_HASH
        except OSError:
            checked = False
        if not checked:
            _compile(file, compiled)


def _compile(file: Path, compiled: Path) -> None:
    try:
        mode = py_compile.PycInvalidationMode.CHECKED_HASH
        py_compile.compile(str(file), doraise=True, invalidation_mode=mode)
        marshal.loads(compiled.read_bytes()[_HEAD:])  # noqa: S302 (just written here; a full disk cuts it short)
    except (OSError, EOFError, ValueError, TypeError, py_compile.PyCompileError):
        with suppress(OSError):  # where it cannot be removed it was not written either
            compiled.unlink()
