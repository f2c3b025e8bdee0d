"""Whether two makings of a dataset are the same: to the byte, within tolerance, or not; where they part."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Literal, NamedTuple

from cmbml.core.errors import DataError
from cmbml.core.handlers import get_handler
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.plan.pieces import Portion
from cmbml.core.record.git import committed
from cmbml.core.spec.pipeline import AssetOut
from cmbml.core.spec.repository import DATA, DVC_LOCK
from cmbml.core.views.difference import relative_difference
from cmbml.core.views.reasons import UNKNOWN, reasons_for
from cmbml.core.views.sides import Here, Made, Place, Side, find_side, of_commit, place_of

State = Literal["equal", "within", "different"]
HEAD = "HEAD"
# So many reasons fit into a line.
_MANY = 4


class Verdict(NamedTuple):
    """What was found of a portion.

    Attributes
    ----------
    place
        Where it lies.
    state
        The worst of its files.
    detail
        What differs, in a few words; empty where all is equal.
    reasons
        Why it differs, as far as that does not lie in what it was made from.
    """

    place: Place
    state: State
    detail: str = ""
    reasons: Sequence[str] = ()


@dataclass(frozen=True)
class Comparison:
    """Two makings of a dataset, side by side.

    Attributes
    ----------
    name
        The other one.
    verdicts
        What was found of every portion, in the order of the pipeline.
    """

    name: str
    verdicts: tuple[Verdict, ...]

    @property
    def is_same(self) -> bool:
        """Whether all is equal, or within tolerance."""
        return self.first is None

    @property
    def first(self) -> Verdict | None:
        """The first that differs."""
        return next((verdict for verdict in self.verdicts if verdict.state == "different"), None)

    @property
    def stages(self) -> dict[str, list[Verdict]]:
        """What was found, by stage."""
        found: dict[str, list[Verdict]] = {}
        for verdict in self.verdicts:
            found.setdefault(verdict.place.stage, []).append(verdict)
        return found

    def line(self) -> str:
        """All of it in one line."""
        first = self.first
        if first is None:
            how = (
                "equal to" if all(each.state == "equal" for each in self.verdicts) else "within tolerance of"
            )
            return f"data: {how} {self.name}, {len(self.verdicts)} folders"
        departed = [key for key, each in self.stages.items() if any(v.state == "different" for v in each)]
        differ = "1 stage differs" if len(departed) == 1 else f"{len(departed)} stages differ"
        return f"data: {differ} from {self.name}, first {first.place.stage}: {_listed(first.reasons)}"

    def lines(self) -> Iterator[str]:
        """A line for every stage, and the one of all."""
        for key, verdicts in self.stages.items():
            worst = _worst(verdicts)
            odd = [each for each in verdicts if each.state == worst.state]
            if worst.state == "equal":
                yield f"{key:<20} equal, {len(verdicts)} folders"
            else:
                yield f"{key:<20} {worst.state}, {len(odd)} of {len(verdicts)} folders: {worst.detail}"
        yield self.line()


def _listed(reasons: Sequence[str]) -> str:
    more = len(reasons) - _MANY
    return ", ".join(reasons[:_MANY]) + (f" and {more} more" if more > 0 else "")


def _worst(verdicts: list[Verdict]) -> Verdict:
    """The first of those that are farthest from equal."""
    order: list[State] = ["different", "within", "equal"]
    return min(verdicts, key=lambda verdict: order.index(verdict.state))


class Pair(NamedTuple):
    """A portion as both sides have it."""

    place: Place
    outputs: Mapping[str, AssetOut]
    here: Made | None
    other: Made | None


def compare(plan: Plan, against: str) -> Comparison:
    """Compare the files in the repository with those of a commit, a dvc.lock or a folder.

    Raises
    ------
    ConfigError
        Where `against` is none of these.
    DataError
        Where one side has nothing of the dataset.
    """
    other = find_side(plan, against)
    pairs = _pairs(plan, other)
    if all(pair.other is None for pair in pairs):
        raise DataError(f"{other.name}: has nothing of dataset {plan.config.dataset}: name another")
    if all(pair.here is None for pair in pairs):
        raise DataError(f"dataset {plan.config.dataset} is not here: run `make run`, or `cmbml pull`")
    return _compared(plan, pairs, other)


def compare_to_head(plan: Plan) -> str:
    """The line of a comparison with the last commit; empty where that has nothing of the dataset.

    Where dvc.lock is the one of the commit, as after a run that had nothing to make, nothing else is read.
    """
    root = plan.config.root
    was, lock = committed(root, DVC_LOCK), root / DVC_LOCK
    if not was or not lock.is_file():
        return ""
    if lock.read_text(encoding="utf-8").strip() == was:
        n_folders = sum(len(plan.portions(stage)) for stage in plan.stages.values())
        return f"data: equal to {HEAD}, {n_folders} folders"
    other = of_commit(plan, HEAD)
    pairs = _pairs(plan, other)
    return "" if all(pair.other is None for pair in pairs) else _compared(plan, pairs, other).line()


def _pairs(plan: Plan, other: Side) -> list[Pair]:
    here = Here(plan)
    portions = [portion for stage in plan.stages.values() for portion in plan.portions(stage)]
    places = [place_of(plan, portion) for portion in portions]
    return [
        Pair(place, _outputs(plan, portion), here.made(place), other.made(place))
        for portion, place in zip(portions, places, strict=True)
    ]


def _outputs(plan: Plan, portion: Portion) -> dict[str, AssetOut]:
    return {path: asset for piece in plan.pieces(portion) for path, asset in plan.outputs(piece).items()}


def _compared(plan: Plan, pairs: list[Pair], other: Side) -> Comparison:
    here, equal, verdicts = Here(plan), set[str](), []
    for pair in pairs:
        verdict = _verdict(pair, here, other, equal)
        equal |= {pair.place.folder} if verdict.state == "equal" else set()
        verdicts.append(verdict)
    known = {pair.place.folder for pair in pairs}
    for folder in sorted(other.folders(plan.config.dataset) - known):
        place = Place(Path(folder).relative_to(Path(DATA, plan.config.dataset)).parts[0], folder, ())
        verdicts.append(
            Verdict(place, "different", f"{folder} is not in the pipeline", ["no such stage here"])
        )
    return Comparison(other.name, tuple(verdicts))


def _verdict(pair: Pair, here: Here, other: Side, equal: Collection[str]) -> Verdict:
    """What is to be said of a portion; `equal`: folders before it that are."""
    place = pair.place
    if pair.here is None or pair.other is None:
        lacking = other.name if pair.here else "the repository"
        return Verdict(place, "different", f"{place.folder} is not in {lacking}", [f"not in {lacking}"])
    if pair.here.md5 == pair.other.md5 or pair.here.files == pair.other.files:
        return Verdict(place, "equal")
    state, detail, files = _difference(pair, here, other)
    if state == "within":
        return Verdict(place, state, detail)
    if files and pair.other.manifest.facts:
        return Verdict(place, state, detail, reasons_for(pair.here, pair.other, files[0], equal))
    return Verdict(place, state, detail, other.changed(place.stage) or [UNKNOWN])


def _difference(pair: Pair, here: Here, other: Side) -> tuple[State, str, list[str]]:
    """Whether what differs is within tolerance, in a few words how much it is, and which files."""
    mine, theirs = (made.files if made else None for made in (pair.here, pair.other))
    if mine is None or theirs is None:
        return "different", f"{pair.place.folder}, of which DVC's cache has no listing", []
    files = differing(mine, theirs)
    sizes = _sizes(pair, files, here, other)
    is_within = all(_is_within(pair.outputs.get(path), sizes.get(path, inf)) for path in files)
    largest = max(sizes.values(), default=inf)
    detail = f"{len(files)} of {len(mine)} files, first {files[0]}"
    detail += f", by up to {largest:.1e} of its largest number" if isfinite(largest) else ""
    return ("within" if is_within else "different"), detail, files


def _is_within(asset: AssetOut | None, size: float) -> bool:
    """Whether a difference is one that its output allows; one that allows none must have the same bytes."""
    return asset is not None and asset.tolerance > 0 and size <= asset.tolerance


def differing(one: Mapping[str, str], two: Mapping[str, str]) -> list[str]:
    """Names of files that are not the same on both sides, or on one side alone."""
    return sorted(path for path in one.keys() | two.keys() if one.get(path) != two.get(path))


def _sizes(pair: Pair, files: list[str], here: Here, other: Side) -> dict[str, float]:
    """How far files are apart that are at hand on both sides: the first, and all that have a tolerance."""
    sizes: dict[str, float] = {}
    for path in files:
        asset = pair.outputs.get(path)
        if asset is not None and (asset.tolerance or path == files[0]):
            md5 = ((pair.other and pair.other.files) or {}).get(path, "")
            sizes |= _size(asset, path, here.find(path), other.find(path, md5))
    return sizes


def _size(asset: AssetOut, path: str, one: Path | None, two: Path | None) -> dict[str, float]:
    if one is None or two is None:
        return {}
    handler = get_handler(asset.handler)
    try:
        return {path: relative_difference(handler.read(one), handler.read(two))}
    except DataError:  # damaged, or of a handler that does not read
        return {}
