"""The MD5 of files, remembered on this machine for as long as their stat stays the same.

To lose it costs hashing, never more.
"""

import json
import os
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cmbml.core.files.checksums import md5_of, sync_disk
from cmbml.core.files.jsonlines import parse_lines, write_lines
from cmbml.core.handlers.base import explain_storage
from cmbml.core.spec.signature import Signature, signature_of

# How many times larger than what is wanted of it a memo may become, before it is written anew.
_SLACK = 4
# So many files take as long to hash as threads to start.
_WORTH_THREADS = 20


class Memo:
    """The MD5 of some files, such as those of one portion.

    Parameters
    ----------
    root
        The repository; paths are relative to it, or absolute.
    path
        File of the memo.
    """

    def __init__(self, root: Path, path: Path) -> None:
        self._root = str(root)
        self._path = path
        self._known: dict[str, tuple[Signature, str]] = {}
        self._new: dict[str, list[object]] = {}
        # A folder on every file system of which files were hashed that may not have reached the disk.
        self._unsynced: dict[int, Path] = {}
        self._read_to = 0

    def flaw(self, path: str, size: int, md5: str) -> str | None:
        """Say in a few words why a file is not the one of that content; None where it is."""
        try:
            found = os.stat(f"{self._root}/{path}")  # noqa: PTH116 (half the time of Path.stat)
            if not stat.S_ISREG(found.st_mode):
                return "is no file"
            if found.st_size != size:
                return f"is {found.st_size} bytes instead of {size}"
            return None if self._md5(path, found) == md5 else "is not what was made"
        except FileNotFoundError:
            return "is missing"
        except OSError as error:
            return f"cannot be read: {error.strerror}"

    def refresh(self, paths: Iterable[str]) -> None:
        """Hash side by side the files whose stat is another; what cannot be read is left to `flaw`.

        DVC sets the mode of every file of a stage before it runs it, and all of them are to be hashed then.
        """
        found = self._changed(paths)
        if len(found) < _WORTH_THREADS:
            return
        self._read()
        found = self._changed(found)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for path, md5 in zip(found, pool.map(self._hash, found), strict=True):
                if md5 is not None:
                    self._note_hashed(path, found[path], md5)

    def _changed(self, paths: Iterable[str]) -> dict[str, os.stat_result]:
        """Stat of the files among some that must be hashed."""
        changed = {}
        for path in paths:
            try:
                found = os.stat(f"{self._root}/{path}")  # noqa: PTH116 (half the time of Path.stat)
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode) and self.signature(path) != signature_of(found):
                changed[path] = found
        return changed

    def _hash(self, path: str) -> str | None:
        try:
            return md5_of(Path(self._root, path))
        except OSError:
            return None

    def md5(self, path: str) -> str:
        """MD5 of a file that is there."""
        return self._md5(path, Path(self._root, path).stat())

    def _md5(self, path: str, found: os.stat_result) -> str:
        signature = signature_of(found)
        if self.signature(path) != signature:
            self._read()
        if self.signature(path) == signature:
            return self._known[path][1]
        md5 = md5_of(Path(self._root, path))
        self._note_hashed(path, found, md5)
        return md5

    def _note_hashed(self, path: str, found: os.stat_result, md5: str) -> None:
        self.note(path, signature_of(found), md5)
        self._unsynced[found.st_dev] = Path(self._root, path).parent

    def note(self, path: str, signature: Signature, md5: str) -> None:
        """Remember the MD5 of a file as it is now; its content must be on the disk."""
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
        """Write what is new: one write of one line, so that those of other processes stay whole.

        What was hashed reaches the disk before: after a loss of power a file may be there with its stat, and
        without its content.  Where the data may only be read, files are hashed again every time.
        """
        if not self._new or not os.access(self._root, os.W_OK):
            return
        for folder in self._unsynced.values():
            sync_disk(folder)
        line = b"\n" + json.dumps(self._new).encode() + b"\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab", buffering=0) as file:
                file.write(line)
        except OSError as error:
            raise explain_storage(self._path, error) from error
        self._new, self._unsynced = {}, {}

    def compact(self, paths: Iterable[str]) -> None:
        """Save, and keep only what is known now of some files, where much else has gathered."""
        self.save()
        kept = {path: [*self._known[path][0], self._known[path][1]] for path in paths if path in self._known}
        if self._path.is_file() and self._path.stat().st_size > _SLACK * len(json.dumps(kept)):
            write_lines(self._path, [kept])
            self._known, self._read_to = {}, 0
