"""The fingerprint that every piece must have: its code, parameters and inputs, and which simulation it is."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from cmbml.core.files.memo import Memo
from cmbml.core.files.science_assets import raw_digests
from cmbml.core.handlers import get_handler
from cmbml.core.plan.code import JOINTS, code_of
from cmbml.core.plan.pieces import Piece, Portion, remembered
from cmbml.core.plan.reads import Reading, Reads
from cmbml.core.spec.formats import BUILT_IN
from cmbml.core.spec.pipeline import AssetOut, Stage
from cmbml.core.spec.repository import LOCAL

_ENCODER = json.JSONEncoder(sort_keys=True)
_DIGITS = 32


@dataclass(frozen=True)
class Recipe:
    """All that the pieces of a portion have in common.

    Attributes
    ----------
    code
        Hash of every part of the code. The names are for people: a part counts by what it says, so that
        a module can be renamed or moved freely.
    packages
        major.minor of the numerical packages.
    handlers
        Version of the format of every output, and of every input as it is read.
    params
        Values of the declared parameters.
    settings
        What else in the pipeline file changes the result: threads, epochs.
    declared
        What the code reads beside: content of files and programs, values of environment variables, facts of
        splits.
    """

    code: dict[str, str]
    packages: dict[str, str]
    handlers: dict[str, list[Any]]
    params: dict[str, Any]
    settings: dict[str, Any]
    declared: dict[str, Any]

    @cached_property
    def digest(self) -> str:
        """Hash of everything."""
        code = sorted(self.code.values())
        return digest_of([code, self.packages, self.handlers, self.params, self.settings, self.declared])


class Plan(Reads):
    """All pieces of a dataset, what they read, and the fingerprint that each must have."""

    @remembered
    def recipe(self, portion: Portion) -> Recipe:
        """What the fingerprints of a portion's pieces have in common."""
        stage = self.stages[portion.stage]
        code = self.code(stage)
        return Recipe(
            code=code.modules,
            packages=code.packages,
            handlers=self._formats(stage),
            params={key: self._param(key, portion) for key in sorted(stage.params)},
            settings={"threads": stage.threads, "epochs": list(stage.epochs)},
            declared=dict(self._declared(portion)),
        )

    def _declared(self, portion: Portion) -> Iterator[tuple[str, Any]]:
        """By hash, so that no versioned file says anything of this machine; facts of splits as they are."""
        stage = self.stages[portion.stage]
        for name, paths in self.files_of(stage).items():
            # One may be moved; several are told apart by their names.
            names = [str(path.relative_to(self.config.root)) for path in paths if len(paths) > 1]
            yield f"file {name}", digest_of([names, self._md5s(paths)])
        for name, files in self.program_files(stage.key).items():
            yield f"program {name}", digest_of([list(files), self._md5s(files.values())])
        for name in stage.environment:
            yield f"variable {name}", digest_of(os.environ.get(name, ""))
        if stage.split_facts:
            own = (portion.split,) if portion.split else self.config.split_names(stage)
            facts = sorted({"name", *stage.split_facts})
            splits = [self.config.every_split[each] for each in own]
            yield "splits", [[getattr(split, fact) for fact in facts] for split in splits]

    def _formats(self, stage: Stage) -> dict[str, list[Any]]:
        """How the outputs are written, and how the inputs are read."""
        assets = {f"out {name}": [asset] for name, asset in stage.assets_out.items()}
        for name in self.config.inputs(stage):
            producers = self.config.pipeline.producers(stage, name)
            assets[f"in {name}"] = [source.assets_out[key] for source, key in producers]
        formats = {name: _unique(_format(asset) for asset in each) for name, each in sorted(assets.items())}
        for name, asset in self.config.inputs(stage).items():
            formats[f"in {name}"] += [asset.told] if asset.told else []
        return formats

    def _param(self, key: str, portion: Portion) -> Any:
        value = self.config.value(key)
        if key.partition(".")[0] == "populations" and portion.split is not None:
            value = value[self.config.every_split[portion.split].population]
        return _plain(value)

    @remembered
    def fingerprint(self, piece: Piece) -> str:
        """Wanted fingerprint of a piece: code, parameters, inputs, and which simulation it is."""
        digest = self._common(piece.portion).copy()
        digest.update(f"{piece.sim} {self._own_inputs(piece)}".encode())
        return digest.hexdigest()[:_DIGITS]

    @remembered
    def _common(self, portion: Portion) -> "hashlib._Hash":
        """Hash of all that the pieces of a portion share."""
        shared = [self.recipe(portion).digest, self.identity(Piece(portion, None)), self._shared(portion)]
        return hashlib.sha256(_ENCODER.encode(shared).encode())

    def identity(self, piece: Piece) -> list[Any]:
        """Which piece it is: method, split, random stream, simulation."""
        split = self.config.every_split[piece.portion.split] if piece.portion.split else None
        return [piece.portion.method, piece.portion.split, split.stream if split else None, piece.sim]

    def input_digests(self, piece: Piece) -> dict[str, str]:
        """Fingerprints of a piece's inputs by name; of science assets, the hash of the file."""
        return {**self._shared(piece.portion), **self._own_inputs(piece)}

    def _shared(self, portion: Portion) -> dict[str, str]:
        """Fingerprints of the inputs that all pieces of a portion read whole."""
        own = self._own(portion)
        return {name: self._shared_input(portion, name) for name in self.readings(portion) if name not in own}

    @remembered
    def _own(self, portion: Portion) -> dict[str, list[Reading]]:
        """Inputs of which a piece reads its own part alone."""
        return {
            name: readings
            for name, readings in self.readings(portion).items()
            if any(alone for _, alone in readings)
        }

    def _own_inputs(self, piece: Piece) -> dict[str, str]:
        own = self._own(piece.portion)
        return {name: self._own_input(readings, piece) for name, readings in own.items()}

    def _own_input(self, readings: list[Reading], piece: Piece) -> str:
        return _joined([
            self.fingerprint(Piece(portion, piece.sim)) if alone else self._whole(portion)
            for portion, alone in readings
        ])  # fmt: skip

    @remembered
    def _shared_input(self, portion: Portion, name: str) -> str:
        """Fingerprint of an input that all pieces of a portion read whole."""
        wholes = [self._whole(source) for source, _ in self.readings(portion)[name]]
        return _joined(wholes or [self._raw(portion.stage, name)])

    @remembered
    def _whole(self, portion: Portion) -> str:
        return digest_of([self.fingerprint(piece) for piece in self.pieces(portion)])

    def _raw(self, stage: str, name: str) -> str:
        return digest_of(self._md5s(self.raw_files(self.stages[stage], name).values()))

    def _md5s(self, paths: Iterable[Path]) -> list[str]:
        return raw_digests(paths, self._raw_memo)

    @cached_property
    def _raw_memo(self) -> Memo:
        root = self.config.root
        return Memo(root, root / LOCAL / "memo" / "science_assets.jsonl")


