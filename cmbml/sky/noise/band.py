"""The noise of one band, of whatever kind: how it is drawn, and its mean spectrum."""

from dataclasses import dataclass

import numpy as np

from cmbml.sky.instrument import white_noise_cl
from cmbml.sky.noise.draws import WHITE, Knee, draw_modulated_noise, draw_white_noise
from cmbml.sky.noise.learned import NoiseModel, draw_half_difference, draw_noise_model
from cmbml.sky.noise.stripes import Stripes
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
        Learnt model, of temperature, in place of depth and knee.
    stripes
        Stripes along the scan, beside all else; None for none.
    """

    depths: tuple[float, ...]
    knee: Knee = WHITE
    modulation: Map | None = None
    model: NoiseModel | None = None
    stripes: Stripes | None = None

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
            noise = level * resize_alm(draw_noise_model(self.model, rng), lmax)[np.newaxis]
        elif self.modulation is not None:
            noise = level * draw_modulated_noise(self.modulation, lmax, rng, knee=self.knee, threads=threads)
        else:
            scaled = self._depths(level)
            noise = draw_white_noise(
                scaled[0], lmax, rng, n_stokes=len(scaled), knee=self.knee, depth_p_uk_arcmin=scaled[-1]
            )
        return self._striped(noise, level, lmax, rng, threads)

    def draw_half_difference(
        self,
        level: float,
        lmax: int,
        rng_noise: np.random.Generator,
        rng: np.random.Generator,
        *,
        threads: int = 1,
    ) -> Alm:
        """Draw half the difference of the halves of one simulation.

        It is noise of its own, as deep as that of the whole: added to the whole and taken off it, it gives
        halves whose noise is independent, and sqrt(2) times as deep.

        Parameters
        ----------
        level, lmax, threads
            As `draw`.
        rng_noise
            Generator with which `draw` draws the whole.
        rng
            Generator of the difference.

        Returns
        -------
        Alm
            ``(n_stokes, nalm)`` in uK_CMB.
        """
        if self.model is None:
            return self.draw(level, lmax, rng, threads=threads)
        noise = level * resize_alm(draw_half_difference(self.model, rng_noise, rng), lmax)[np.newaxis]
        return self._striped(noise, level, lmax, rng, threads)

    def _striped(self, noise: Alm, level: float, lmax: int, rng: np.random.Generator, threads: int) -> Alm:
        if self.stripes is None:
            return noise
        # A child that no other noise has.
        (own,) = rng.spawn(1)
        return noise + self.stripes.draw(self._depths(level), lmax, own, threads=threads)

    def spectra(self, level: float, lmax: int) -> Cl:
        """Mean spectra: ``(n_stokes, lmax + 1)`` in uK_CMB^2."""
        if self.model is not None:
            mean = level**2 * self.model.mean_spectrum()[np.newaxis, : lmax + 1]
        else:
            shape = self.knee.shape(lmax)
            mean = np.stack([white_noise_cl(depth, lmax) * shape for depth in self._depths(level)])
        return mean if self.stripes is None else mean + self.stripes.spectra(self._depths(level), lmax)

    def _depths(self, level: float) -> tuple[float, ...]:
        return tuple(level * depth for depth in self.depths)
