"""Builds the report from finished data, and scores maps that were made elsewhere."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cmbml.analysis import figures
from cmbml.analysis.executors import BAND_COLUMNS, LATITUDE_EDGES_DEG, by_metric
from cmbml.analysis.map_images import map_picture
from cmbml.analysis.pages import SplitResults, median_sim, method_page
from cmbml.analysis.pixel import pixel_metrics
from cmbml.analysis.postprocess import common_from_alm, common_from_map
from cmbml.analysis.report import Flip, Picture, ReportContext, Table, render, render_pages
from cmbml.analysis.spectra.comparison import Comparison
from cmbml.analysis.statistics import Scores, differences, summarise
from cmbml.analysis.tables import from_dict, to_markdown
from cmbml.core import generator
from cmbml.core.dataset import Dataset
from cmbml.core.errors import ConfigError, DataError, did_you_mean
from cmbml.core.freshness import REPORT, report_mark, submission_folder
from cmbml.core.handlers import get_handler
from cmbml.core.ledger import Ledger
from cmbml.core.namer import sim_tag
from cmbml.core.plan import Plan
from cmbml.core.provenance import commit
from cmbml.core.schema import Params
from cmbml.sky.sht import Map
from cmbml.sky.skymap import SkyMap

MAP_WIDTH = 1000


class Ground:
    """Reads truth and estimates of a finished dataset on common ground.

    Parameters
    ----------
    plan
        The dataset's plan.
    """

    def __init__(self, plan: Plan) -> None:
        self.data = Dataset(plan.config)
        self.params: Params = plan.config.params
        self.mask: Map = self.data["mask"].mask.at().read().values[0]
        self._common: dict[str, Any] = {
            "fwhm_arcmin": self.params.analysis.fwhm_arcmin,
            "lmax": self.params.analysis.lmax,
            "nside": self.params.instrument.nside,
            "mask": self.mask,
        }

    def truth(self, split: str, sim: int) -> Map:
        """The truth of a simulation: ``(npix,)``, uK_CMB."""
        return common_from_alm(self.data["cmb"].cmb.at(split=split, sim=sim).read(), **self._common)[0]

    def estimate(self, method: str, split: str, sim: int) -> Map:
        """A method's estimate of a simulation: ``(npix,)``, uK_CMB."""
        return self.common(self.data[method].cleaned.at(split=split, sim=sim).read())

    def common(self, sky: SkyMap) -> Map:
        """Any estimate: ``(npix,)``, uK_CMB."""
        return common_from_map(sky, **self._common)[0]


def build_report(plan: Plan) -> Path:
    """Write reports/index.html, with a page for every method and split beside it; return its path.

    Raises
    ------
    DataError
        Where the dataset is not finished.
    """
    for stage in plan.stages.values():
        for portion in plan.portions(stage):
            if not Ledger(plan, portion).complete():
                raise DataError(f"{portion} is not complete: finish the run first, with `dvc repro`")
    path, text = plan.config.root / REPORT, get_handler("Text")
    context = _context(plan, Ground(plan))
    for name, page in render_pages(context).items():
        text.write(path.with_name(name), page)
    text.write(path, render(context) + report_mark(plan))
    return path


def _context(plan: Plan, ground: Ground) -> ReportContext:
    config = plan.config
    results = _results(ground)
    values = {split: found.values for split, found in results.items()}
    scores = _merge(config.splits, _own_scores(ground), _submissions(plan))
    flips = {
        (method, split): _flip(ground, method, split, found)
        for split, found in results.items()
        for method in config.params.methods
    }
    return ReportContext(
        title=f"Cleaning the CMB: {config.dataset}",
        dataset=config.dataset,
        run=_run_facts(plan),
        scores=scores,
        n_sims={name: split.n_sims for name, split in config.splits.items()},
        maps=[flip for (method, _), flip in flips.items() if method in config.params.methods[:1]],
        figures=[*_score_figures(scores), *_latitude_figures(ground)],
        parameters=dict(_flat(config.params.model_dump(mode="json"))),
        differences=differences(values, "rmse", _rng_of(config.params.seed)),
        tables=[_stage_table(plan)],
        notes=_notes(plan),
        pages=[
            method_page(method, results[split], [flip], _rng_of(config.params.seed))
            for (method, split), flip in flips.items()
        ],
    )


