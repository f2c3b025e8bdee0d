"""The network of gsc_unet: from local covariances of CMB-free maps to weights, and the error they leave.

What is subtracted is a sum of CMB-free maps, with weights that depend on CMB-free maps alone.  So the CMB
passes with response one whatever the network says, and training cannot learn what the CMB looks like.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cmbml.methods.gsc_unet.matrices import symmetric
from cmbml.methods.nn.layers import HealpixUNet

# Of the loss of the error's size in units of that of the error.
SIZE_WEIGHT = 0.02
# The quantile of |error| that lies one standard deviation from zero.
ONE_SIGMA = 0.682689
# Of the variance of a map: keeps what is positive positive where maps are nearly the same, in float32 too.
RIDGE = 1e-6
# Share of the stem's channels that training leaves out at random: there are hundreds of skies, not millions.
DROPOUT = 0.1
# How far, in units of the farthest train sky, a sky may be from what is usual before it is trusted less.
TRUST = 4.0


class GscUnet(nn.Module):
    """Says with which weights CMB-free maps add up to the residual of the base.

    In the basis in which the maps of one sky are independent and of unit variance, around every point
    (the triangle of Cholesky, the brightest map first), the weights are the covariances of residual and
    maps.  They start from those of a linear regression on train skies, and a U-Net on the sphere changes
    them.  It reads the triangle: how bright each map is, and by how much of each brighter one it is explained
    -- the local spectra of the foregrounds.  Where a sky is unlike all train skies, weights fall towards
    zero: what is left is the base.

    Parameters
    ----------
    n_groups
        Number of groups of Stokes fields (see `cmbml.methods.gsc_unet.covariance`).
    n_scales
        Number of needlet scales.
    n_maps
        Number of maps on every scale.
    nside
        Resolution of the covariances.
    width
        Channels of the network.
    levels
        Levels of the U-Net.
    """

    def __init__(
        self, n_groups: int, n_scales: int, n_maps: int, nside: int, width: int, levels: int
    ) -> None:
        super().__init__()
        self.n_maps = n_maps
        self.shape = (n_groups, n_scales)
        faces = (*self.shape, 12, nside, nside)
        n_read = n_maps * (n_maps + 3) // 2
        shapes = {
            "regression": (n_maps, *faces),
            "scatter": faces,
            "mean": (n_read, *faces),
            "deviation": (n_read, *faces),
            "farthest": self.shape,
        }
        for name, shape in shapes.items():
            start = float(name in ("scatter", "deviation", "farthest"))
            self.register_buffer(name, torch.full(shape, start), persistent=False)
        self.register_buffer("_below", torch.tril_indices(n_maps, n_maps), persistent=False)
        blocks = n_groups * n_scales
        self.stem = nn.Sequential(nn.Conv2d(2 * n_read * blocks, width, 1), nn.SiLU(), nn.Dropout(DROPOUT))
        self.unet = HealpixUNet(width, width // 2, nside, (width // 2,) * levels)
        self.head = nn.Sequential(
            nn.Conv2d(width + width // 2, width, 1), nn.SiLU(), nn.Conv2d(width, blocks * (2 * n_maps + 1), 1)
        )
        nn.init.zeros_(self.head[-1].weight)
        nn.init.zeros_(self.head[-1].bias)

    def normalise(self, statistics: Mapping[str, Tensor]) -> None:
        """Take over what was learned on train (see `cmbml.methods.gsc_unet.statistics`)."""
        for name, value in statistics.items():
            getattr(self, name).copy_(torch.as_tensor(value))

    def forward(self, covariances: Tensor) -> Tensor:
        """Weights, and the logarithm of the standard deviation that they leave in units of the residual's.

        Pairs of maps of one scale, every pair on all scales in turn, ``(n, n_pairs * n_scales, n_groups, 12,
        nside, nside)``, uK_CMB^2, to ``(n, n_maps + 1, n_groups, n_scales, 12, nside, nside)``.
        """
        with torch.autocast(covariances.device.type, enabled=False):
            triangle = self.triangle(covariances)
            read = self.read(triangle)
        departure = self.departure(read)
        said = self._say(torch.asinh(departure)).double()
        factor, added, size = said.split([self.n_maps, self.n_maps, 1], dim=1)
        usual = read[:, -self.n_maps :].double()
        mixed = (usual * (1 + factor) + added) * self.trust(departure) * self.scatter
        weights = torch.linalg.solve_triangular(triangle.mT, _last(mixed)[..., None], upper=True)[..., 0]
        return torch.cat([_first(weights), size], dim=1)

    def triangle(self, covariances: Tensor) -> Tensor:
        """Cholesky factors, ``(n, n_groups, n_scales, 12, nside, nside, n_maps, n_maps)``, float64."""
        n_pairs = self.n_maps * (self.n_maps + 1) // 2
        matrix = symmetric(_last(covariances.double().unflatten(1, (n_pairs, -1)).transpose(2, 3)))
        return torch.linalg.cholesky(
            matrix + RIDGE * torch.diag_embed(torch.diagonal(matrix, dim1=-2, dim2=-1))
        )

    def read(self, triangle: Tensor) -> Tensor:
        """What the U-Net sees: the triangle in logarithms and ratios, and the regression in its basis."""
        size = torch.diagonal(triangle, dim1=-2, dim2=-1)
        ratios = triangle / size[..., None, :]
        shape = ratios + torch.diag_embed(size.log() - 1)
        rows, columns = self._below
        usual = (triangle.mT @ _last(self.regression.double())[..., None])[..., 0] / self.scatter[..., None]
        return _first(torch.cat([shape[..., rows, columns], usual], dim=-1)).float()

    def departure(self, read: Tensor) -> Tensor:
        """How far features are from what is usual, in standard deviations over train."""
        return (read - self.mean) / self.deviation

    def trust(self, departure: Tensor) -> Tensor:
        """1 where a sky is like those of train, less the farther it is from them all."""
        far = departure.square().mean(dim=1, keepdim=True) / self.farthest[..., None, None, None]
        return (TRUST / far).clamp(max=1.0)

    def place(self) -> Tensor:
        """What is usual here in units of how much that changes over the sky: where on the sky this is."""
        over_sky = {"dim": (-3, -2, -1), "keepdim": True}
        spread = self.mean.std(**over_sky)
        return (self.mean - self.mean.mean(**over_sky)) / (spread + torch.finfo(spread.dtype).tiny)

    def _say(self, seen: Tensor) -> Tensor:
        """The convolutional part: channels, groups and scales side by side."""
        joined = (
            torch.cat([seen, self.place().expand_as(seen)], dim=1).flatten(1, 3).transpose(1, 2).flatten(0, 1)
        )
        stem = self.stem(joined)
        said = self.head(torch.cat([stem, self.unet(stem)], dim=1))
        return said.unflatten(0, (-1, 12)).transpose(1, 2).unflatten(1, (-1, *self.shape))

    def loss(self, said: Tensor, products: Tensor) -> Tensor:
        """Mean square error in units of that of the base, and the likelihood of its predicted size.

        `said` is from ``forward``; `products` are those of maps and residual in every coarse pixel, scale
        after scale, the residual last on each: ``(n, n_pairs, n_groups, 12, nside, nside)``, uK_CMB^2.
        """
        left = self.left(said, products)
        variance = self.variance(said)
        likelihood = 0.5 * (variance.log() + left.detach() / variance).mean()
        return (left / self._usual()).mean() + SIZE_WEIGHT * likelihood

    def left(self, said: Tensor, products: Tensor) -> Tensor:
        """Mean square of what is left in coarse pixels, ``(n, n_groups, 12, nside, nside)``, uK_CMB^2."""
        weights = torch.cat([-said[:, :-1], torch.ones_like(said[:, -1:])], dim=1)
        weights = weights.movedim(3, 1).flatten(1, 2)
        rows, columns = torch.triu_indices(weights.shape[1], weights.shape[1], device=said.device)
        times = torch.where(rows == columns, 1 + RIDGE, 2.0).double().view(-1, 1, 1, 1, 1)
        return (times * weights[:, rows] * weights[:, columns] * products.double()).sum(dim=1)

    def variance(self, said: Tensor) -> Tensor:
        """Of the error, all scales together; uncalibrated, ``(n, n_groups, 12, nside, nside)``, uK_CMB^2."""
        return (2 * said[:, -1].mean(dim=2)).exp() * self._usual()

    def _usual(self) -> Tensor:
        """Variance of the base's residual over train, all scales together."""
        return self.scatter.square().sum(dim=1)


def calibration(ratio: Tensor) -> float:
    """Factor by which sigma must be multiplied so that 68 % of the errors lie within one sigma.

    Parameters
    ----------
    ratio
        Absolute error in units of its predicted standard deviation, any shape.
    """
    return float(ratio.flatten().kthvalue(max(round(ONE_SIGMA * ratio.numel()), 1)).values)


def _last(channels: Tensor) -> Tensor:
    """Channels, which are the axis before groups and scales, to the end."""
    return channels.movedim(-6, -1)


def _first(channels: Tensor) -> Tensor:
    return channels.movedim(-1, -6)
