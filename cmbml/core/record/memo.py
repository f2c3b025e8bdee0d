"""The MD5 of files, remembered on this machine for as long as their stat stays the same.

To lose it costs hashing, never more.
"""

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from cmbml.core.files.checksums import md5_of
from cmbml.core.files.jsonlines import parse_lines, write_lines
from cmbml.core.handlers.base import explain_storage
from cmbml.core.spec.signature import Signature, signature_of

# Lines for each file that is wanted, beyond which the memo is written anew.
_LINES_PER_FILE = 4


class Memo:
    """The MD5 of the files of one portion.

    Parameters
    ----------
    root
        The repository; paths are relative to it.
    path
        File of the memo.
    """

    def __init__(self, root: Path, path: Path) -> None:
        self._root = str(root)
        self._path = path
        self._known: dict[str, tuple[Signature, str]] = {}
        self._new: dict[str, list[object]] = {}
        self._read_to = 0

    def flaw(self, path: str, size: int, md5: str) -> str | None:
        """Say in a few words why a file is not the one of that content; None where it is."""
        try:
            found = os.stat(f"{self._root}/{path}")  # noqa: PTH116 (half the time of Path.stat)
            if not stat.S_ISREG(found.st_mode):
                return "is no file"
            if found.st_size != size:
                return f"is {found.st_size} bytes instead of {size}"
            return None if self._md5(path, signature_of(found)) == md5 else "is not what was made"
        except FileNotFoundError:
            return "is missing"
        except OSError as error:
            return f"cannot be read: {error.strerror}"

    def _md5(self, path: str, signature: Signature) -> str:
        if path not in self._known:
            self._read()
        known = self._known.get(path)
        if known is not None and known[0] == signature:
            return known[1]
        md5 = md5_of(Path(self._root, path))
        self.note(path, signature, md5)
        return md5

    def note(self, path: str, signature: Signature, md5: str) -> None:
        """Remember the MD5 of a file as it is now."""
        self._known[path] = (signature, md5)
        self._new[path] = [*signature, md5]

    def signature(self, path: str) -> Signature | None:
        """Stat of a file when its content was last known."""
        known = self._known.get(path)
        return known[0] if known else None

    def forget(self, path: str) -> None:
        """Hash a file the next time, whatever its stat says."""
        self.note(path, (-1, -1, -1, -1), "")

    def _read(self) -> None:
        """Take over what was written since the last time, by this or another process."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read_to)
                text = file.read()
        except OSError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._read_to += len(whole)
        for line in parse_lines(whole.decode(errors="replace")):
            for path, values in line.items() if isinstance(line, dict) else ():
                match values:
                    case [int(size), int(inode), int(mtime), int(ctime), str(md5)] if path not in self._new:
                        self._known[path] = ((size, inode, mtime, ctime), md5)

    def save(self) -> None:
        """Write what is new: one write of one line, so that those of other processes stay whole."""
        if not self._new:
            return
        line = b"\n" + json.dumps(self._new).encode() + b"\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab", buffering=0) as file:
                file.write(line)
        except OSError as error:
            raise explain_storage(self._path, error) from error
        self._new = {}

    def compact(self, paths: Iterable[str]) -> None:
        """Keep only what is known of some files, where much else has gathered."""
        self.save()
        kept = {path: [*self._known[path][0], self._known[path][1]] for path in paths if path in self._known}
        if len(self._known) > _LINES_PER_FILE * max(len(kept), 1):
            write_lines(self._path, [kept])
            self._known, self._read_to = {}, 0
