"""What the stages of all methods share: the observed bands as harmonic coefficients."""

from dataclasses import dataclass

import numpy as np

from cmbml.core import Asset, StageConfig
from cmbml.sky.sht import Alm, alm2map, map2alm
from cmbml.sky.skymap import SkyMap


@dataclass(frozen=True)
class Bands:
    """The observed bands of one simulation.

    Attributes
    ----------
    alms
        Temperature of each band at its own beam, ``(n_freq, nalm)``, uK_CMB.
    fwhm_arcmin
        Beam of each band, from its header; None where it does not say.
    """

    alms: Alm
    fwhm_arcmin: list[float | None]


class BandReader:
    """Reads the bands of the instrument that the stage's parameters describe.

    Parameters
    ----------
    obs
        The input asset, one map for each band.
    cfg
        The stage's parameters; instrument.bands, nside and lmax must be declared.
    threads
        Number of threads.
    """

    def __init__(self, obs: Asset, cfg: StageConfig, threads: int) -> None:
        self.obs = obs
        self.threads = threads
        self.freqs = tuple(cfg.instrument.bands)
        self.nside = cfg.instrument.nside
        self.lmax = cfg.instrument.lmax

    def read(self, split: str, sim: int) -> Bands:
        """Read and analyse the bands of one simulation."""
        maps = [self.obs.at(split=split, sim=sim, freq=freq).read(nside=self.nside) for freq in self.freqs]
        alms = [map2alm(sky.values[0], self.lmax, threads=self.threads) for sky in maps]
        return Bands(np.stack(alms), [sky.fwhm_arcmin for sky in maps])

    def cleaned(self, alm: Alm, fwhm_arcmin: float) -> SkyMap:
        """Synthesise a cleaned map from its a_lm, ``(nalm,)``, with its beam and band-limit."""
        sky = alm2map(alm[np.newaxis], self.nside, threads=self.threads)
        return SkyMap(sky, "uK_CMB", fwhm_arcmin, self.lmax)
