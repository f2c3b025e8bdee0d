"""Samples behind references to files: skies of a dataset, and what a stage has prepared."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import Dataset

from cmbml.core import AssetRef
from cmbml.core.errors import ConfigError, DataError
from cmbml.core.spec.repository import PARAMS
from cmbml.core.views.dataset import Dataset as Repository
from cmbml.methods.nn.batches import Sample
from cmbml.sky.sht import Alm, Map, alm2map, almxfl, gaussian_beam, resize_alm
from cmbml.sky.skymap import SkyAlm, SkyMap


@dataclass(frozen=True)
class SkyDataset(Dataset[Sample]):
    """Observed bands and the CMB of a split, for a PyTorch DataLoader; picklable.

    A sample has ``name``, ``features`` ``(n_freq, n_stokes, npix)`` and ``target`` ``(n_stokes, npix)``:
    float32, RING, uK_CMB; bands with their own beams, the CMB with beam `fwhm_arcmin` and band-limit `lmax`.

    Attributes
    ----------
    names
        Split and simulation of every sample.
    bands
        Files of the bands of every sample.
    cmbs
        File of the CMB of every sample.
    nside, fwhm_arcmin, lmax
        Resolution of the maps, and beam and band-limit of the target.
    """

    names: tuple[str, ...]
    bands: tuple[tuple[AssetRef[SkyMap], ...], ...]
    cmbs: tuple[AssetRef[SkyAlm], ...]
    nside: int
    fwhm_arcmin: float
    lmax: int

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        bands = len(self.bands[0]) if self.bands else 0
        return f"<SkyDataset: {_first_to_last(self.names)}, {bands} bands, nside {self.nside}>"

    def __getitem__(self, index: int) -> Sample:
        features = [_float32(ref.read(nside=self.nside).values) for ref in self.bands[index]]
        cmb = self.cmbs[index].read().values
        target = target_map(cmb, self.nside, self.fwhm_arcmin, self.lmax)
        return Sample(self.names[index], torch.stack(features), _float32(target))


def sky_dataset(split: str, root: Path | str | None = None) -> SkyDataset:
    """Observed bands and CMB of a finished split, at the beam and band-limit of `analysis`.

    Parameters
    ----------
    split
        Name of the split.
    root
        The repository; by default the nearest folder upwards that holds dvc.yaml.

    Raises
    ------
    ConfigError
        Where there is no such split.
    DataError
        Where a file is missing, as soon as a sample is taken.
    """
    data = Repository.open(root)
    if split not in data.splits:
        raise ConfigError(f"{PARAMS}: splits: no split '{split}': known: {', '.join(data.splits)}")
    params, sims = data.config.params, list(data.splits[split].iter_sims())
    obs, cmb = data["observations"].obs, data["cmb"].cmb
    return SkyDataset(
        names=tuple(f"{split}/sim{sim:04d}" for sim in sims),
        bands=tuple(
            tuple(obs.at(split=split, sim=sim, freq=freq) for freq in params.instrument.bands) for sim in sims
        ),
        cmbs=tuple(cmb.at(split=split, sim=sim) for sim in sims),
        nside=params.instrument.nside,
        fwhm_arcmin=params.analysis.fwhm_arcmin,
        lmax=params.analysis.lmax,
    )


@dataclass(frozen=True)
class FileSamples(Dataset[Sample]):
    """Samples that a stage has prepared, one array each: first features, then target, along the first axis.

    Attributes
    ----------
    names
        Split and simulation of every sample.
    files
        Its file.
    n_target
        How many rows at the end are the target.
    """

    names: tuple[str, ...]
    files: tuple[AssetRef[NDArray[np.float32]], ...]
    n_target: int

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"<FileSamples: {_first_to_last(self.names)}, {self.n_target} rows of target>"

    def __getitem__(self, index: int) -> Sample:
        rows = _float32(self.files[index].read())
        if not torch.isfinite(rows).all():
            raise DataError(
                f"{self.names[index]}: its sample has values that are not finite: look at its maps"
            )
        return Sample(self.names[index], rows[: -self.n_target], rows[-self.n_target :])


def _first_to_last(names: tuple[str, ...]) -> str:
    """How many samples there are, and which: there may be thousands."""
    which = f", {names[0]} to {names[-1]}" if names else ""
    return f"{len(names)} samples{which}"


def target_map(cmb: Alm, nside: int, fwhm_arcmin: float, lmax: int) -> Map:
    """The CMB that a network should find, from its a_lm without beam: RING, ``(n_stokes, npix)``."""
    return alm2map(almxfl(resize_alm(cmb, lmax), gaussian_beam(fwhm_arcmin, lmax)), nside)


def _float32(array: ArrayLike) -> torch.Tensor:
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
