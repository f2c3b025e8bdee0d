"""The extragalactic sky of a stage, and the stage that says what a mask of its bright sources would cut."""

from typing import TYPE_CHECKING

import numpy as np

from cmbml.core import Asset, BaseStageExecutor, Split, StageConfig, generator
from cmbml.sky.extragalactic.diffuse import cib_alm, tsz_alm
from cmbml.sky.extragalactic.sources import Sources, draw_sources, source_alm, source_mask
from cmbml.sky.passbands import Band
from cmbml.sky.sht import Alm
from cmbml.sky.skymap import SkyMap

if TYPE_CHECKING:
    from astropy.table import QTable


def _sources(seed: int, split: Split, sim: int) -> Sources:
    return draw_sources(generator(seed, split.name, sim, "sources"))


class Extragalactic:
    """What lies beyond the Galaxy, as the parameters of a stage say; as other foregrounds, the split's own.

    Parameters
    ----------
    cfg
        Parameters of the stage: ``seed``, ``extragalactic`` and ``instrument``.
    """

    def __init__(self, cfg: StageConfig) -> None:
        self.seed = cfg.seed
        self.params = cfg.extragalactic
        self.lmax = cfg.instrument.lmax
        self.n_stokes = cfg.instrument.n_stokes

    def component_alm(self, bands: list[Band], split: Split, sim: int) -> dict[str, Alm]:
        """What is switched on, by name: unbeamed, uK_CMB, ``(n_freq, nalm)`` or ``(n_freq, 3, nalm)``."""
        return {name: self._alm(name, bands, split, sim) for name in self.params.switched_on}

    def _alm(self, name: str, bands: list[Band], split: Split, sim: int) -> Alm:
        if name == "sources":
            faint, _ = _sources(self.seed, split, sim).split(self.params.source_cut_jy)
            return source_alm(faint, bands, self.lmax, n_stokes=self.n_stokes)
        draw = {"cib": cib_alm, "tsz": tsz_alm}[name]
        return draw(bands, generator(self.seed, split.name, sim, name), self.lmax, n_stokes=self.n_stokes)


class SourceMaskExecutor(BaseStageExecutor):
    """Lists the sources that are too bright to be left in the sky, and masks them band by band."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="source_mask")
        self.out_mask: Asset[SkyMap] = self.assets_out["mask"]
        self.out_sources: Asset[QTable] = self.assets_out["sources"]
        self.seed = cfg.seed
        self.cut_jy: float = cfg.extragalactic.source_cut_jy
        self.instrument = cfg.instrument

    def process_sim(self, split: Split, sim: int) -> None:
        """Write list and masks of one simulation."""
        from astropy import units
        from astropy.table import QTable

        _, bright = _sources(self.seed, split, sim).split(self.cut_jy)
        self.out_sources.write(
            QTable(
                {
                    "longitude": np.degrees(bright.longitude) * units.deg,
                    "latitude": np.degrees(bright.latitude) * units.deg,
                    "flux_143": bright.flux_jy * units.Jy,
                    "index": bright.index,
                }
            )
        )
        for freq, fwhm in zip(self.instrument.freqs, self.instrument.fwhm_arcmin, strict=True):
            mask = source_mask(bright, self.instrument.nside, fwhm)
            with self.name_tracker.set_context("freq", freq):
                self.out_mask.write(SkyMap(mask[np.newaxis], "1"))
