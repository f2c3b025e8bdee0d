"""Stages that draw cosmologies and compute their spectra."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import lru_cache

from cmbml.core import Asset, BaseStageExecutor, Split, StageConfig, generator
from cmbml.core.errors import DataError
from cmbml.core.handlers.columns import ChainRows
from cmbml.core.spec.params import CosmologyRegion
from cmbml.sky.chains import WMAP_COLUMNS, WMAP_MASSES, chain_length, chain_row, wmap_cosmology
from cmbml.sky.cosmology import (
    Cosmology,
    check_region,
    draw_gaussian,
    fixed,
    provenance,
    theory_spectra,
)
from cmbml.sky.distributions import distribution
from cmbml.sky.lensing import lensing_lmax
from cmbml.sky.sht import Cl

CHAINS = {"wmap9_lcdm": (), "wmap9_lcdm_mnu": (WMAP_MASSES,)}


class CosmologyExecutor(BaseStageExecutor):
    """Draws the cosmological parameters of every simulation, or of every split."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="cosmology")
        self.out_cosmology: Asset[dict[str, float]] = self.assets_out["cosmology"]
        self.seed = cfg.seed
        self.source = cfg.cosmology.source
        self.scatter = cfg.cosmology.scatter
        self.regions = cfg.populations.cosmology
        self.regions.vet(self._expect_possible)
        self.in_chain: Asset[ChainRows] | None = (
            self.assets_in[self.source] if self.source in CHAINS else None
        )

    def _expect_possible(self, region: CosmologyRegion) -> None:
        # WMAP9's chains lie around its published means.
        means = self.source.partition("_")[0]
        check_region(means, {name: spread.values for name, spread in region.drawn.items()})

    def process_sim(self, split: Split, sim: int) -> None:
        """Draw one simulation's parameters; where a split has one cosmology, that of its first simulation."""
        region = self.regions[split.population]
        which = 0 if region.per_split else sim
        drawn = self._base(split, which, self.scatter if region.scatter is None else region.scatter)
        own = {
            name: distribution(**spread.values).draw(
                generator(self.seed, split.stream, which, "cosmology", name)
            )
            for name, spread in region.drawn.items()
        }
        self.out_cosmology.write(asdict(replace(drawn, **own)))

    def _base(self, split: Split, which: int, scatter: bool) -> Cosmology:
        rng = generator(self.seed, split.stream, which, "cosmology")
        if self.in_chain is None:
            return draw_gaussian(self.source, rng) if scatter else fixed(self.source)
        names = (*WMAP_COLUMNS.values(), *CHAINS[self.source])
        columns = {name: self.in_chain.at(field=name).read() for name in names}
        try:
            row = chain_row(chain_length({name: len(column) for name, column in columns.items()}), rng)
            return wmap_cosmology({name: column[row] for name, column in columns.items()})
        except ValueError as error:
            raise DataError(f"{columns[names[0]].path.parent}: {error}") from None


class TheoryExecutor(BaseStageExecutor):
    """Computes the CMB spectra of every simulation's cosmology."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="theory")
        self.out_spectra: Asset[Mapping[str, Cl]] = self.assets_out["spectra"]
        self.in_cosmology: Asset[dict[str, float]] = self.assets_in["cosmology"]
        self.lmax = cfg.instrument.lmax
        self.n_stokes = len(cfg.instrument.fields)
        if cfg.cmb.kind == "lensed":
            self.lmax, self.n_stokes = lensing_lmax(self.lmax, self.n_stokes), 3
        # Where a split has one cosmology, CAMB runs once a block.
        self.spectra = lru_cache(maxsize=1)(self._spectra)

    def process_sim(self, split: Split, sim: int) -> None:
        """Run CAMB once."""
        spectra = self.spectra(Cosmology(**self.in_cosmology.read()))
        self.out_spectra.write(spectra, note=provenance(self.lmax, self.n_stokes))

    def _spectra(self, cosmology: Cosmology) -> dict[str, Cl]:
        try:
            return theory_spectra(cosmology, self.lmax, n_stokes=self.n_stokes, threads=self.threads)
        except ValueError as error:
            raise DataError(str(error)) from None
