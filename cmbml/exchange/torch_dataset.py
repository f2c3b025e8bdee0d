"""Skies of a dataset for PyTorch."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import Dataset

from cmbml.core import AssetRef
from cmbml.core.errors import ConfigError
from cmbml.core.spec.repository import PARAMS
from cmbml.core.spec.roles import CMB, OBSERVATIONS
from cmbml.core.views.dataset import Dataset as Repository
from cmbml.methods.nn.batches import Sample
from cmbml.methods.nn.samples import as_float32, first_to_last, target_map
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
        return f"<SkyDataset: {first_to_last(self.names)}, {bands} bands, nside {self.nside}>"

    def __getitem__(self, index: int) -> Sample:
        features = [as_float32(ref.read(nside=self.nside).values) for ref in self.bands[index]]
        cmb = self.cmbs[index].read().values
        target = target_map(cmb, self.nside, self.fwhm_arcmin, self.lmax)
        return Sample(self.names[index], torch.stack(features), as_float32(target))


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
    obs, cmb = data.output(OBSERVATIONS), data.output(CMB)
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
