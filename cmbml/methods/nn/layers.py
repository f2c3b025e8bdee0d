"""Layers of networks on the HEALPix sphere.

Tensors are ``(n_skies * 12, channels, nside, nside)``: the faces of a sky stand one after the other, as in
`cmbml.methods.nn.faces`.  No layer normalises over a face, since its edges would then show as seams.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cmbml.methods.nn.faces import N_FACES, extended_index


class FacePadding(nn.Module):
    """Adds one pixel around every face: the true neighbours on the other faces.

    Where only three faces meet, the pixel beyond the corner does not exist; it gets the mean of the two
    beside it.

    Parameters
    ----------
    nside
        Resolution of the faces.
    """

    def __init__(self, nside: int) -> None:
        super().__init__()
        both = torch.from_numpy(extended_index(nside, 1))
        border = torch.ones(both.shape[1:], dtype=torch.bool)
        border[:, 1:-1, 1:-1] = False
        self.nside = nside
        self._target = torch.nonzero(border, as_tuple=True)
        self._sources = [_unravel(way[border], nside) for way in both]

    def forward(self, x: Tensor) -> Tensor:
        """``(n * 12, c, nside, nside)`` to ``(n * 12, c, nside + 2, nside + 2)``."""
        n_skies, channels = x.shape[0] // N_FACES, x.shape[1]
        faces = x.reshape(n_skies, N_FACES, channels, self.nside, self.nside)
        padded = nn.functional.pad(faces, (1, 1, 1, 1))
        first, second = (faces[:, f, :, j, i] for f, j, i in self._sources)
        f, j, i = self._target
        padded[:, f, :, j, i] = 0.5 * (first + second)
        return padded.reshape(n_skies * N_FACES, channels, self.nside + 2, self.nside + 2)


def _unravel(flat: Tensor, nside: int) -> tuple[Tensor, Tensor, Tensor]:
    return flat // nside**2, flat // nside % nside, flat % nside


class HealpixConv(nn.Module):
    """Convolution with a kernel of 3 x 3 pixels that knows no edges of faces.

    Parameters
    ----------
    channels_in, channels_out
        Numbers of channels.
    nside
        Resolution.
    """

    def __init__(self, channels_in: int, channels_out: int, nside: int) -> None:
        super().__init__()
        self.padding = FacePadding(nside)
        self.conv = nn.Conv2d(channels_in, channels_out, 3)

    def forward(self, x: Tensor) -> Tensor:
        """``(n * 12, channels_in, nside, nside)`` to ``(n * 12, channels_out, nside, nside)``."""
        return self.conv(self.padding(x))


class HealpixUNet(nn.Module):
    """A U-Net on the sphere: mean over the four NESTED children down, copies to the four children up.

    Parameters
    ----------
    channels_in, channels_out
        Numbers of channels.
    nside
        Resolution of input and output.
    widths
        Channels on every level, the finest first.
    extras
        Channels that join from outside at a level, by level.

    Raises
    ------
    ValueError
        Where there are more levels than `nside` can be halved.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        nside: int,
        widths: tuple[int, ...],
        extras: Mapping[int, int] | None = None,
    ) -> None:
        super().__init__()
        more = extras or {}
        if nside >> (len(widths) - 1) < 1:
            raise ValueError(f"{len(widths)} levels are too many for nside {nside}: name fewer widths")
        into = (channels_in, *widths)
        self.down = nn.ModuleList(
            _block(into[level] + more.get(level, 0), width, nside >> level)
            for level, width in enumerate(widths)
        )
        self.up = nn.ModuleList(
            _block(widths[level] + widths[level + 1], widths[level], nside >> level)
            for level in range(len(widths) - 1)
        )
        self.head = nn.Conv2d(widths[0], channels_out, 1)

    def forward(self, x: Tensor, extras: Mapping[int, Tensor] | None = None) -> Tensor:
        """``(n * 12, channels_in, nside, nside)`` to ``(n * 12, channels_out, nside, nside)``.

        `extras` are ``(n * 12, channels, nside / 2^level, nside / 2^level)``, by level.
        """
        levels = []
        for level, block in enumerate(self.down):
            x = x if level == 0 else nn.functional.avg_pool2d(x, 2)
            joined = extras.get(level) if extras else None
            x = block(x if joined is None else torch.cat([x, joined], dim=1))
            levels.append(x)
        for level in reversed(range(len(self.up))):
            finer = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
            x = self.up[level](torch.cat([levels[level], finer], dim=1))
        return self.head(x)


def _block(channels_in: int, channels_out: int, nside: int) -> nn.Module:
    return nn.Sequential(
        HealpixConv(channels_in, channels_out, nside),
        nn.SiLU(),
        HealpixConv(channels_out, channels_out, nside),
        nn.SiLU(),
    )
