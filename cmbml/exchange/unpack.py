"""Unpacking archives of others: only plain files below one folder, and only so much."""

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO

from cmbml.core.errors import DataError
from cmbml.core.handlers.base import TEMPORARY, explain_storage

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold.

    Attributes
    ----------
    ratio
        Unpacked bytes for each packed one; numbers as text shrink to a fifth, zeros to a thousandth.
    members
        Files and folders.
    floor
        Unpacked bytes that are never too many.
    """

    ratio: float = 100.0
    members: int = 100_000
    floor: int = 1 << 24


def unpack_tar(archive: Path, folder: Path, limits: Limits | None = None) -> list[Path]:
    """Unpack a tar archive, packed or not, into a new folder, whole or not at all.

    A single folder at its top that is called as `folder` is left out.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    DataError
        Where the archive is damaged or too big, the folder exists, or a member is a link, a device, no
        relative path, or stands twice.
    """
    if folder.exists():
        raise DataError(f"{folder}: exists: move it away first")
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(prefix=TEMPORARY, dir=folder.parent) as place:
            base = Path(place) / folder.name
            base.mkdir()
            for name, content in _members(archive, limits or Limits()):
                _write(base / _without_top(name, folder.name), content)
            base.rename(folder)
    except OSError as error:
        raise explain_storage(folder, error) from error
    return sorted(path for path in folder.rglob("*") if path.is_file())


def checked_members(archive: Path, limits: Limits | None = None) -> Iterator[tuple[PurePosixPath, int]]:
    """Names and lengths of the files of an archive that `unpack_tar` would unpack; the same refusals."""
    for name, content in _members(archive, limits or Limits()):
        yield name, sum(len(chunk) for chunk in content)


def _members(archive: Path, limits: Limits) -> Iterator[tuple[PurePosixPath, Iterator[bytes]]]:
    """Names and contents of the files of an archive, read once from front to end."""
    allowed = max(limits.floor, int(limits.ratio * archive.stat().st_size))
    seen: set[PurePosixPath] = set()
    budget = _Budget(archive, allowed)
    with _open_tar(archive) as tar:
        for count, member in enumerate(tar, start=1):
            if count > limits.members:
                raise DataError(f"{archive}: more than {limits.members} members: not unpacked")
            name = _safe_name(archive, member)
            if member.isdir():
                continue
            if name in seen:
                raise DataError(f"{archive}: '{name}' stands twice in it: not unpacked")
            seen.add(name)
            budget.expect(member.size)
            file = tar.extractfile(member)
            if file is not None:
                yield name, budget.read(file)


@contextmanager
def _told(archive: Path) -> Iterator[None]:
    """Tell of a damaged archive in one line."""
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{archive}: not a whole tar archive: {error}: get it again") from None


@contextmanager
def _open_tar(archive: Path) -> Iterator[tarfile.TarFile]:
    with _told(archive), tarfile.open(archive, "r|*") as tar:
        yield tar


def _safe_name(archive: Path, member: tarfile.TarInfo) -> PurePosixPath:
    name = PurePosixPath(member.name)
    if not (member.isfile() or member.isdir()):
        raise DataError(f"{archive}: '{member.name}' is a link or device: not unpacked")
    if name.is_absolute() or ".." in name.parts or "\\" in member.name or "\0" in member.name:
        raise DataError(f"{archive}: '{member.name}' leads out of its folder: not unpacked")
    return name


class _Budget:
    """Counts what comes out of an archive."""

    def __init__(self, archive: Path, allowed: int) -> None:
        self._archive = archive
        self._left = allowed

    def expect(self, size: int) -> None:
        """Refuse a member before it is read."""
        if size > self._left:
            raise DataError(f"{self._archive}: holds far more than its length explains: not unpacked")
        self._left -= size

    def read(self, file: IO[bytes]) -> Iterator[bytes]:
        """Content of a member, which never exceeds the size that it declares."""
        while True:
            with _told(self._archive):
                chunk = file.read(_CHUNK)
            if not chunk:
                return
            yield chunk


def _without_top(name: PurePosixPath, top: str) -> PurePosixPath:
    return PurePosixPath(*name.parts[1:]) if len(name.parts) > 1 and name.parts[0] == top else name


def _write(path: Path, content: Iterator[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        for chunk in content:
            file.write(chunk)
