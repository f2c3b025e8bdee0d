"""Workers that share a folder and a luigid, on loopback; some of them die."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import ROOT

# What a test cannot wait for.
QUICK = {"worker_disconnect_delay=60": "worker_disconnect_delay=3", "rpc_retry_wait=5": "rpc_retry_wait=1"}


@pytest.fixture
def cluster(counted):
    shutil.copytree(ROOT / "cluster", counted.root / "cluster")
    for old, new in QUICK.items():
        counted.toy.edit("cluster/luigi.cfg", old, new)
    processes = []
    yield Cluster(counted, processes)
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Cluster:
    def __init__(self, repository, processes):
        self.repository = repository
        self.processes = processes
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def start(self, *command, **environment):
        process = subprocess.Popen(
            command,
            cwd=self.repository.root,
            env={**self.repository.environment, "LUIGI_CONFIG_PATH": "cluster/luigi.cfg", **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def luigid(self):
        program = Path(sys.executable).with_name("luigid")
        process = self.start(str(program), "--address", "127.0.0.1", "--port", str(self.port))
        wait_until(self.answers)
        return process

    def tasks_done(self):
        """Tasks that luigid knows to be done."""
        query = "data=%7B%22status%22%3A%22DONE%22%2C%22upstream_status%22%3A%22%22%7D"
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.port}/api/task_list?{query}", timeout=5
        ) as answer:
            return json.load(answer)["response"]

    def answers(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5):
                return True
        except OSError:
            return False

    def worker(self):
        arguments = ("cluster/worker.sh", "127.0.0.1", "--scheduler-port", str(self.port))
        return self.start(*arguments, TOY_PAUSE="0.05", WORKER_PAUSE="0")

    def halfway(self):
        return (
            len(self.repository.computed()) >= 20 and len({pid for _, pid in self.repository.computed()}) >= 2
        )


def wait_until(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "it hangs"
        time.sleep(0.02)


def expect_all_done(cluster, redone):
    repository = cluster.repository
    assert len(repository.done()) == 2 * 4 * 6 + 4
    again = {name: count for name, count in Counter(repository.names()).items() if count > 1}
    assert len(again) <= redone, again
    assert repository.cmbml("status") == "everything is complete\n"


@pytest.mark.long
def test_one_of_two_workers_is_killed(cluster):
    cluster.luigid()
    first, second = cluster.worker(), cluster.worker()
    wait_until(cluster.halfway)
    os.killpg(first.pid, signal.SIGKILL)
    assert second.wait(timeout=120) == 0
    expect_all_done(cluster, redone=1)
    assert len(cluster.tasks_done()) > 20


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_luigid_is_restarted(cluster, how):
    scheduler = cluster.luigid()
    workers = cluster.worker(), cluster.worker()
    wait_until(cluster.halfway)
    scheduler.send_signal(how)
    scheduler.wait(timeout=60)
    cluster.luigid()
    for worker in workers:
        assert worker.wait(timeout=180) == 0
    expect_all_done(cluster, redone=0)
