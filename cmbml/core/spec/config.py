"""Parameters and pipeline, read and validated together."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from math import isfinite
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError, create_model

from cmbml.core.errors import CmbmlError, ConfigError, PipelineError, ProblemsError, did_you_mean
from cmbml.core.spec.instruments import read_bands, table_path
from cmbml.core.spec.namer import tags_in
from cmbml.core.spec.params import Params
from cmbml.core.spec.pipeline import AssetIn, AssetOut, Pipeline, Stage, load_pipeline
from cmbml.core.spec.repository import PARAMS, PIPELINE, RAW, find_root
from cmbml.core.spec.roles import CLEANED
from cmbml.core.spec.signature import Signature, signature
from cmbml.core.spec.split import Split
from cmbml.core.spec.yamlio import read_yaml

# Names the file that a key of the parameters comes from.
FileOf = Callable[[Sequence[str]], str]
# DVC takes keys of these names for its own and then misses their changes (treeverse/dvc issue 10296).
RESERVED = ("size", "nfiles")


@dataclass(frozen=True)
class Config:
    """Everything that describes a dataset: the validated parameters and the pipeline.

    Attributes
    ----------
    root
        The repository.
    params
        Validated content of params.yaml, with a block for every method.
    pipeline
        The stages of ``pipeline/*.yaml``.
    written
        What params.yaml says itself, without defaults.
    read_at
        Signatures of the files that all this was read from, just before.
    """

    root: Path
    params: Params
    pipeline: Pipeline
    written: dict[str, Any] = field(default_factory=dict)
    read_at: dict[Path, Signature | None] = field(default_factory=dict)

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        return self.params.dataset

    @cached_property
    def every_split(self) -> dict[str, Split]:
        """All splits by name, those without a truth among them."""
        return {
            name: Split(name, split.n_sims, split.population or "", split.stream or name)
            for name, split in self.params.splits.items()
        }

    @cached_property
    def splits(self) -> dict[str, Split]:
        """The splits by name that have a truth: all but the observed ones."""
        known = self.params.splits
        return {name: split for name, split in self.every_split.items() if known[name].source != "observed"}

    @cached_property
    def estimates(self) -> tuple[str, ...]:
        """What analysis stages loop over: the methods, then the reference rows."""
        stages = self.pipeline.stages.values()
        references = (stage.key for stage in stages if stage.reference and self.split_names(stage))
        return (*self.params.methods, *references)

    def split_names(self, stage: Stage) -> tuple[str, ...]:
        """Names of the splits that a stage is made for, or may read, in the order of params.yaml.

        Without a list these are all simulated splits.  A split that is imported or observed goes as far as
        its data do: a stage is made for it where all that it reads by split is there for it.

        Raises
        ------
        PipelineError
            Where one that is listed is not in params.yaml.
        """
        known = self.every_split
        if stage.source is not None:
            return tuple(name for name in known if self.params.splits[name].source == stage.source)
        if stage.splits == "all":
            return tuple(name for name in known if self._reaches(stage, name))
        for name in stage.splits:
            if name not in known:
                raise PipelineError(f"{stage.where}.splits: no split '{name}': {did_you_mean(name, known)}")
        return tuple(name for name in known if name in stage.splits)

    def is_wanted(self, stage: Stage) -> bool:
        """Whether there is any split that a stage could be made of."""
        by_split = stage.per_split or (stage.splits == "all" and any(self._makers(stage)))
        return not by_split or bool(self.split_names(stage))

    def _reaches(self, stage: Stage, split: str) -> bool:
        source = self.params.splits[split].source
        if source == "simulated":
            return True
        if any(other.source == source for other in self.pipeline.stand_ins(stage.key)):
            return False
        inputs = list(self._makers(stage))
        return bool(inputs) and all(any(split in self.split_names(m) for m in makers) for makers in inputs)

    def _makers(self, stage: Stage) -> Iterator[list[Stage]]:
        """Stages that may make an input, for each input that is kept apart by split."""
        for name, asset in self.inputs(stage).items():
            makers = [maker for maker, _ in self.pipeline.producers(stage, name) if maker.executor]
            if asset.split is None and any(maker.per_split for maker in makers):
                yield makers

    def inputs(self, stage: Stage) -> dict[str, AssetIn]:
        """Inputs of a stage that the parameters switch on, by name."""
        return {name: asset for name, asset in stage.assets_in.items() if self.holds(asset.when)}

    def choices(self, stage: Stage, asset: AssetOut) -> dict[str, tuple[Any, ...]]:
        """Values of the tags that tell the files of one simulation apart."""
        known = {"freq": self.params.instrument.freqs, "epoch": stage.epochs, "field": asset.fields}
        return {tag: values for tag, values in known.items() if tag in tags_in(asset.path_template)}

    def holds(self, when: Mapping[str, Any]) -> bool:
        """Whether parameters have the values of a condition `when`."""
        return all(self.value(key) == wanted for key, wanted in when.items())

    def value(self, key: str) -> Any:
        """Look up the parameter with the dotted name `key`.

        Below ``populations``, a name is that of a parameter: its values in all populations, by population.

        Raises
        ------
        ConfigError
            Where there is none.
        """
        first, _, rest = key.partition(".")
        if first == "populations" and rest:
            return {name: self._value(each, rest, key) for name, each in self.params.populations.items()}
        return self._value(self.params, key, key)

    def _value(self, node: Any, path: str, key: str) -> Any:
        for part in path.split("."):
            options = _children(node)
            if part not in options:
                raise ConfigError(f"{PARAMS}: no parameter '{key}': {did_you_mean(part, options)}")
            node = options[part]
        return node


def _children(node: Any) -> Mapping[str, Any]:
    if isinstance(node, BaseModel):
        return {name: getattr(node, name) for name in type(node).model_fields}
    return node if isinstance(node, Mapping) else {}


def _always_params(_: Sequence[str]) -> str:
    return PARAMS


def load_config(root: Path | str | None = None, *, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read params.yaml and ``pipeline/*.yaml``.

    Parameters
    ----------
    root
        The repository; by default the nearest folder upwards that holds dvc.yaml.
    overrides
        Values by dotted key that replace those of params.yaml, for scripts and notebooks.

    Raises
    ------
    ConfigError, PipelineError, ProblemsError
        Where a key or value is wrong; every problem stands on a line of its own.
    """
    root = Path(root).resolve() if root is not None else find_root()
    read_at = {path: signature(path) for path in (root / PARAMS, *(root / PIPELINE).glob("*.yaml"))}
    values = read_yaml(root / PARAMS)
    if not isinstance(values, dict):
        raise ConfigError(f"{PARAMS}: expected keys and values at the top level")
    for key, value in (overrides or {}).items():
        _override(values, key, value)
    return replace(make_config(root, values), read_at=read_at)


def make_config(root: Path, values: dict[str, Any], file_of: FileOf = _always_params) -> Config:
    """Validate the content of params.yaml together with the pipeline of a repository.

    Parameters
    ----------
    root
        The repository.
    values
        The content.
    file_of
        Names the file that a key comes from, for messages.

    Raises
    ------
    ConfigError, PipelineError, ProblemsError
        As `load_config`.
    """
    pipeline = load_pipeline(root / PIPELINE)
    params = validate_params(_with_bands(root, values, file_of), pipeline, file_of)
    _check_folder(root, params.dataset, file_of)
    config = Config(root, params, pipeline, values)
    return replace(config, pipeline=pipeline.switched(config.holds))


def _check_folder(root: Path, dataset: str, file_of: FileOf) -> None:
    """Refuse a dataset whose folder would be another's where case does not count."""
    data = (root / RAW).parent
    taken = [RAW, *(path.relative_to(root).as_posix() for path in sorted(data.glob("*")))]
    own = f"{data.name}/{dataset}"
    for path in taken:
        if path.casefold() == own.casefold() and (path == RAW or path != own):
            raise ConfigError(
                f"{file_of(('dataset',))}: dataset: '{dataset}' would be {path}: choose another name"
            )


def _with_bands(root: Path, values: dict[str, Any], file_of: FileOf) -> dict[str, Any]:
    """Take the bands from the table that `instrument.table` names."""
    instrument = values.get("instrument")
    name = instrument.get("table") if isinstance(instrument, dict) else None
    if not isinstance(instrument, dict) or not name:
        return values
    if instrument.get("bands"):
        file = file_of(("instrument", "table"))
        raise ConfigError(f"{file}: instrument: has a table and bands: leave out one (bands: null)")
    bands = read_bands(table_path(root, str(name)))
    return {**values, "instrument": {**instrument, "bands": bands}}


def _override(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    node: Any = values
    for part in parents:
        if not isinstance(node, dict) or not isinstance(node.get(part), dict):
            options = node if isinstance(node, dict) else ()
            raise ConfigError(f"override '{key}': no block '{part}': {did_you_mean(part, map(str, options))}")
        node = node[part]
    node[last] = value


def validate_params(values: dict[str, Any], pipeline: Pipeline, file_of: FileOf = _always_params) -> Params:
    """Validate the content of params.yaml against the schema and the pipeline's own blocks."""
    problems: list[CmbmlError] = [
        ConfigError(
            f"{file_of(key.split('.'))}: {key}: DVC would miss changes of a key named "
            f"'{key.split('.')[-1]}': rename it"
        )
        for key in _keys(values)
        if key.split(".")[-1] in RESERVED
    ]
    model = params_model(pipeline)
    try:
        params = model.model_validate(values)
    except ValidationError as error:
        problems += [_explain(model, detail, file_of) for detail in error.errors()]
    if problems:
        raise ProblemsError(problems)
    # The schemas of blocks are others' too, which may allow more.
    for key, number in _numbers(params.model_dump()):
        if not isfinite(number):
            raise ConfigError(f"{file_of(key.split('.'))}: {key}: {number} is no number: give one")
    _check_methods(params, pipeline, file_of)
    return params


def _numbers(values: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """Floating-point numbers among values, with their dotted keys."""
    if isinstance(values, float):
        yield key, values
    elif isinstance(values, Mapping):
        for name, value in values.items():
            yield from _numbers(value, f"{key}.{name}" if key else str(name))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _numbers(value, key)


def _keys(values: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{key}.")


def params_model(pipeline: Pipeline) -> type[Params]:
    """Extend the schema by the blocks that the pipeline files name."""
    blocks: dict[str, Any] = {
        name: (resolve(path, f"parameters: {name}"), ...) for name, path in pipeline.parameters.items()
    }
    return create_model("Params", __base__=Params, **blocks)


def resolve(path: str, where: str) -> Any:
    """Import the object with a dotted path.

    Raises
    ------
    PipelineError
        Where there is none; `where` names the line that asked for it.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise PipelineError(f"{where}: cannot import '{path}': {error}") from None


def _explain(model: type[BaseModel], detail: Any, file_of: FileOf) -> ConfigError:
    """Turn one of pydantic's findings into one line."""
    location = [str(part) for part in detail["loc"] if part != "[key]"]
    key = ".".join(location)
    kind, given = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        text = f"unknown key: {_meant(model, location)}"
    elif kind == "missing":
        text = "missing: add it"
    else:
        text = detail["msg"].removeprefix("Value error, ")
        text += "" if isinstance(given, dict) else f" (it is {given!r})"
    return ConfigError(f"{file_of(location)}: {key + ': ' if key else ''}{text}")


def _meant(model: type[BaseModel], location: list[str]) -> str:
    """What to write for an unknown key: in a method's block, a key that is said once for all of them."""
    *place, key = location
    shared = [
        f"{block}.{key}"
        for block, field in Params.model_fields.items()
        if key in getattr(field.annotation, "model_fields", {})
    ]
    if shared and place and place[0] not in Params.model_fields:
        return f"set {' or '.join(shared)}, which holds for all methods"
    return did_you_mean(key, _fields_at(model, place))


def _fields_at(model: Any, location: Iterable[str]) -> Iterable[str]:
    """Names of the keys that the schema allows at a place."""
    for part in location:
        field = getattr(model, "model_fields", {}).get(part)
        annotation = field.annotation if field else model
        # A mapping's values all follow one model, whatever their key.
        model = getattr(annotation, "__args__", (annotation,))[-1] if field else model
    return getattr(model, "model_fields", {})


def _check_methods(params: Params, pipeline: Pipeline, file_of: FileOf) -> None:
    for method in params.methods:
        stage = pipeline.stages.get(method)
        if stage is None or CLEANED not in stage.assets_out:
            known = [key for key, stage in pipeline.stages.items() if CLEANED in stage.assets_out]
            hint = did_you_mean(method, known)
            raise ConfigError(
                f"{file_of(('methods',))}: methods: no stage '{method}' with an output 'cleaned': {hint}"
            )
