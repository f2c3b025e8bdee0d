"""What a network may learn from train before any training: the scale of bands and target, and a linear fit.

Foregrounds are hundreds of times brighter than what a network is to find, so bands are first combined into
maps that are independent and of unit variance, and what the network says is added to a linear fit of the CMB
by the bands, pixel by pixel.  A network that has to find that fit by itself spends all of its steps on it.
"""

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

Array = NDArray[np.floating]


class LinearFit(TypedDict):
    """Scales and fit as plain values; see `statistics_of`."""

    mean: list[float]
    whitening: list[list[float]]
    weights: list[list[float]]
    offset: list[float]
    left: list[float]


def moments(rows: Array, target: Array) -> Array:
    """Means of all products of a one, bands and target, over pixels.

    Parameters
    ----------
    rows
        Bands, ``(n_rows, n_pix)``, uK_CMB.
    target
        The CMB, ``(n_stokes, n_pix)``, uK_CMB.

    Returns
    -------
    Array
        ``(1 + n_rows + n_stokes, 1 + n_rows + n_stokes)``; the mean over skies is that over all their pixels.
    """
    values = np.concatenate([np.ones((1, rows.shape[1])), rows, target])
    return np.asarray(values @ values.T / rows.shape[1])


def statistics_of(mean: Array, n_stokes: int) -> LinearFit:
    """Scales and fit from moments: plain values.

    Parameters
    ----------
    mean
        Mean of `moments` over train.
    n_stokes
        Fields of the target.

    Returns
    -------
    dict
        ``mean`` of the bands, uK_CMB, and ``whitening``, ``(n_rows, n_rows)``, for `normalised`; ``weights``,
        ``(n_stokes, n_rows)``, and ``offset``, uK_CMB, for `fitted`; ``left``, what the fit leaves of the
        target: its deviation, ``(n_stokes,)``, uK_CMB.
    """
    first = mean[0, 1:]
    covariance = mean[1:, 1:] - np.outer(first, first)
    bands, target = slice(None, -n_stokes), slice(-n_stokes, None)
    variance, axes = np.linalg.eigh(covariance[bands, bands])
    weights = np.linalg.solve(covariance[bands, bands], covariance[bands, target]).T
    left = np.diag(covariance[target, target] - weights @ covariance[bands, target])
    return {
        "mean": first[bands].tolist(),
        "whitening": (axes / np.sqrt(variance)).T.tolist(),
        "weights": weights.tolist(),
        "offset": first[target].tolist(),
        "left": np.sqrt(left).tolist(),
    }


def normalised(rows: Array, statistics: LinearFit) -> Array:
    """Bands as independent maps of unit variance over train: ``(..., n_rows, side, side)``."""
    return _mixed(statistics["whitening"], _centred(rows, statistics))


def fitted(rows: Array, statistics: LinearFit) -> Array:
    """The CMB by the linear fit: ``(..., n_rows, side, side)`` to ``(..., n_stokes, side, side)``, uK_CMB."""
    return _mixed(statistics["weights"], _centred(rows, statistics)) + _column(statistics["offset"])


def left(statistics: LinearFit) -> Array:
    """uK_CMB per unit of what the network says, ``(n_stokes, 1, 1)``."""
    return _column(statistics["left"])


def _centred(rows: Array, statistics: LinearFit) -> Array:
    return rows - _column(statistics["mean"])


def _mixed(weights: list[list[float]], rows: Array) -> Array:
    return np.asarray(np.einsum("ij,...jyx->...iyx", np.array(weights), rows))


def _column(values: list[float]) -> Array:
    return np.array(values)[:, None, None]
