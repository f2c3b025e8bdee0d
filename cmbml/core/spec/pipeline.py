"""The pipeline as described in ``pipeline/*.yaml``: stages, their assets, and how they join."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from cmbml.core.errors import CmbmlError, PipelineError, ProblemsError, did_you_mean
from cmbml.core.spec.formats import BUILT_IN
from cmbml.core.spec.namer import TAGS, tags_in
from cmbml.core.spec.names import Apart
from cmbml.core.spec.roles import CLEANED
from cmbml.core.spec.yamlio import read_yaml

THE_METHOD = "{method}"
MAPS = "HealpyMap"

SplitFact = Literal["name", "n_sims", "population", "stream"]


def _known_tags(template: str) -> str:
    for tag in tags_in(template):
        if tag not in TAGS:
            raise ValueError(f"unknown tag {{{tag}}} in '{template}': {did_you_mean(tag, TAGS)}")
    return template


def _known_handler(name: str) -> str:
    if "." not in name and name not in BUILT_IN:
        raise ValueError(f"unknown handler '{name}': {did_you_mean(name, BUILT_IN)}")
    return name


def _numbered(value: Any) -> Any:
    """A number of fields instead of their names: 0000, 0001, and so on."""
    return tuple(f"{i:04d}" for i in range(value)) if isinstance(value, int) else value


def _inside(pattern: str) -> str:
    parts = PurePosixPath(pattern).parts
    if not parts or pattern.startswith("/") or ".." in parts:
        raise ValueError(f"'{pattern}' must name files below the repository")
    return pattern


def _placed(value: Any) -> Any:
    """A program by its place alone."""
    return {"place": value} if isinstance(value, str) else value


def _not_null(value: Any) -> Any:
    return {} if value is None else value


class _Yaml(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Plot(_Yaml):
    """How `dvc plots` draws a table: columns against a column."""

    x: str = Field(description="column of the horizontal axis")
    y: Annotated[tuple[str, ...], Apart] = Field(description="columns that are drawn against it")


class Program(_Yaml):
    """A program of others that a stage starts."""

    place: str = Field(
        description="its folder or file, relative to the repository or from an environment variable, as "
        "$NAME or $NAME/bin; without a slash, its name on the PATH"
    )
    source: str | None = Field(default=None, description="address where people get it, for messages")


class AssetOut(_Yaml):
    """A class of files that a stage makes."""

    handler: Annotated[str, AfterValidator(_known_handler)] = Field(
        description="its format: a name, or the dotted path of a class"
    )
    path_template: Annotated[str, AfterValidator(_known_tags)] = Field(description="its path, with tags")
    fields: Annotated[tuple[str, ...], BeforeValidator(_numbered), Apart] = Field(
        default=(), description="values of the tag {field}; a number stands for 0000, 0001, …"
    )
    locate: str | None = Field(
        default=None,
        description="for files outside of the repository: dotted path of a function that finds them, "
        "from the stage's params",
    )
    plot: Plot | None = Field(
        default=None, description="{x: COLUMN, y: [COLUMN, ...]}: what `dvc plots` draws of a csv file"
    )
    tolerance: float = Field(
        default=0,
        ge=0,
        allow_inf_nan=False,
        description="largest difference at which `cmbml compare` takes two of them for the same, relative to "
        "the largest number of the same map, column or array",
    )
    when: dict[str, Any] = Field(
        default_factory=dict, description="values that parameters must have; else the stage does not make it"
    )


class MapReads(_Yaml):
    """What is known of maps of others, where their headers leave it open."""

    hdu: int | str | None = Field(default=None, description="number, from 0, or EXTNAME of the table")
    column: str | tuple[str, ...] | None = Field(default=None, description="column, or columns, by name")
    field: int | tuple[int, ...] | None = Field(default=None, description="column, or columns, from 0")
    unit: str | None = Field(default=None, description="unit of the values")
    coord: Literal["G", "C", "E"] | None = Field(
        default=None, description="coordinates; maps in C or E are rotated to G"
    )
    polconv: Literal["COSMO", "IAU"] | None = Field(default=None, description="sign of U")
    missing: Literal["nan"] | None = Field(default=None, description="nan: NaN is a missing pixel")


class AssetIn(_Yaml):
    """A class of files that a stage reads: an output of another stage."""

    stage: str = Field(description="the stage that makes it; {method} for the method in hand")
    orig_name: str | None = Field(default=None, description="its name there, where that is another")
    split: str | None = Field(
        default=None,
        description="one split that it always comes from, such as train; it may then be read whole",
    )
    when: dict[str, Any] = Field(
        default_factory=dict, description="values that parameters must have; else the stage does not read it"
    )
    reads: MapReads | None = Field(
        default=None, description="of maps of others: what their headers leave open, {unit: mK_CMB}"
    )

    @property
    def told(self) -> dict[str, Any]:
        """What the handler is told, by name."""
        return {} if self.reads is None else {**self.reads.model_dump(exclude_none=True), "way": "pipeline"}


class Stage(_Yaml):
    """A stage: an executor with what it reads, what it makes and what it depends on.

    A stage without an executor is a source: its outputs are files that are there from the start.
    """

    key: str
    file: str
    executor: str | None = Field(
        default=None,
        description="dotted path of the class; a stage without one is a source, whose files are there from "
        "the start",
    )
    dir_name: str = Field(default="", description="the stage's folder, tag {stage}")
    working: str | None = Field(
        default=None, description="value of the tag {working}, for a folder between stage and split"
    )
    splits: Annotated[tuple[str, ...], Apart] | Literal["all"] = Field(
        default="all",
        description="all, or a list: the splits that it is made for, or, for a stage without split folders, "
        "that it may read",
    )
    source: Literal["imported", "observed"] | None = Field(
        default=None,
        description="made for the splits of that source in params.yaml alone; the stage is off where there "
        "are none",
    )
    stands_for: str | None = Field(
        default=None, description="the stage in whose place it makes the same files, for such splits"
    )
    params: Annotated[tuple[str, ...], Apart] = Field(
        default=(),
        description="keys of params.yaml that it may read, whole blocks (nilc) or single values "
        "(analysis.lmax)",
    )
    assets_out: Annotated[dict[str, AssetOut], BeforeValidator(_not_null)] = Field(
        default_factory=dict, description="what it makes, by name"
    )
    assets_in: Annotated[dict[str, AssetIn], BeforeValidator(_not_null)] = Field(
        default_factory=dict, description="what it reads, by name"
    )
    files: dict[str, Annotated[str, AfterValidator(_inside)]] | None = Field(
        default=None,
        description="files that its code opens itself, by name: a path or pattern below the repository; they "
        "count by content; {} where it opens none but its assets",
    )
    programs: dict[str, Annotated[Program, BeforeValidator(_placed)]] | None = Field(
        default=None,
        description="programs of others that it starts, by name: $VARIABLE, a path, or a name on the PATH; "
        "they count by content; {} where none changes the result",
    )
    environment: tuple[str, ...] = Field(
        default=(), description="environment variables that its code reads; their values count"
    )
    split_facts: tuple[SplitFact, ...] = Field(
        default=(),
        description="facts of its splits that it may read although no input holds them: name, n_sims, "
        "population, stream",
    )
    when: dict[str, Any] = Field(
        default_factory=dict,
        description="values that parameters must have, {noise.kind: model}; else the stage is switched off",
    )
    for_each: Literal["methods"] | None = Field(
        default=None,
        description="methods: once for every method and every reference row, tag {method}",
    )
    reference: bool = Field(
        default=False,
        description="its cleaned is a reference row: scored beside the methods, never switched off",
    )
    threads: int = Field(
        default=1, ge=1, description="threads of its numerical libraries; part of the result's fingerprint"
    )
    resources: dict[str, int] = Field(
        default_factory=dict, description="what Luigi must not hand out twice, such as {gpu: 1}"
    )
    epochs: Annotated[tuple[int | Literal["best"], ...], Apart] = Field(
        default=(), description="values of the tag {epoch}: numbers and best"
    )

    @property
    def where(self) -> str:
        """File and key, for messages."""
        return f"{self.file}: stages.{self.key}"

    @property
    def per_split(self) -> bool:
        """Whether the outputs are kept apart by split."""
        return any("split" in tags_in(asset.path_template) for asset in self.assets_out.values())

    @property
    def out_template(self) -> str:
        """Template of the out directory: up to the last folder that names stage, method or split."""
        inside = [a.path_template for a in self.assets_out.values() if a.path_template.startswith("{root}")]
        parts = (inside[0] if inside else "{root}/{dataset}/{stage}").split("/")
        places = {"stage", "method", "split"}
        last = max((i for i, part in enumerate(parts) if places & set(tags_in(part))), default=0)
        return "/".join(parts[: last + 1])

    @property
    def class_name(self) -> str:
        """Name of the Luigi task family: the key in CamelCase."""
        return "".join(part[:1].upper() + part[1:] for part in self.key.split("_"))


@dataclass(frozen=True)
class Pipeline:
    """All stages, in an order in which every stage follows those it reads from.

    Attributes
    ----------
    stages
        The stages by key.
    parameters
        Blocks of params.yaml that the pipeline files add: dotted path of the schema by name.
    """

    stages: dict[str, Stage]
    parameters: dict[str, str]

    def stage(self, key: str) -> Stage:
        """Look up a stage.

        Raises
        ------
        PipelineError
            Where there is none of that key.
        """
        if key not in self.stages:
            raise PipelineError(f"no stage '{key}' in pipeline/: {did_you_mean(key, self.stages)}")
        return self.stages[key]

    def producers(self, stage: Stage, name: str) -> list[tuple[Stage, str]]:
        """Stages and names of the outputs behind the input `name`; several where it is each method's own."""
        asset = stage.assets_in[name]
        keys = self._estimators() if asset.stage == THE_METHOD else [asset.stage]
        makers = [*(self.stages[key] for key in keys), *self.stand_ins(asset.stage)]
        output = asset.orig_name or name
        return [(maker, output) for maker in makers if output in maker.assets_out]

    def switched(self, holds: Callable[[Mapping[str, Any]], bool]) -> "Pipeline":
        """The pipeline with those outputs alone whose conditions `when` hold.

        Raises
        ------
        ProblemsError
            With every input that would read another.
        """
        stages = {
            key: stage.model_copy(
                update={"assets_out": {name: a for name, a in stage.assets_out.items() if holds(a.when)}}
            )
            for key, stage in self.stages.items()
        }
        problems = [
            PipelineError(
                f"{stage.where}.assets_in.{name}: '{asset.orig_name or name}' of stage '{asset.stage}' "
                "is switched off: say 'when' of the input as of that output"
            )
            for stage in stages.values()
            for name, asset in stage.assets_in.items()
            if asset.stage in stages and holds(asset.when)
            if (asset.orig_name or name) not in stages[asset.stage].assets_out
        ]
        if problems:
            raise ProblemsError(problems)
        return Pipeline(stages, self.parameters)

    def stand_ins(self, key: str) -> list[Stage]:
        """Stages that make the outputs of a stage for splits that are not simulated."""
        return [stage for stage in self.stages.values() if stage.stands_for == key]

    def _estimators(self) -> list[str]:
        return [key for key, stage in self.stages.items() if CLEANED in stage.assets_out]


