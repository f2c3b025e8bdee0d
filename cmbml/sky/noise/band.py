"""The noise of one band, of whatever kind: how it is drawn, and its mean spectrum."""

from dataclasses import dataclass

import numpy as np

from cmbml.sky.instrument import white_noise_cl
from cmbml.sky.noise.draws import WHITE, Knee, draw_modulated_noise, draw_white_noise
from cmbml.sky.noise.learned import NoiseModel, draw_noise_model
from cmbml.sky.sht import Alm, Cl, Map, resize_alm


@dataclass(frozen=True)
class BandNoise:
    """Noise of one band.

    Attributes
    ----------
    depths
        Mean white depth of T, or of T, E, B, in uK_CMB arcmin.
    knee
        Correlation on large scales.
    modulation
        Depth on the grid of `noise.depths_on_grid`, ``(n_stokes, size)``; None where it is uniform.
    model
        Learnt model, of temperature, in place of all others.
    """

    depths: tuple[float, ...]
    knee: Knee = WHITE
    modulation: Map | None = None
    model: NoiseModel | None = None

    def draw(self, level: float, lmax: int, rng: np.random.Generator, *, threads: int = 1) -> Alm:
        """Draw the noise of one simulation.

        Parameters
        ----------
        level
            Factor on its depth.
        lmax
            Band-limit.
        rng
            Generator of this band and simulation.
        threads
            Number of threads.

        Returns
        -------
        Alm
            ``(n_stokes, nalm)`` in uK_CMB.
        """
        if self.model is not None:
            return level * resize_alm(draw_noise_model(self.model, rng), lmax)[np.newaxis]
        if self.modulation is not None:
            return level * draw_modulated_noise(self.modulation, lmax, rng, knee=self.knee, threads=threads)
        scaled = [level * depth for depth in self.depths]
        return draw_white_noise(
            scaled[0], lmax, rng, n_stokes=len(scaled), knee=self.knee, depth_p_uk_arcmin=scaled[-1]
        )

    def spectra(self, level: float, lmax: int) -> Cl:
        """Mean spectra: ``(n_stokes, lmax + 1)`` in uK_CMB^2."""
        if self.model is not None:
            # The mean of a log-normal spectrum, by the variance of its logarithm.
            variance = (np.log(10) ** 2) * np.sum(self.model.components**2, axis=0)
            return (level**2 * 10**self.model.mean_log10 * np.exp(variance / 2))[np.newaxis, : lmax + 1]
        shape = self.knee.shape(lmax)
        return np.stack([white_noise_cl(level * depth, lmax) * shape for depth in self.depths])
