"""Assets: classes of files, read or written through a handler, never both."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, Literal

from cmbml.core.errors import DataError, DirectionError, NamerError, UndeclaredError, did_you_mean
from cmbml.core.handlers import get_handler
from cmbml.core.handlers.base import AssetHandler, Data
from cmbml.core.spec.namer import Namer, sim_tag, tags_in

LOG = logging.getLogger("cmbml")
Direction = Literal["in", "out"]
Writer = Callable[[AssetHandler[Any], Path, Any, dict[str, Any]], None]


def write_now(handler: AssetHandler[Data], path: Path, data: Data, options: dict[str, Any]) -> None:
    """Write a file under its own name at once."""
    handler.write(path, data, **options)


@dataclass(frozen=True)
class AssetRef(Generic[Data]):
    """One file of an asset: immutable and picklable, for process pools and PyTorch datasets.

    Attributes
    ----------
    path
        The file.
    handler_name
        Name of its handler.
    direction
        ``in`` may be read, ``out`` may be written.
    reads
        What the pipeline file tells the handler of it.
    """

    path: Path
    handler_name: str
    direction: Direction
    reads: Mapping[str, Any] = field(default_factory=dict)

    def read(self, **options: Any) -> Data:
        """Read the file."""
        _expect(self.direction, "in", str(self.path))
        data: Data = get_handler(self.handler_name).read(self.path, **_agreed(self.path, self.reads, options))
        return _with_note(self.path, data)

    def write(self, data: Data, **options: Any) -> None:
        """Write the file, whole or not at all."""
        _expect(self.direction, "out", str(self.path))
        get_handler(self.handler_name).write(self.path, data, **options)


@dataclass(frozen=True)
class Reach:
    """What an input may be read of: the splits that its stage declares, and the simulation in hand.

    Attributes
    ----------
    splits
        Names of the splits; empty where the input is not kept apart by split.
    remedy
        The line to add, and to which file.
    n_sims
        Number of simulations by split.
    choices
        Values of other tags that there are files of.
    pinned
        The one split that the input always comes from, in whole.
    reads
        What the pipeline file tells the handler of the files.
    """

    splits: tuple[str, ...]
    remedy: str
    n_sims: Mapping[str, int]
    choices: Mapping[str, tuple[Any, ...]]
    pinned: str | None = None
    reads: Mapping[str, Any] = field(default_factory=dict)


class Asset(Generic[Data]):
    """A class of files: a path template and a handler, in one direction.

    Parameters
    ----------
    name
        Key in the pipeline yaml.
    template
        Path template.
    handler_name
        Name of the handler.
    direction
        ``in`` or ``out``.
    namer
        Context that fills the template, shared by all assets of an executor.
    tags
        Tags that are fixed for this asset, such as its stage.
    fields
        Values of the tag ``{field}``.
    reach
        What an input may be read of; None for outputs and outside of stages.
    writer
        What becomes of written data; by default it is written at once.
    """

    def __init__(
        self,
        name: str,
        template: str,
        handler_name: str,
        direction: Direction,
        namer: Namer,
        *,
        tags: dict[str, Any] | None = None,
        fields: tuple[str, ...] = (),
        reach: Reach | None = None,
        writer: Writer = write_now,
    ) -> None:
        self.name = name
        self.template = template
        self.handler_name = handler_name
        self.direction = direction
        self.fields = fields
        self._namer = namer
        self._tags = tags or {}
        self._reach = reach
        self._writer = writer
        self._reads = reach.reads if reach is not None else {}

    def __repr__(self) -> str:
        return f"<Asset {self.name}: {self.template}, {self.handler_name}, {self.direction}>"

    @property
    def handler(self) -> AssetHandler[Data]:
        """The handler that reads and writes the files."""
        return get_handler(self.handler_name)

    @property
    def path(self) -> Path:
        """Path of the file that the context names.

        Raises
        ------
        NamerError
            Where a tag of the template has no value.
        UndeclaredError
            Where it lies in a split, or is of a simulation, that the stage does not declare.
        """
        return self._resolve({})

    def at(self, **tags: Any) -> AssetRef[Data]:
        """Refer to one file by its tags: ``at(split="test", sim=3, freq="100")``.

        Raises
        ------
        NamerError, UndeclaredError
            As `path`, and where the template has no such tag.
        """
        for tag in tags:
            if tag not in tags_in(self.template):
                hint = did_you_mean(tag, tags_in(self.template))
                raise NamerError(f"asset '{self.name}' has no tag '{tag}': {hint}")
        return AssetRef(self._resolve(tags), self.handler_name, self.direction, self._reads)

    def read(self, **options: Any) -> Data:
        """Read the file that the context names.

        Raises
        ------
        DirectionError
            Where the asset is an output.
        """
        _expect(self.direction, "in", f"asset '{self.name}'")
        path = self.path
        return _with_note(path, self.handler.read(path, **_agreed(path, self._reads, options)))

    def write(self, data: Data, **options: Any) -> None:
        """Write the file that the context names.

        Raises
        ------
        DirectionError
            Where the asset is an input.
        """
        _expect(self.direction, "out", f"asset '{self.name}'")
        self._writer(self.handler, self.path, data, options)

    def _resolve(self, tags: dict[str, Any]) -> Path:
        values = {**self._tags, **tags}
        if self._reach is not None:
            self._check_reach(self._reach, values)
        return self._namer.path(self.template, **values)

    def _check_reach(self, reach: Reach, values: dict[str, Any]) -> None:
        self._check_declared(reach, values)
        self._check_choices(reach, {**self._namer.context, **values})

    def _check_declared(self, reach: Reach, values: dict[str, Any]) -> None:
        context = self._namer.context
        split = values.get("split", context.get("split"))
        if split is not None and reach.splits and split not in reach.splits:
            raise UndeclaredError(f"input '{self.name}' of split '{split}' is not declared: {reach.remedy}")
        if reach.pinned is not None or "sim" not in context:
            return
        for tag in ("split", "sim"):
            if tag in context and values.get(tag, context[tag]) != context[tag]:
                raise UndeclaredError(
                    f"input '{self.name}' of {tag} '{values[tag]}' is read while '{context[tag]}' is made: "
                    "override process_split to read several simulations, or pin the input's split"
                )

    def _check_choices(self, reach: Reach, values: dict[str, Any]) -> None:
        """Refuse what no run will ever make, and say what there is."""
        for tag, known in reach.choices.items():
            names = [str(value) for value in known]
            if tag in values and str(values[tag]) not in names:
                raise NamerError(
                    f"asset '{self.name}' has no {tag} '{values[tag]}': it has {', '.join(names) or 'none'}"
                )
        split, sim = values.get("split"), values.get("sim")
        count = reach.n_sims.get(str(split))
        if "sim" not in tags_in(self.template) or sim is None or count is None:
            return
        if sim not in range(count) and sim not in map(sim_tag, range(count)):
            raise NamerError(
                f"asset '{self.name}' has no simulation {sim} of split '{split}': "
                f"it has {count}, 0 to {count - 1}"
            )


def _with_note(path: Path, data: Data) -> Data:
    """Say what was assumed of a file of others."""
    if assumed := getattr(data, "assumed", ()):
        _say_once(path.parent, path.suffix, "; ".join(assumed))
    return data


@lru_cache(maxsize=64)
def _say_once(folder: Path, suffix: str, assumed: str) -> None:
    LOG.info(f"assumed of {folder.name}/*{suffix}: {assumed}")


def _agreed(path: Path, told: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a handler: those of the pipeline file, and those of the code that are not None."""
    given = {key: value for key, value in options.items() if value is not None}
    for key in given.keys() & told.keys():
        if given[key] != told[key]:
            raise DataError(
                f"{path}: {key} is {told[key]} in the pipeline file and {given[key]} in params.yaml: "
                "mend one of them"
            )
    return {**told, **given}


def _expect(direction: Direction, wanted: Direction, what: str) -> None:
    if direction == wanted:
        return
    if wanted == "in":
        raise DirectionError(f"{what} is an output and cannot be read: declare it under assets_in to read it")
    raise DirectionError(f"{what} is an input and cannot be written: declare it under assets_out to write it")
