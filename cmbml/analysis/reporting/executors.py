"""Builds the report from finished data."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cmbml.analysis.figures import map_span
from cmbml.analysis.gathering import Found, by_metric, profiles, table_rows
from cmbml.analysis.map_images import map_picture, zoom_picture
from cmbml.analysis.pages import LEADING, SplitResults, median_sim, method_page
from cmbml.analysis.reference import NOISE_FLOOR, PERFECT
from cmbml.analysis.report import (
    Flip,
    Page,
    Picture,
    ReportContext,
    Table,
    chart_picture,
    render,
    render_page,
    require_one_page_each,
)
from cmbml.analysis.residuals import split_by_component
from cmbml.analysis.score_charts import (
    bars_chart,
    gap_chart,
    latitude_chart,
    parts_chart,
    spectra_of,
    training_chart,
)
from cmbml.analysis.scoring import Rows
from cmbml.analysis.statistics import Interval, Scores, differences, summarise
from cmbml.analysis.subcategories import generalisation_gap
from cmbml.analysis.submissions.executors import (
    COMPARISON,
    Scorer,
    expect_complete,
    submissions,
    submitted_sky,
)
from cmbml.analysis.tables import all_latex, all_markdown, from_dict, to_csv, to_markdown
from cmbml.core import Split, generator
from cmbml.core.dataset import Dataset
from cmbml.core.freshness import REPORT, report_mark
from cmbml.core.handlers import get_handler
from cmbml.core.ledger import Ledger
from cmbml.core.namer import sim_tag
from cmbml.core.plan import Plan, Portion
from cmbml.core.provenance import commit
from cmbml.core.schema import Params
from cmbml.core.trace import trace_lines
from cmbml.core.usage import usage
from cmbml.sky.sht import Map

HOME = "test"
"""The split whose skies are like those that methods learn from; else the first one stands for it."""

BEAMS_PER_ZOOM = 30
MAX_ZOOM_DEG = 60.0
POLE = (0.0, 75.0)
FIELDS = "TQU"


@dataclass(frozen=True)
class _Numbers:
    """All numbers of a report: of our methods and of maps made elsewhere."""

    plan: Plan
    scores: Scores
    results: Mapping[str, SplitResults]
    latitude: Rows
    guests: frozenset[str]
    notes: tuple[str, ...]

    @property
    def home(self) -> str:
        """The split that the others are compared with."""
        return next(iter(self.results))

    def rng(self, name: str) -> np.random.Generator:
        """Generator of the resamples for a name."""
        return _rng_of(self.plan.config.params.seed)(name)


class ReportBuilder:
    """Writes the report of a finished dataset.

    Parameters
    ----------
    plan
        The dataset's plan.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def build(self) -> Path:
        """Write reports/index.html, with a page for every method and split beside it; return its path.

        Raises
        ------
        DataError
            Where the dataset is not finished.
        """
        plan = self.plan
        for stage in plan.stages:
            expect_complete(plan, stage)
        path, text = plan.config.root / REPORT, get_handler("Text")
        numbers, scorer = _numbers(plan), Scorer(plan)
        wanted = [
            Page(method, split)
            for split, found in numbers.results.items()
            for method in found.values
            if method not in (NOISE_FLOOR, PERFECT)
        ]
        context = _context(numbers, wanted)
        require_one_page_each(context)
        for old in path.parent.glob("*--*.html"):
            old.unlink()
        for empty in wanted:
            page = _page(numbers, scorer, empty.method, empty.split)
            text.write(path.with_name(page.file_name), render_page(context, page))
        maps, figures = _index_flips(numbers, scorer), _index_figures(numbers)
        index = replace(context, maps=list(maps), figures=list(figures))
        text.write(path, render(index) + report_mark(plan))
        return path


def leaderboard(plan: Plan, split: str) -> str:
    """Scores of one split, maps made elsewhere among them, as a Markdown table."""
    expect_complete(plan, "scores")
    return to_markdown(_numbers(plan).scores, split)