def load_pipeline(folder: Path) -> Pipeline:
    """Read and join all yaml files of a pipeline folder.

    Raises
    ------
    ProblemsError
        With every problem found: unknown keys, tags, handlers, stages and assets, two owners of a path.
    """
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise PipelineError(f"{folder.name}/: holds no yaml file")
    problems: list[CmbmlError] = []
    stages: dict[str, Stage] = {}
    parameters: dict[str, str] = {}
    for file in files:
        label = f"{folder.name}/{file.name}"
        content = read_yaml(file) or {}
        problems += _unknown_keys(label, content, ("stages", "parameters", "sources", "science_assets"))
        parameters |= content.get("parameters") or {}
        for key, raw in (content.get("stages") or {}).items():
            if key in stages:
                problems.append(PipelineError(f"{label}: stages.{key}: also defined in {stages[key].file}"))
                continue
            try:
                stages[key] = Stage(**(raw or {}), key=key, file=label)
            except (ValidationError, TypeError) as error:
                problems += _explain(f"{label}: stages.{key}", error)
    if not problems:
        problems = [*_join_problems(stages), *_owner_problems(stages), *_place_problems(stages)]
    if problems:
        raise ProblemsError(problems)
    return Pipeline(_ordered(stages), parameters)


def _unknown_keys(label: str, content: Any, known: tuple[str, ...]) -> list[CmbmlError]:
    if not isinstance(content, dict):
        return [PipelineError(f"{label}: expected the keys {', '.join(known)}")]
    return [
        PipelineError(f"{label}: unknown key '{key}': {did_you_mean(str(key), known)}")
        for key in content
        if key not in known
    ]


