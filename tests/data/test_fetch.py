"""Fetching over HTTP from a server that misbehaves: never a wrong byte under a final name."""

import hashlib
import io
import os
import random
import tarfile
import threading
from pathlib import Path

import pytest
import requests
import yaml

from cmbml.cli.entry import main
from cmbml.core.errors import ConfigError, DataError, LockedError, ProblemsError, StorageError
from cmbml.core.files.memo import Memo
from cmbml.core.files.science_assets import raw_digests
from cmbml.core.spec.catalogue import Catalogue, load_catalogue
from cmbml.exchange.fetch import Fetcher, FetchOptions, list_lines, needed
from cmbml.exchange.part import PART, Part
from cmbml.exchange.records import LockFile
from cmbml.exchange.transfer import Patience, Transfer, Wanted
from tests.conftest import ROOT
from tests.data.server import FAULTS, serving

QUICK = Patience(failures=6, first=0.0, most=0.0)
BODY = random.Random(1).randbytes(300_000)
MD5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def transfer(path: Path, *addresses: str, size=None, md5=None, patience=QUICK) -> list[int]:
    """Fetch one file; return the numbers of bytes that were counted."""
    counted: list[int] = []
    with requests.Session() as session:
        session.max_redirects = 10
        Transfer(Wanted(path, addresses, size, md5), session, patience, counted.append).run(lambda *_: None)
    return counted


@pytest.mark.parametrize("known", ["size and md5", "md5", "size", "nothing"])
@pytest.mark.parametrize("validators", [True, False])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_arrives(tmp_path, known, validators, ranges):
    path = tmp_path / "a" / "map.fits"
    with serving({"/map.fits": BODY}, validators=validators, ranges=ranges) as site:
        counted = transfer(
            path,
            f"{site.address}/map.fits",
            size=len(BODY) if "size" in known else None,
            md5=MD5 if "md5" in known else None,
        )
    assert path.read_bytes() == BODY
    assert sum(counted) == len(BODY)
    assert [entry.name for entry in path.parent.iterdir()] == ["map.fits"]


FATAL = ("404", "loop", "html", "gzip")


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in FATAL])
@pytest.mark.parametrize("known", [True, False])
def test_one_fault_is_survived(tmp_path, fault, known):
    if fault == "corrupt" and not known:
        pytest.skip("a wrong byte of a file of which nothing is known cannot be told")
    path = tmp_path / "map.fits"
    with serving({"/map.fits": BODY}, faults=["cut", fault]) as site:
        address = f"{site.address}/map.fits"
        transfer(path, address, size=len(BODY) if known else None, md5=MD5 if known else None)
    assert path.read_bytes() == BODY


@pytest.mark.parametrize("fault", FATAL)
def test_an_address_that_has_no_such_file_is_told_and_nothing_is_lost(tmp_path, fault):
    path = tmp_path / "map.fits"
    with serving({"/map.fits": BODY}, faults=["cut", fault]) as site:
        with pytest.raises(DataError, match=r"not fetched: http.* run again later, it will be resumed"):
            transfer(path, f"{site.address}/map.fits")
        assert not path.exists()
        site.faults.clear()
        transfer(path, f"{site.address}/map.fits")
    assert path.read_bytes() == BODY


def test_two_hundred_faults_leave_no_wrong_byte(tmp_path):
    """Seeded runs of faults; what has the final name is right, always, and in the end it is there."""
    rng = random.Random(20260717)
    injected = 0
    for run in range(70):
        known = rng.random() < 0.6
        body = rng.randbytes(rng.choice([1, 5_000, 70_000, 2_500_000]))
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        kinds = FAULTS if known else [fault for fault in FAULTS if fault != "corrupt"]
        faults = rng.choices(kinds, k=rng.randint(1, 6))
        injected += len(faults)
        path = tmp_path / f"{run}.fits"
        options = {"validators": rng.random() < 0.7, "ranges": rng.random() < 0.8, "seed": run}
        with serving({"/m.fits": body}, faults=faults, **options) as site:
            for _ in range(12):
                try:
                    transfer(
                        path,
                        f"{site.address}/m.fits",
                        size=len(body) if known else None,
                        md5=md5 if known else None,
                    )
                except DataError:
                    assert not path.exists()
                    continue
                break
            assert path.read_bytes() == body, (run, faults, known, options)
    assert injected >= 200


