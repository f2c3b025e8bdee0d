"""Figures of training: losses and other numbers by epoch."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from cmbml.analysis.figures import STYLE, series


def training_figure(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]], *, label: str, title: str = "", best: int | None = None
) -> Figure:
    """Curves over epochs, logarithmic where all values are positive.

    Parameters
    ----------
    curves
        Epochs and values of each curve, for instance ``train`` and ``valid``: ``(n,)`` each.
    label
        Name and unit of the values, for the axis.
    title
        Heading.
    best
        Epoch to mark as the one whose weights are kept.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        ax = figure.add_subplot()
        for index, (name, (epochs, values)) in enumerate(curves.items()):
            ax.plot(epochs, values, label=name, **series(index) | {"markersize": 3})
        if all(np.min(values) > 0 for _, values in curves.values()):
            ax.set_yscale("log")
        if best is not None:
            ax.axvline(best, color="black", linestyle="--", linewidth=1, label=f"kept: epoch {best}")
        ax.set(xlabel="epoch", ylabel=label, title=title)
        ax.legend()
    return figure