def _rng_of(seed: int) -> Callable[[str], np.random.Generator]:
    return lambda name: generator(seed, name, 0, "bootstrap")


def _numbers(plan: Plan) -> _Numbers:
    """Read the tables of the last stage, and add what was made elsewhere."""
    config = plan.config
    data = Scorer(plan).data
    tables = data["scores"]
    kept, notes = submissions(plan)
    guests: Found = {(one.split, one.name): one.scores for one in kept}
    more_latitude, more_bands = profiles(guests)
    rows = [*tables.simulations.at().read(), *table_rows(guests)]
    bands = [*tables.bands.at().read(), *more_bands]
    values = by_metric(rows)
    results = {}
    for name, split in _home_first(config.splits).items():
        draws = data["draw_table"].table.at(split=name).read()
        found = spectra_of(bands, name)
        results[name] = SplitResults(
            split=name,
            sims=[sim_tag(sim) for sim in split.iter_sims()],
            values=values[name],
            draws={key: [row[key] for row in draws] for key in draws[0] if key != "sim"},
            spectra={spectrum: methods for spectrum, (methods, _) in found.items()},
            sigma={spectrum: sigma for spectrum, (_, sigma) in found.items()},
        )
    theirs = summarise(
        by_metric(table_rows(guests)),
        _rng_of(config.params.seed),
        n_resamples=config.params.analysis.n_bootstrap,
    )
    ours = from_dict(json.loads(tables.scores.at().read()))
    return _Numbers(
        plan,
        {split: {**ours[split], **theirs.get(split, {})} for split in results},
        results,
        [*tables.latitude.at().read(), *more_latitude],
        frozenset(one.name for one in kept),
        tuple(notes),
    )


def _home_first(splits: Mapping[str, Split]) -> dict[str, Split]:
    return dict(sorted(splits.items(), key=lambda item: item[0] != HOME))


def _context(numbers: _Numbers, pages: list[Page]) -> ReportContext:
    """All of the index but maps and figures, which take time."""
    plan, scores = numbers.plan, numbers.scores
    config = plan.config
    values = {split: found.values for split, found in numbers.results.items()}
    return ReportContext(
        title=f"Cleaning the CMB: {config.dataset}",
        dataset=config.dataset,
        run=_run_facts(plan),
        scores=scores,
        n_sims={name: split.n_sims for name, split in config.splits.items()},
        parameters=dict(_flat(config.params.model_dump(mode="json"))),
        differences=differences(values, LEADING, _rng_of(config.params.seed)),
        tables=[*_gap_tables(numbers), _stage_table(plan)],
        notes=_notes(numbers),
        traces=_traces(plan, {"the leaderboard": plan.config.root / "metrics/scores.json"}),
        downloads={
            "scores.csv": to_csv(scores),
            "scores.md": all_markdown(scores),
            "scores.tex": all_latex(scores),
        },
        pages=pages,
        filtered=_filtered(plan),
    )


def _filtered(plan: Plan) -> list[str]:
    """Methods whose maps say that they do not keep the signal."""
    data = Dataset(plan.config)
    split = next(iter(plan.config.splits))
    firsts = {name: data[name].cleaned.at(split=split, sim=0) for name in plan.config.params.methods}
    return [name for name, first in firsts.items() if not first.read().signal_preserving]


def _run_facts(plan: Plan) -> dict[str, str]:
    params = plan.config.params
    entries = [e for p in _portions(plan) for e in Ledger(plan, p).finalised.values()]
    sizes = [size for entry in entries for size, _ in entry.files.values()]
    skies = sum(split.n_sims for split in plan.config.splits.values())
    return {
        "Commit": commit(plan.config.root) or "not in git",
        "Data": f"{skies} skies, {len(sizes)} files, {sum(sizes) / 1e6:.0f} MB",
        "Seed": str(params.seed),
        "Foregrounds": _foregrounds(params),
        "Resolution": f"nside {params.instrument.nside}, lmax {params.instrument.lmax}, "
        f"fields {params.instrument.fields}",
        "Scored at": f"{params.analysis.fwhm_arcmin:g} arcmin, lmax {params.analysis.lmax}",
    }


