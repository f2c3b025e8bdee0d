"""Stages that make the reference rows and score every estimate."""

from collections.abc import Mapping

import numpy as np

from cmbml.analysis.charts.scores import bars_chart, latitude_chart, power_grid
from cmbml.analysis.charts.svg import svg
from cmbml.analysis.gathering import by_metric, profiles, table_rows
from cmbml.analysis.reference import floor_noise
from cmbml.analysis.scoring import Ground, Score, metric_rows, metrics_of, score
from cmbml.analysis.spectra.coupling import Matrix
from cmbml.analysis.spectra.master import mask_statistics
from cmbml.analysis.statistics import all_differences, summarise
from cmbml.analysis.tables import all_latex, all_markdown, differences_csv, headline, to_csv, to_json
from cmbml.core import Asset, BaseStageExecutor, Split, StageConfig
from cmbml.core.errors import DataError
from cmbml.sky.executors.noise import InstrumentNoise
from cmbml.sky.sht import Alm, Cl, Map, alm2map, almxfl, gaussian_beam, resize_alm
from cmbml.sky.skymap import SkyAlm, SkyMap


class NoiseFloorExecutor(BaseStageExecutor):
    """Makes the best unbiased combination of the bands as if there were no foregrounds at all."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="noise_floor")
        self.out_cleaned: Asset[SkyMap] = self.assets_out["cleaned"]
        self.out_halves: Asset[SkyMap] | None = self.assets_out.get("halves")
        self.in_cmb: Asset[SkyAlm] = self.assets_in["cmb"]
        self.in_draw: Asset[Mapping[str, float | str]] = self.assets_in["draw"]
        self.instrument = cfg.instrument
        self.noise = InstrumentNoise(self, cfg)
        self.fwhm = cfg.analysis.fwhm_arcmin

    def setup(self) -> None:
        """Prepare the noise of the bands."""
        self.noise.load()

    def process_sim(self, split: Split, sim: int) -> None:
        """Add to the truth the combined noise of the very observation that the methods clean."""
        lmax = self.instrument.lmax
        level = float(self.in_draw.read()["noise_level"])
        whole = almxfl(self.in_cmb.read().values[: self.instrument.n_stokes], gaussian_beam(self.fwhm, lmax))
        whole = whole + self._combined(self.noise.draw(level, split, sim))
        self.out_cleaned.write(self._map(whole))
        if self.out_halves is not None:
            difference = self._combined(self.noise.draw_half_difference(level, split, sim))
            for half, sign in zip(self.out_halves.fields, (1, -1), strict=True):
                with self.name_tracker.set_context("field", half):
                    self.out_halves.write(self._map(whole + sign * difference))

    def _combined(self, noise: Alm) -> Alm:
        """Noise of the bands, combined: ``(n_stokes, nalm)``."""
        lmax, n_stokes = self.instrument.lmax, self.instrument.n_stokes
        out = gaussian_beam(self.fwhm, lmax)
        beams = np.zeros((len(self.instrument.freqs), n_stokes, lmax + 1))
        for ratio, band in zip(beams, self.instrument.bands.values(), strict=True):
            ratio[: n_stokes if band.polarised else 1] = gaussian_beam(band.fwhm_arcmin, lmax) / out
        bands = list(self.noise.bands.values())
        try:
            return floor_noise(noise.reshape(len(beams), n_stokes, -1), bands, beams, threads=self.threads)
        except ValueError as error:
            raise DataError(str(error)) from None

    def _map(self, alm: Alm) -> SkyMap:
        sky = alm2map(alm, self.instrument.nside, threads=self.threads)
        return SkyMap(sky, "uK_CMB", self.fwhm, self.instrument.lmax)


class PerfectEstimateExecutor(BaseStageExecutor):
    """Makes the estimate that a flawless method would return: it scores what the scoring itself costs."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="perfect_estimate")
        self.out_cleaned: Asset[SkyMap] = self.assets_out["cleaned"]
        self.in_cmb: Asset[SkyAlm] = self.assets_in["cmb"]
        self.nside = cfg.instrument.nside
        self.fwhm = cfg.analysis.fwhm_arcmin
        self.lmax = cfg.analysis.lmax

    def process_sim(self, split: Split, sim: int) -> None:
        """Smooth the truth and write it as methods write their estimates."""
        alm = resize_alm(self.in_cmb.read().values, self.lmax)
        smooth = almxfl(alm, gaussian_beam(self.fwhm, self.lmax))
        sky = alm2map(smooth, self.nside, threads=self.threads)
        self.out_cleaned.write(SkyMap(sky, "uK_CMB", self.fwhm, self.lmax))


