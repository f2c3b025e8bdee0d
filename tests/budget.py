"""The processor time that a quick test may take, measured so that a busy machine does not matter."""

import os
import time
from collections.abc import Iterator

import pytest

SECONDS = 3.0
# Processes that share memory and caches take up to twice as long for the same work.
SLACK = 2.0
# Processor time of `yardstick` where the budget was set; a slower machine, or a busy one, is given more.
YARDSTICK = 0.10


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the budget be switched off, where a failure must come from an assertion."""
    parser.addoption("--no-budget", action="store_true", help="let quick tests take as long as they like")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a quick test that takes longer, in this process and those that it starts and waits for."""
    start = used()
    result = yield
    taken = used() - start
    free = any(item.get_closest_marker(name) for name in ("long", "soak")) or item.config.getoption(
        "--no-budget"
    )
    if taken > SLACK * SECONDS and not free and taken > SLACK * SECONDS * yardstick() / YARDSTICK:
        pytest.fail(
            f"{item.nodeid} takes {taken:.1f} s of processor time, a quick test may take {SECONDS:.0f} s: "
            "make it faster or mark it long",
            pytrace=False,
        )
    return result


def used() -> float:
    """Processor time of this process and of its children that have ended, seconds."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def yardstick() -> float:
    """Processor time of always the same work, seconds."""
    start = time.process_time()
    sum(n * n % 7 for n in range(1_000_000))
    return time.process_time() - start