def _portions(plan: Plan) -> Iterator[Portion]:
    return (portion for stage in plan.stages.values() for portion in plan.portions(stage))


def _foregrounds(params: Params) -> str:
    if params.foregrounds.model == "pysm3":
        return f"PySM 3: {', '.join(params.foregrounds.presets)}"
    return "procedural galaxy"


def _notes(numbers: _Numbers) -> list[str]:
    single = [name for name, split in numbers.plan.config.splits.items() if split.n_sims == 1]
    guests = ", ".join(sorted(numbers.guests))
    return [
        *(f"Split {name} has one simulation, so its scores have no interval." for name in single),
        *([f"Maps made elsewhere, scored by the same rules: {guests}."] if guests else []),
        *numbers.notes,
    ]


def _traces(plan: Plan, files: Mapping[str, Path]) -> dict[str, str]:
    """What `cmbml trace` says of files."""
    return {f"{name} ({_name(plan, file)})": "\n".join(trace_lines(file)) for name, file in files.items()}


def _name(plan: Plan, file: Path) -> str:
    return file.relative_to(plan.config.root).as_posix()


def _stage_table(plan: Plan) -> Table:
    """Size, time and memory of every stage."""
    costs = usage(plan)
    rows = []
    for stage in plan.stages.values():
        entries = [
            entry for portion in plan.portions(stage) for entry in Ledger(plan, portion).finalised.values()
        ]
        files = [size for entry in entries for size, _ in entry.files.values()]
        row = [stage.key, str(len(entries)), str(len(files)), f"{sum(files) / 1e6:.2f}"]
        cost = costs.get(stage.key)
        if cost is None:
            row += ["-", "-", "-"]
        else:
            each = cost.wall_s / cost.n_units
            row += [f"{each:.3g}", f"{each * len(entries):.3g}", f"{cost.peak_mb:.0f}"]
        rows.append(row)
    header = ["Stage", "Units", "Files", "Size [MB]", "Time per unit [s]", "Time of all [s]", "Memory [MB]"]
    return Table("Size, time and memory of every stage, as measured on this machine", header, rows)


def _gaps(numbers: _Numbers) -> dict[str, dict[str, Interval]]:
    home = numbers.results[numbers.home].values
    return {
        split: {
            method: generalisation_gap(home[method][LEADING], row[LEADING], numbers.rng(f"{split} gap"))
            for method, row in found.values.items()
            if method != PERFECT and LEADING in home.get(method, {})
        }
        for split, found in numbers.results.items()
        if split != numbers.home
    }


def _gap_tables(numbers: _Numbers) -> list[Table]:
    gaps = _gaps(numbers)
    if not gaps:
        return []
    methods = list(dict.fromkeys(method for row in gaps.values() for method in row))
    rows = [[method, *(_percent(gaps[split].get(method)) for split in gaps)] for method in methods]
    return [
        Table(f"Generalisation gap: change of RMSE against split {numbers.home}", ["Method", *gaps], rows)
    ]


def _percent(gap: Interval | None) -> str:
    if gap is None:
        return "-"
    ends = "" if gap.lo is None or gap.hi is None else f" [{100 * gap.lo:+.1f}, {100 * gap.hi:+.1f}]"
    return f"{100 * gap.mean:+.1f} %{ends}"


def _index_figures(numbers: _Numbers) -> Iterator[Picture]:
    chart = bars_chart(numbers.scores, LEADING)
    yield chart_picture(chart, "RMSE of every method and split, with 95 % intervals")
    gaps = _gaps(numbers)
    if gaps:
        chart = gap_chart(gaps, LEADING, home=numbers.home)
        yield chart_picture(chart, f"Change of RMSE from split {numbers.home} to every other split")
    for split in numbers.results:
        for field in dict.fromkeys(row["field"] for row in numbers.latitude):
            chart = latitude_chart(numbers.latitude, field=field, splits=[split])
            yield chart_picture(chart, f"Residual of {field} by Galactic latitude, split {split}")


