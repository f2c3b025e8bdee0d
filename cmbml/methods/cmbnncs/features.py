"""What the network sees of a sky, and what it says of it: planes in units of a scale.

A scale is a dict of plain values: ``features``, units per row of the features, ``(n_bands * n_stokes,)``;
``compression``, units beyond which features grow like their logarithm, so that the Galactic plane, thousands
of times brighter than the rest, stays in sight of a network that learns in few steps, or None for never;
``target``, uK_CMB per unit of what the network says; and ``fit``, None, or a linear fit of the CMB by the
bands (see `cmbml.methods.nn.linear_fit.statistics_of`): then the network sees the independent maps of the fit
and says what the fit leaves.
"""

import numpy as np
from numpy.typing import NDArray

from cmbml.methods.cmbnncs.checkpoint import Scale
from cmbml.methods.cmbnncs.plane import from_plane, to_plane
from cmbml.methods.nn.linear_fit import LinearFit, fitted, normalised
from cmbml.sky.sht import Map, alm2map, map2alm

# The median of |x| times this is the deviation of Gaussian x.
MEDIAN_TO_DEVIATION = 1.4826


def robust_scale(planes: Map) -> Map:
    """Deviation of most of the sky, which the Galactic plane does not set: ``(..., y, x)`` to ``(...)``."""
    return np.asarray(MEDIAN_TO_DEVIATION * np.median(np.abs(planes), axis=(-2, -1)))


def rows_of(maps: Map, fit: LinearFit | None) -> Map:
    """What features are made of, in the plane, ``(n_bands * n_stokes, 4 nside, 3 nside)``.

    Parameters
    ----------
    maps
        RING maps of the bands, ``(n_bands, n_stokes, npix)``, uK_CMB.
    fit
        A linear fit, whose independent maps of unit variance they are; None for the bands, uK_CMB.
    """
    planes = _planes(maps)
    return planes if fit is None else normalised(planes, fit)


def feature_planes(maps: Map, scale: Scale) -> NDArray[np.float32]:
    """What the network sees of bands ``(n_bands, n_stokes, npix)``, uK_CMB: in units of the scale."""
    scaled = rows_of(maps, scale["fit"]) / np.array(scale["features"])[:, None, None]
    bend = scale["compression"]
    seen = scaled if bend is None else bend * np.arcsinh(scaled / bend)
    return np.asarray(seen, dtype=np.float32)


def target_planes(cmb: Map, maps: Map, kept: NDArray[np.bool_], scale: Scale) -> Map:
    """What the network is to say, ``(n_stokes, 4 nside, 3 nside)``, in units of the scale.

    Parameters
    ----------
    cmb
        RING, ``(n_stokes, npix)``, uK_CMB.
    maps
        RING maps of the bands, ``(n_bands, n_stokes, npix)``, uK_CMB.
    kept
        Pixels that the mask keeps, ``(npix,)``: elsewhere nothing is said beyond a linear fit, which leaves
        so much there that the loss would see nothing else.
    scale
        The scale.
    """
    planes, fit = to_plane(cmb), scale["fit"]
    wanted = planes if fit is None else (planes - fitted(_planes(maps), fit)) * to_plane(kept)
    return np.asarray(wanted / scale["target"])


def cmb_planes(said: Map, maps: Map, scale: Scale) -> Map:
    """The CMB in the plane, uK_CMB, from what the network said of `maps`."""
    found, fit = said.astype(np.float64) * scale["target"], scale["fit"]
    return np.asarray(found if fit is None else found + fitted(_planes(maps), fit))


def sky_of(planes: Map, lmax: int) -> Map:
    """RING maps of planes, with nothing beyond lmax."""
    sky = from_plane(planes)
    return alm2map(map2alm(sky, lmax), round(np.sqrt(sky.shape[-1] / 12)))


def _planes(maps: Map) -> Map:
    return to_plane(maps.reshape(-1, maps.shape[-1]))
