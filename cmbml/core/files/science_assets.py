"""Science assets: files that are there from the start, known by the hash of their content."""

from collections.abc import Iterable
from pathlib import Path

from cmbml.core.errors import DataError
from cmbml.core.files.memo import Memo
from cmbml.core.spec.yamlio import read_yaml


def raw_digests(paths: Iterable[Path], memo: Memo) -> list[str]:
    """MD5 of science assets: of each file, or where it is not fetched, from its .dvc file.

    Parameters
    ----------
    paths
        The science assets.
    memo
        Remembers the hashes of this machine's files, since there may be many GB of them.

    Raises
    ------
    DataError
        Where neither is there.
    """
    digests = [_raw_digest(path, memo) for path in paths]
    memo.save()
    return digests


def _raw_digest(path: Path, memo: Memo) -> str:
    if path.is_file():
        return memo.md5(str(path))
    record = Path(f"{path}.dvc")
    if record.is_file():
        return str(read_yaml(record)["outs"][0]["md5"])
    raise DataError(f"{path}: science asset is missing: fetch it, or run `dvc pull`")
