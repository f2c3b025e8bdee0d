"""The network of gsc_unet: from differences of bands to the residual of a linear estimate, and its error.

What it subtracts depends on nothing but the differences, in which there is no CMB.  So the CMB passes with
response one whatever the weights are, and training cannot learn what the CMB looks like.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cmbml.methods.nn.layers import HealpixUNet

# Of the loss of the error in units of that of the residual.
ERROR_WEIGHT = 0.05
# The quantile of |error| that lies one standard deviation from zero.
ONE_SIGMA = 0.682689


# Slopes are read off domains of 4 pixels and more across; finer ones would be noise.
FIRST_SLOPES = 2


class GscUnet(nn.Module):
    """Predicts the residual of the base, and its standard deviation.

    The residual in units of its scatter over train skies is a sum of the differences with weights, plus a
    free term.  The weights are those of a local linear regression on train skies plus what a U-Net on the
    sphere adds to them, pixel by pixel; the U-Net begins with zero.  It sees the differences, how bright they
    are on average, and the slopes between neighbouring ones: the local spectra of the foregrounds.

    Parameters
    ----------
    n_stokes
        Number of Stokes fields.
    n_inputs
        Number of differences of each, over all scales.
    n_scales
        Number of scales.
    nside
        Resolution.
    widths
        Channels of the U-Net on every level.
    """

    def __init__(
        self, n_stokes: int, n_inputs: int, n_scales: int, nside: int, widths: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.shape = (n_stokes, n_inputs, n_scales)
        self.levels = range(FIRST_SLOPES, len(widths))
        n_slopes = n_inputs - n_scales
        faces = (12, nside, nside)
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(
            ("mean", "deviation", "regression"), (n_stokes, n_inputs, *faces)
        )
        shapes |= dict.fromkeys(("residual_mean", "residual_deviation"), (n_stokes, *faces))
        for level in self.levels:
            coarse = (n_stokes, n_slopes, 12, nside >> level, nside >> level)
            shapes |= {f"slope_mean_{level}": coarse, f"slope_deviation_{level}": coarse}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.full(shape, float("deviation" in name)), persistent=False)
        extras = dict.fromkeys(self.levels, n_stokes * n_slopes)
        if extras:
            extras[len(widths) - 1] *= 2
        self.unet = HealpixUNet(
            n_stokes * (2 * n_inputs + 2), n_stokes * (n_inputs + 2), nside, widths, extras
        )
        nn.init.zeros_(self.unet.head.weight)
        nn.init.zeros_(self.unet.head.bias)

    def normalise(self, statistics: Mapping[str, Any]) -> None:
        """Take over what was learned on train: means, deviations, and the weights of the regression."""
        for name, value in statistics.items():
            getattr(self, name).copy_(torch.as_tensor(value))

    def forward(self, differences: Tensor) -> Tensor:
        """Normalised residual and the logarithm of its scatter.

        ``(n, n_inputs, n_stokes, 12, nside, nside)``, uK_CMB, to ``(n, 2, n_stokes, 12, nside, nside)``.
        """
        n_stokes, n_inputs, _ = self.shape
        bright = differences.transpose(1, 2) / self.deviation
        usual = self.mean / self.deviation
        linear = (self.regression * (bright - usual)).sum(dim=2)
        level = self.residual_deviation.log()
        level = ((level - level.mean()) / (level.std() + 1e-6)).expand_as(linear)
        features = torch.cat(
            [
                torch.asinh(bright - usual),
                torch.asinh(usual).expand_as(bright),
                torch.asinh(linear)[:, :, None],
                level[:, :, None],
            ],
            dim=2,
        )
        said = self.unet(_as_samples(features), self._extras(differences))
        said = said.unflatten(0, (-1, 12)).transpose(1, 2).unflatten(1, (n_stokes, n_inputs + 2))
        weights, free, scatter = said.split([n_inputs, 1, 1], dim=2)
        added = (weights * bright).sum(dim=2) + free[:, :, 0]
        return torch.stack([linear + added, scatter[:, :, 0]], dim=1)

    def _extras(self, differences: Tensor) -> dict[int, Tensor]:
        """Normalised slopes by level; on the coarsest also their means over the sky."""
        extras = {}
        for level in self.levels:
            found = slopes(differences, self.shape[2], level)
            mean, deviation = (getattr(self, f"slope_{what}_{level}") for what in ("mean", "deviation"))
            seen = torch.asinh((found - mean) / deviation)
            if level == self.levels[-1]:
                seen = torch.cat([seen, seen.mean(dim=(-3, -2, -1), keepdim=True).expand_as(seen)], dim=2)
            extras[level] = _as_samples(seen)
        return extras

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


def slopes(differences: Tensor, n_scales: int, level: int) -> Tensor:
    """Slopes of each difference against the one before it, by least squares in coarse pixels.

    They are what the spectra of the foregrounds are, wherever foregrounds are brighter than the noise.

    Parameters
    ----------
    differences
        ``(n, n_inputs, n_stokes, 12, nside, nside)``, uK_CMB, scale after scale.
    n_scales
        Number of scales.
    level
        A coarse pixel is 2^level pixels wide.

    Returns
    -------
    Tensor
        ``(n, n_stokes, n_inputs - n_scales, 12, nside / 2^level, nside / 2^level)``.
    """
    scales = differences.transpose(1, 2).unflatten(2, (n_scales, -1))
    before, after = scales[:, :, :, :-1], scales[:, :, :, 1:]
    return (_pooled(before * after, level) / _pooled(before**2, level).clamp(min=1e-12)).flatten(2, 3)


def _pooled(faces: Tensor, level: int) -> Tensor:
    pooled = nn.functional.avg_pool2d(faces.flatten(0, -3), 2**level)
    return pooled.unflatten(0, faces.shape[:-2])


def _as_samples(features: Tensor) -> Tensor:
    """``(n, n_stokes, c, 12, nside, nside)`` to ``(n * 12, n_stokes * c, nside, nside)``."""
    return features.flatten(1, 2).transpose(1, 2).flatten(0, 1)
