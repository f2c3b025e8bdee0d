"""All numbers of a report: of our methods, and of maps made elsewhere."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cmbml.analysis.charts.scores import (
    spectra_of,
)
from cmbml.analysis.gathering import Found, by_metric, profiles, table_rows
from cmbml.analysis.scoring import Rows
from cmbml.analysis.statistics import Scores, summarise
from cmbml.analysis.tables import HOME, from_dict
from cmbml.core import Split, generator
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.namer import sim_tag
from cmbml.core.spec.roles import (
    DRAW_TABLE,
    SCORES,
    SCORES_BY_BAND,
    SCORES_BY_LATITUDE,
    SCORES_BY_SIMULATION,
)
from cmbml.report.page import SplitResults
from cmbml.report.submissions import (
    Scorer,
    submissions,
)


@dataclass(frozen=True)
class Numbers:
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
        return generator(self.plan.config.params.seed, name, 0, "bootstrap")


def read_numbers(plan: Plan) -> Numbers:
    """Read the tables of the last stage, and add what was made elsewhere."""
    config = plan.config
    data = Scorer(plan).data
    kept, notes = submissions(plan)
    guests: Found = {(one.split, one.name): one.scores for one in kept}
    more_latitude, more_bands = profiles(guests)
    rows = [*data.output(SCORES_BY_SIMULATION).at().read(), *table_rows(guests)]
    bands = [*data.output(SCORES_BY_BAND).at().read(), *more_bands]
    values = by_metric(rows)
    results = {}
    for name, split in _home_first(config.splits).items():
        draws = data.output(DRAW_TABLE).at(split=name).read()
        found = spectra_of(bands, name)
        results[name] = SplitResults(
            split=name,
            sims=[sim_tag(sim) for sim in split.iter_sims()],
            values=values[name],
            draws={key: [row[key] for row in draws] for key in draws[0] if key != "sim"},
            spectra={spectrum: methods for spectrum, (methods, _) in found.items()},
            sigma={spectrum: sigma for spectrum, (_, sigma) in found.items()},
        )
    theirs = summarise(by_metric(table_rows(guests)))
    ours = from_dict(json.loads(data.output(SCORES).at().read()))
    return Numbers(
        plan,
        {split: {**ours[split], **theirs.get(split, {})} for split in results},
        results,
        [*data.output(SCORES_BY_LATITUDE).at().read(), *more_latitude],
        frozenset(one.name for one in kept),
        tuple(notes),
    )


def _home_first(splits: Mapping[str, Split]) -> dict[str, Split]:
    return dict(sorted(splits.items(), key=lambda item: item[0] != HOME))
