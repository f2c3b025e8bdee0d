"""The stage that compares what methods make of a real sky with published CMB maps."""

from dataclasses import replace

import numpy as np

from cmbml.analysis.scoring import Ground, Rows
from cmbml.analysis.spectra.comparison import Comparison, compare
from cmbml.analysis.spectra.coupling import Matrix
from cmbml.analysis.spectra.master import masked_alm
from cmbml.core import Asset, BaseStageExecutor, Split, StageConfig
from cmbml.core.errors import DataError
from cmbml.sky.inpaint import inpaint
from cmbml.sky.instrument import PIXEL_LMAX
from cmbml.sky.observed.params import ObservedParams
from cmbml.sky.sht import Map
from cmbml.sky.skymap import SkyMap, is_unseen


class SkyComparisonExecutor(BaseStageExecutor):
    """Makes difference maps and cross-spectra of one method's map and each published one."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="sky_comparison")
        self.out = {name: self.assets_out[name] for name in ("difference", "bands", "summary")}
        self.in_estimate: Asset[SkyMap] = self.assets_in["estimate"]
        self.in_cmb: Asset[SkyMap] = self.assets_in["cmb"]
        self.in_mask: Asset[SkyMap] = self.assets_in["mask"]
        self.in_coupling: Asset[Matrix] = self.assets_in["coupling"]
        self.common = (cfg.analysis.fwhm_arcmin, cfg.analysis.lmax, cfg.instrument.nside)
        self.band_width = cfg.analysis.band_width
        self.observed: ObservedParams = cfg.observed

    def setup(self) -> None:
        """Bring the published maps to common ground, once for all."""
        mask = self.in_mask.read(nside=self.common[-1]).values[0]
        self.ground = Ground(*self.common, mask, self.threads)
        self.master = self.ground.decoupling(self.in_coupling.read(), self.band_width, polarised=False)
        self.published = {name: self._published(name) for name in self.in_cmb.fields}

    def _published(self, name: str) -> Map:
        ref = self.in_cmb.at(field=name)
        raw = ref.read(
            content="T",
            unit=self.observed.unit,
            pixwin=self.observed.pixwin,
            fwhm_arcmin=self.observed.cmb_fwhm_arcmin,
            allow_unseen=True,
        )
        filled = inpaint(raw.values[0], is_unseen(raw.values[0]))[np.newaxis]
        sky = replace(
            replace(raw, values=filled).to("uK_CMB"),
            fwhm_arcmin=self.observed.cmb_fwhm_arcmin,
            lmax=int(PIXEL_LMAX * raw.nside),
            pixwin=self.observed.pixwin,
        )
        return self._common(sky, str(ref.path))

    def _common(self, sky: SkyMap, where: str) -> Map:
        try:
            return self.ground.estimate(replace(sky, values=sky.values[:1]))
        except ValueError as error:
            raise DataError(f"{where}: {error}") from None

    def process_sim(self, split: Split, sim: int) -> None:
        """Compare one cleaned sky with all published ones."""
        estimate = self._common(self.in_estimate.read(), f"{self.in_estimate.path.name} of {self.method}")
        rows: Rows = []
        summary = {}
        for name, other in self.published.items():
            difference = (estimate - other) * self.ground.mask
            comparison = self._spectra(estimate, other)
            rows += [{"published": name, **row} for row in _rows(comparison)]
            summary[name] = self._numbers(difference[0], other[0], comparison)
            with self.name_tracker.set_context("field", name):
                lmax, fwhm = self.common[1], self.common[0]
                self.out["difference"].write(SkyMap(difference, "uK_CMB", fwhm, lmax))
        self.out["bands"].write(rows)
        self.out["summary"].write(summary)

    def _spectra(self, estimate: Map, other: Map) -> Comparison:
        own, published = (masked_alm(sky, self.ground.mask, self.common[1]) for sky in (estimate, other))
        return compare(own, published, self.master)["TT"]

    def _numbers(self, difference: Map, other: Map, comparison: Comparison) -> dict[str, float]:
        """RMS of the difference and of the published map in uK_CMB under the mask, and how alike they are."""
        weight = self.ground.mask.sum()
        transfer, coherence = comparison.transfer, comparison.coherence
        return {
            "rms_difference": float(np.sqrt((difference**2).sum() / weight)),
            "rms_published": float(np.sqrt((self.ground.mask * other**2).sum() / weight)),
            "mean_transfer": float(np.nanmean(transfer)),
            "mean_coherence": float(np.nanmean(coherence)),
        }


def _rows(comparison: Comparison) -> list[dict[str, float]]:
    """Band powers D_b in uK^2: of both maps, their cross-spectrum, and of the difference."""
    table = {
        "ell": comparison.ell,
        "published_power": comparison.truth,
        "estimate_power": comparison.estimate,
        "cross_power": comparison.cross,
        "difference_power": comparison.residual,
    }
    return [dict(zip(table, map(float, row), strict=True)) for row in zip(*table.values(), strict=True)]
