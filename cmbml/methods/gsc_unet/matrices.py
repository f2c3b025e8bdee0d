"""Symmetric matrices from their upper triangles."""

import torch
from torch import Tensor


def symmetric(triangles: Tensor) -> Tensor:
    """Upper triangles row by row, ``(..., n (n + 1) / 2)``, to matrices ``(..., n, n)``."""
    size = round((2 * triangles.shape[-1] + 0.25) ** 0.5 - 0.5)
    rows, columns = torch.triu_indices(size, size, device=triangles.device)
    matrices = triangles.new_empty((*triangles.shape[:-1], size, size))
    matrices[..., rows, columns] = matrices[..., columns, rows] = triangles
    return matrices
