"""Workers that share a folder and a luigid, started here or by a real Slurm: whatever happens, they end rightly."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from tests.commands import call
from tests.conftest import ROOT
from tests.engine.one_node_slurm import OneNodeSlurm, missing, wait_until

# What a test cannot wait for.
QUICK = {
    "worker_disconnect_delay=60": "worker_disconnect_delay=3",
    "rpc_retry_wait=5": "rpc_retry_wait=1",
    "disable_persist=60": "disable_persist=12",
}
COMPLETE = "everything is complete\n"
N_SIMULATIONS = 4 * 6
N_PIECES = 2 * N_SIMULATIONS + 4
TASK_FAILED = 30  # [retcode] in luigi.cfg


class Here:
    """Jobs of two workers on this machine, without a scheduler of jobs."""

    # As srun, it ends with the higher status.
    two_workers = ("bash", "-c", '"$@" & "$@"; one=$?; wait $!; exit $(($? > one ? $? : one))', "--")

    def __init__(self, repository):
        self._repository = repository
        self._jobs = []

    def submit(self, **environment):
        log = (self._repository.root / f"job-{len(self._jobs)}.log").open("wb")
        with log:
            job = subprocess.Popen(
                ["cluster/run.sh", "127.0.0.1", *self.two_workers],
                cwd=self._repository.root,
                env={**self._repository.environment, **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._jobs.append(job)
        return len(self._jobs) - 1

    def code(self, job):
        """Exit status; None as long as it runs."""
        return self._jobs[job].poll()

    def said(self, job):
        return (self._repository.root / f"job-{job}.log").read_text()

    def close(self):
        for job in self._jobs:
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGKILL)
                job.wait()


class Slurm:
    """Jobs of two workers on a cluster of one node, as `cmbml submit slurm` submits them."""

    def __init__(self, repository, node):
        self._repository = repository
        self.node = node

    def submit(self, *options, **environment):
        submit = ("submit", "slurm", "--workers", "2", "--time", "10:00", *options)
        environment |= {"TOY_LOG": str(self._repository.log), **self.node.environment}
        said = call(self._repository.root, *submit, ok=True, **environment).stdout
        return re.match(r"job (\d+): ", said)[1]

    def code(self, job):
        """Exit status; None as long as it waits or runs."""
        state, code = self.node.state(job)
        return None if state in ("PENDING", "RUNNING", "COMPLETING") else code

    def said(self, job):
        log = self._repository.root / f".cmbml/slurm-{job}.log"
        return log.read_text() if log.exists() else ""

    def close(self):
        self.node.cancel_all()


@pytest.fixture(scope="module")
def node():
    if absent := missing():
        pytest.skip(f"needs {', '.join(absent)}: Debian has them in slurm-wlm and munge")
    # Sockets want a short path.
    with (
        tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as folder,
        OneNodeSlurm(Path(folder)) as node,
    ):
        yield node


@pytest.fixture(
    params=[pytest.param("here", marks=pytest.mark.long), pytest.param("slurm", marks=pytest.mark.soak)]
)
def cluster(request, counted):
    shutil.copytree(ROOT / "cluster", counted.root / "cluster")
    for old, new in QUICK.items():
        counted.toy.edit("cluster/luigi.cfg", old, new)
    here = request.param == "here"
    cluster = Cluster(counted, Here(counted) if here else Slurm(counted, request.getfixturevalue("node")))
    yield cluster
    cluster.jobs.close()


class Cluster:
    """A toy repository, jobs that make it, and what they have computed."""

    def __init__(self, repository, jobs):
        self.repository = repository
        self.jobs = jobs

    def submit(self, *options, pause=0.2):
        # The jobs run this tree's code, on the toy.
        return self.jobs.submit(*options, TOY_PAUSE=str(pause), PYTHONPATH=str(ROOT), WORKER_PAUSE="15")

    def workers(self):
        """Processes that have computed something."""
        return sorted({pid for _, pid in self.repository.computed()})

    def wait_halfway(self):
        wait_until(lambda: len(self.repository.computed()) >= 8 and len(self.workers()) >= 2)

    def address(self, job):
        return re.search(r"luigid: http://([\d.]+):(\d+)", self.jobs.said(job)).groups()

    def tasks_done(self, job):
        """Tasks that the luigid of a job knows to be done."""
        host, port = self.address(job)
        query = urlencode({"data": json.dumps({"status": "DONE", "upstream_status": ""})})
        with urlopen(f"http://{host}:{port}/api/task_list?{query}", timeout=30) as answer:
            return json.load(answer)["response"]

    def end(self, job):
        wait_until(lambda: self.jobs.code(job) is not None)
        return self.jobs.code(job)

    def expect_complete(self, *jobs, twice=0):
        for job in jobs:
            assert self.end(job) == 0, self.jobs.said(job)
        assert self.repository.cmbml("status") == COMPLETE
        names = Counter(self.repository.names())
        assert len(names) == N_PIECES
        assert names.total() <= N_PIECES + twice, names


def processes(*words):
    """Those in whose command line all these words stand."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().decode()
        except OSError:
            continue
        if all(word in line for word in words):
            yield int(folder.name)


