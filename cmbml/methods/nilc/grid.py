"""Gauss-Legendre grids: the pixels on which needlet coefficients are multiplied.

On HEALPix an analysis is approximate and needs iterations; here one pass is exact up to rounding for every
product whose degree the grid supports, with fewer points.  Maps are ``(n, n_rings, n_phi)``.
"""

from dataclasses import dataclass

import ducc0
import numpy as np

from cmbml.sky.sht import Alm, Map, alm_size, lmax_of


@dataclass(frozen=True)
class Grid:
    """A Gauss-Legendre grid whose quadrature is exact for every function of degree up to `degree`."""

    degree: int

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rings and of points on each."""
        return self.degree // 2 + 1, int(ducc0.fft.good_size(self.degree + 1, True))

    def synthesis(self, alms: Alm, threads: int) -> Map:
        """Maps of scalar a_lm: ``(n, nalm)`` to ``(n, n_rings, n_phi)``."""
        maps = np.empty((len(alms), *self.shape))
        for alm, sky in zip(alms, maps, strict=True):
            ducc0.sht.synthesis_2d(
                alm=alm[None], map=sky[None], spin=0, lmax=lmax_of(alm), geometry="GL", nthreads=threads
            )
        return maps

    def analysis(self, maps: Map, lmax: int, threads: int) -> Alm:
        """a_lm of scalar maps: ``(n, n_rings, n_phi)`` to ``(n, nalm)``, exact up to `degree` minus lmax."""
        alms = np.empty((len(maps), alm_size(lmax)), dtype=np.complex128)
        for alm, sky in zip(alms, maps, strict=True):
            ducc0.sht.analysis_2d(
                alm=alm[None], map=sky[None], spin=0, lmax=lmax, geometry="GL", nthreads=threads
            )
        return alms
