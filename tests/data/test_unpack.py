"""Archives of others: nothing leaves the folder, nothing is a link, nothing explodes."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from cmbml.core.errors import DataError
from cmbml.exchange.unpack import Limits, unpack_tar


def archive(path: Path, *members: tuple[str, bytes | tarfile.TarInfo], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            data = b"" if isinstance(content, tarfile.TarInfo) else content
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_plain_files_are_unpacked_and_their_own_top_folder_is_left_out(tmp_path, mode):
    path = archive(
        tmp_path / "a.tar", ("chain/H0", b"1"), ("chain/sub/tau", b"2"), ("README", b"3"), mode=mode
    )
    files = unpack_tar(path, tmp_path / "chain")
    assert {str(file.relative_to(tmp_path)): file.read_bytes() for file in files} == {
        "chain/H0": b"1", "chain/sub/tau": b"2", "chain/README": b"3"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (("../out", b"x"), "leads out of its folder"),
        (("a/../../out", b"x"), "leads out of its folder"),
        (("/out", b"x"), "leads out of its folder"),
        (("a\\..\\out", b"x"), "leads out of its folder"),
        (("link", special("link", tarfile.SYMTYPE, "/etc/passwd")), "is a link or device"),
        (("hard", special("hard", tarfile.LNKTYPE, "../../out")), "is a link or device"),
        (("pipe", special("pipe", tarfile.FIFOTYPE)), "is a link or device"),
        (("disk", special("disk", tarfile.BLKTYPE)), "is a link or device"),
        (("good", b"again"), "stands twice"),
    ],
)
def test_what_is_unsafe_is_refused_and_leaves_nothing(tmp_path, member, message):
    path = archive(tmp_path / "a.tar.gz", ("good", b"x"), member)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match=message):
        unpack_tar(path, tmp_path / "into")
    assert sorted(tmp_path.iterdir()) == before


def test_a_bomb_is_refused(tmp_path):
    path = archive(tmp_path / "a.tar.gz", ("zeros", bytes(40_000_000)))
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match="holds far more than its length explains"):
        unpack_tar(path, tmp_path / "into")
    many = archive(tmp_path / "b.tar", *((str(i), b"") for i in range(3)))
    with pytest.raises(DataError, match="more than 2 members"):
        unpack_tar(many, tmp_path / "into", Limits(members=2))
    assert not (tmp_path / "into").exists()


def test_a_damaged_archive_is_told(tmp_path):
    path = archive(tmp_path / "a.tar.gz", ("a", os.urandom(100_000)))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match="not a whole tar archive"):
        unpack_tar(path, tmp_path / "into")
    path.write_bytes(b"not an archive")
    with pytest.raises(DataError, match="not a whole tar archive"):
        unpack_tar(path, tmp_path / "into")
    assert not (tmp_path / "into").exists()
