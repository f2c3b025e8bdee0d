"""The stages of the Wiener filter: its window, learned where the CMB is known, and the filtered maps."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cmbml.core import Asset, BaseStageExecutor, Split, StageConfig
from cmbml.methods.executors import mean
from cmbml.methods.ilc import known_beams
from cmbml.methods.wiener.wiener import SPECTRA, residual_power, signal_power, wiener_window
from cmbml.sky.instrument import described
from cmbml.sky.mask import apodise
from cmbml.sky.sht import Cl, alm2map, almxfl, gaussian_beam, map2alm
from cmbml.sky.skymap import SkyAlm, SkyMap

# Soft enough that the plane's residual does not ring into the spectrum.
APODISATION_ARCMIN = 300.0


class WienerWindowExecutor(BaseStageExecutor):
    """Learns signal and residual of the estimate outside the mask: on the declared splits only."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="wiener_window")
        self.out_window: Asset[Mapping[str, Cl]] = self.assets_out["window"]
        self.out_settings: Asset[Mapping[str, object]] = self.assets_out["settings"]
        self.in_estimate: Asset[SkyMap] = self.assets_in["estimate"]
        self.in_cmb: Asset[SkyAlm] = self.assets_in["cmb"]
        self.in_theory: Asset[Mapping[str, Cl]] = self.assets_in["theory"]
        self.in_mask: Asset[SkyMap] = self.assets_in["mask"]
        self.lmax = cfg.instrument.lmax
        self.instrument = described(cfg.instrument.bands)

    def setup(self) -> None:
        """Read the mask."""
        self.mask = apodise(self.in_mask.read().values[0], APODISATION_ARCMIN, threads=self.threads)

    def execute(self) -> None:
        """Average signal and residual over all simulations."""
        self.setup()
        sims = [(split.name, sim) for split in self.splits for sim in split.iter_sims()]
        signal = mean(self._signal(*sim) for sim in sims)
        residual = mean(self._residual(*sim) for sim in sims)
        windows = [wiener_window(*powers) for powers in zip(signal, residual, strict=True)]
        self.out_window.write(dict(zip(SPECTRA, windows, strict=False)))
        self.out_settings.write(self._settings(*sims[0]))

    def _settings(self, split: str, sim: int) -> dict[str, object]:
        """What a map must be for the window to belong to it."""
        fwhm = self.in_estimate.at(split=split, sim=sim).read().fwhm_arcmin
        return {
            "instrument": self.instrument,
            "estimate": self.stage.assets_in["estimate"].stage,
            "fwhm_arcmin": fwhm,
            "lmax": self.lmax,
        }

    def _signal(self, split: str, sim: int) -> Cl:
        theory = self.in_theory.at(split=split, sim=sim).read()
        estimate = self.in_estimate.at(split=split, sim=sim).read()
        (fwhm,) = known_beams([estimate.fwhm_arcmin], 1)
        return signal_power(theory, len(estimate.values), fwhm, self.lmax)

    def _residual(self, split: str, sim: int) -> Cl:
        estimate = self.in_estimate.at(split=split, sim=sim).read()
        cmb = self.in_cmb.at(split=split, sim=sim).read().values
        (fwhm,) = known_beams([estimate.fwhm_arcmin], 1)
        smooth = almxfl(cmb, gaussian_beam(fwhm, self.lmax))
        truth = alm2map(smooth, estimate.nside, threads=self.threads)
        return residual_power(estimate.values, truth, self.mask, self.lmax, threads=self.threads)


class WienerExecutor(BaseStageExecutor):
    """Filters every cleaned map of the estimate."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="wiener")
        self.out_cleaned: Asset[SkyMap] = self.assets_out["cleaned"]
        self.in_estimate: Asset[SkyMap] = self.assets_in["estimate"]
        self.in_halves: Asset[SkyMap] | None = self.assets_in.get("halves")
        self.in_window: Asset[Mapping[str, Cl]] = self.assets_in["window"]
        self.lmax = cfg.instrument.lmax

    def setup(self) -> None:
        """Read the window."""
        self.window = list(self.in_window.read().values())

    def process_sim(self, split: Split, sim: int) -> None:
        """Filter one simulation."""
        self.out_cleaned.write(self._filtered(self.in_estimate.read()))
        if self.in_halves is not None:
            out: Asset[SkyMap] = self.assets_out["halves"]
            for half in out.fields:
                with self.name_tracker.set_context("field", half):
                    out.write(self._filtered(self.in_halves.read()))

    def _filtered(self, estimate: SkyMap) -> SkyMap:
        alms = map2alm(estimate.values, self.lmax, threads=self.threads)
        filtered = np.stack([almxfl(alm, window) for alm, window in zip(alms, self.window, strict=True)])
        sky = alm2map(filtered, estimate.nside, threads=self.threads)
        return replace(estimate, values=sky, lmax=self.lmax, signal_preserving=False)
