"""Processes that train together, each on a share of every batch; alone, all of this is nothing.

`launch` is what ``torchrun --standalone`` does, called from Python.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar
from uuid import uuid4

import torch
from torch import distributed, nn

# What a rank raises is told in its own words; these would add a page about processes.
_TALKATIVE = ("torch.distributed.elastic", "torch.multiprocessing.spawn")

Thing = TypeVar("Thing")


class RankError(RuntimeError):
    """A process of several failed.

    Parameters
    ----------
    kind
        Name of the exception that it raised, or how it was ended.
    reason
        What the exception said.
    story
        Its traceback.
    """

    def __init__(self, kind: str, reason: str = "", story: str = "") -> None:
        super().__init__(f"{kind}: {reason}\n{story}")
        self.kind, self.reason = kind, reason


def n_ranks() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this one is; 0 alone says and writes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def own_device() -> torch.device:
    """The GPU of this rank where there is one."""
    return torch.device("cuda", rank()) if torch.cuda.is_available() else torch.device("cpu")


def summed(values: Sequence[float], device: torch.device) -> list[float]:
    """Sums over all ranks."""
    if n_ranks() == 1:
        return list(values)
    total = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return total.tolist()


def gathered(thing: Thing) -> list[Thing]:
    """What every rank has, in their order."""
    things = [thing] * n_ranks()
    if n_ranks() > 1:
        distributed.all_gather_object(things, thing)
    return things


def synchronised(model: nn.Module, device: torch.device) -> nn.Module:
    """Let batch norm see the whole batch; PyTorch has that on GPUs only."""
    return (
        nn.SyncBatchNorm.convert_sync_batchnorm(model) if n_ranks() > 1 and device.type == "cuda" else model
    )


def averaging(model: nn.Module, device: torch.device) -> nn.Module:
    """The model as training calls it: gradients become their mean over all ranks."""
    if n_ranks() == 1:
        return model
    return nn.parallel.DistributedDataParallel(model, [device] if device.type == "cuda" else None)


@contextmanager
def joined() -> Iterator[None]:
    """Belong to the ranks that `launch` has started."""
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def launch(n: int, function: Callable[..., object], *arguments: object) -> None:
    """Run a function in `n` new processes of this machine; each calls `joined`.

    Parameters
    ----------
    n
        How many.
    function
        Importable by name.
    arguments
        Picklable.

    Raises
    ------
    RankError
        Where a rank failed: what the first one said. The others are ended.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    settings = LaunchConfig(
        run_id=uuid4().hex,
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=n,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        start_method="spawn",
    )
    with _quiet():
        try:
            elastic_launch(settings, function)(*arguments)
        except ChildFailedError as error:
            _, failure = error.get_first_failure()
            raise _told(failure.message) from error


def _told(message: object) -> RankError:
    """What the launcher says of a failure: a text of a signal, a structure of an exception."""
    if not isinstance(message, dict):
        return RankError(str(message))
    kind, _, reason = message["message"].partition(": ")
    return RankError(kind, reason, message["extraInfo"]["py_callstack"])


@contextmanager
def _quiet() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
