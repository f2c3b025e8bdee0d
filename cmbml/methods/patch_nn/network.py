"""A plain U-Net: the place to put a network of one's own."""

import torch
from torch import Tensor, nn


class UNet(nn.Module):
    """Two convolutions on every level, maximum down, transposed convolution up, skips by concatenation.

    Parameters
    ----------
    channels_in, channels_out
        Numbers of channels.
    init
        Channels of the first level; each level has twice those of the one above.
    depth
        How often the patch is halved.
    """

    def __init__(self, channels_in: int, channels_out: int, init: int, depth: int) -> None:
        super().__init__()
        widths = [init * 2**level for level in range(depth + 1)]
        into = [channels_in, *widths[:-1]]
        self.down = nn.ModuleList(_double(before, width) for before, width in zip(into, widths, strict=True))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(2 * width, width, 2, stride=2) for width in widths[:-1])
        self.up = nn.ModuleList(_double(2 * width, width) for width in widths[:-1])
        self.head = nn.Conv2d(init, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels_in, side, side)`` to ``(n, channels_out, side, side)``."""
        levels = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else nn.functional.max_pool2d(x, 2))
            levels.append(x)
        for level in reversed(range(len(self.up))):
            x = self.up[level](torch.cat([self.grow[level](x), levels[level]], dim=1))
        return self.head(x)


def _double(channels_in: int, channels_out: int) -> nn.Module:
    layers: list[nn.Module] = []
    for before in (channels_in, channels_out):
        layers += [
            nn.Conv2d(before, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


def check_side(side: int, depth: int) -> None:
    """Refuse patches that cannot be halved `depth` times.

    Raises
    ------
    ValueError
        Where `side` is no multiple of 2 to the power of `depth`.
    """
    if side % 2**depth:
        raise ValueError(f"patches of {side} pixels cannot be halved {depth} times: change margin or depth")