def digest_of(value: Any) -> str:
    """Hash of plain values."""
    return hashlib.sha256(_ENCODER.encode(value).encode()).hexdigest()[:_DIGITS]


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Kind and key of all that two recipes, as plain values, do not share."""
    found = [
        (kind, key)
        for kind in (each.name for each in fields(Recipe))
        for key in _changed(old.get(kind, {}), new.get(kind, {}), by_value=kind == "code")
    ]
    # How modules are joined follows from what they say, unless nothing else differs.
    return [each for each in found if each != ("code", JOINTS)] or found


def _changed(old: Mapping[str, Any], new: Mapping[str, Any], *, by_value: bool) -> list[str]:
    """Keys whose values differ; `by_value`: those of values that the other has under no key at all."""
    if not by_value:
        return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    pairs = ((old, set(new.values())), (new, set(old.values())))
    return sorted({key for mine, theirs in pairs for key, value in mine.items() if value not in theirs})


def _format(asset: AssetOut) -> list[Any]:
    """A handler by name and version; one that is not ours also by its code."""
    name, version = asset.handler, get_handler(asset.handler).format_version
    if name in BUILT_IN:
        return [name, version]
    return [name.rpartition(".")[2], version, *sorted(code_of(name).modules.values())]


def _unique(formats: Iterable[list[Any]]) -> list[Any]:
    return [json.loads(text) for text in sorted({_ENCODER.encode(each) for each in formats})]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _joined(digests: list[str]) -> str:
    return digests[0] if len(digests) == 1 else digest_of(digests)
