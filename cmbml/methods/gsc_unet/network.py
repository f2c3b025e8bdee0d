"""The network of gsc_unet: from differences of bands to the residual of a linear estimate, and its error.

What it subtracts depends on nothing but the differences, in which there is no CMB.  So the CMB passes with
response one whatever the weights are, and training cannot learn what the CMB looks like.
"""

from typing import Any

import torch
from torch import Tensor, nn

from cmbml.methods.nn.layers import HealpixUNet

# Of the loss of the error in units of that of the residual.
ERROR_WEIGHT = 0.05
# The quantile of |error| that lies one standard deviation from zero.
ONE_SIGMA = 0.682689


class GscUnet(nn.Module):
    """Predicts the residual of the base, and its standard deviation.

    The residual in units of its scatter over train skies is a sum of the normalised differences with weights,
    plus a free term.  The weights are those of a local linear regression on train skies plus what a U-Net on
    the sphere adds to them, pixel by pixel; the U-Net begins with zero.

    Parameters
    ----------
    n_stokes
        Number of Stokes fields.
    n_inputs
        Number of differences of each, over all scales.
    nside
        Resolution.
    widths
        Channels of the U-Net on every level.
    """

    def __init__(self, n_stokes: int, n_inputs: int, nside: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = (n_stokes, n_inputs)
        faces = (12, nside, nside)
        self.register_buffer("mean", torch.zeros(n_stokes, n_inputs, *faces), persistent=False)
        self.register_buffer("deviation", torch.ones(n_stokes, n_inputs, *faces), persistent=False)
        self.register_buffer("residual_mean", torch.zeros(n_stokes, *faces), persistent=False)
        self.register_buffer("residual_deviation", torch.ones(n_stokes, *faces), persistent=False)
        self.register_buffer("regression", torch.zeros(n_stokes, n_inputs, *faces), persistent=False)
        self.unet = HealpixUNet(n_stokes * (n_inputs + 2), n_stokes * (n_inputs + 2), nside, widths)
        nn.init.zeros_(self.unet.head.weight)
        nn.init.zeros_(self.unet.head.bias)

    def normalise(self, statistics: dict[str, Any]) -> None:
        """Take over what was learned on train: mean, deviation, and the weights of the regression."""
        for name, value in statistics.items():
            getattr(self, name).copy_(torch.as_tensor(value))

    def forward(self, differences: Tensor) -> Tensor:
        """Normalised residual and the logarithm of its scatter.

        ``(n, n_inputs, n_stokes, 12, nside, nside)``, uK_CMB, to ``(n, 2, n_stokes, 12, nside, nside)``.
        """
        n_inputs = self.shape[1]
        seen = (differences.transpose(1, 2) - self.mean) / self.deviation
        linear = (self.regression * seen).sum(dim=2)
        level = self.residual_deviation.log()
        level = ((level - level.mean()) / (level.std() + 1e-6)).expand_as(linear)
        features = torch.cat([torch.asinh(seen), torch.asinh(linear)[:, :, None], level[:, :, None]], dim=2)
        said = self._unet(features)
        weights, free, scatter = said.split([n_inputs, 1, 1], dim=2)
        # asinh: where the sky is far from train skies, what is added to the linear estimate stays small
        added = (weights * torch.asinh(seen)).sum(dim=2) + free[:, :, 0]
        return torch.stack([linear + added, scatter[:, :, 0]], dim=1)

    def _unet(self, features: Tensor) -> Tensor:
        """Through the U-Net, faces as samples: shape in and out as `features`."""
        n, n_stokes, n_channels = features.shape[:3]
        faces = features.flatten(1, 2).transpose(1, 2).flatten(0, 1)
        said = self.unet(faces)
        return said.unflatten(0, (n, 12)).transpose(1, 2).unflatten(1, (n_stokes, n_channels))

    def loss(self, said: Tensor, residual: Tensor) -> Tensor:
        """Smooth L1 of the residual, and the likelihood of what it is wrong by.

        `said` is from ``forward``; `residual` is ``(n, 1, n_stokes, 12, nside, nside)``, uK_CMB.
        """
        wanted = (residual[:, 0] - self.residual_mean) / self.residual_deviation
        value = nn.functional.smooth_l1_loss(said[:, 0], wanted)
        wrong = (said[:, 0].detach() - wanted).abs()
        scatter = said[:, 1]
        return value + ERROR_WEIGHT * (scatter + wrong * torch.exp(-scatter)).mean()

    def residual(self, said: Tensor) -> tuple[Tensor, Tensor]:
        """Residual and its uncalibrated standard deviation in uK_CMB, of what ``forward`` said."""
        value = said[:, 0] * self.residual_deviation + self.residual_mean
        return value, said[:, 1].exp() * self.residual_deviation


def calibration(wrong: Tensor, sigma: Tensor) -> float:
    """Factor by which sigma must be multiplied so that 68 % of the errors lie within one sigma.

    Parameters
    ----------
    wrong
        Errors, any shape.
    sigma
        Their predicted standard deviations, of the same shape.
    """
    ratio = (wrong.abs() / sigma).flatten()
    return float(ratio.kthvalue(max(round(ONE_SIGMA * ratio.numel()), 1)).values)
