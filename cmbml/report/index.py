"""What the index of the report shows."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cmbml.analysis.charts.scores import (
    bars_chart,
    gap_chart,
    latitude_chart,
)
from cmbml.analysis.reference import NOISE_FLOOR, PERFECT
from cmbml.analysis.statistics import Interval, differences
from cmbml.analysis.subcategories import generalisation_gap
from cmbml.analysis.tables import LEADING, all_latex, all_markdown, to_csv
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.plan.pieces import Portion
from cmbml.core.record.cost import costs_of
from cmbml.core.record.facts import Facts
from cmbml.core.record.git import commit
from cmbml.core.spec.namer import sim_tag
from cmbml.core.spec.params import Params
from cmbml.core.spec.roles import OBSERVATIONS, SCORES
from cmbml.core.views.dataset import Dataset
from cmbml.core.views.trace import trace_lines
from cmbml.report.html import (
    Flip,
    Page,
    Picture,
    ReportContext,
    Table,
    chart_picture,
)
from cmbml.report.maps.images import map_picture
from cmbml.report.maps.mollweide import map_span
from cmbml.report.numbers import Numbers
from cmbml.report.page import median_sim
from cmbml.report.submissions import (
    Scorer,
)
from cmbml.sky.foreground_facts import extragalactic_summary, foreground_facts, foreground_summary


def index_context(numbers: Numbers, pages: list[Page]) -> ReportContext:
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
        differences=differences(values, LEADING),
        tables=[*_gap_tables(numbers), _stage_table(plan)],
        notes=_notes(numbers),
        traces=traces_of(plan, {"the leaderboard": Dataset(plan.config).output(SCORES).at().path}),
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
    facts = [fact for p in _portions(plan) for fact in Facts(plan, p).manifest.facts.values()]
    sizes = [size for fact in facts for size, _ in fact.files.values()]
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
    galaxy = foreground_summary(foreground_facts(params.foreground_models(), params.foregrounds.presets))
    beyond = extragalactic_summary(params.extragalactic.switched_on)
    return f"{galaxy}; beyond it {beyond}" if beyond else galaxy


def _notes(numbers: Numbers) -> list[str]:
    single = [name for name, split in numbers.plan.config.splits.items() if split.n_sims == 1]
    guests = ", ".join(sorted(numbers.guests))
    return [
        *(f"Split {name} has one simulation, so its scores have no interval." for name in single),
        *([f"Maps made elsewhere, scored by the same rules: {guests}."] if guests else []),
        *numbers.notes,
    ]


def traces_of(plan: Plan, files: Mapping[str, Path]) -> dict[str, str]:
    """What `cmbml trace` says of files."""
    return {f"{name} ({_name(plan, file)})": "\n".join(trace_lines(file)) for name, file in files.items()}


def _name(plan: Plan, file: Path) -> str:
    return file.relative_to(plan.config.root).as_posix()


def _stage_table(plan: Plan) -> Table:
    """Size, time and memory of every stage."""
    costs = costs_of(plan)
    rows = []
    for stage in plan.stages.values():
        facts = [
            fact for portion in plan.portions(stage) for fact in Facts(plan, portion).manifest.facts.values()
        ]
        files = [size for fact in facts for size, _ in fact.files.values()]
        row = [stage.key, str(len(facts)), str(len(files)), f"{sum(files) / 1e6:.2f}"]
        cost = costs.get(stage.key)
        if cost is None:
            row += ["-", "-", "-"]
        else:
            each = cost.wall_s / cost.n_pieces
            row += [f"{each:.3g}", f"{each * len(facts):.3g}", f"{cost.peak_mb:.0f}"]
        rows.append(row)
    header = ["Stage", "Pieces", "Files", "Size [MB]", "Time per piece [s]", "Time of all [s]", "Memory [MB]"]
    return Table("Size, time and memory of every stage, as measured on this machine", header, rows)


def _gaps(numbers: Numbers) -> dict[str, dict[str, Interval]]:
    home = numbers.results[numbers.home].values
    return {
        split: {
            method: generalisation_gap(home[method][LEADING], row[LEADING])
            for method, row in found.values.items()
            if method != PERFECT and LEADING in home.get(method, {})
        }
        for split, found in numbers.results.items()
        if split != numbers.home
    }


def _gap_tables(numbers: Numbers) -> list[Table]:
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


def index_figures(numbers: Numbers) -> Iterator[Picture]:
    """Charts of scores, gaps and residuals by latitude."""
    chart = bars_chart(numbers.scores, LEADING)
    yield chart_picture(chart, "RMSE of every method and split, with 95 % intervals")
    gaps = _gaps(numbers)
    if gaps:
        chart = gap_chart(gaps, LEADING, home=numbers.home)
        yield chart_picture(chart, f"Change of RMSE from split {numbers.home} to every other split")
    for split in numbers.results:
        for field in dict.fromkeys(str(row["field"]) for row in numbers.latitude):
            chart = latitude_chart(numbers.latitude, field=field, splits=[split])
            yield chart_picture(chart, f"Residual of {field} by Galactic latitude, split {split}")


def index_flips(numbers: Numbers, scorer: Scorer) -> Iterator[Flip]:
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
            sky = scorer.data.output(OBSERVATIONS).at(split=split, sim=sim, freq=band).read().values[field]
            shown = sky - np.median(sky)
            frames[f"band {band}"] = map_picture(
                shown,
                f"band {band}, {place}",
                span=map_span(shown, mask),
                caption=f"band {band}, less its median",
            )
        yield Flip(f"One sky of split {split}: {sim_tag(sim)}, {name}", frames)


def _flat(values: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)
