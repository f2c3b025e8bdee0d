"""The page of one method on one split."""

from collections.abc import Iterator

import numpy as np

from cmbml.analysis.charts.scores import (
    parts_chart,
    training_chart,
)
from cmbml.analysis.residuals import split_by_component
from cmbml.analysis.tables import LEADING
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.namer import sim_tag
from cmbml.core.spec.roles import COMPARISON, COMPONENT, CURVE, Role
from cmbml.core.views.dataset import Dataset
from cmbml.report.html import (
    Flip,
    Page,
    Picture,
    chart_picture,
)
from cmbml.report.index import traces_of
from cmbml.report.maps.images import map_picture, zoom_picture
from cmbml.report.maps.mollweide import map_span
from cmbml.report.numbers import Numbers
from cmbml.report.page import median_sim, method_page
from cmbml.report.submissions import (
    Scorer,
    submitted_sky,
)
from cmbml.sky.sht import Map

BEAMS_PER_ZOOM = 30
MAX_ZOOM_DEG = 60.0
POLE = (0.0, 75.0)
FIELDS = "TQU"


def method_page_of(numbers: Numbers, scorer: Scorer, method: str, split: str) -> Page:
    """Maps, spectra and scores of one method on one split, at the sky with the median score."""
    plan, results = numbers.plan, numbers.results[split]
    sim = median_sim(results.values[method][LEADING])
    if method in numbers.guests:
        estimate = scorer.ground.estimate(submitted_sky(plan, method, split))
        traces = {}
    else:
        estimate = scorer.estimate(method, split, sim)
        place = {"method": method, "split": split, "sim": sim}
        file = scorer.data.output(COMPARISON).at(**place).path
        traces = traces_of(plan, {f"the scores of {sim_tag(sim)}": file})
    flips = list(_page_flips(scorer, scorer.truth(split, sim), estimate, f"{method}, {split} {sim_tag(sim)}"))
    figures = [
        *training_figures(plan, scorer.data, method),
        *_component_figures(plan, scorer, method, split, sim),
    ]
    return method_page(
        method,
        results,
        flips,
        numbers.rng,
        n_resamples=plan.config.params.analysis.n_bootstrap,
        figures=figures,
        traces=traces,
    )


def _page_flips(scorer: Scorer, truth: Map, estimate: Map, title: str) -> Iterator[Flip]:
    """Truth, estimate and difference of every field: whole, near the pole and at the worst place."""
    ground = scorer.ground
    size = min(MAX_ZOOM_DEG, BEAMS_PER_ZOOM * ground.fwhm_arcmin / 60)
    for name, true, found in zip(FIELDS, truth, estimate, strict=False):
        residual = found - true
        frames = {"truth": true, "estimate": found, "difference": residual}
        spans = {kind: map_span(true if kind != "difference" else residual, ground.mask) for kind in frames}
        yield Flip(
            f"{name}: {title}",
            {
                kind: map_picture(sky, f"{kind} of {name}, {title}, Mollweide projection", span=spans[kind])
                for kind, sky in frames.items()
            },
        )
        for label, centre in (("near the pole", POLE), ("at the largest error", ground.worst(residual))):
            where = f"l = {centre[0]:.0f}°, b = {centre[1]:.0f}°, {size:.0f}° wide"
            yield Flip(
                f"{name} {label}: {where}",
                {
                    kind: zoom_picture(
                        sky, f"{kind} of {name}, {where}", centre=centre, size=size, span=spans[kind]
                    )
                    for kind, sky in frames.items()
                },
                small=True,
            )


def training_figures(plan: Plan, data: Dataset, method: str) -> Iterator[Picture]:
    """Loss by epoch of every stage that trains for a method: of its pipeline file, with an output ``curve``.

    Parameters
    ----------
    plan, data
        The dataset, in which these stages are complete.
    method
        Name of the method.
    """
    for stage in plan.stages_of(method):
        if CURVE in stage.assets_out:
            rows = data.output(Role(stage.key, CURVE)).at().read()
            epochs = [row["epoch"] for row in rows]
            columns = [name for name in rows[0] if name != "epoch"]
            losses = {name: (epochs, [row[name] for row in rows]) for name in columns}
            best = epochs[int(np.argmin(losses["valid"][1]))] if "valid" in losses else None
            chart = training_chart(losses, title=f"Training, stage {stage.key}", best=best)
            yield chart_picture(chart, f"Loss by epoch, stage {stage.key}")


def _component_figures(plan: Plan, scorer: Scorer, method: str, split: str, sim: int) -> Iterator[Picture]:
    """What the weights of a linear method make of every component of one sky, where a stage has kept that."""
    stage = next((stage for stage in plan.stages_of(method) if COMPONENT in stage.assets_out), None)
    if stage is None:
        return
    part = scorer.data.output(Role(stage.key, COMPONENT))
    names = stage.assets_out[COMPONENT].fields
    skies = {n: scorer.ground.estimate(part.at(split=split, sim=sim, field=n).read())[0] for n in names}
    groups = {"cmb": skies.pop("cmb"), "noise": skies.pop("noise"), "foreground": sum(skies.values())}
    truth, mask = scorer.truth(split, sim)[0], scorer.ground.mask
    parts = split_by_component({name: np.asarray(sky) for name, sky in groups.items()}, truth, mask)
    single = {
        name: split_by_component({"cmb": truth, name: sky}, truth, mask)[name] for name, sky in skies.items()
    }
    chart = parts_chart(
        {method: parts, **{name: {"foreground": rms} for name, rms in single.items()}},
        title=f"What is left of every component, {sim_tag(sim)}",
    )
    yield chart_picture(chart, f"Parts of the residual of {method} by component, rms in µK")