def _explain(where: str, error: ValidationError | TypeError) -> list[CmbmlError]:
    if isinstance(error, TypeError):
        return [PipelineError(f"{where}: {error}")]
    return [PipelineError(f"{where}: {_finding(detail)}") for detail in error.errors()]


def _finding(detail: Any) -> str:
    location = [str(part) for part in detail["loc"]]
    if detail["type"] == "extra_forbidden":
        models: dict[str, type[_Yaml]] = {"assets_out": AssetOut, "assets_in": AssetIn, "reads": MapReads}
        within = [models[part] for part in location[:-1] if part in models]
        known = within[-1].model_fields if within else Stage.model_fields
        return f"unknown key '{'.'.join(location)}': {did_you_mean(location[-1], known)}"
    if detail["type"] == "missing":
        return f"'{'.'.join(location)}' is missing: add it"
    return f"{'.'.join(location)}: {detail['msg'].removeprefix('Value error, ')}"


def _join_problems(stages: dict[str, Stage]) -> Iterator[CmbmlError]:
    """Inputs that name a missing stage or asset, and stages without a place of their own."""
    for stage in stages.values():
        if stage.executor and not stage.dir_name:
            yield PipelineError(f"{stage.where}: 'dir_name' is missing: add it")
        if stage.executor and not stage.assets_out:
            yield PipelineError(f"{stage.where}: 'assets_out' is empty: name what the stage makes")
        if stage.stands_for is not None:
            yield from _stand_in_problems(stage, stages)
        for name, asset in stage.assets_in.items():
            where = f"{stage.where}.assets_in.{name}"
            if asset.stage == THE_METHOD:
                if stage.for_each is None:
                    yield PipelineError(f"{where}: '{THE_METHOD}' needs 'for_each: methods'")
                if (output := asset.orig_name or name) not in (known := _outputs_of_methods(stages)):
                    yield PipelineError(f"{where}: no method makes '{output}': {did_you_mean(output, known)}")
            elif asset.stage not in stages:
                yield PipelineError(f"{where}: no stage '{asset.stage}': {did_you_mean(asset.stage, stages)}")
            else:
                yield from _source_problems(where, asset, asset.orig_name or name, stages[asset.stage])


