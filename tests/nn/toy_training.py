"""A small training that a test may kill: ``python -m tests.nn.toy_training FOLDER``."""

import sys
import time
from pathlib import Path

import torch
from torch import nn

from cmbml.core.handlers import get_handler
from cmbml.methods.nn.batches import Sample, SampleLoader
from cmbml.methods.nn.training import Schedule, seeded, train


class Line(torch.utils.data.Dataset):
    """y = 2 x + 1 with noise; sample `bad` is not a number."""

    def __init__(self, n=12, bad=None, start=0):
        self.n, self.bad, self.start = n, bad, start

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        drawn = torch.Generator().manual_seed(self.start + index)
        x = torch.randn(8, generator=drawn)
        y = 2 * x + 1 + 0.1 * torch.randn(8, generator=drawn)
        return Sample(f"train/sim{index:04d}", x, y if index != self.bad else y * float("nan"))


class Noisy(nn.Module):
    """Dropout and batch statistics, so that a forgotten random state or buffer shows."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.ReLU(), nn.Linear(16, 8)
        )

    def forward(self, x):
        return self.net(x)


SCHEDULE = Schedule(epochs=8, learning_rate=5e-2, final_learning_rate=1e-2, patience=8, repeats=4, kept=(2,))


def states(resume=None, schedule=SCHEDULE, samples=None, model=Noisy, batch=4, **options):
    with seeded(7):
        batches = SampleLoader(samples or Line(), batch=batch, seed=3, **options)
        valid = SampleLoader(Line(6, start=100), batch=4)
        yield from train(model(), batches, valid, nn.functional.l1_loss, schedule, resume=resume)


def main(folder, pause):
    handler, path = get_handler("PyTorchModel"), folder / "resume.pt"
    for state in states(handler.read(path) if path.is_file() else None):
        handler.write(path, state)
        sys.stdout.write(f"{state['epoch']}\n")
        sys.stdout.flush()
        time.sleep(pause)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
