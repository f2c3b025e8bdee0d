"""What gsc_unet learns from train before any training: a linear regression, and what is usual."""

import torch
from torch import Tensor

from cmbml.methods.gsc_unet.matrices import symmetric

# Of the variance of a map: keeps weights finite where maps are nearly the same.
RIDGE = 1e-5
# A feature that hardly changes between train skies counts as if it changed by so much of its mean deviation.
LEAST_DEVIATION = 0.05


def regression(covariances: Tensor, n_scales: int) -> dict[str, Tensor]:
    """Weights of least squares of the residual of the base on maps of all scales, around every coarse pixel.

    Scales overlap, so those of one are not what they would be if it were alone.

    Parameters
    ----------
    covariances
        Mean over train of those of maps and residual, scale after scale, the residual last on each:
        ``(n_pairs, n_groups, 12, nside, nside)``, uK_CMB^2.
    n_scales
        Number of scales.

    Returns
    -------
    dict
        ``regression``, ``(n_maps, n_groups, n_scales, 12, nside, nside)``, and ``scatter``, the standard
        deviation of the residual on every scale, uK_CMB.
    """
    matrix = symmetric(covariances.double().movedim(0, -1))
    blocks = matrix.unflatten(-1, (n_scales, -1)).unflatten(-3, (n_scales, -1))
    maps = blocks[..., :-1, :, :-1].flatten(-4, -3).flatten(-2)
    target = blocks[..., :-1, :, -1].sum(dim=-1).flatten(-2)
    ridge = RIDGE * torch.diag_embed(torch.diagonal(maps, dim1=-2, dim2=-1))
    weights = torch.linalg.solve(maps + ridge, target[..., None])[..., 0].unflatten(-1, (n_scales, -1))
    scatter = torch.stack([blocks[..., scale, -1, scale, -1] for scale in range(n_scales)], dim=1).sqrt()
    return {"regression": weights.movedim((-1, -2), (0, 2)).contiguous(), "scatter": scatter}


def steady(deviation: Tensor) -> Tensor:
    """Deviations over train, ``(..., 12, nside, nside)``, not too small where a feature hardly changes."""
    usual = deviation.mean(dim=(-3, -2, -1), keepdim=True)
    return deviation.clamp(min=torch.finfo(torch.float32).tiny).maximum(LEAST_DEVIATION * usual)
