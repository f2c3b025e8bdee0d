"""Figures of band powers: spectra with their residuals, transfer function and coherence."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cmbml.analysis.figures import MULTIPOLE, STYLE, series
from cmbml.analysis.reference import REFERENCE_LABELS
from cmbml.analysis.spectra.comparison import Comparison
from cmbml.sky.sht import Cl


def power_figure(
    methods: Mapping[str, Comparison], sigma: Cl, *, field: str = "TT", title: str = ""
) -> Figure:
    """Band powers of truth, estimates and residuals; below, the errors in units of the sample variance.

    Parameters
    ----------
    methods
        Comparison of each method, of one simulation or the mean of many; the truth is that of the first.
    sigma
        Standard deviation of the truth's band powers by sample variance, for as many simulations, uK^2:
        ``(n_bands,)``.
    field
        TT, EE, BB or TE; a spectrum that may be negative is drawn on a linear axis.
    title
        Heading.
    """
    truth = next(iter(methods.values()))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.6, 6), layout="constrained")
        power, error = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
        power.plot(truth.ell, truth.truth, color="black", linewidth=3, alpha=0.35, label="truth")
        for index, (method, comparison) in enumerate(methods.items()):
            style = series(index) | {"markersize": 3}
            _power_lines(power, REFERENCE_LABELS.get(method, method), comparison, style)
            error.plot(comparison.ell, comparison.error / sigma, **style)
        error.axhspan(-1, 1, color="0.9", label="sample variance")
        power.set_xscale("log")
        if field != "TE":
            power.set_yscale("log", nonpositive="mask")
        power.set(ylabel=rf"$D_\ell^{{{field}}}$ [µK²]", title=title)
        error.set(xlabel=MULTIPOLE, ylabel="(estimate - truth) / $\\sigma$")
        power.legend(fontsize=8, ncols=2)
        error.legend(fontsize=8, loc="upper left")
    return figure


def _power_lines(ax: Axes, label: str, comparison: Comparison, style: dict[str, Any]) -> None:
    ax.plot(comparison.ell, comparison.estimate, label=label, **style)
    ax.plot(comparison.ell, comparison.residual, label=f"{label}, residual", **style | {"linestyle": ":"})


def transfer_figure(methods: Mapping[str, Comparison], *, field: str = "TT", title: str = "") -> Figure:
    """Transfer function and coherence of every method, without unit.

    Parameters are those of `power_figure`.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.6, 5.2), layout="constrained")
        transfer, coherence = figure.subplots(2, 1, sharex=True)
        for index, (method, comparison) in enumerate(methods.items()):
            style = series(index) | {"label": REFERENCE_LABELS.get(method, method), "markersize": 3}
            transfer.plot(comparison.ell, comparison.transfer, **style)
            coherence.plot(comparison.ell, comparison.coherence, **style)
        for ax in (transfer, coherence):
            ax.axhline(1, color="black", linewidth=0.8)
            ax.set_xscale("log")
        transfer.set(ylabel=f"transfer function {field}\ncross / truth", title=title)
        coherence.set(xlabel=MULTIPOLE, ylabel=f"coherence {field}\ncross / √(estimate · truth)")
        transfer.legend(fontsize=8)
    return figure