def _rng_of(seed: int) -> Callable[[str], np.random.Generator]:
    return lambda name: generator(seed, name, 0, "bootstrap")


def _own_scores(ground: Ground) -> Scores:
    return from_dict(json.loads(ground.data["scores"].scores.at().read()))


def _results(ground: Ground) -> dict[str, SplitResults]:
    """All numbers of every split, from the tables of the last stage."""
    values = by_metric(ground.data["scores"].table.at().read())
    bands = ground.data["scores"].spectra.at().read()
    results = {}
    for name, split in ground.data.splits.items():
        draws = ground.data["draw_table"].table.at(split=name).read()
        spectra = _comparisons([row for row in bands if row["split"] == name])
        sigma = [row["sigma"] for row in bands if (row["split"], row["method"]) == (name, bands[0]["method"])]
        results[name] = SplitResults(
            split=name,
            sims=[sim_tag(sim) for sim in split.iter_sims()],
            values=values[name],
            draws={key: [row[key] for row in draws] for key in draws[0] if key != "sim"},
            spectra={"TT": spectra},
            sigma={"TT": np.array(sigma)},
        )
    return results


def _comparisons(rows: list[dict[str, Any]]) -> dict[str, Comparison]:
    methods = dict.fromkeys(row["method"] for row in rows)
    return {
        method: Comparison(
            *(np.array([row[name] for row in rows if row["method"] == method]) for name in BAND_COLUMNS)
        )
        for method in methods
    }


def _run_facts(plan: Plan) -> dict[str, str]:
    params = plan.config.params
    return {
        "Commit": commit(plan.config.root) or "not in git",
        "Seed": str(params.seed),
        "Foregrounds": _foregrounds(params),
        "Resolution": f"nside {params.instrument.nside}, lmax {params.instrument.lmax}",
        "Scored at": f"{params.analysis.fwhm_arcmin:g} arcmin, lmax {params.analysis.lmax}",
        "Mask": f"|b| < {params.mask.latitude_deg:g} deg",
    }


def _foregrounds(params: Params) -> str:
    if params.foregrounds.model == "galaxy":
        return "procedural galaxy"
    return f"PySM 3: {', '.join(params.foregrounds.presets)}"


def _notes(plan: Plan) -> list[str]:
    single = [name for name, split in plan.config.splits.items() if split.n_sims == 1]
    return [f"Split {name} has one simulation, so its scores have no interval." for name in single]


def _flip(ground: Ground, method: str, split: str, results: SplitResults) -> Flip:
    """Truth, estimate and difference of the simulation whose score is the median."""
    sim = median_sim(results.values[method]["rmse"])
    truth, estimate = ground.truth(split, sim), ground.estimate(method, split, sim)
    frames = {"truth": truth, "estimate": estimate, "difference": estimate - truth}
    spans = {
        name: figures.map_span(truth if name != "difference" else sky, ground.mask)
        for name, sky in frames.items()
    }
    title = f"{method}, {split} {sim_tag(sim)}"
    return Flip(
        title,
        {
            name: map_picture(
                sky, f"{name}, {title}, Mollweide projection", span=spans[name], width=MAP_WIDTH
            )
            for name, sky in frames.items()
        },
    )


def _score_figures(scores: Scores) -> Iterator[Picture]:
    figure = figures.metric_bars(scores, "rmse")
    yield Picture(figures.to_png(figure), "RMSE of every method and split, with 95 % intervals")


def _latitude_figures(ground: Ground) -> Iterator[Picture]:
    rows = ground.data["scores"].latitude.at().read()
    edges = np.array(LATITUDE_EDGES_DEG, dtype=float)
    for split in ground.data.splits:
        profiles: dict[str, Any] = {}
        for row in rows:
            if row["split"] == split:
                profiles.setdefault(row["method"], []).append(row["rmse_uk"])
        lines = {method: np.array(values) for method, values in profiles.items()}
        figure = figures.latitude_figure(edges, lines, title=f"split {split}")
        yield Picture(figures.to_png(figure), f"Residual by Galactic latitude, split {split}")


