"""Stages that put imported skies in the place of simulated ones: CMB-ML's archives."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from cmbml.core import Asset, BaseStageExecutor, Split, StageConfig
from cmbml.core.errors import DataError
from cmbml.core.files.checksums import md5_of
from cmbml.core.handlers import get_handler
from cmbml.exchange.cmb_ml import TRUTH, archive_of
from cmbml.exchange.unpack import unpack_tar
from cmbml.sky.cosmology import fixed, theory_spectra
from cmbml.sky.lensing import lensing_lmax
from cmbml.sky.sht import Cl, map2alm
from cmbml.sky.skymap import SkyAlm, SkyMap, is_unseen
from cmbml.sky.vetting import expect_sky, look_at, refuse_repeats


class _ImportExecutor(BaseStageExecutor):
    """Reads CMB-ML's archives: checked against the index, unpacked to a scratch folder."""

    def __init__(self, cfg: StageConfig, stage_str: str) -> None:
        super().__init__(cfg, stage_str)
        self.in_index: Asset[dict[str, Any]] = self.assets_in["index"]

    @contextmanager
    def unpacked(self, split: Split, sim: int) -> Iterator[dict[str, Path]]:
        """Files of one simulation by name, inside a ``with`` block."""
        entry = archive_of(self.in_index.read(), split.name, sim)
        archive = self.in_index.path.parent / "archives" / entry["file"]
        if not archive.is_file():
            raise DataError(f"{archive}: not there: mount its disk, or run `cmbml import cmb-ml` again")
        if (found := md5_of(archive)) != entry["md5"]:
            raise DataError(f"{archive}: md5 {found}, at the import it was {entry['md5']}: get it again")
        with TemporaryDirectory() as scratch:
            yield {path.name: path for path in unpack_tar(archive, Path(scratch) / "sky")}

    @contextmanager
    def _blamed_on(self, split: Split, sim: int) -> Iterator[None]:
        """Name the simulation that cannot be taken over."""
        try:
            yield
        except ValueError as error:
            raise DataError(f"{split.name} simulation {sim}: {error}") from None


class ImportedObservationsExecutor(_ImportExecutor):
    """Takes the observed bands over as they are, in single precision."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="imported_observations")
        self.out_obs: Asset[SkyMap] = self.assets_out["obs"]
        self.bands = cfg.instrument.bands
        self.nside = cfg.instrument.nside

    def process_sim(self, split: Split, sim: int) -> None:
        """Take over one simulation."""
        looks = []
        with self.unpacked(split, sim) as files, self._blamed_on(split, sim):
            for name, band in self.bands.items():
                file = files.get(f"obs_{name}_map.fits")
                if file is None:
                    raise DataError(f"{split.name} simulation {sim}: the archive has no band {name}")
                beam = band.fwhm_arcmin
                raw = get_handler("HealpyMap").read(file, content="T", nside=self.nside, fwhm_arcmin=beam)
                sky = raw.to("uK_CMB", freq_ghz=band.freq_ghz)
                looks.append(look_at(name, band.freq_ghz, sky.values, is_unseen(sky.values)))
                with self.name_tracker.set_context("freq", name):
                    self.out_obs.write(SkyMap(sky.values, "uK_CMB", beam))
            refuse_repeats(looks)


class ImportedCmbExecutor(_ImportExecutor):
    """Takes the truth over as a_lm up to the band-limit."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="imported_cmb")
        self.out_alm: Asset[SkyAlm] = self.assets_out["cmb"]
        self.nside = cfg.instrument.nside
        self.lmax = cfg.instrument.lmax

    def process_sim(self, split: Split, sim: int) -> None:
        """Take over one simulation."""
        with self.unpacked(split, sim) as files, self._blamed_on(split, sim):
            sky = get_handler("HealpyMap").read(files[TRUTH], content="T", nside=self.nside).to("uK_CMB")
            expect_sky(sky.values, is_unseen(sky.values), f"take {TRUTH} from another archive")
        alm = map2alm(np.asarray(sky.values), self.lmax, threads=self.threads)
        self.out_alm.write(SkyAlm(alm, "uK_CMB", fwhm_arcmin=0.0))


class ImportedTheoryExecutor(BaseStageExecutor):
    """Computes the spectra of WMAP's mean cosmology, since the archives do not tell each simulation's own."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="imported_theory")
        self.out_spectra: Asset[Mapping[str, Cl]] = self.assets_out["spectra"]
        lmax = cfg.instrument.lmax
        self.lmax = lensing_lmax(lmax, 3) if cfg.cmb.kind == "lensed" else lmax
        self.n_stokes = 3 if cfg.cmb.kind == "lensed" else len(cfg.instrument.fields)

    def process_sim(self, split: Split, sim: int) -> None:
        """Write the same spectra for every simulation."""
        spectra = theory_spectra(fixed("wmap9"), self.lmax, n_stokes=self.n_stokes, threads=self.threads)
        self.out_spectra.write(spectra)