class MaskCouplingExecutor(BaseStageExecutor):
    """Takes from the mask, once, what the decoupling of every spectrum under it needs."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="mask_coupling")
        self.out_statistics: Asset[Matrix] = self.assets_out["statistics"]
        self.in_mask: Asset[SkyMap] = self.assets_in["mask"]
        self.ground = (cfg.analysis.fwhm_arcmin, cfg.analysis.lmax, cfg.instrument.nside)
        self.band_width = cfg.analysis.band_width
        self.polarised = cfg.instrument.fields == "TQU"

    def execute(self) -> None:
        """Transform the mask."""
        mask: Map = self.in_mask.read().values[0]
        ground = Ground(*self.ground, mask)
        bands = ground.bands(self.band_width)
        statistics = mask_statistics(
            mask, bands, window=ground.window, polarised=self.polarised, threads=self.threads
        )
        self.out_statistics.write(statistics)


class ComparisonExecutor(BaseStageExecutor):
    """Compares every estimate with the truth on common ground: pixels, latitudes and spectra."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="comparison")
        self.out = {name: self.assets_out[name] for name in ("metrics", "latitude", "bands")}
        self.in_estimate: Asset[SkyMap] = self.assets_in["estimate"]
        self.in_halves: Asset[SkyMap] | None = self.assets_in.get("halves")
        self.in_cmb: Asset[SkyAlm] = self.assets_in["cmb"]
        self.in_mask: Asset[SkyMap] = self.assets_in["mask"]
        self.in_coupling: Asset[Matrix] = self.assets_in["coupling"]
        self.in_theory: Asset[Mapping[str, Cl]] = self.assets_in["theory"]
        self.common = (cfg.analysis.fwhm_arcmin, cfg.analysis.lmax, cfg.instrument.nside)
        self.band_width = cfg.analysis.band_width
        self.polarised = cfg.instrument.fields == "TQU"

    def setup(self) -> None:
        """Read the mask and prepare its decoupling."""
        mask = self.in_mask.read(nside=self.common[-1]).values[0]
        self.ground = Ground(*self.common, mask, self.threads)
        statistics = self.in_coupling.read()
        self.master = self.ground.decoupling(statistics, self.band_width, polarised=self.polarised)

    def process_sim(self, split: Split, sim: int) -> None:
        """Score one estimate."""
        try:
            estimate = self.ground.estimate(self.in_estimate.read())
        except ValueError as error:
            raise DataError(f"{self.in_estimate.path.name} of method {self.method}: {error}") from None
        found = score(
            estimate, self.in_cmb.read(), self.ground, self.master, self.in_theory.read(), self._halves()
        )
        self.out["metrics"].write(metric_rows(found.metrics))
        self.out["latitude"].write(found.latitude)
        self.out["bands"].write(found.bands)

    def _halves(self) -> list[Map]:
        """The cleaned halves as the estimate; none where the method makes none."""
        if self.in_halves is None:
            return []
        files = [self.in_halves.at(field=half) for half in self.in_halves.fields]
        return [self.ground.estimate(file.read()) for file in files]


class DrawTableExecutor(BaseStageExecutor):
    """Gathers what was drawn for the simulations of a split into one table, to select them by."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="draw_table")
        self.out_table: Asset[list[dict[str, float | str]]] = self.assets_out["table"]
        self.in_cosmology: Asset[dict[str, float]] = self.assets_in["cosmology"]
        self.in_draw: Asset[Mapping[str, float | str]] = self.assets_in["draw"]

    def process_split(self, split: Split) -> None:
        """Write a row for every simulation."""
        self.out_table.write(
            [
                {"sim": sim, **self.in_cosmology.at(sim=sim).read(), **self.in_draw.at(sim=sim).read()}
                for sim in split.iter_sims()
            ]
        )


class ScoresExecutor(BaseStageExecutor):
    """Gathers the scores of all simulations, methods and splits into tables and figures."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="scores")
        self.out = dict(self.assets_out)
        self.inputs = {name: self.assets_in[name] for name in ("metrics", "latitude", "bands")}

    def execute(self) -> None:
        """Write all numbers, their means in four formats, the few that DVC compares, and charts."""
        found = {
            (split.name, method): [self._read(split, method, sim) for sim in split.iter_sims()]
            for split in self.splits
            for method in self.estimates_of(split.name)
        }
        rows = table_rows(found)
        latitude, bands = profiles(found)
        values = by_metric(rows)
        scores = summarise(values)
        self.out["simulations"].write(rows)
        self.out["latitude"].write(latitude)
        self.out["bands"].write(bands)
        self.out["scores"].write(to_json(scores))
        self.out["table"].write(to_csv(scores))
        self.out["differences"].write(differences_csv(all_differences(values)))
        self.out["markdown"].write(all_markdown(scores))
        self.out["latex"].write(all_latex(scores))
        self.out["summary"].write(headline(scores))
        self.out["score_plot"].write(svg(bars_chart(scores, "rmse")))
        self.out["latitude_plot"].write(svg(latitude_chart(latitude)))
        self.out["spectrum_plot"].write(svg(power_grid(bands)))

    def _read(self, split: Split, method: str, sim: int) -> Score:
        place = {"split": split.name, "method": method, "sim": sim}
        tables = {name: asset.at(**place).read() for name, asset in self.inputs.items()}
        return Score(metrics_of(tables["metrics"]), tables["latitude"], tables["bands"])
