"""A dataset is published and obtained with DVC: whole, by split, by simulations; from every kind of remote."""

import getpass
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cmbml.core.errors import ConfigError, DataError, PipelineError
from cmbml.core.files.checksums import md5_of
from cmbml.core.spec.yamlio import read_yaml
from cmbml.exchange.card import card_lines, write_card
from cmbml.exchange.croissant import write_croissant
from cmbml.exchange.publish import GATHERED, gathered, targets
from cmbml.exchange.records import write_record
from tests.commands import call
from tests.conftest import ROOT, git
from tests.engine.conftest import PER_SPLIT, CountedRepository, committed_in


@pytest.fixture
def counted(toy, tmp_path):
    return CountedRepository(toy, tmp_path)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A toy dataset, made and committed."""
    return committed_in(tmp_path_factory.mktemp("made"))


@pytest.fixture
def made(toy, tmp_path, template):
    """A copy of it, which computed nothing itself."""
    return CountedRepository(toy, tmp_path, template)


class Clone:
    """A clean clone, in which programs are run."""

    def __init__(self, made, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.made = made
        self.root = folder / "clone"
        self.environment = environment or {}
        subprocess.run(["git", "clone", "-q", str(made.root), str(self.root)], check=True)
        local = made.root / ".dvc/config.local"
        if local.exists():
            shutil.copy(local, self.root / ".dvc")

    def cmbml(self, *arguments: str, ok: bool = True) -> str:
        environment = {"TOY_LOG": str(self.made.log), **self.environment}
        done = call(self.root, *arguments, ok=ok, **environment)
        return done.stdout + done.stderr

    def run(self, *command: str, ok: bool = True) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.root,
            env={**self.made.environment, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert (done.returncode == 0) is ok, done.stdout + done.stderr
        return done.stdout + done.stderr

    def files(self) -> set[str]:
        return {str(p.relative_to(self.root)) for p in (self.root / "data").rglob("*") if p.is_file()}

    def expect_nothing_to_make(self) -> None:
        """All is there and right, and a run makes nothing."""
        assert self.cmbml("status") == "everything is complete\n"
        self.run("dvc", "repro", "-q")
        assert self.made.names() == []


def push(made, url: str, environment: dict[str, str] | None = None, **options: str) -> None:
    """Add a remote and publish."""
    run = partial(subprocess.run, cwd=made.root, check=True, capture_output=True)
    dvc = [sys.executable, "-m", "dvc"]
    run([*dvc, "remote", "add", "--local", "-d", "store", url])
    for key, value in options.items():
        run([*dvc, "remote", "modify", "--local", "store", key, value])
    run([sys.executable, "-m", "cmbml", "push"], env={**made.environment, **(environment or {})})


@pytest.mark.long
def test_a_local_folder_whole_by_split_and_by_simulations(made, tmp_path):
    push(made, str(tmp_path / "store"))
    clone = Clone(made, tmp_path)
    clone.cmbml("pull", "--split", "test", "--sims", "1:3")
    assert {name for name in clone.files() if "/number/" in name and name.endswith(".yaml")} == {
        f"data/toy/number/test/sim000{sim}/number.yaml" for sim in (1, 2)
    }
    clone.cmbml("pull", "--split", "test")
    assert sum("number/test" in name and name.endswith("number.yaml") for name in clone.files()) == PER_SPLIT
    assert not any("/train/" in name for name in clone.files())
    clone.cmbml("pull", "double", "--split", "train")
    assert {name.split("/")[2] for name in clone.files() if "/train/" in name} == {"double"}
    clone.cmbml("pull")
    clone.expect_nothing_to_make()


def test_directories_are_one_argument_for_dvc_while_it_runs(made):
    """DVC reads its lock file once for each argument; the file that stands for many goes, whatever happens."""
    wanted = ["data/toy/number/test", "data/toy/double/test"]
    file = made.root / GATHERED

    def look() -> None:
        with gathered(made.root, wanted) as arguments:
            assert arguments == [GATHERED]
            assert [out["path"] for out in read_yaml(file)["outs"]] == wanted
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look()
    assert not file.exists()
    with gathered(made.root, ["dvc.yaml"]) as arguments:
        assert arguments == ["dvc.yaml"]


@pytest.mark.long
def test_simulations_come_whole_or_not_at_all(made, tmp_path):
    """What was changed here stays; a damaged copy or a missing one in the remote is named."""
    store = tmp_path / "store"
    push(made, str(store))
    clone = Clone(made, tmp_path)
    clone.cmbml("pull", "number", "--split", "test", "--sims", "0")
    mine = clone.root / "data/toy/number/test/sim0000/number.yaml"
    content = mine.read_bytes()
    mine.write_text("mine", encoding="utf-8")
    assert clone.cmbml("pull", "number", "--split", "test", "--sims", "0").startswith("0 files came")
    assert mine.read_text(encoding="utf-8") == "mine"

    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    published = store / "files/md5" / md5[:2] / md5[2:]
    published.chmod(0o644)
    published.write_bytes(b"worse")
    mine.unlink()
    said = clone.cmbml("pull", "number", "--split", "test", "--sims", "0", ok=False)
    assert "the remote's copy is damaged" in said
    assert not mine.exists()
    assert not list(mine.parent.glob("*.part"))
    published.unlink()
    said = clone.cmbml("pull", "number", "--split", "test", "--sims", "0", ok=False)
    assert "not in the remote" in said
    said = clone.cmbml("pull", "number", "--split", "test", "--sims", "77", ok=False)
    assert "no such split or simulation" in said


@pytest.mark.long
def test_science_assets_stay_behind(counted, tmp_path):
    """A dataset made from a science asset is whole without it: its record says what it was."""
    counted.toy.edit(
        "pipeline/toy.yaml",
        "stages:\n",
        'stages:\n  gift:\n    assets_out:\n      gift: {handler: Text, path_template: "{src_root}/gift.txt"}\n',
    )
    counted.toy.edit(
        "pipeline/toy.yaml",
        "      double: {stage: double}\n",
        "      double: {stage: double}\n      gift: {stage: gift}\n",
    )
    gift = counted.root / "data/raw/gift.txt"
    gift.parent.mkdir(parents=True)
    gift.write_text("from afar", encoding="utf-8")
    write_record(gift, md5_of(gift), gift.stat().st_size)
    shutil.copy(ROOT / ".gitignore", counted.root)
    counted.cmbml("dvc")
    counted.run("dvc", "repro", "-q")
    git(counted.root, "add", ".")
    git(counted.root, "commit", "-q", "-m", "made of a gift")
    counted.log.unlink()
    push(counted, str(tmp_path / "store"))
    clone = Clone(counted, tmp_path)
    clone.cmbml("pull")
    assert "data/raw/gift.txt.dvc" in clone.files()
    assert "data/raw/gift.txt" not in clone.files()
    assert clone.cmbml("status") == "everything is complete\n"
    clone.cmbml("check")
    clone.run("dvc", "repro", "-q", "--allow-missing")
    assert counted.names() == []


@pytest.mark.long
def test_http_read_only(made, tmp_path):
    push(made, str(tmp_path / "store"))
    handler = partial(_Quiet, directory=str(tmp_path / "store"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        clone = Clone(made, tmp_path)
        address = f"http://127.0.0.1:{server.server_address[1]}"
        clone.run("dvc", "remote", "modify", "--local", "store", "url", address)
        clone.cmbml("pull")
        clone.expect_nothing_to_make()
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.long
def test_s3(made, tmp_path):
    pytest.importorskip("dvc_s3")
    server = pytest.importorskip("moto.server")
    environment = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_DEFAULT_REGION": "us-east-1"}
    port = _free_port()
    program = [sys.executable, "-m", server.__name__, "-H", "127.0.0.1", "-p", str(port)]
    running = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        _make_bucket(f"http://127.0.0.1:{port}", environment)
        push(made, "s3://sky/store", environment, endpointurl=f"http://127.0.0.1:{port}")
        clone = Clone(made, tmp_path, environment)
        clone.cmbml("pull", "--split", "test", "--sims", "0")
        clone.cmbml("pull")
        clone.expect_nothing_to_make()
    finally:
        running.terminate()
        running.wait()


def _make_bucket(address: str, environment: dict[str, str]) -> None:
    program = f"import boto3; boto3.client('s3', endpoint_url='{address}').create_bucket(Bucket='sky')"
    subprocess.run([sys.executable, "-c", program], env={**os.environ, **environment}, check=True)


@pytest.mark.long
def test_ssh(made, tmp_path):
    pytest.importorskip("dvc_ssh")
    daemon = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    if daemon is None:
        pytest.skip("needs sshd (Debian package openssh-server)")
    port, folder = _free_port(), tmp_path / "ssh"
    folder.mkdir()
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own, where it is run as root
    settings = {
        "HostKey": folder / "host", "AuthorizedKeysFile": folder / "user.pub", "StrictModes": "no",
        "PermitRootLogin": "yes", "PidFile": "none", "Subsystem": "sftp internal-sftp",
    }  # fmt: skip
    options = [f"-o{name}={value}" for name, value in settings.items()]
    program = [daemon, "-D", "-f", "/dev/null", "-p", str(port), "-oListenAddress=127.0.0.1", *options]
    running = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        url = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{tmp_path}/store"
        push(made, url, keyfile=str(folder / "user"), allow_agent="false")
        clone = Clone(made, tmp_path)
        clone.cmbml("pull")
        clone.expect_nothing_to_make()
    finally:
        running.terminate()
        running.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail("the server did not start")


def test_a_wrong_choice_is_told(counted):
    plan = counted.plan()
    with pytest.raises(PipelineError, match="no stage 'numbr': did you mean 'number'"):
        targets(plan, ["numbr"])
    with pytest.raises(ConfigError, match="no split 'tets': did you mean 'test'"):
        targets(plan, split="tets")
    with pytest.raises(ConfigError, match="--sims x: say 3, or 0:10"):
        targets(plan, sims="x")
    with pytest.raises(ConfigError, match="nothing is chosen"):
        targets(plan, ["number"], sims="99")


def test_the_card_is_of_the_data(counted, monkeypatch):
    plan = counted.plan()
    with pytest.raises(DataError, match="number/train: not complete, so it has no card yet"):
        write_card(plan)
    counted.finish(monkeypatch)
    first = write_card(plan).read_bytes()
    assert write_card(counted.plan()).read_bytes() == first
    text = first.decode()
    for expected in (
        "# Dataset toy",
        "| train | 6 | nominal | train |",
        "| data/toy/double/test | 6 |",
        "MIT licence",
    ):
        assert expected in text
    assert str(counted.root) not in text
    counted.toy.edit("params.yaml", "n_bootstrap: 2000", "n_bootstrap: 2001")
    counted.finish(monkeypatch)
    changed = [line for line in card_lines(counted.plan()) if line not in text]
    assert all("double" in line or "total" in line or "bytes in all" in line for line in changed), changed
    assert len(changed) > 4


@pytest.mark.filterwarnings("ignore")  # of the validator's own libraries
def test_the_card_for_machines_is_valid_croissant(made):
    """By MLCommons' own validator, where it is installed: `pip install mlcroissant`."""
    path = write_croissant(made.plan())
    assert path.name == "toy.croissant.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    assert str(made.root) not in path.read_text(encoding="utf-8")
    files = {each["@id"]: each for each in card["distribution"]}
    manifest = "data/toy/double/test/_manifest.jsonl"
    assert files[manifest]["md5"] == md5_of(made.root / manifest)
    assert len(list(made.root.glob(files["double/double"]["includes"]))) == 4 * PER_SPLIT
    assert {"splits/name": "test", "splits/simulations": PER_SPLIT, "splits/population": "nominal"} in card[
        "recordSet"
    ][0]["data"]
    mlcroissant = pytest.importorskip("mlcroissant")
    assert not mlcroissant.Dataset(jsonld=card).metadata.issues.errors


def test_the_checksums_of_the_card_are_those_of_dvc(made):
    lock = (made.root / "dvc.lock").read_text(encoding="utf-8")
    rows = [line for line in card_lines(made.plan()) if line.startswith("| data/")]
    assert len(rows) == 12
    for row in rows:
        assert row.split("|")[4].strip() in lock
