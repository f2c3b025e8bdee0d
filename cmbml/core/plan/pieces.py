"""Which pieces a dataset has, and the files of each.

A *piece* is what one call of an executor makes: a simulation, a whole split, or a whole stage.  A *portion*
is all pieces that share an out directory: one stage, one split, one method.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, wraps
from itertools import product
from pathlib import Path
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from cmbml.core.plan.code import Code, code_of
from cmbml.core.plan.code_memo import prepare_codes
from cmbml.core.spec.config import Config
from cmbml.core.spec.formats import BUILT_IN
from cmbml.core.spec.namer import Namer, sim_tag, tags_in
from cmbml.core.spec.pipeline import AssetOut, Stage
from cmbml.core.spec.roles import CLEANED

# Stands for the simulation in a path whose other tags are filled.
_SIM = "{sim}"

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


class Portion(NamedTuple):
    """All pieces that share an out directory."""

    stage: str
    method: str | None
    split: str | None

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


class Piece(NamedTuple):
    """What one call of an executor makes."""

    portion: Portion
    sim: int | None

    def __str__(self) -> str:
        return f"{self.portion}" if self.sim is None else f"{self.portion}/sim{self.sim:04d}"


def remembered(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Work out once for each object and arguments: what 50,000 pieces share is asked for as often."""
    place = f"_{method.__name__}_of"

    @wraps(method)
    def wrapper(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        known: dict[Any, R] = self.__dict__.setdefault(place, {})
        key = (*args, *kwargs.items())
        if key not in known:
            known[key] = method(self, *args, **kwargs)
        return known[key]

    return wrapper


@dataclass
class Pieces:
    """The stages of a dataset, cut into portions and pieces.

    Parameters
    ----------
    config
        Parameters and pipeline.
    executors
        Classes of stages whose executor cannot be imported by its dotted path: a script's or notebook's own.
    """

    config: Config
    executors: dict[str, type] = field(default_factory=dict)

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """Stages that are switched on and have an executor, in order."""
        off = {key for key in self._estimators if key not in self.config.estimates}
        for key in list(self._estimators):
            if key in off and not self.config.pipeline.stages[key].reference:
                off |= {stage.key for stage in self._private_to(key)}
        return {
            key: stage
            for key, stage in self.config.pipeline.stages.items()
            if key not in off and self._wanted(stage)
        }

    def has_code(self, stage: Stage) -> bool:
        """Whether an executor makes the stage's files; those of a source are there from the start."""
        return bool(stage.executor or stage.key in self.executors)

    def _wanted(self, stage: Stage) -> bool:
        return self.has_code(stage) and self.config.holds(stage.when) and self.config.is_wanted(stage)

    @cached_property
    def _estimators(self) -> list[str]:
        return [key for key, stage in self.config.pipeline.stages.items() if CLEANED in stage.assets_out]

    def makers(self, key: str) -> list[Stage]:
        """Stages that are switched on and make the files of a stage: itself, and its stand-ins."""
        others = [stage.key for stage in self.config.pipeline.stand_ins(key)]
        return [stage for stage in self.stages.values() if stage.key in (key, *others)]

    def stages_of(self, method: str) -> list[Stage]:
        """Stages of a method that are switched on: its own, and those that it learns and prepares by."""
        if method not in self.config.pipeline.stages:
            return []
        return [stage for stage in self._private_to(method) if stage.key in self.stages]

    def _private_to(self, method: str) -> list[Stage]:
        """Stages of a method's own pipeline file: they are switched off with it."""
        stages = self.config.pipeline.stages
        return [each for each in stages.values() if each.file == stages[method].file and not each.reference]

    def code(self, stage: Stage) -> Code:
        """The code behind a stage."""
        self._prepare_codes()
        return code_of(self.executors.get(stage.key) or stage.executor or "")

    @remembered
    def _prepare_codes(self) -> None:
        """Work out the code of all stages, or recall it, together."""
        assets = [
            asset for stage in self.config.pipeline.stages.values() for asset in stage.assets_out.values()
        ]
        named = [stage.executor for key, stage in self.stages.items() if key not in self.executors]
        named += [asset.locate for asset in assets]
        named += [asset.handler for asset in assets if asset.handler not in BUILT_IN]
        prepare_codes(self.config.root, filter(None, named))

    def portions(self, stage: Stage) -> list[Portion]:
        """Portions of a stage: methods by splits."""
        methods = self.config.estimates if stage.for_each else (None,)
        splits = self.config.split_names(stage) if stage.per_split else (None,)
        return [
            Portion(stage.key, method, split)
            for method, split in product(methods, splits)
            if method is None or split is None or split in self._splits_of(method)
        ]

    def _splits_of(self, method: str) -> tuple[str, ...]:
        return self.config.split_names(self.config.pipeline.stages[method])

    def sims(self, portion: Portion) -> range | None:
        """Simulations that are pieces of their own; None where the portion is one piece."""
        loop = self.code(self.stages[portion.stage]).loop
        if portion.split is None or loop != "process_sim":
            return None
        return range(self.config.every_split[portion.split].n_sims)

    @remembered
    def pieces(self, portion: Portion) -> list[Piece]:
        """Pieces of a portion."""
        sims = self.sims(portion)
        return [Piece(portion, sim) for sim in ((None,) if sims is None else sims)]

    def files(self, piece: Piece) -> list[str]:
        """Paths of all files that a piece makes, relative to the repository."""
        return sorted(self.outputs(piece))

    def outputs(self, piece: Piece) -> dict[str, AssetOut]:
        """The output that each file of a piece belongs to, by path relative to the repository."""
        templates = self._file_templates(piece.portion).items()
        if piece.sim is not None:
            return {template.replace(_SIM, sim_tag(piece.sim)): asset for template, asset in templates}
        split = self.config.every_split[piece.portion.split] if piece.portion.split else None
        tags = [sim_tag(sim) for sim in split.iter_sims()] if split else [_SIM]
        return {template.replace(_SIM, tag): asset for template, asset in templates for tag in tags}

    @remembered
    def _file_templates(self, portion: Portion) -> dict[str, AssetOut]:
        """The outputs of a portion by the paths of their files, in which only the simulation is left open."""
        stage = self.stages[portion.stage]
        fixed = {**_tags(portion), **({"sim": _SIM} if portion.split else {})}
        return {
            str(path.relative_to(self.config.root)): asset
            for asset in stage.assets_out.values()
            for path in self.expand(stage, asset, fixed)
        }

    def expand(self, stage: Stage, asset: AssetOut, fixed: dict[str, Any]) -> list[Path]:
        """Paths of an output for all values of the tags that `fixed` leaves open."""
        choices = self.config.choices(stage, asset)
        namer = self._namer(stage)
        return [
            namer.path(asset.path_template, **fixed, **dict(zip(choices, values, strict=True)))
            for values in product(*choices.values())
        ]

    def pattern(self, stage: Stage, asset: AssetOut) -> str:
        """Path of an output's files, with * for split, method, simulation and whatever else is several."""
        several = {tag: "*" for tag in tags_in(asset.path_template) if tag not in self._namer(stage).context}
        path = self._namer(stage).path(asset.path_template, **several)
        return path.relative_to(self.config.root).as_posix()

    def _namer(self, stage: Stage) -> Namer:
        context = {"dataset": self.config.dataset, "stage": stage.dir_name}
        return Namer(self.config.root, context | ({"working": stage.working} if stage.working else {}))

    def folder(self, portion: Portion) -> Path:
        """Out directory of a portion, which also holds its manifest."""
        stage = self.stages[portion.stage]
        return self._namer(stage).path(stage.out_template, **_tags(portion))


def _tags(portion: Portion) -> dict[str, str]:
    tags = {"method": portion.method, "split": portion.split}
    return {tag: value for tag, value in tags.items() if value is not None}
