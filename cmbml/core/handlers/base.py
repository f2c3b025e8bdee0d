"""What every handler shares: whole files or none, and a version of its format."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from cmbml.core.errors import DataError, StorageError

# What a handler reads and writes.
Data = TypeVar("Data")

TEMPORARY = ".cmbml-tmp."
_STORAGE = {
    errno.ENOSPC: "the disk is full: make space and run again",
    errno.EDQUOT: "over quota: make space and run again",
    errno.EFBIG: "over the limit of file sizes: raise it and run again",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "no permission to write here",
    errno.EPERM: "not allowed to write here",
    errno.EISDIR: "a folder is in its place: move it away",
    errno.ENOTEMPTY: "a folder is in its place: move it away",
    errno.EEXIST: "a file is in the place of its folder: move it away",
    errno.ENOTDIR: "a file is in the place of its folder: move it away",
    errno.ELOOP: "its folder is a link that leads nowhere: remove the link",
}


def temporary_path(path: Path) -> Path:
    """Name for an unfinished version of `path`, in its folder and with its suffix."""
    return path.with_name(f"{TEMPORARY}{os.getpid()}.{path.name}")


def explain_storage(path: Path, error: OSError) -> StorageError:
    """One line for a refusal of the disk."""
    reason = _STORAGE.get(error.errno or 0, error.strerror or str(error))
    return StorageError(f"{path}: cannot be written: {reason}")


class AssetHandler(Generic[Data]):
    """Reads and writes one file format: `AssetHandler[SkyMap]` reads and writes a `SkyMap`.

    Subclasses override `read` and `write`; `write` gets a temporary path in the target's folder, and the file
    takes its name only when it is whole, so no reader ever sees half a file and a link into a cache is never
    written through.

    Attributes
    ----------
    format_version
        Counts changes of the bytes that `write` makes; a change recomputes what was written before.
    """

    format_version: ClassVar[int] = 1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "write" in cls.__dict__:
            cls.write_whole = cls.__dict__["write"]  # type: ignore[method-assign]
            cls.write = _atomic(cls.__dict__["write"])  # type: ignore[method-assign]
        if "read" in cls.__dict__:
            cls.read = _existing(cls.__dict__["read"])  # type: ignore[method-assign]

    # The arguments of the three are left open so that handlers may name their own options.
    def read(self, path: Path, *args: Any, **options: Any) -> Data:  # noqa: ARG002
        """Read the file at a path."""
        raise DataError(f"{path}: handler {type(self).__name__} does not read")

    def write(self, path: Path, data: Data, *args: Any, **options: Any) -> None:  # noqa: ARG002
        """Write data to a path, whole or not at all."""
        raise DataError(f"{path}: handler {type(self).__name__} does not write")

    def write_whole(self, path: Path, data: Data, *args: Any, **options: Any) -> None:
        """Write data to a path at once; for callers that rename the file themselves."""
        self.write(path, data, *args, **options)


def stage_file(handler: AssetHandler[Data], path: Path, data: Data, options: dict[str, Any]) -> Path:
    """Write an unfinished version of `path` beside it and return its name.

    Raises
    ------
    StorageError
        Where the disk refuses; nothing is left then.
    DataError
        Where the handler refuses the data: it says why, and the path is put before that.
    """
    unfinished = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler.write_whole(unfinished, data, **options)
    except BaseException as error:
        remove_unfinished(unfinished)
        if isinstance(error, OSError):
            raise explain_storage(path, error) from error
        if isinstance(error, DataError):
            raise DataError(f"{path}: {error}") from None
        raise
    return unfinished


def remove_unfinished(path: Path) -> None:
    """Remove a file that will not take its name; it may never have come to be."""
    with suppress(OSError):
        path.unlink()


def _atomic(write: Callable[..., None]) -> Callable[..., None]:
    @wraps(write)
    def wrapper(self: AssetHandler[Any], path: Path, data: object = None, **options: Any) -> None:
        path = Path(path)
        stage_file(self, path, data, options).replace(path)

    return wrapper


def _existing(read: Callable[..., Data]) -> Callable[..., Data]:
    @wraps(read)
    def wrapper(self: AssetHandler[Data], path: Path, **options: Any) -> Data:
        try:
            return read(self, Path(path), **options)
        except FileNotFoundError:
            raise DataError(f"{path}: no such file: run the stage that makes it, or fetch it") from None
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: is no text in UTF-8 ({error.reason}): make or fetch it again") from None

    return wrapper
