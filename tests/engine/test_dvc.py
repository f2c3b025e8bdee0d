"""DVC runs beside itself, and is told of what it does not see."""

import sys

import pytest

from cmbml.cli import entry as cli
from cmbml.core.engine.make import Engine


@pytest.mark.long
def test_two_runs_of_dvc_at_once_corrupt_nothing(counted, monkeypatch):
    runs = [counted.start("dvc", "repro", pause=0.02) for _ in range(2)]
    codes = [run.wait(timeout=240) for run in runs]
    assert 0 in codes, "one of them goes on; DVC may refuse the other"
    counted.run("dvc", "repro")
    assert len(counted.names()) == len(set(counted.names())) == 2 * 4 * 6 + 4
    counted.expect_sound_cache()
    lock = (counted.root / "dvc.lock").read_bytes()
    made = counted.toy.files()
    (counted.root / "data").rename(counted.root / "before")
    counted.finish(monkeypatch)
    assert counted.toy.files() == made
    counted.run("dvc", "commit", "-f")
    assert (counted.root / "dvc.lock").read_bytes() == lock


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package from outside of the repository, whose version can be set."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "outside.py").write_text("ONE = 1\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")

    def install(version):
        for old in site.glob("*.dist-info"):
            (old / "METADATA").unlink()
            old.rmdir()
        info = site / f"outside-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: outside\nVersion: {version}\n")

    install("1.0")
    yield install
    sys.modules.pop("outside", None)


@pytest.mark.long
def test_another_version_of_a_package_is_made_anew_though_dvc_sees_no_change(counted, package, monkeypatch):
    counted.toy.edit("toy_math.py", "def double", "from outside import ONE\n\n\ndef double")
    counted.cmbml("dvc")
    counted.run("dvc", "repro")
    counted.log.unlink()
    package("2.0")
    counted.run("dvc", "repro")
    assert counted.names() == []
    monkeypatch.setenv("TOY_LOG", str(counted.log))
    plan = counted.plan()
    unfinished = Engine(plan).unfinished()
    assert [stage.key for stage in unfinished] == ["double", "total"]
    cli._make_and_record(plan, unfinished)
    assert sorted({name.partition("/")[0] for name in counted.names()}) == ["double", "total"]
    assert Engine(counted.plan()).unfinished() == []
