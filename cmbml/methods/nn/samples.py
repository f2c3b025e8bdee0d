"""What samples of skies are made of: the target of a network, and statistics of many samples."""

from collections.abc import Iterable

import torch
from numpy.typing import ArrayLike

from cmbml.sky.sht import Alm, Map, alm2map, almxfl, gaussian_beam, resize_alm


def target_map(cmb: Alm, nside: int, fwhm_arcmin: float, lmax: int) -> Map:
    """The CMB that a network should find, from its a_lm without beam: RING, ``(n_stokes, npix)``."""
    return alm2map(almxfl(resize_alm(cmb, lmax), gaussian_beam(fwhm_arcmin, lmax)), nside)


def as_float32(array: ArrayLike) -> torch.Tensor:
    """An array as a tensor of networks: float32."""
    return torch.as_tensor(array, dtype=torch.float32)


def mean_and_deviation(arrays: Iterable[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of arrays of one shape, element by element, in one pass: float64."""
    count, mean, scatter = 0, torch.zeros(()), torch.zeros(())
    for array in arrays:
        value = array.double()
        count += 1
        change = value - mean
        mean = mean + change / count
        scatter = scatter + change * (value - mean)
    return mean, (scatter / max(count - 1, 1)).sqrt()


def first_to_last(names: tuple[str, ...]) -> str:
    """How many samples there are, and which: there may be thousands."""
    which = f", {names[0]} to {names[-1]}" if names else ""
    return f"{len(names)} samples{which}"
