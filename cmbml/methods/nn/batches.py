"""Samples in batches, in an order that depends on the seed and the epoch and on nothing else."""

from collections.abc import Iterator, Sized
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler


class Sample(NamedTuple):
    """One sample, or a batch of them.

    Attributes
    ----------
    name
        Which simulation it is, for messages; of a batch, their list.
    features
        What the network sees.
    target
        What it should say.
    """

    name: str | list[str]
    features: Tensor
    target: Tensor


class Batches(Protocol):
    """What training loops over."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch."""

    def __iter__(self) -> Iterator[Sample]: ...

    def __len__(self) -> int: ...


class EpochSampler(Sampler[int]):
    """Indices in an order that is drawn from (seed, epoch), or as they are where seed is None.

    Parameters
    ----------
    samples
        What is sampled.
    seed
        Root of the orders.
    rank, n_ranks
        Which share of the indices this process takes.  What is shuffled is shared out in equal lengths,
        without the surplus; else nothing is left out.
    """

    def __init__(self, samples: Sized, seed: int | None, rank: int = 0, n_ranks: int = 1) -> None:
        self.samples = samples
        self.seed = seed
        self.rank = rank
        self.n_ranks = n_ranks
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        order = list(range(len(self.samples)))
        if self.seed is not None:
            drawn = torch.Generator().manual_seed(self.seed * 100003 + self.epoch)
            order = torch.randperm(len(order), generator=drawn).tolist()
        end = len(order) if self.seed is None else len(self) * self.n_ranks
        return iter(order[self.rank : end : self.n_ranks])

    def __len__(self) -> int:
        surplus = self.n_ranks - 1 - self.rank if self.seed is None else 0
        return (len(self.samples) + surplus) // self.n_ranks


class SampleLoader:
    """Batches of a dataset, for `Batches`.

    Parameters
    ----------
    samples
        Dataset of `Sample`; picklable where there are workers.
    batch
        Samples in a batch, of all processes together, a multiple of `n_ranks`; the last has what is left.
    seed
        Root of the orders; None keeps the order of the dataset.
    workers
        Processes that read ahead.
    rank, n_ranks
        Share of this process, where several train together.

    Raises
    ------
    ValueError
        Where there are no samples, or fewer to learn from than there are processes.
    """

    def __init__(
        self,
        samples: Dataset[Sample],
        *,
        batch: int,
        seed: int | None = None,
        workers: int = 0,
        rank: int = 0,
        n_ranks: int = 1,
    ) -> None:
        self._sampler = EpochSampler(samples, seed, rank, n_ranks)
        if len(samples) < (1 if seed is None else n_ranks):
            raise ValueError("there are no samples: raise n_sims of the split")
        self._loader: DataLoader[Sample] = DataLoader(
            samples,
            batch_size=batch // n_ranks,
            sampler=self._sampler,
            num_workers=workers,
            collate_fn=collate,
            multiprocessing_context="spawn" if workers else None,
            # its own seed is drawn from here, so that the global state is left alone
            generator=torch.Generator().manual_seed(seed or 0),
        )

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch."""
        self._sampler.epoch = epoch

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._loader)

    def __len__(self) -> int:
        return len(self._loader)


def collate(samples: list[Sample]) -> Sample:
    """A batch of samples: names in a list, tensors stacked."""
    names, features, targets = zip(*samples, strict=True)
    return Sample(list(names), torch.stack(features), torch.stack(targets))
