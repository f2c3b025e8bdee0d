"""The Luigi task family, built from the pipeline."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, cached_property
from importlib import import_module
from typing import Any, ClassVar

import luigi

from cmbml.core.engine.check import check_dvc, check_plan
from cmbml.core.engine.console import Progress, open_log
from cmbml.core.engine.make import THREAD_VARIABLES, Engine
from cmbml.core.errors import PipelineError, SkippedError
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.plan.pieces import Piece, Portion
from cmbml.core.record.locks import die_with_parent
from cmbml.core.spec.config import load_config
from cmbml.core.spec.pipeline import Stage
from cmbml.core.spec.repository import expect_own_code

# Luigi's scheduler takes quadratic time; up to about this many tasks it takes none.
MAX_TASKS = 500
# A block pays once for its imports and its executor; several for each worker balance the load.
_BLOCKS_PER_WORKER = 3
# Luigi takes priorities below zero for zero.
_FIRST_COME = 10**9


class Workshop:
    """What the tasks of one process share: the engine, and how simulations are grouped into blocks."""

    def __init__(self) -> None:
        config = load_config()
        expect_own_code(config.root, "python -m luigi")
        # The user's own executors lie in the repository, and its settings apply in all of its folders.
        sys.path.insert(0, str(config.root))
        if "LUIGI_CONFIG_PATH" not in os.environ:
            luigi.configuration.add_config_path(str(config.root / "luigi.cfg"))
        plan = Plan(config)
        check_plan(plan)
        check_dvc(plan)
        _check_resources(plan)
        # An interrupt is told by the process that forked the workers; they die with it.
        os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        self.progress = Progress(plan.stages, open_log(config.root))
        self.engine = Engine(plan, self.progress)
        self.plan = plan
        # Stages of which a block failed: the same fault would only be told again for every other.
        self.failed = {key: multiprocessing.Value("b", 0, lock=False) for key in plan.stages}

    @cache  # noqa: B019 (there is one workshop, for as long as the process lives)
    def load_executors(self) -> None:
        """Import what unfinished stages need, once, before workers are forked for their blocks.

        With one thread for each numerical library, so that none has started threads of its own, which a fork
        would lose: a block sets the number of its stage.
        """
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
        for stage in self.engine.unfinished():
            for module in (*self.plan.code(stage).imports, (stage.executor or "").rpartition(".")[0]):
                with suppress(ImportError):  # told by the stage itself, where it is really missed
                    import_module(module)

    @cached_property
    def _blocks_per_stage(self) -> int:
        default = _BLOCKS_PER_WORKER * luigi.interface.core().workers
        wanted = luigi.configuration.get_config().getint("cmbml", "blocks_per_stage", default)
        return max(1, min(wanted, MAX_TASKS // len(self.plan.stages)))

    def blocks(self, portion: Portion) -> Iterator[tuple[int, int]]:
        """First piece and number of pieces of every block of a portion."""
        portions = self.plan.portions(self.plan.stages[portion.stage])
        size = -(-sum(len(self.plan.pieces(other)) for other in portions) // self._blocks_per_stage)
        pieces = len(self.plan.pieces(portion))
        return ((first, min(size, pieces - first)) for first in range(0, pieces, size))


def _check_resources(plan: Plan) -> None:
    """Refuse what no worker will ever be given; Luigi would wait for it in silence."""
    for stage in plan.stages.values():
        for name, amount in stage.resources.items():
            offered = luigi.configuration.get_config().getint("resources", name, 0)
            if amount > offered:
                raise PipelineError(
                    f"{stage.where}.resources.{name}: asks for {amount}, [resources] in luigi.cfg "
                    f"offers {offered}: lower one or raise the other"
                )


class AssetTarget(luigi.LocalTarget):
    """One file of an asset: it exists when the file is there with the wanted fingerprint."""

    def __init__(self, path: str, workshop: Workshop, piece: Piece) -> None:
        super().__init__(path)
        self._workshop = workshop
        self._piece = piece

    def exists(self) -> bool:
        """Whether the piece that makes the file is complete."""
        return self._workshop.engine.facts(self._piece.portion).stale(self._piece) is None


class _PortionTask(luigi.Task):
    """What blocks and their end share: which portion of which dataset."""

    workshop: ClassVar[Workshop]
    stage: ClassVar[Stage]
    root = luigi.Parameter()
    dataset = luigi.Parameter()
    method = luigi.OptionalParameter(default=None)
    split = luigi.OptionalParameter(default=None)
    alone = luigi.BoolParameter(default=False, significant=False)

    @property
    def portion(self) -> Portion:
        return Portion(self.stage.key, self.method, self.split)

    @property
    def place(self) -> dict[str, str]:
        return {"root": self.root, "dataset": self.dataset}


class Block(_PortionTask):
    """Makes a block of simulations of one stage."""

    first = luigi.IntParameter()
    count = luigi.IntParameter()

    @property
    def pieces(self) -> list[Piece]:
        return self.workshop.plan.pieces(self.portion)[self.first : self.first + self.count]

    @property
    def resources(self) -> dict[str, int]:
        return self.stage.resources

    def requires(self) -> Iterator[luigi.Task]:
        if not self.alone:
            for source in self.workshop.plan.sources(self.portion):
                yield finalise_task(self.workshop, source, self.place)

    def output(self) -> list[AssetTarget]:
        files = ((path, piece) for piece in self.pieces for path in self.workshop.plan.files(piece))
        root = self.workshop.plan.config.root
        return [AssetTarget(str(root / path), self.workshop, piece) for path, piece in files]

    def complete(self) -> bool:
        stale = self.workshop.engine.facts(self.portion).flaws(self.pieces)
        self.workshop.progress.expect(stale)
        return not stale

    @property
    def priority(self) -> int:
        return _FIRST_COME - self.first

    def run(self) -> None:
        failed = self.workshop.failed[self.stage.key]
        if failed.value:
            raise SkippedError(f"{self.portion}: not tried, since the stage has failed")
        die_with_parent()
        self.workshop.progress.start(self.stage.key)
        try:
            self.workshop.engine.run_block(self.pieces)
        except BaseException:
            failed.value = 1
            raise


class Finalise(_PortionTask):
    """Closes a portion when all its blocks are made: prunes, and writes the manifest."""

    def requires(self) -> Iterator[luigi.Task]:
        block = _TASKS[f"{self.stage.class_name}Block"]
        shared = {"method": self.method, "split": self.split, "alone": self.alone, **self.place}
        for first, count in self.workshop.blocks(self.portion):
            yield block(first=first, count=count, **shared)

    def complete(self) -> bool:
        return self.workshop.engine.facts(self.portion).complete()

    def run(self) -> None:
        self.workshop.engine.finalise(self.portion)


class StageTask(luigi.WrapperTask):
    """Makes one stage, and what it reads from; with --alone that must be there already."""

    workshop: ClassVar[Workshop]
    stage: ClassVar[Stage]
    alone = luigi.BoolParameter(default=False, significant=False)

    def requires(self) -> Iterator[luigi.Task]:
        for portion in self.workshop.plan.portions(self.stage):
            task = finalise_task(self.workshop, portion, place_of(self.workshop), alone=self.alone)
            if self.alone and not task.complete():
                self.workshop.engine.require_inputs(portion)
            yield task


class EveryStage(luigi.WrapperTask):
    """Makes all stages."""

    workshop: ClassVar[Workshop]

    def requires(self) -> Iterator[luigi.Task]:
        if luigi.interface.core().workers > 1:
            self.workshop.load_executors()
        for stage in self.workshop.plan.stages.values():
            yield _TASKS[stage.class_name]()


_TASKS: dict[str, Any] = {}


def place_of(workshop: Workshop) -> dict[str, str]:
    """Parameters that tell a dataset from any other that one scheduler may know."""
    config = workshop.plan.config
    return {"root": str(config.root), "dataset": config.dataset}


def finalise_task(workshop: Workshop, portion: Portion, place: dict[str, str], *, alone: bool = False) -> Any:
    """Make the task that closes a portion."""
    kind = _TASKS[f"{workshop.plan.stages[portion.stage].class_name}Finalise"]
    return kind(method=portion.method, split=portion.split, alone=alone, **place)


def build_family() -> dict[str, Any]:
    """Make a wrapper, a block task and a closing task for every stage, and RunAll over all of them."""
    workshop = Workshop()
    for stage in workshop.plan.stages.values():
        for base, suffix in ((StageTask, ""), (Block, "Block"), (Finalise, "Finalise")):
            _define(f"{stage.class_name}{suffix}", base, workshop=workshop, stage=stage)
    _define("RunAll", EveryStage, workshop=workshop)
    return _TASKS


def _define(name: str, base: type, **attributes: Any) -> None:
    _TASKS[name] = type(name, (base,), {**attributes, "__module__": "tasks", "__doc__": base.__doc__})