def _outputs_of_methods(stages: dict[str, Stage]) -> set[str]:
    return {name for stage in stages.values() if CLEANED in stage.assets_out for name in stage.assets_out}


def _source_problems(where: str, asset: AssetIn, name: str, source: Stage) -> Iterator[CmbmlError]:
    """An input that its source does not make, or that is told what only maps are told."""
    if name not in source.assets_out:
        hint = did_you_mean(name, source.assets_out)
        yield PipelineError(f"{where}: stage '{source.key}' makes no '{name}': {hint}")
    elif asset.reads and source.assets_out[name].handler != MAPS:
        yield PipelineError(f"{where}.reads: is for maps alone: take it out, or read by {MAPS}")


def _stand_in_problems(stage: Stage, stages: dict[str, Stage]) -> Iterator[CmbmlError]:
    """A stage that makes another's outputs for some splits must make the same files but those with `when`."""
    other = stages.get(stage.stands_for or "")
    where = f"{stage.where}.stands_for"
    if other is None:
        yield PipelineError(
            f"{where}: no stage '{stage.stands_for}': {did_you_mean(stage.stands_for or '', stages)}"
        )
    elif stage.source is None:
        yield PipelineError(f"{where}: needs 'source': say which splits it makes: imported or observed")
    elif (stage.dir_name, stage.assets_out) != (other.dir_name, _always_made(other)):
        yield PipelineError(f"{where}: must have dir_name and assets_out of stage '{other.key}'")


