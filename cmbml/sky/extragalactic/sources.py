"""Radio sources, drawn one by one from power-law counts, and the mask of the bright ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import ducc0
import numpy as np
from numpy.typing import NDArray

from cmbml.sky.emission import squeeze
from cmbml.sky.grid import Array
from cmbml.sky.passbands import Band, as_bandpass
from cmbml.sky.sht import ARCMIN, Alm, Map, alm_size
from cmbml.sky.units import MJYSR_PER_KELVIN_GHZ2, Factor, power_law

SOURCE_GHZ = 143.0
# n(S) = 15 (S / Jy)^-2.1 per Jy and sr at 143 GHz.  That is the shot noise of the model of Tucci et al. 2011
# (arXiv:1103.5707) that Planck uses, 4.8 Jy^2/sr below 0.25 Jy; with the spectra below it gives the counts of
# Ricci et al. 2004 (arXiv:astro-ph/0407130) at 18 GHz, 57 (S / Jy)^-2.2.
COUNT, COUNT_SLOPE = 15.0, -2.1
FAINTEST_JY = 0.005  # what is fainter would add 2 per cent to the power of sources below 0.35 Jy
# Flux is nu^index: flat spectra, steeper at higher frequencies (Planck early results XIII, arXiv:1101.2044).
INDEX, INDEX_SD = -0.4, 0.3
POLARISED = 0.03  # mean degree of polarisation: Bonavera et al. 2017 (arXiv:1703.09952)
MASK_RADIUS = 1.27  # of a disc, in units of the FWHM: three standard deviations of the beam


@dataclass(frozen=True)
class Sources:
    """Point sources, each entry ``(n,)``.

    Attributes
    ----------
    longitude, latitude
        Galactic, radians.
    flux_jy
        Flux at 143 GHz, Jy.
    index
        Spectral index of the flux.
    angle
        Angle of polarisation (COSMO), radians.
    """

    longitude: Array
    latitude: Array
    flux_jy: Array
    index: Array
    angle: Array

    def kept(self, which: NDArray[np.bool_]) -> "Sources":
        """Some of the sources."""
        return Sources(**{name: value[which] for name, value in vars(self).items()})

    def split(self, cut_jy: float) -> tuple["Sources", "Sources"]:
        """Those fainter than a flux at 143 GHz, and the others."""
        faint = self.flux_jy < cut_jy
        return self.kept(faint), self.kept(~faint)


def draw_sources(rng: np.random.Generator) -> Sources:
    """Draw the sources of one sky above 5 mJy at 143 GHz: about 58,000, without clustering."""
    count, place, flux, index, angle = rng.spawn(5)
    power = COUNT_SLOPE + 1
    n = int(count.poisson(4 * np.pi * COUNT / -power * FAINTEST_JY**power))
    longitude, sine = place.random((2, n))
    return Sources(
        2 * np.pi * longitude,
        np.arcsin(2 * sine - 1),
        FAINTEST_JY * (1 - flux.random(n)) ** (1 / power),
        INDEX + INDEX_SD * index.standard_normal(n),
        np.pi * angle.random(n),
    )


def source_alm(sources: Sources, bands: Sequence[Band], lmax: int, *, n_stokes: int = 1) -> Alm:
    """What the bands see of sources.

    Parameters
    ----------
    sources
        The sources.
    bands
        Frequencies in GHz, or bandpasses.
    lmax
        Band-limit.
    n_stokes
        1 for T, 3 for T, E, B.

    Returns
    -------
    Alm
        Unbeamed, Galactic, uK_CMB: ``(n_freq, nalm)``, or ``(n_freq, 3, nalm)``.
    """
    # 1 Jy at the reference in uK_RJ sr.
    brightness = sources.flux_jy / (MJYSR_PER_KELVIN_GHZ2 * SOURCE_GHZ**2)

    def law(freq: float) -> Factor:
        return power_law(freq, SOURCE_GHZ, sources.index - 2)

    rows = []
    for band in bands:
        light = (brightness * as_bandpass(band).average(law))[np.newaxis]
        alm = _points_alm(sources, light, 0, lmax)
        if n_stokes == 3:
            turned = POLARISED * light * [np.cos(2 * sources.angle), np.sin(2 * sources.angle)]
            alm = np.concatenate([alm, _points_alm(sources, turned, 2, lmax)])
        rows.append(alm)
    return squeeze(rows)


def _points_alm(sources: Sources, light: Map, spin: int, lmax: int) -> Alm:
    """Coefficients of delta functions on the sphere: ``(n, n_sources)`` to ``(n, nalm)``."""
    if not len(sources.flux_jy):
        return np.zeros((len(light), alm_size(lmax)), dtype=np.complex128)
    # With several threads the order of its sums would be left to chance.
    alm = ducc0.sht.adjoint_synthesis_general(
        map=np.ascontiguousarray(light),
        loc=np.stack([np.pi / 2 - sources.latitude, sources.longitude], axis=1),
        spin=spin,
        lmax=lmax,
        epsilon=1e-9,
        nthreads=1,
    )
    return np.asarray(alm)


def source_mask(sources: Sources, nside: int, fwhm_arcmin: float) -> Map:
    """The mask that cuts out sources: 0 within 1.27 FWHM of each, else 1, RING: ``(npix,)``."""
    base = ducc0.healpix.Healpix_Base(nside, "RING")
    mask = np.ones(12 * nside**2)
    mask[base.ang2pix(np.stack([np.pi / 2 - sources.latitude, sources.longitude], axis=1))] = 0
    for longitude, latitude in zip(sources.longitude, sources.latitude, strict=True):
        place = np.array([np.pi / 2 - latitude, longitude])
        for first, end in base.query_disc(place, MASK_RADIUS * fwhm_arcmin * ARCMIN):
            mask[first:end] = 0
    return mask