def test_what_was_cut_is_resumed_not_repeated(tmp_path):
    path = tmp_path / "map.fits"
    with serving({"/map.fits": BODY}, faults=["cut"]) as site:
        transfer(path, f"{site.address}/map.fits", md5=MD5)
        (_, first), (_, second) = site.asked
    assert "Range" not in first
    assert int(second["Range"].removeprefix("bytes=").removesuffix("-")) > 0
    assert second["If-Range"] == f'"{len(BODY)}"'


def test_another_process_resumes_what_was_left(tmp_path):
    path = tmp_path / "map.fits"
    with serving({"/map.fits": BODY}, faults=["cut", *["503"] * 20]) as site:
        with pytest.raises(DataError, match="HTTP 503: run again later, it will be resumed"):
            transfer(path, f"{site.address}/map.fits", md5=MD5, patience=Patience(2, 0.0, 0.0))
        left = (tmp_path / f"{PART}map.fits").stat().st_size
        assert left > 0
        site.faults.clear()
        site.asked.clear()
        counted = transfer(path, f"{site.address}/map.fits", md5=MD5)
    assert counted[0] == left
    assert site.asked[0][1]["Range"] == f"bytes={left}-"
    assert path.read_bytes() == BODY


def test_a_new_version_is_begun_anew(tmp_path):
    path = tmp_path / "map.fits"
    new = random.Random(2).randbytes(len(BODY) + 7)
    with serving({"/map.fits": BODY}, faults=["cut"]) as site:
        with pytest.raises(DataError):
            transfer(path, f"{site.address}/map.fits", patience=Patience(0, 0.0, 0.0))
        site.files["/map.fits"] = new
        transfer(path, f"{site.address}/map.fits")
    assert path.read_bytes() == new


def test_a_wrong_content_never_gets_the_name(tmp_path):
    path = tmp_path / "map.fits"
    with (
        serving({"/map.fits": BODY[:-1] + b"?"}) as site,
        pytest.raises(DataError, match="its content has md5"),
    ):
        transfer(path, f"{site.address}/map.fits", md5=MD5, patience=Patience(2, 0.0, 0.0))
    assert not path.exists()


def test_mirrors_are_tried(tmp_path):
    path = tmp_path / "map.fits"
    with serving({}) as dead, serving({"/map.fits": BODY}) as alive:
        transfer(path, f"{dead.address}/map.fits", f"{alive.address}/map.fits", md5=MD5)
    assert path.read_bytes() == BODY


def test_the_server_may_ask_to_wait():
    patience = Patience(first=0.5, most=60.0)
    assert patience.pause(1, 17.0) == 17.0
    assert patience.pause(1, 1e6) == 60.0
    waits = [patience.pause(failed, None) for failed in range(1, 12)]
    assert all(0.25 * 2**i <= wait <= 0.5 * 2**i for i, wait in enumerate(waits[:6]))
    assert max(waits) <= 60.0


def test_one_process_at_a_time(tmp_path, monkeypatch):
    # Locks of fcntl are of processes, so a second one is a child.
    path = tmp_path / "map.fits"
    with Part(path):
        pid = os.fork()
        if pid == 0:
            try:
                Part(path)
            except LockedError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_a_full_disk_is_told_in_one_line(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Part, "append", refuse)
    with serving({"/map.fits": BODY}) as site, pytest.raises(StorageError, match="the disk is full"):
        transfer(tmp_path / "map.fits", f"{site.address}/map.fits")


# --- the catalogue and the command


