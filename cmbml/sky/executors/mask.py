"""The stage that makes the analysis mask."""

import numpy as np

from cmbml.core import Asset, BaseStageExecutor, StageConfig
from cmbml.core.errors import DataError
from cmbml.sky.mask import apodise, galactic_mask, galactic_mask_fsky, threshold_mask
from cmbml.sky.sht import Map
from cmbml.sky.skymap import SkyMap


class MaskExecutor(BaseStageExecutor):
    """Makes the analysis mask: 1 where scores are taken, 0 where not, tapered between where asked for."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="mask")
        self.out_mask: Asset[SkyMap] = self.assets_out["mask"]
        self.nside = cfg.instrument.nside
        self.params = cfg.mask
        self.in_weights: Asset[SkyMap] | None = (
            self.assets_in["weights"] if self.params.kind == "map" else None
        )

    def execute(self) -> None:
        """Make the mask."""
        mask = self._mask()
        if self.params.apodisation != "none":
            mask = apodise(
                mask, self.params.apodisation_arcmin, self.params.apodisation, threads=self.threads
            )
        self.out_mask.write(SkyMap(mask[np.newaxis], "1"))

    def _mask(self) -> Map:
        if self.in_weights is not None:
            key = "column" if isinstance(self.params.column, str) else "field"
            asked = {key: self.params.column}
            weights = self.in_weights.read(content="weights", allow_unseen=True, **asked).values[0]
            try:
                return threshold_mask(weights, self.nside, self.params.threshold)
            except ValueError as error:
                raise DataError(f"{self.in_weights.path}: {error}: mask.column names another") from None
        if self.params.kind == "fsky":
            return galactic_mask_fsky(self.nside, self.params.fsky)
        return galactic_mask(self.nside, self.params.latitude_deg)