def _index_flips(numbers: _Numbers, scorer: Scorer) -> Iterator[Flip]:
    """Truth, all estimates, their differences and the observed bands of one sky of the home split."""
    split = numbers.home
    params = numbers.plan.config.params
    sim = median_sim(numbers.results[split].values[NOISE_FLOOR][LEADING])
    truth, mask = scorer.truth(split, sim), scorer.ground.mask
    for field in range(len(truth)):
        name = params.instrument.fields[field]
        place = f"{split} {sim_tag(sim)}, {name}"
        span = map_span(truth[field], mask)
        frames = {"truth": map_picture(truth[field], f"truth, {place}", span=span)}
        for method in params.methods:
            estimate = scorer.estimate(method, split, sim)
            if field < len(estimate):
                residual = estimate[field] - truth[field]
                frames[method] = map_picture(estimate[field], f"{method}, {place}", span=span)
                frames[f"{method} \N{MINUS SIGN} truth"] = map_picture(
                    residual, f"{method} minus truth, {place}", span=map_span(residual, mask)
                )
        for band in params.instrument.freqs:
            sky = scorer.data["observations"].obs.at(split=split, sim=sim, freq=band).read().values[field]
            shown = sky - np.median(sky)
            frames[f"band {band}"] = map_picture(
                shown,
                f"band {band}, {place}",
                span=map_span(shown, mask),
                caption=f"band {band}, less its median",
            )
        yield Flip(f"One sky of split {split}: {sim_tag(sim)}, {name}", frames)


def _page(numbers: _Numbers, scorer: Scorer, method: str, split: str) -> Page:
    plan, results = numbers.plan, numbers.results[split]
    sim = median_sim(results.values[method][LEADING])
    if method in numbers.guests:
        estimate = scorer.ground.estimate(submitted_sky(plan, method, split))
        traces = {}
    else:
        estimate = scorer.estimate(method, split, sim)
        place = {"method": method, "split": split, "sim": sim}
        file = scorer.data[COMPARISON].metrics.at(**place).path
        traces = _traces(plan, {f"the scores of {sim_tag(sim)}": file})
    flips = list(_page_flips(scorer, scorer.truth(split, sim), estimate, f"{method}, {split} {sim_tag(sim)}"))
    figures = [
        *_training_figures(plan, scorer, method),
        *_component_figures(plan, scorer, method, split, sim),
    ]
    return method_page(method, results, flips, numbers.rng, figures=figures, traces=traces)


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


def _training_figures(plan: Plan, scorer: Scorer, method: str) -> Iterator[Picture]:
    """Curves of every stage that trains for a method: of its pipeline file, with an output ``curves``."""
    home = plan.stages[method].file if method in plan.stages else None
    for stage in plan.stages.values():
        if stage.file == home and "curves" in stage.assets_out:
            rows = scorer.data[stage.key].curves.at().read()
            epochs = [row["epoch"] for row in rows]
            columns = [name for name in rows[0] if name != "epoch"]
            curves = {name: (epochs, [row[name] for row in rows]) for name in columns}
            best = epochs[int(np.argmin(curves["valid"][1]))] if "valid" in curves else None
            chart = training_chart(curves, title=f"Training, stage {stage.key}", best=best)
            yield chart_picture(chart, f"Loss by epoch, stage {stage.key}")


def _component_figures(plan: Plan, scorer: Scorer, method: str, split: str, sim: int) -> Iterator[Picture]:
    """What the weights of a linear method make of every component of one sky, where a stage has kept that."""
    stage = plan.stages.get(f"{method}_components")
    if stage is None:
        return
    part = scorer.data[stage.key].component
    names = stage.assets_out["component"].fields
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


def _flat(values: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)
