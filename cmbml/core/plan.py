"""What is to be made, and the fingerprint that each piece must have.

Consumers follow the plan, never what happens to lie on disk.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from cmbml.core.code import Code, code_of
from cmbml.core.config import Config, resolve
from cmbml.core.coverage import is_wanted, split_names
from cmbml.core.errors import DataError, PipelineError
from cmbml.core.handlers import get_handler
from cmbml.core.namer import Namer, sim_tag
from cmbml.core.pipeline import THE_METHOD, AssetOut, Stage
from cmbml.core.raw import raw_digests
from cmbml.core.repository import LOCAL
from cmbml.core.units import DIGITS, ENCODER, Portion, Reading, Recipe, Unit, digest_of

# Stands for the simulation in a path whose other tags are filled.
_SIM = "{sim}"


@dataclass
class Plan:
    """All portions and units of a dataset, with their wanted fingerprints.

    Parameters
    ----------
    config
        Parameters and pipeline.
    executors
        Classes of stages whose executor cannot be imported by its dotted path: a script's or notebook's own.
    """

    config: Config
    executors: dict[str, type] = field(default_factory=dict)
    _recipes: dict[Portion, Recipe] = field(default_factory=dict)
    _prints: dict[Unit, str] = field(default_factory=dict)
    _wholes: dict[Portion, str] = field(default_factory=dict)
    # What the units of a portion share is worked out once: there may be 50,000.
    _units: dict[Portion, list[Unit]] = field(default_factory=dict)
    _readings: dict[Portion, dict[str, list[Reading]]] = field(default_factory=dict)
    _shared_inputs: dict[tuple[Portion, str], str] = field(default_factory=dict)
    _located: dict[tuple[str, str], dict[str, Path]] = field(default_factory=dict)
    _templates: dict[Portion, list[str]] = field(default_factory=dict)
    _owns: dict[Portion, dict[str, list[Reading]]] = field(default_factory=dict)
    _commons: dict[Portion, "hashlib._Hash"] = field(default_factory=dict)

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """Stages that are switched on and have an executor, in order."""
        off = {key for key in self._estimators if key not in self.config.estimates}
        for key in list(self._estimators):
            if key in off and not self.config.pipeline.stages[key].reference:
                off |= self._private_to(key)
        return {
            key: stage
            for key, stage in self.config.pipeline.stages.items()
            if key not in off and self._wanted(stage)
        }

    def _wanted(self, stage: Stage) -> bool:
        has_code = bool(stage.executor or stage.key in self.executors)
        return has_code and self.config.holds(stage.when) and is_wanted(self.config, stage)

    @cached_property
    def _estimators(self) -> list[str]:
        return [key for key, stage in self.config.pipeline.stages.items() if "cleaned" in stage.assets_out]

    def _private_to(self, method: str) -> set[str]:
        """Stages of a method's own pipeline file: they are switched off with it."""
        stages = self.config.pipeline.stages
        return {
            key for key, stage in stages.items() if stage.file == stages[method].file and not stage.reference
        }

    def code(self, stage: Stage) -> Code:
        """The code behind a stage."""
        return code_of(self.executors.get(stage.key) or stage.executor or "")

    def portions(self, stage: Stage) -> list[Portion]:
        """Portions of a stage: methods by splits."""
        methods = self.config.estimates if stage.for_each else (None,)
        splits = split_names(self.config, stage) if stage.per_split else (None,)
        return [
            Portion(stage.key, method, split)
            for method, split in product(methods, splits)
            if method is None or split is None or split in self._splits_of(method)
        ]

    def _splits_of(self, method: str) -> tuple[str, ...]:
        return split_names(self.config, self.config.pipeline.stages[method])

    def sims(self, portion: Portion) -> range | None:
        """Simulations that are units of their own; None where the portion is one unit."""
        loop = self.code(self.stages[portion.stage]).loop
        if portion.split is None or loop != "process_sim":
            return None
        return range(self.config.every_split[portion.split].n_sims)

    def units(self, portion: Portion) -> list[Unit]:
        """Units of a portion."""
        if portion not in self._units:
            sims = self.sims(portion)
            self._units[portion] = [Unit(portion, sim) for sim in ((None,) if sims is None else sims)]
        return self._units[portion]

    def readings(self, portion: Portion) -> dict[str, list[Reading]]:
        """What the units of a portion read from, by name of the input; science assets are not among it."""
        if portion not in self._readings:
            stage = self.stages[portion.stage]
            self._readings[portion] = {
                name: [
                    reading
                    for producer in self._producers(stage, name, portion.method)
                    for reading in self._read_of(producer, portion, asset.split)
                ]
                for name, asset in self.config.inputs(stage).items()
            }
        return self._readings[portion]

    def inputs(self, unit: Unit) -> dict[str, list[Portion | Unit]]:
        """What a unit reads from, by name of the input: a portion is read whole, a unit alone."""
        return {
            name: [Unit(portion, unit.sim) if alone else portion for portion, alone in readings]
            for name, readings in self.readings(unit.portion).items()
        }

    def _producers(self, stage: Stage, name: str, method: str | None) -> list[Stage]:
        found = [producer for producer, _ in self.config.pipeline.producers(stage, name)]
        if stage.assets_in[name].stage == THE_METHOD:
            found = [producer for producer in found if producer.key == method]
        made = [producer for producer in found if producer.executor or producer.key in self.executors]
        # Of a stage and those that stand in for it, the ones that some split needs.
        return [producer for producer in made if producer.key in self.stages] or [
            self._made(producer, stage) for producer in made
        ]

    def _made(self, producer: Stage, consumer: Stage) -> Stage:
        if producer.key not in self.stages:
            raise PipelineError(
                f"{consumer.where}: reads from stage '{producer.key}', which is switched off: "
                "add its method to 'methods' in params.yaml, or say 'when' of the input as of that stage"
            )
        return producer

    def _read_of(self, producer: Stage, portion: Portion, pinned: str | None) -> Iterator[Reading]:
        consumer = self.stages[portion.stage]
        by_sim = self.sims(portion) is not None and pinned is None
        for candidate in self.portions(producer):
            other_method = (
                candidate.method is not None and consumer.for_each and candidate.method != portion.method
            )
            if other_method or not self._readable(consumer, portion, candidate.split, pinned):
                continue
            alone = by_sim and candidate.split is not None and self.sims(candidate) is not None
            yield Reading(candidate, alone)

    def _readable(self, consumer: Stage, portion: Portion, split: str | None, pinned: str | None) -> bool:
        if split is None:
            return True
        if pinned or portion.split:
            return split == (pinned or portion.split)
        return split in split_names(self.config, consumer)

    def recipe(self, portion: Portion) -> Recipe:
        """What the fingerprints of a portion's units have in common."""
        if portion not in self._recipes:
            stage = self.stages[portion.stage]
            code = self.code(stage)
            self._recipes[portion] = Recipe(
                code=code.modules,
                packages=code.packages,
                handlers={name: _format(asset) for name, asset in sorted(stage.assets_out.items())},
                params={key: self._param(key, portion) for key in sorted(stage.params)},
                settings={"threads": stage.threads, "epochs": list(stage.epochs)},
            )
        return self._recipes[portion]

    def _param(self, key: str, portion: Portion) -> Any:
        value = self.config.value(key)
        if key.partition(".")[0] == "populations" and portion.split is not None:
            value = value[self.config.every_split[portion.split].population]
        return _plain(value)

    def fingerprint(self, unit: Unit) -> str:
        """Wanted fingerprint of a unit: code, parameters, inputs, and which simulation it is."""
        if unit not in self._prints:
            digest = self._common(unit.portion).copy()
            digest.update(f"{unit.sim} {self._own_inputs(unit)}".encode())
            self._prints[unit] = digest.hexdigest()[:DIGITS]
        return self._prints[unit]

    def _common(self, portion: Portion) -> "hashlib._Hash":
        """Hash of all that the units of a portion share."""
        if portion not in self._commons:
            shared = [self.recipe(portion).digest, self.identity(Unit(portion, None)), self._shared(portion)]
            self._commons[portion] = hashlib.sha256(ENCODER.encode(shared).encode())
        return self._commons[portion]

    def identity(self, unit: Unit) -> list[Any]:
        """Which piece a unit is: method, split, random stream, simulation."""
        split = self.config.every_split[unit.portion.split] if unit.portion.split else None
        return [unit.portion.method, unit.portion.split, split.stream if split else None, unit.sim]

    def input_digests(self, unit: Unit) -> dict[str, str]:
        """Fingerprints of a unit's inputs by name; of science assets, the hash of the file."""
        return {**self._shared(unit.portion), **self._own_inputs(unit)}

    def _shared(self, portion: Portion) -> dict[str, str]:
        """Fingerprints of the inputs that all units of a portion read whole."""
        own = self._own(portion)
        return {name: self._shared_input(portion, name) for name in self.readings(portion) if name not in own}

    def _own(self, portion: Portion) -> dict[str, list[Reading]]:
        """Inputs of which a unit reads its own part alone."""
        if portion not in self._owns:
            self._owns[portion] = {
                name: readings
                for name, readings in self.readings(portion).items()
                if any(alone for _, alone in readings)
            }
        return self._owns[portion]

    def _own_inputs(self, unit: Unit) -> dict[str, str]:
        own = self._own(unit.portion)
        return {name: self._own_input(readings, unit) for name, readings in own.items()}

    def _own_input(self, readings: list[Reading], unit: Unit) -> str:
        return _joined([
            self.fingerprint(Unit(portion, unit.sim)) if alone else self._whole(portion)
            for portion, alone in readings
        ])  # fmt: skip

    def _shared_input(self, portion: Portion, name: str) -> str:
        """Fingerprint of an input that all units of a portion read whole."""
        key = (portion, name)
        if key not in self._shared_inputs:
            wholes = [self._whole(source) for source, _ in self.readings(portion)[name]]
            self._shared_inputs[key] = _joined(wholes or [self._raw(portion.stage, name)])
        return self._shared_inputs[key]

    def _whole(self, portion: Portion) -> str:
        if portion not in self._wholes:
            self._wholes[portion] = digest_of([self.fingerprint(unit) for unit in self.units(portion)])
        return self._wholes[portion]

    def _raw(self, stage: str, name: str) -> str:
        memory = self.config.root / LOCAL / "science_assets.jsonl"
        files = self.raw_files(self.stages[stage], name).values()
        return digest_of(raw_digests(files, memory))

    def raw_files(self, stage: Stage, name: str, *, located: bool = True) -> dict[str, Path]:
        """Science assets behind an input, by name; none where a stage makes it.

        The name is the path in the repository, or where the asset's `locate` found the file outside of it,
        the name that it goes by on every machine; these are left out where `located` is false.
        """
        files: dict[str, Path] = {}
        for source, key in self.config.pipeline.producers(stage, name):
            asset = source.assets_out[key]
            if source.executor is None and source.key not in self.executors and (located or not asset.locate):
                files |= self._raw_files(source, asset)
        return files

    def _raw_files(self, source: Stage, asset: AssetOut) -> dict[str, Path]:
        if asset.locate is None:
            paths = self._expand(source, asset, {})
            return {str(path.relative_to(self.config.root)): path for path in paths}
        key = (source.key, asset.locate)
        if key not in self._located:
            find = resolve(asset.locate, source.where)
            try:
                self._located[key] = find(*(self.config.value(name) for name in source.params))
            except ValueError as error:
                raise DataError(f"{source.where}: {error}") from None
        return self._located[key]

    def places(self, portion: Portion) -> dict[str, list[str]]:
        """Out directories, or names of science assets, behind every input of a portion."""
        root = self.config.root
        return {
            name: [str(self.folder(source).relative_to(root)) for source, _ in readings]
            or list(self.raw_files(self.stages[portion.stage], name))
            for name, readings in self.readings(portion).items()
        }

    def sources(self, portion: Portion) -> list[Portion]:
        """Portions that a portion reads from."""
        readings = self.readings(portion).values()
        return list(dict.fromkeys(source for group in readings for source, _ in group))

    def files(self, unit: Unit) -> list[str]:
        """Paths of all files that a unit makes, relative to the repository."""
        templates = self._file_templates(unit.portion)
        if unit.sim is not None:
            return sorted([template.replace(_SIM, sim_tag(unit.sim)) for template in templates])
        split = self.config.every_split[unit.portion.split] if unit.portion.split else None
        tags = [sim_tag(sim) for sim in split.iter_sims()] if split else [_SIM]
        return sorted({template.replace(_SIM, tag) for template in templates for tag in tags})

    def _file_templates(self, portion: Portion) -> list[str]:
        """Paths of the files of a portion, in which only the simulation is left open."""
        if portion not in self._templates:
            stage = self.stages[portion.stage]
            fixed = {**_tags(portion), **({"sim": _SIM} if portion.split else {})}
            self._templates[portion] = [
                str(path.relative_to(self.config.root))
                for asset in stage.assets_out.values()
                for path in self._expand(stage, asset, fixed)
            ]
        return self._templates[portion]

    def _expand(self, stage: Stage, asset: AssetOut, fixed: dict[str, Any]) -> list[Path]:
        choices = self.config.choices(stage, asset)
        namer = self._namer(stage)
        return [
            namer.path(asset.path_template, **fixed, **dict(zip(choices, values, strict=True)))
            for values in product(*choices.values())
        ]

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


def _format(asset: AssetOut) -> list[Any]:
    return [asset.handler, get_handler(asset.handler).format_version]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _joined(digests: list[str]) -> str:
    return digests[0] if len(digests) == 1 else digest_of(digests)
