"""What every piece reads: consumers follow the plan, never what happens to lie on disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

from cmbml.core.errors import DataError, PipelineError
from cmbml.core.files.outside import find_files, find_program, program_files
from cmbml.core.plan.pieces import Piece, Pieces, Portion, remembered
from cmbml.core.spec.config import resolve
from cmbml.core.spec.pipeline import THE_METHOD, AssetOut, SplitFact, Stage


class Reading(NamedTuple):
    """A portion behind an input; `alone` where a simulation reads only its own piece of it."""

    portion: Portion
    alone: bool


class Reads(Pieces):
    """What the pieces of a dataset read from each other, and which science assets."""

    @remembered
    def readings(self, portion: Portion) -> dict[str, list[Reading]]:
        """What the pieces of a portion read from, by name of the input; science assets are not among it."""
        stage = self.stages[portion.stage]
        return {
            name: [
                reading
                for producer in self._producers(stage, name, portion.method)
                for reading in self._read_of(producer, portion, asset.split)
            ]
            for name, asset in self.config.inputs(stage).items()
        }

    def inputs(self, piece: Piece) -> dict[str, list[Portion | Piece]]:
        """What a piece reads from, by name of the input: a portion is read whole, a piece alone."""
        return {
            name: [Piece(portion, piece.sim) if alone else portion for portion, alone in readings]
            for name, readings in self.readings(piece.portion).items()
        }

    def _producers(self, stage: Stage, name: str, method: str | None) -> list[Stage]:
        found = [producer for producer, _ in self.config.pipeline.producers(stage, name)]
        if stage.assets_in[name].stage == THE_METHOD:
            found = [producer for producer in found if producer.key == method]
        made = [producer for producer in found if self.has_code(producer)]
        # Of a stage and its stand-ins, those that are switched on for some split.
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
        return split in self.config.split_names(consumer)

    def raw_files(self, stage: Stage, name: str, *, located: bool = True) -> dict[str, Path]:
        """Science assets behind an input, by name; none where a stage makes it.

        The name is the path in the repository, or where the asset's `locate` found the file outside of it,
        the name that it goes by on every machine; these are left out where `located` is false.
        """
        files: dict[str, Path] = {}
        for source, key in self.config.pipeline.producers(stage, name):
            asset = source.assets_out[key]
            if not self.has_code(source) and (located or not asset.locate):
                files |= self._files_of_source(source, asset)
        return files

    def _files_of_source(self, source: Stage, asset: AssetOut) -> dict[str, Path]:
        if asset.locate is not None:
            return self._located(source.key, asset.locate)
        paths = self.expand(source, asset, {})
        return {str(path.relative_to(self.config.root)): path for path in paths}

    @remembered
    def _located(self, source: str, function: str) -> dict[str, Path]:
        stage = self.config.pipeline.stages[source]
        find = resolve(function, stage.where)
        try:
            found: dict[str, Path] = find(*(self.config.value(name) for name in stage.params))
        except ValueError as error:
            raise DataError(f"{stage.where}: {error}") from None
        return found

    def places(self, portion: Portion) -> dict[str, list[str]]:
        """Out directories, or names of science assets, behind every input of a portion."""
        root = self.config.root
        return {
            name: [str(self.folder(source).relative_to(root)) for source, _ in readings]
            or list(self.raw_files(self.stages[portion.stage], name))
            for name, readings in self.readings(portion).items()
        }

    def input_assets(self, stage: Stage) -> list[AssetOut]:
        """What a stage reads, as those who make it describe it."""
        producers = (self.config.pipeline.producers(stage, name) for name in self.config.inputs(stage))
        return [source.assets_out[key] for each in producers for source, key in each]

    def split_facts(self, stage: Stage, method: str | None) -> dict[str, frozenset[str]]:
        """Facts of every split that a stage's fingerprints hold: all that its executor may see of them."""
        portions = [portion for portion in self.portions(stage) if portion.method == method]
        return {
            name: frozenset(
                fact
                for fact in get_args(SplitFact)
                if any(self._holds(each, name, fact) for each in portions if each.split in (name, None))
            )
            for name in self.config.split_names(stage)
        }

    @remembered
    def _holds(self, portion: Portion, split: str, fact: str) -> bool:
        """Whether a fact of a split stands in a portion's fingerprints: declared, its own, or by an input."""
        stage = self.stages[portion.stage]
        declared = stage.split_facts if split in self.config.split_names(stage) else ()
        if fact in declared or (fact == "name" and declared):
            return True
        if portion.split == split and fact in ("name", "stream"):
            return True
        readings = [each for group in self.readings(portion).values() for each in group]
        related = [each for each in readings if each.portion.split in (split, None)]
        # All simulations, one by one, are counted by being read.
        counted = fact == "n_sims" and any(
            not alone and source.split == split and self.sims(source) is not None for source, alone in related
        )
        return counted or any(self._holds(source, split, fact) for source, _ in related)

    def files_of(self, stage: Stage) -> dict[str, list[Path]]:
        """Files that a stage's code opens itself, by their names in the stage."""
        return {name: find_files(self.config.root, path) for name, path in (stage.files or {}).items()}

    @remembered
    def program_files(self, stage: str) -> dict[str, dict[str, Path]]:
        """Files of the programs that a stage starts, by the program's name and theirs."""
        programs = self.stages[stage].programs or {}
        root = self.config.root
        return {name: program_files(find_program(root, name, each)) for name, each in programs.items()}

    def sources(self, portion: Portion) -> list[Portion]:
        """Portions that a portion reads from."""
        readings = self.readings(portion).values()
        return list(dict.fromkeys(source for group in readings for source, _ in group))
