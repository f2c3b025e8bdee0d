"""Scores maps that were made elsewhere, and keeps the scores for the report."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cmbml.analysis.scoring import Ground, Score, score
from cmbml.analysis.spectra.master import Master
from cmbml.core.errors import ConfigError, DataError, PipelineError, did_you_mean
from cmbml.core.files.bandfiles import fill_place, has_place
from cmbml.core.files.checksums import md5_of
from cmbml.core.handlers import get_handler
from cmbml.core.handlers.cards import Told
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.plan.pieces import Portion
from cmbml.core.record.facts import Facts
from cmbml.core.spec.pipeline import Stage
from cmbml.core.spec.roles import CMB, COMPARISON, MASK, MASK_COUPLING, PERFECT_ESTIMATE, THEORY
from cmbml.core.views.dataset import Dataset
from cmbml.report.freshness import submission_folder
from cmbml.report.page import median_sim
from cmbml.sky.sht import Cl, Map
from cmbml.sky.skymap import SkyAlm, SkyMap, is_unseen
from cmbml.sky.vetting import expect_sky


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
        FWHM of the Gaussian beam in them; where None, the headers must say it.
    lmax
        Band-limit, where the headers do not say.
    told
        What else the headers leave open.
    """

    name: str
    pattern: str
    split: str
    fwhm_arcmin: float | None
    lmax: int | None
    told: Told


@dataclass(frozen=True)
class Kept:
    """The scores of a submission.

    Attributes
    ----------
    name, split
        Its row, and the split.
    ground
        What it was scored against: see `ground_mark`.
    scores
        One for each simulation.
    """

    name: str
    split: str
    ground: list[str]
    scores: list[Score]


class Scorer:
    """Scores estimates of a finished dataset as its own stages do.

    Parameters
    ----------
    plan
        The dataset's plan.

    Raises
    ------
    DataError
        Where the truth, the mask or its coupling are not complete.
    """

    def __init__(self, plan: Plan) -> None:
        for role in (THEORY, CMB, MASK, MASK_COUPLING):
            expect_complete(plan, role.stage)
        self.data = Dataset(plan.config)
        params = plan.config.params
        common, nside = params.analysis, params.instrument.nside
        mask: Map = self.data.output(MASK).at().read().values[0]
        self.ground = Ground(common.fwhm_arcmin, common.lmax, nside, mask)
        self._width, self._polarised = common.band_width, params.instrument.n_stokes == 3

    def cmb(self, split: str, sim: int) -> SkyAlm:
        """The true CMB of a simulation."""
        sky: SkyAlm = self.data.output(CMB).at(split=split, sim=sim).read()
        return sky

    def truth(self, split: str, sim: int) -> Map:
        """The truth of a simulation on common ground: ``(n_stokes, npix)``, uK_CMB."""
        return self.ground.truth(self.cmb(split, sim))

    def estimate(self, method: str, split: str, sim: int) -> Map:
        """A method's estimate on common ground: ``(n_stokes, npix)``, uK_CMB."""
        return self.ground.estimate(self.data[method].cleaned.at(split=split, sim=sim).read())

    def decoupling(self) -> Master:
        """Decoupling of spectra under the mask."""
        statistics = self.data.output(MASK_COUPLING).at().read()
        return self.ground.decoupling(statistics, self._width, polarised=self._polarised)

    def theory(self, split: str, sim: int) -> Mapping[str, Cl]:
        """Spectra of a simulation's cosmology, uK_CMB^2."""
        spectra: Mapping[str, Cl] = self.data.output(THEORY).at(split=split, sim=sim).read()
        return spectra


def expect_complete(plan: Plan, stage: str) -> None:
    """Raise PipelineError where there is no such stage, DataError where it is not complete."""
    makers = _expect_stage(plan, stage)
    for portion in (portion for maker in makers for portion in plan.portions(maker)):
        if not Facts(plan, portion).complete():
            raise DataError(f"{portion} is not complete: finish the run first, with `dvc repro`")


def _expect_stage(plan: Plan, stage: str) -> list[Stage]:
    makers = plan.makers(stage)
    if not makers:
        raise PipelineError(f"the pipeline has no stage '{stage}', which scores and reports are made from")
    return makers


def ground_mark(plan: Plan, split: str) -> list[str]:
    """Fingerprints of all that the score of a map depends on but the map: truths, mask, convention, code."""
    return [
        plan.fingerprint(piece)
        for piece in plan.pieces(Portion(COMPARISON.stage, PERFECT_ESTIMATE.stage, split))
    ]


