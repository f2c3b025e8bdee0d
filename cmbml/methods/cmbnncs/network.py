"""The U-Nets of cmbNNCS: strided convolutions down, transposed ones up, skips by concatenation.

References
----------
Wang, Shi, Yan, Xia, Zhao, Li & Li 2022 (arXiv:2204.01820), section 2.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Kernels on the way down, by architecture; on the way up they are the same in reverse.
KERNELS = {"unet5": (4,) * 5, "unet8": (5, 5, 4, 4, 4, 4, 4, 4)}
# Published numbers of channels on the first level; each level has twice those of the one above.
PUBLISHED_CHANNELS = {"unet5": 32, "unet8": 16}


class UNet(nn.Module):
    """A U-Net whose every level halves the plane.

    Parameters
    ----------
    channels_in, channels_out
        Numbers of channels.
    channels
        Channels of the first level.
    kernels
        Size of the kernel of every level, 4 or 5.
    """

    def __init__(self, channels_in: int, channels_out: int, channels: int, kernels: Sequence[int]) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(len(kernels))]
        into = [channels_in, *widths[:-1]]
        self.down = nn.ModuleList(
            _down(before, width, kernel) for before, width, kernel in zip(into, widths, kernels, strict=True)
        )
        out_of = [channels_out, *widths[:-1]]
        self.up = nn.ModuleList(
            _up(
                widths[level] * (1 if level == len(kernels) - 1 else 2),
                out_of[level],
                kernel,
                last=level == 0,
            )
            for level, kernel in enumerate(kernels)
        )

    def forward(self, plane: Tensor) -> Tensor:
        """``(n, channels_in, height, width)`` to ``(n, channels_out, height, width)``."""
        levels = []
        for layer in self.down:
            plane = layer(plane)
            levels.append(plane)
        for level in reversed(range(len(self.up))):
            deepest = level == len(self.up) - 1
            plane = self.up[level](plane if deepest else torch.cat([plane, levels[level]], dim=1))
        return plane


def _down(channels_in: int, channels_out: int, kernel: int) -> nn.Module:
    conv = nn.Conv2d(channels_in, channels_out, kernel, stride=2, padding=kernel // 2 - (kernel == 4))
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out), nn.PReLU())


def _up(channels_in: int, channels_out: int, kernel: int, *, last: bool) -> nn.Module:
    conv = nn.ConvTranspose2d(
        channels_in,
        channels_out,
        kernel,
        stride=2,
        padding=kernel // 2 - (kernel == 4),
        output_padding=int(kernel == 5),
    )
    return (
        nn.Sequential(conv, nn.PReLU())
        if last
        else nn.Sequential(conv, nn.BatchNorm2d(channels_out), nn.PReLU())
    )


def check_plane(architecture: str, nside: int) -> None:
    """Refuse a network that halves the plane more often than it can be halved.

    Raises
    ------
    ValueError
        Where the sides of the plane are no multiples of 2 to the number of levels.
    """
    levels = len(KERNELS[architecture])
    if nside % 2**levels:
        raise ValueError(
            f"{architecture} halves the plane {levels} times: nside must be {2**levels} or more, is {nside}"
        )