def _always_made(stage: Stage) -> dict[str, AssetOut]:
    return {name: asset for name, asset in stage.assets_out.items() if not asset.when}


def _place_problems(stages: dict[str, Stage]) -> Iterator[CmbmlError]:
    """Outputs that leave the out directory that DVC and the manifest watch."""
    for stage in stages.values():
        for name, asset in stage.assets_out.items() if stage.executor else ():
            where = f"{stage.where}.assets_out.{name}"
            template = asset.path_template
            if "method" in tags_in(template) and stage.for_each is None:
                yield PipelineError(f"{where}: tag {{method}} needs 'for_each: methods'")
            if stage.for_each and "method" not in tags_in(template):
                yield PipelineError(f"{where}: 'for_each: methods' needs the tag {{method}} in the path")
            if template.startswith("{root}") and not template.startswith(f"{stage.out_template}/"):
                yield PipelineError(
                    f"{where}: must lie below {stage.out_template}/, as the stage's other outputs"
                )
            if template.startswith("{root}") and "{stage}" not in template:
                yield PipelineError(
                    f"{where}: '{template}' lacks the tag {{stage}}: add it after {{dataset}}"
                )


def _owner_problems(stages: dict[str, Stage]) -> Iterator[CmbmlError]:
    """Paths that two outputs would write."""
    owners: dict[str, str] = {}
    for stage in stages.values():
        for name, asset in stage.assets_out.items():
            path = asset.path_template.replace("{stage}", stage.dir_name)
            # Some disks ignore case.
            place = path.casefold()
            owner = f"{stage.key}.{name}"
            if place in owners and owners[place] != f"{stage.stands_for}.{name}":
                yield PipelineError(
                    f"{stage.where}.assets_out.{name}: writes the path of {owners[place]}: {path}: "
                    "give it another dir_name or file name"
                )
            if stage.stands_for is None:
                owners.setdefault(place, owner)


def _ordered(stages: dict[str, Stage]) -> dict[str, Stage]:
    estimators = [key for key, stage in stages.items() if CLEANED in stage.assets_out]

    def upstream(stage: Stage) -> Iterable[str]:
        for asset in stage.assets_in.values():
            yield from estimators if asset.stage == THE_METHOD else [asset.stage]
            yield from (key for key, other in stages.items() if other.stands_for == asset.stage)

    try:
        order = list(TopologicalSorter({key: set(upstream(s)) for key, s in stages.items()}).static_order())
    except CycleError as error:
        raise PipelineError(
            f"pipeline/: a cycle: {' <- '.join(error.args[1])}: cut one of these inputs"
        ) from None
    return {key: stages[key] for key in order}
