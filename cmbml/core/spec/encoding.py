"""Text that users made: in UTF-8, or as its byte-order mark or a comment says."""

import codecs
import re
from pathlib import Path

from cmbml.core.errors import DataError

# The marks of UTF-32 begin with those of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_COMMENTS = re.compile(rb"(?:[ \t]*#[^\n]*\n?)*")
# As Python's own files say it: PEP 263.
_DECLARED = re.compile(rb"coding[:=][ \t]*([-\w.]+)")


def read_text(path: Path) -> str:
    r"""Read a text file whose lines may end in any way.

    Parameters
    ----------
    path
        The file.  Comments at its top may declare its encoding, as ``# coding: latin-1``.

    Returns
    -------
    str
        The text without a byte-order mark, every line ended by ``\n``.

    Raises
    ------
    DataError
        Where it cannot be read, or is not in the encoding that it has, declares, or must have.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    encoding = _encoding(content)
    if encoding.startswith("utf-8") and b"\0" in content:
        raise DataError(f"{path}: no text, or UTF-16 without a byte-order mark: save it as UTF-8")
    try:
        text = content.decode(encoding)
    except (LookupError, UnicodeError) as error:
        raise DataError(
            f"{path}: not readable as {encoding}: {_reason(content, error)}: save it as UTF-8, or declare "
            "its encoding in a comment at its top, as '# coding: latin-1'"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _encoding(content: bytes) -> str:
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return encoding
    comments = _COMMENTS.match(content)
    declared = _DECLARED.search(comments.group()) if comments else None
    return declared.group(1).decode("ascii", "replace") if declared else "utf-8"


def _reason(content: bytes, error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        line = content.count(b"\n", 0, error.start) + 1
        return f"byte {content[error.start : error.start + 1].hex()} in line {line}"
    return str(error)
