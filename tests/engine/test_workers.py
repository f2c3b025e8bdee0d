"""Several workers on one machine: the same bytes, imports once a block, resources kept."""

import itertools
import json
import multiprocessing
import pickle
from select import PIPE_BUF
from types import SimpleNamespace

import pytest

from tasks.luigi_queue import UnlockedResults

RUN_ALL = ("luigi", "--module", "tasks", "RunAll")


def runs_of_processes(repository, stage):
    """Processes in the order of what they computed of a stage, each named once for as long as it went on."""
    pids = [pid for name, pid in repository.computed() if name.startswith(f"{stage}/")]
    return [pid for pid, _ in itertools.groupby(pids)]


def test_workers_make_the_same_bytes_in_few_processes(counted, monkeypatch):
    counted.finish(monkeypatch)
    expected = counted.toy.files()
    (counted.root / "data").rename(counted.root / "before")
    counted.log.unlink()
    process = counted.start(*RUN_ALL, "--workers", "2", pause=0.02)
    assert process.wait(timeout=120) == 0
    assert counted.toy.files() == expected
    assert len(counted.names()) == len(set(counted.names())) == 2 * 4 * 6 + 4
    by_stage = {
        stage: {p for n, p in counted.computed() if n.startswith(stage)} for stage in ("number", "total")
    }
    assert len(by_stage["number"]) > 2
    assert len(runs_of_processes(counted, "number")) > len(by_stage["number"]), "nothing ran side by side"
    record = json.loads(next((counted.root / ".cmbml/runs").glob("*.json")).read_text())
    assert record["made"] == {"number": 24, "double": 24, "total": 4}
    assert record["command"][-4:] == ["tasks", "RunAll", "--workers", "2"]
    assert record["commit"]


def test_blocks_pay_for_their_imports_once(counted):
    counted.toy.edit("params.yaml", "{n_sims: 6", "{n_sims: 40")
    process = counted.start("luigi", "--module", "tasks", "Number", "--workers", "2")
    assert process.wait(timeout=120) == 0
    names, pids = zip(*counted.computed(), strict=True)
    assert len(names) == 160
    # Three blocks for each worker, and what the borders of four splits add.
    assert 6 <= len(set(pids)) <= 6 + 4


def demand(repository, resources):
    repository.toy.edit("pipeline/toy.yaml", "params: [seed]", f"params: [seed]\n    resources: {resources}")
    repository.toy.cmbml("dvc")


@pytest.mark.parametrize("resources", ["{gpu: 1}", "{memory_gb: 5}"])
def test_what_needs_the_one_gpu_or_most_of_the_memory_runs_alone(counted, resources):
    demand(counted, resources)
    process = counted.start("luigi", "--module", "tasks", "Number", "--workers", "3", pause=0.01)
    assert process.wait(timeout=120) == 0
    in_turn = runs_of_processes(counted, "number")
    assert len(in_turn) == len(set(in_turn)) > 2


def test_what_no_worker_can_ever_have_is_refused(counted):
    demand(counted, "{gpu: 2}")
    done = counted.toy.run(*RUN_ALL, ok=False)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == (
        "cmbml: pipeline/toy.yaml: stages.number.resources.gpu: asks for 2, [resources] in luigi.cfg "
        "offers 1: lower one or raise the other"
    )


GRABBER = '''

def die_with_locks():
    """Take every semaphore that this worker would take at some time, and be killed."""
    queues = [queue for queue in gc.get_objects() if isinstance(queue, Queue)]
    others = [lock for queue in queues for lock in (queue._rlock, queue._wlock, queue._sem)]
    if isinstance(results := current_process().result_queue, Queue):
        others.remove(results._wlock)
    for lock in gc.get_objects():
        if isinstance(lock, SemLock) and lock not in others:
            lock.acquire(timeout=0.1)
    os.kill(os.getpid(), signal.SIGKILL)
'''


@pytest.mark.long
def test_a_killed_worker_leaves_no_lock_that_others_wait_for(counted):
    counted.toy.edit("toy.py", "import os\n", "import gc\nimport os\nimport signal\n")
    counted.toy.edit(
        "toy.py",
        "from cmbml.core import BaseStageExecutor, generator\n",
        "from multiprocessing import current_process\nfrom multiprocessing.queues import Queue\nfrom multiprocessing.synchronize import SemLock\n\n"
        "from cmbml.core import BaseStageExecutor, generator\n",
    )
    counted.toy.edit("toy.py", "\nclass NumberExecutor", f"{GRABBER}\n\nclass NumberExecutor")
    counted.toy.edit(
        "toy.py",
        "        self.out_number.write",
        '        if "TOY_DIES" in os.environ and sim == 0:\n            die_with_locks()\n'
        "        self.out_number.write",
    )
    counted.toy.edit("pipeline/toy.yaml", "  number:\n", "  number:\n    environment: [TOY_DIES]\n")
    process = counted.start(*RUN_ALL, "--workers", "2", pause=0.05, TOY_DIES="1")
    assert process.wait(timeout=60) == 30
    assert counted.start(*RUN_ALL, "--workers", "2").wait(timeout=60) == 0


class Worker(multiprocessing.Process):
    def __init__(self, queue):
        super().__init__()
        self.result_queue = queue

    def run(self):
        with UnlockedResults(self):
            self.result_queue.put(("task", "DONE", None, [], []))


def test_a_worker_reports_past_the_lock_that_a_killed_one_kept():
    queue = multiprocessing.Queue()
    worker = Worker(queue)
    with queue._wlock:
        worker.start()
        assert queue.get(timeout=20) == ("task", "DONE", None, [], [])
        worker.join(timeout=20)
    assert worker.exitcode == 0


def test_a_long_traceback_is_sent_in_one_write():
    queue = multiprocessing.Queue()
    process = SimpleNamespace(result_queue=queue)
    with UnlockedResults(process):
        process.result_queue.put(("task", "FAILED", "é" * 10**6 + "the end", ["missing" * 10**4] * 9, []))
    assert process.result_queue is queue
    _, status, text, missing, _ = queue.get(timeout=20)
    assert status == "FAILED"
    assert text.endswith("the end")
    assert len(pickle.dumps((text, missing))) < PIPE_BUF - 500