def repository(tmp_path: Path, address: str, **asset: object) -> Path:
    described = {"source": "here", "files": ["map.fits"], "path": "planck/map.fits", **asset}
    text = yaml.safe_dump({
        "sources": {"here": {"title": "T", "licence": "L", "citation": "C", "addresses": [f"{address}/{{file}}"]}},
        "science_assets": {"map": described},
    })  # fmt: skip
    (tmp_path / "pipeline").mkdir(exist_ok=True)
    (tmp_path / "pipeline/raw.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def fetch(root: Path, **options: object) -> None:
    catalogue = load_catalogue(root)
    files = [file for name in catalogue.science_assets for file in catalogue.files(name)]
    Fetcher(root, FetchOptions(patience=QUICK, **options)).fetch(files)


def test_a_checksum_is_learnt_and_then_enforced(tmp_path):
    with serving({"/map.fits": BODY}) as site:
        root = repository(tmp_path, site.address)
        fetch(root)
        path = root / "data/raw/planck/map.fits"
        assert LockFile(root).read() == {"planck/map.fits": {"bytes": len(BODY), "md5": MD5}}
        record = yaml.safe_load(Path(f"{path}.dvc").read_text())
        assert record["outs"] == [{"md5": MD5, "size": len(BODY), "hash": "md5", "path": "map.fits"}]
        path.unlink()
        assert raw_digests([path], Memo(root, tmp_path / "memo")) == [MD5]
        # The archive now has another file: not what was learnt, so it is not taken.
        site.files["/map.fits"] = BODY[::-1]
        with pytest.raises(ProblemsError, match="its content has md5"):
            fetch(root)
        assert not path.exists()


def test_what_is_there_is_verified_without_the_network(tmp_path):
    with serving({"/map.fits": BODY}) as site:
        root = repository(tmp_path, site.address)
        fetch(root)
        asked = len(site.asked)
        fetch(root, offline=True)
        assert len(site.asked) == asked
        path = root / "data/raw/planck/map.fits"
        path.write_bytes(BODY[:-1] + b"?")
        with pytest.raises(ProblemsError, match=r"expected 300000, .*delete it and fetch again"):
            fetch(root, offline=True)
        path.unlink()
        with pytest.raises(ProblemsError, match="not there: run `cmbml fetch` without --offline"):
            fetch(root, offline=True)
        assert len(site.asked) == asked


def test_files_come_side_by_side_and_faults_of_one_leave_the_others(tmp_path):
    bodies = {f"/n_{i:05d}.fits": random.Random(i).randbytes(50_000) for i in range(8)}
    del bodies["/n_00003.fits"]
    with serving(bodies) as site:
        root = repository(
            tmp_path, site.address, files=["n_{number:05d}.fits"], path="n/{number:04d}.fits", count=8
        )
        with pytest.raises(ProblemsError, match="HTTP 404") as caught:
            fetch(root)
    assert len(caught.value.problems) == 1
    for i in set(range(8)) - {3}:
        assert (root / f"data/raw/n/{i:04d}.fits").read_bytes() == bodies[f"/n_{i:05d}.fits"]
    assert len(LockFile(root).read()) == 7


def test_how_many_can_be_chosen(tmp_path):
    root = repository(
        tmp_path, "http://x", files=["n_{number:05d}.fits"], path="n/{number:04d}.fits", count=300
    )
    keys = [file.key for file in load_catalogue(root).files("map", 2)]
    assert keys == ["n/0000.fits", "n/0001.fits"]


def test_a_mirror_comes_first(tmp_path):
    with serving({}) as archive, serving({"/raw/planck/map.fits": BODY}) as mirror:
        root = repository(tmp_path, archive.address)
        fetch(root, mirror=f"{mirror.address}/raw/")
        assert archive.asked == []
    assert (root / "data/raw/planck/map.fits").read_bytes() == BODY


def test_proxies_are_obeyed(tmp_path, monkeypatch):
    """The server stands in for a proxy, which is asked for the whole address."""
    with serving({"http://archive.invalid/map.fits": BODY}) as proxy:
        monkeypatch.setenv("http_proxy", proxy.address)
        root = repository(tmp_path, "http://archive.invalid")
        fetch(root)
    assert proxy.asked[0][0] == "http://archive.invalid/map.fits"
    assert (root / "data/raw/planck/map.fits").read_bytes() == BODY


def test_no_space_is_told_before_anything_is_fetched(tmp_path):
    root = repository(tmp_path, "http://archive.invalid", bytes=10**18)
    with pytest.raises(StorageError, match=r"1000000000\.0 GB are to be fetched"):
        fetch(root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "her"}, "no source 'her': did you mean 'here'"),
        ({"path": "../x"}, "'path' leaves data/raw/"),
        ({"md5": "abc"}, "should match pattern"),
        ({"count": 3}, r"'count' needs \{number\}"),
        ({"files": ["a", "b"]}, r"several files need \{file\}"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_a_wrong_catalogue_is_told(tmp_path, change, message):
    root = repository(tmp_path, "http://x", **change)
    with pytest.raises(ProblemsError, match=message) as caught:
        load_catalogue(root)
    assert str(caught.value).startswith("pipeline/raw.yaml: ")


def test_an_unknown_asset_is_told(tmp_path):
    catalogue = load_catalogue(repository(tmp_path, "http://x"))
    with pytest.raises(
        ConfigError, match=r"no science asset 'mop' in pipeline/raw\.yaml: did you mean 'map'"
    ):
        catalogue.choose(["mop"])


# --- the catalogue that ships


@pytest.fixture(scope="module")
def shipped() -> Catalogue:
    return load_catalogue(ROOT)


def test_the_catalogue_has_what_is_promised(shipped):
    names = set(shipped.science_assets)
    bands = ("30", "44", "70", "100", "143", "217", "353", "545", "857")
    assert {f"planck_sky_{band}" for band in bands} <= names
    assert {f"planck_cmb_{name}" for name in ("nilc", "smica", "sevem", "commander")} <= names
    assert {"planck_mask_int", "planck_mask_pol", "wmap9_lcdm", "wmap9_lcdm_mnu"} <= names
    assert {f"ffp10_noise_{band}" for band in bands} <= names
    assert len(list(shipped.files("ffp10_noise_143"))) == 300
    assert all(source.licence and source.citation for source in shipped.sources.values())


def test_no_two_files_share_a_place(shipped):
    places: dict[str, tuple[str, ...]] = {}
    for name in shipped.science_assets:
        for file in shipped.files(name):
            assert places.setdefault(file.key, file.addresses) == file.addresses


def test_presets_are_as_pysm_has_them(shipped):
    pytest.importorskip("pysm3")
    from cmbml.sky.pysm.templates import template_files

    for name, asset in shipped.science_assets.items():
        if name.startswith("pysm_"):
            preset = name.removeprefix("pysm_")
            assert list(asset.files) == template_files((preset,), 2048), name


def test_listing(shipped, tmp_path):
    lines = "\n".join(list_lines(tmp_path, shipped))
    assert "planck_cmb_smica" in lines
    assert "2013 MB" in lines
    assert "cite: Planck Collaboration IV 2020" in lines


def test_what_the_pipeline_needs_is_known(shipped, real_config):
    from cmbml.core.plan.fingerprints import Plan
    from cmbml.core.spec.config import load_config

    assert needed(Plan(real_config), shipped) == []
    config = load_config(ROOT, overrides={"cosmology.source": "wmap9_lcdm"})
    assert {file.key for file in needed(Plan(config), shipped)} == {"chains/wmap_lcdm_wmap9_chains_v5.tar.gz"}


def test_interrupts_keep_what_has_come(tmp_path):
    with serving({"/map.fits": BODY}) as site:
        root = repository(tmp_path, site.address)
        fetcher = Fetcher(root, FetchOptions(patience=QUICK))
        fetcher._stopped = threading.Event()
        fetcher._stopped.set()
        fetcher.fetch(load_catalogue(root).files("map"))
    assert not (root / "data/raw/planck/map.fits").exists()


def test_archives_are_unpacked_beside_themselves(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in (("H0", b"0 70.0\n"), ("tau", b"0 0.05\n")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with serving({"/chain.tar.gz": buffer.getvalue()}) as site:
        root = repository(tmp_path, site.address, files=["chain.tar.gz"], path="chains/{file}", unpack=True)
        fetch(root)
        fetch(root)
    assert (root / "data/raw/chains/chain/H0").read_bytes() == b"0 70.0\n"
    assert (root / "data/raw/chains/chain/tau.dvc").is_file()


def test_the_command(tmp_path, monkeypatch, capsys):
    with serving({"/map.fits": BODY}) as site:
        root = repository(tmp_path, site.address)
        (root / "dvc.yaml").touch()
        monkeypatch.chdir(root)
        main(["fetch", "--list"])
        main(["fetch", "m*"])
        main(["fetch", "map", "--offline"])
        with pytest.raises(SystemExit) as left:
            main(["fetch", "mop"])
    assert left.value.code == 2
    said = capsys.readouterr()
    assert "map                         0/1             ?  T" in said.out
    assert "planck/map.fits: 0.3 MB in" in said.out
    assert "planck/map.fits: there, verified" in said.out
    assert said.err == "cmbml: no science asset 'mop' in pipeline/raw.yaml: did you mean 'map'?\n"