def parent(process):
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def test_two_jobs_on_one_machine_have_each_its_luigid(cluster):
    jobs = cluster.submit(), cluster.submit()
    wait_until(lambda: all("luigid:" in cluster.jobs.said(job) for job in jobs))
    assert len({cluster.address(job) for job in jobs}) == 2
    cluster.expect_complete(*jobs)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_luigid_dies(cluster, how):
    job = cluster.submit()
    cluster.wait_halfway()
    assert len(cluster.tasks_done(job)) >= 4, "the workers ask it, and not a scheduler of their own"
    (luigid,) = processes("luigid", *cluster.address(job))
    os.kill(luigid, how)
    cluster.expect_complete(job)
    assert not list(processes("luigid", *cluster.address(job)))


@pytest.mark.parametrize("whole", [False, True], ids=["its python", "all of it"])
def test_a_worker_is_killed(cluster, whole):
    job = cluster.submit()
    cluster.wait_halfway()
    worker = cluster.workers()[0]
    if whole:
        os.kill(parent(worker), signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    cluster.expect_complete(job, twice=1)


def test_a_worker_is_stopped_for_a_while(cluster):
    job = cluster.submit()
    cluster.wait_halfway()
    worker = cluster.workers()[0]
    os.kill(worker, signal.SIGSTOP)
    # Longer than luigid waits for a sign of life: its block is given to the other, who finds it locked.
    time.sleep(6)
    os.kill(worker, signal.SIGCONT)
    cluster.expect_complete(job)


def test_what_is_complete_ends_at_once(cluster, monkeypatch):
    cluster.repository.finish(monkeypatch)
    job = cluster.submit()
    cluster.expect_complete(job)
    assert cluster.jobs.said(job) == COMPLETE


def test_a_mistake_ends_the_job_and_the_next_one_after_its_mending_finishes(cluster):
    good = '        note("double", split, sim)\n'
    bad = f"{good}        split.nothing()\n"
    cluster.repository.toy.edit("toy.py", good, bad)
    job = cluster.submit(pause=0)
    assert cluster.end(job) == TASK_FAILED, cluster.jobs.said(job)
    assert "has no attribute 'nothing'" in cluster.jobs.said(job)
    computed = Counter(name.partition("/")[0] for name in cluster.repository.names())
    assert computed["number"] == N_SIMULATIONS, "what does not hang on the mistake is made"
    # Each of two workers meets it twice, with at most one block of each of four splits.
    assert computed["double"] <= 2 * 2 * 4
    cluster.repository.toy.edit("toy.py", bad, good)
    cluster.repository.log.unlink()
    assert cluster.end(cluster.submit(pause=0)) == 0
    assert cluster.repository.cmbml("status") == COMPLETE
    assert len(cluster.repository.names()) == N_PIECES - N_SIMULATIONS


@pytest.mark.long
def test_a_worker_whose_luigid_never_comes_ends(counted):
    shutil.copytree(ROOT / "cluster", counted.root / "cluster")
    counted.toy.edit(
        "cluster/luigi.cfg",
        "rpc_retry_attempts=10\nrpc_retry_wait=5",
        "rpc_retry_attempts=2\nrpc_retry_wait=1",
    )
    done = subprocess.run(
        ["cluster/worker.sh", "127.0.0.1", "9"],
        cwd=counted.root,
        env={**counted.environment, "PYTHONPATH": str(ROOT), "WORKER_PAUSE": "0"},
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert done.returncode not in (0, TASK_FAILED)
    assert counted.names() == []


@pytest.mark.soak
def test_workers_of_slurm_get_the_cores_that_were_asked_for(counted, node):
    shutil.copytree(ROOT / "cluster", counted.root / "cluster")
    cluster = Cluster(counted, Slurm(counted, node))
    job = cluster.submit("--workers", "1", "--cpus", "2")
    wait_until(cluster.workers)
    assert len(os.sched_getaffinity(cluster.workers()[0])) == 2
    cluster.expect_complete(job)