def score_submission(plan: Plan, submission: Submission, folder: Path) -> list[str]:
    """Score maps and keep the scores for the report; return what was assumed of the maps, one line or none.

    Parameters
    ----------
    plan
        The dataset's plan; its truths must be finished.
    submission
        Where the maps are.
    folder
        What relative paths start from.

    Raises
    ------
    ConfigError
        Where the name is taken or the split is unknown.
    DataError
        Where a map or a truth is missing, or a map cannot be brought to common ground.
    """
    _check(plan, submission)
    _expect_stage(plan, COMPARISON.stage)
    scorer = Scorer(plan)
    master = scorer.decoupling()
    split = submission.split
    scores, assumed, files = [], dict[str, None](), {}
    for sim in plan.config.splits[split].iter_sims():
        sky = read_submission(submission, folder, sim)
        try:
            estimate = scorer.ground.estimate(sky)
        except ValueError as error:
            raise DataError(f"{_path(submission, folder, sim)}: {error}") from None
        assumed |= dict.fromkeys(sky.assumed)
        files[str(_path(submission, folder, sim))] = md5_of(_path(submission, folder, sim))
        cmb, theory = scorer.cmb(split, sim), scorer.theory(split, sim)
        scores.append(score(estimate, cmb, scorer.ground, master, theory))
    shown = median_sim([one.metrics["rmse"] for one in scores])
    kept = Kept(submission.name, split, ground_mark(plan, split), scores)
    path = _file(plan, submission.name, split)
    get_handler("HealpyMap").write(path.with_suffix(".fits"), read_submission(submission, folder, shown))
    get_handler("Text").write(path, json.dumps(asdict(kept)))
    record = {"maps": files, "told": {**submission.told}, "assumed": list(assumed)}
    get_handler("Config").write(path.with_name(f"{path.stem}_provenance.yaml"), record)
    return ["; ".join(assumed)] if assumed else []


def submissions(plan: Plan) -> tuple[list[Kept], list[str]]:
    """Scores of all maps that were made elsewhere, and notes about those that no longer hold.

    A score holds as long as the truths, the mask, the convention and the code of the scoring are the same.
    """
    kept: list[Kept] = []
    notes: list[str] = []
    for path in sorted(submission_folder(plan).glob("*.json")):
        try:
            found = json.loads(get_handler("Text").read(path))
            one = Kept(**found | {"scores": [Score(**row) for row in found["scores"]]})
        except (ValueError, TypeError, KeyError, DataError):
            notes.append(f"{path.stem}: the file of its scores is damaged; left out: score it again.")
            continue
        if one.name in plan.config.estimates:
            notes.append(f"{one.name}: maps from elsewhere have the name of a method; left out: rename them.")
        elif one.split not in plan.config.splits or one.ground != ground_mark(plan, one.split):
            notes.append(
                f"{one.name}, split {one.split}: scored against other truths or by other rules than these; "
                "left out: score it again."
            )
        else:
            kept.append(one)
    return kept, notes


def submitted_sky(plan: Plan, name: str, split: str) -> SkyMap:
    """The map of a submission with the median score."""
    sky: SkyMap = get_handler("HealpyMap").read(_file(plan, name, split).with_suffix(".fits"))
    return sky


def _check(plan: Plan, submission: Submission) -> None:
    config = plan.config
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", submission.name):
        raise ConfigError(f"--name {submission.name}: use letters, digits, - and _ only")
    if submission.name in config.estimates:
        raise ConfigError(f"--name {submission.name}: is one of our own rows: choose another")
    if submission.split not in config.splits:
        hint = did_you_mean(submission.split, config.splits)
        raise ConfigError(f"--split {submission.split}: no such split: {hint}")
    if not has_place(submission.pattern, "sim"):
        raise ConfigError(
            f"--maps {submission.pattern}: lacks {{sim}}, which stands for the number of the simulation"
        )


def _path(submission: Submission, folder: Path, sim: int) -> Path:
    path, padded = (folder / fill_place(submission.pattern, "sim", text) for text in (f"{sim}", f"{sim:04d}"))
    return path if path.is_file() else padded


def read_submission(submission: Submission, folder: Path, sim: int) -> SkyMap:
    """The map of one simulation, uK_CMB, with what header and options say of it together.

    Raises
    ------
    DataError
        Where they contradict each other, or the map cannot be read.
    """
    path = _path(submission, folder, sim)
    if not path.is_file():
        raise DataError(f"--maps {submission.pattern}: no file for simulation {sim} of {submission.split}")
    sky: SkyMap = get_handler("HealpyMap").read(path, **submission.told)
    try:
        known = sky.to("uK_CMB")
        expect_sky(known.values, is_unseen(known.values), "name another --column, or give another map")
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    fwhm = _agreed(path, "--fwhm", sky.fwhm_arcmin, submission.fwhm_arcmin)
    if fwhm is None:
        raise DataError(f"{path}: does not say its beam: say --fwhm (0 for none)")
    lmax = _agreed(path, "--lmax", sky.lmax, submission.lmax)
    return replace(known, fwhm_arcmin=fwhm, lmax=None if lmax is None else int(lmax))


def _agreed(path: Path, option: str, header: float | None, given: float | None) -> float | None:
    """What header and option say together."""
    if header is not None and given is not None and not math.isclose(header, given, rel_tol=1e-5):
        raise DataError(f"{path}: the header says {header:g}, {option} says {given:g}: mend one of them")
    return header if given is None else given


def _file(plan: Plan, name: str, split: str) -> Path:
    return submission_folder(plan) / f"{name}--{split}.json"