def _stage_table(plan: Plan) -> Table:
    rows = []
    for stage in plan.stages.values():
        entries = [
            entry for portion in plan.portions(stage) for entry in Ledger(plan, portion).finalised.values()
        ]
        files = [size for entry in entries for size, _ in entry.files.values()]
        rows.append([stage.key, str(len(entries)), str(len(files)), f"{sum(files) / 1e6:.2f}"])
    return Table("What every stage made", ["stage", "units", "files", "MB"], rows)


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


@dataclass(frozen=True)
class Submission:
    """Maps that were made elsewhere.

    Attributes
    ----------
    name
        Name of the row in the tables.
    pattern
        Path of the maps, with {sim} for the simulation.
    split
        Split whose truth they estimate.
    fwhm_arcmin
        FWHM of the Gaussian beam in them.
    lmax
        Band-limit, where the headers do not say.
    unit
        Unit, where the headers do not say.
    """

    name: str
    pattern: str
    split: str
    fwhm_arcmin: float
    lmax: int | None
    unit: str | None


def score_submission(plan: Plan, submission: Submission, folder: Path) -> str:
    """Score maps, keep the scores for the report, and return the split's table as Markdown.

    Parameters
    ----------
    plan
        The dataset's plan; it must be finished.
    submission
        Where the maps are.
    folder
        What relative paths start from.

    Raises
    ------
    ConfigError
        Where the name is taken or the split is unknown.
    DataError
        Where a map is missing, or cannot be brought to common ground.
    """
    config = plan.config
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", submission.name):
        raise ConfigError(f"--name {submission.name}: use letters, digits, - and _ only")
    if submission.name in config.estimates:
        raise ConfigError(f"--name {submission.name}: is one of our own rows: choose another")
    if submission.split not in config.splits:
        hint = did_you_mean(submission.split, config.splits)
        raise ConfigError(f"--split {submission.split}: no such split: {hint}")
    if "{sim}" not in submission.pattern:
        raise ConfigError(
            f"--maps {submission.pattern}: lacks {{sim}}, which stands for the number of the simulation"
        )
    ground = Ground(plan)
    values: dict[str, list[float]] = {}
    for sim in config.splits[submission.split].iter_sims():
        for name, value in _score_one(ground, submission, folder, sim).items():
            values.setdefault(name, []).append(value)
    path = submission_folder(plan) / f"{submission.name}.yaml"
    kept = get_handler("Config").read(path) if path.is_file() else {}
    get_handler("Config").write(path, kept | {submission.split: values})
    scores = _merge(config.splits, _own_scores(ground), _submissions(plan))
    return to_markdown(scores, submission.split)


def _score_one(ground: Ground, submission: Submission, folder: Path, sim: int) -> dict[str, float]:
    path = folder / submission.pattern.replace("{sim}", str(sim))
    if not path.is_file():
        path = folder / submission.pattern.replace("{sim}", f"{sim:04d}")
    sky = get_handler("HealpyMap").read(path, unit=submission.unit)
    try:
        sky = replace(sky.to("uK_CMB"), fwhm_arcmin=submission.fwhm_arcmin, lmax=submission.lmax or sky.lmax)
        estimate = ground.common(sky)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    return pixel_metrics(estimate, ground.truth(submission.split, sim), ground.mask)


def _submissions(plan: Plan) -> Scores:
    """Scores of all maps that were made elsewhere."""
    values: dict[str, dict[str, Any]] = {}
    for path in sorted(submission_folder(plan).glob("*.yaml")):
        for split, metrics in get_handler("Config").read(path).items():
            values.setdefault(split, {})[path.stem] = metrics
    params = plan.config.params
    return summarise(values, _rng_of(params.seed), n_resamples=params.analysis.n_bootstrap)


def _merge(order: Iterable[str], ours: Scores, theirs: Scores) -> Scores:
    return {split: {**ours[split], **theirs.get(split, {})} for split in order}
