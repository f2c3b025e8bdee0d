"""The Gauss-Legendre grid: analysis there is exact and takes one transform, where HEALPix needs iterations.

Products of band-limited fields are formed on it (lensing, foreground emission); maps for people are HEALPix.
"""

from dataclasses import dataclass

import ducc0
import numpy as np
from numpy.typing import NDArray

from cmbml.sky.sht import Alm, Map, alm2map, alm_size, almxfl, lmax_of

Array = NDArray[np.floating]


@dataclass(frozen=True)
class GaussGrid:
    """Gauss-Legendre rings of equidistant points.

    Attributes
    ----------
    lmax
        Band-limit that `analyse` recovers exactly.  A field with power up to l' > `lmax` is aliased above
        l = 2 `lmax` - l' only.
    threads
        Number of threads of the transforms.
    """

    lmax: int
    threads: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rings and of points on each."""
        return self.lmax + 1, int(ducc0.fft.good_size(2 * self.lmax + 2, True))

    @property
    def size(self) -> int:
        """Number of points."""
        return self.shape[0] * self.shape[1]

    @property
    def colatitudes(self) -> Array:
        """Colatitude of every ring, radians."""
        return np.asarray(ducc0.misc.GL_thetas(self.shape[0]))

    @property
    def longitudes(self) -> Array:
        """Longitude of the points of a ring, radians."""
        return np.arange(self.shape[1]) * (2 * np.pi / self.shape[1])

    def directions(self) -> tuple[Array, Array]:
        """Longitude and latitude of all points, radians: ``(size,)`` each."""
        latitude, longitude = np.meshgrid(np.pi / 2 - self.colatitudes, self.longitudes, indexing="ij")
        return longitude.ravel(), latitude.ravel()

    def synthesise(self, alm: Alm, spin: int = 0) -> Map:
        """Maps of one spin: ``(1, nalm)`` to ``(1, size)``, or ``(2, nalm)`` to ``(2, size)`` for spin 2."""
        sky = ducc0.sht.synthesis_2d(
            alm=alm,
            spin=spin,
            lmax=lmax_of(alm),
            ntheta=self.shape[0],
            nphi=self.shape[1],
            geometry="GL",
            nthreads=self.threads,
        )
        return np.asarray(sky).reshape(len(sky), -1)

    def synthesise_scalars(self, alms: Alm) -> Map:
        """Maps of several scalars: ``(n, nalm)`` to ``(n, size)``."""
        maps = np.empty((len(alms), self.size))
        for sky, alm in zip(maps, alms, strict=True):
            sky[:] = self.synthesise(alm[None])[0]
        return maps

    def gradient(self, alm: Alm) -> Map:
        """Derivatives of a scalar along colatitude and longitude: ``(1, nalm)`` to ``(2, size)``."""
        # Both derivatives of a point lie side by side: that is how lensing reads them.
        pairs = np.empty((*self.shape, 2))
        lmax = lmax_of(alm)
        ell = np.arange(lmax + 1)
        # A gradient is a field of spin 1 without curl; this is faster than ducc0's own derivatives.
        scaled = almxfl(alm, np.sqrt(ell * (ell + 1.0)))
        ducc0.sht.synthesis_2d(
            alm=np.concatenate([scaled, np.zeros_like(scaled)]),
            map=np.moveaxis(pairs, 2, 0),
            spin=1,
            lmax=lmax,
            geometry="GL",
            nthreads=self.threads,
        )
        return pairs.reshape(-1, 2).T

    def analyse(self, sky: Map, lmax: int, spin: int = 0) -> Alm:
        """Harmonic coefficients of maps of one spin: the inverse of `synthesise` up to the grid's band."""
        alm = ducc0.sht.analysis_2d(
            map=np.ascontiguousarray(sky).reshape(len(sky), *self.shape),
            spin=spin,
            lmax=lmax,
            geometry="GL",
            nthreads=self.threads,
        )
        return np.asarray(alm)

    def analyse_scalars(self, maps: Map, lmax: int) -> Alm:
        """Harmonic coefficients of several scalars: ``(n, size)`` to ``(n, nalm)``."""
        alms = np.empty((len(maps), alm_size(lmax)), dtype=np.complex128)
        for alm, sky in zip(alms, maps, strict=True):
            alm[:] = self.analyse(sky[None], lmax)[0]
        return alms


@dataclass(frozen=True)
class HealpixGrid:
    """HEALPix pixel centres, with the methods of `GaussGrid` that need no quadrature."""

    nside: int
    threads: int = 1

    @property
    def size(self) -> int:
        """Number of points."""
        return 12 * self.nside**2

    def directions(self) -> tuple[Array, Array]:
        """Longitude and latitude of all pixels, radians: ``(size,)`` each."""
        base = ducc0.healpix.Healpix_Base(self.nside, "RING")
        colatitude, longitude = base.pix2ang(np.arange(self.size)).T
        return longitude, np.pi / 2 - colatitude

    def synthesise(self, alm: Alm, spin: int = 0) -> Map:
        """Maps of one spin: ``(1, nalm)`` to ``(1, size)``, or ``(2, nalm)`` to ``(2, size)`` for spin 2."""
        if spin == 0:
            return alm2map(alm, self.nside, threads=self.threads)
        return alm2map(np.concatenate([np.zeros_like(alm[:1]), alm]), self.nside, threads=self.threads)[1:]


Grid = GaussGrid | HealpixGrid
