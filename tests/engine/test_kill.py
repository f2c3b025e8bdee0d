"""Processes are killed at random moments; what follows is right, and nothing that was finished is redone."""

import os
import shutil
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

COMMANDS = {
    "worker": ("luigi", "--module", "tasks", "RunAll", "--workers", "2"),
    "luigi": ("luigi", "--module", "tasks", "RunAll", "--workers", "2"),
    "dvc": ("dvc", "repro"),
    "group": ("dvc", "repro"),
}
SEEDS = (7, 8)
N_UNITS = 2 * 4 * 6 + 4


def set_seed(repository, seed):
    text = (repository.root / "params.yaml").read_text().splitlines()
    lines = [f"seed: {seed}" if line.startswith("seed:") else line for line in text]
    repository.toy.write("params.yaml", "\n".join(lines) + "\n")


def has_come_far(repository, lines, since):
    """Whether it has computed so many pieces; or, where the cache holds all, has begun to restore them."""
    if lines is None:
        memos = (repository.root / ".cmbml/memo").glob("*.jsonl")
        return any(path.stat().st_mtime > since for path in memos)
    return len(repository.computed()) >= lines


def kill_at_random(repository, victim, rng, *, cached):
    """Start a run, let it come some way and a little more, and kill the victim."""
    # The later stages of DVC start many seconds later.
    lines = rng.integers(1, N_UNITS // 2 if "dvc" in COMMANDS[victim] else N_UNITS)
    since = time.time()
    process = repository.start(*COMMANDS[victim], pause=float(rng.choice((0.0, 0.005))))
    end = time.monotonic() + 120
    while not has_come_far(repository, None if cached else lines, since) and process.poll() is None:
        assert time.monotonic() < end, "it hangs"
        time.sleep(0.002)
    time.sleep(rng.uniform(0, rng.choice((0.01, 0.05, 0.3))))
    # It may have come to its end.
    with suppress(ProcessLookupError, FileNotFoundError, IndexError):
        if victim == "group":
            os.killpg(process.pid, signal.SIGKILL)
        elif victim == "worker":
            os.kill(worker_of(process, repository), signal.SIGKILL)
        else:
            process.kill()
    process.wait(timeout=120)


def worker_of(process, repository):
    """The worker that computed last; any, where nothing is computed."""
    computed = repository.computed()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return computed[-1][1] if computed else int(children[-1])


def expect_files(repository, expected, what):
    files = repository.toy.files()
    wrong = [path for path in files.keys() | expected.keys() if files.get(path) != expected.get(path)]
    assert not wrong, f"{what}: {sorted(wrong)[:3]}"


def kill_once(repository, monkeypatch, victim, rng, expected, what, *, cached):
    repository.log.unlink(missing_ok=True)
    kill_at_random(repository, victim, rng, cached=cached)
    done, before = repository.done(), Counter(repository.names())
    repository.finish(monkeypatch)
    after = Counter(repository.names())
    # Killing dvc alone leaves an orphan that works on; the next run waits for it.
    redone = (
        [n for n in after if after[n] > 1] if victim == "dvc" else [n for n in done if after[n] > before[n]]
    )
    assert not redone, f"{what}: {redone[:3]} computed again"
    assert not (cached and after), f"{what}: {list(after)[:3]} computed though the cache has it"
    expect_files(repository, expected, what)
    repository.expect_sound_cache()


def fill_cache(repository):
    """Let DVC have all results of all seeds."""
    for value in SEEDS:
        set_seed(repository, value)
        repository.run("dvc", "repro")
        # It skips what its lock file knows already, though the cache was removed since.
        repository.run("dvc", "commit", "-f")


def kill_many(repository, monkeypatch, seed, rounds):
    """Kill again and again, the second half of the times with a filled DVC cache."""
    rng = np.random.default_rng(seed)
    expected = {}
    for value in SEEDS:
        set_seed(repository, value)
        repository.finish(monkeypatch)
        expected[value] = repository.toy.files()
    for number in range(rounds):
        if number < rounds // 2:
            shutil.rmtree(repository.root / ".dvc/cache", ignore_errors=True)
        elif number == rounds // 2:
            fill_cache(repository)
        cached = number >= rounds // 2
        victim = ("worker", "luigi", "dvc", "luigi", "group")[number % 5]
        value = SEEDS[number % 2]
        set_seed(repository, value)
        what = f"seed {seed}, round {number}: {victim} killed"
        kill_once(repository, monkeypatch, victim, rng, expected[value], what, cached=cached)
    repository.run("dvc", "repro")
    expect_files(repository, expected[value], "at the end")
    assert repository.run("dvc", "status").startswith("Data and pipelines are up to date")


@pytest.mark.long
def test_killed_10_times(counted, monkeypatch):
    kill_many(counted, monkeypatch, seed=1, rounds=10)


@pytest.mark.soak
def test_killed_50_times(counted, monkeypatch):
    kill_many(counted, monkeypatch, seed=2, rounds=50)
