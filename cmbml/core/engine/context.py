"""Pipelines from scripts and notebooks, on the same engine as Luigi and DVC."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from configparser import ConfigParser
from pathlib import Path

from cmbml.core.engine.check import check_executors, check_plan
from cmbml.core.engine.make import Engine, Reporter
from cmbml.core.errors import CmbmlError, PipelineError
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.plan.pieces import Portion
from cmbml.core.spec.config import Config
from cmbml.core.spec.pipeline import Stage
from cmbml.core.stage.executor import BaseStageExecutor
from cmbml.core.stage.sealed import Access, StageConfig


class PipelineContext:
    """Collects executors, checks them all, then runs them in the order of their stages.

    Parameters
    ----------
    cfg
        The configuration.
    reporter
        Told of every simulation that is made.
    """

    def __init__(self, cfg: Config, reporter: Reporter | None = None) -> None:
        self.cfg = cfg
        self._reporter = reporter
        self._executors: dict[str, type[BaseStageExecutor]] = {}

    def add_pipe(self, executor: type[BaseStageExecutor]) -> None:
        """Add the executor of a stage.

        Raises
        ------
        PipelineError
            Where its stage has one already.
        """
        key = self._key(executor)
        if key in self._executors:
            raise PipelineError(f"stage '{key}' has two executors: add one of them")
        self._executors[key] = executor

    def _key(self, executor: type[BaseStageExecutor]) -> str:
        """Key of its stage; what else is wrong with an executor, the prerun tells with all other problems."""
        access = Access(self.cfg)
        make: Callable[..., BaseStageExecutor] = executor
        try:
            return make(StageConfig(access)).stage.key
        except CmbmlError:
            if access.stage is None:
                raise
            return access.stage.key

    def prerun_pipeline(self) -> None:
        """Check everything before anything runs; load no data.

        Raises
        ------
        ProblemsError
            With every problem found.
        """
        plan = Plan(self.cfg, dict(self._executors))
        stages = self._in_order(plan)
        check_plan(plan, stages)
        check_executors(plan, stages)

    def run_pipeline(self) -> None:
        """Make what is not complete; what is there already is kept.

        Raises
        ------
        CmbmlError
            Where a stage fails; what was finished stays.
        """
        self.prerun_pipeline()
        engine = Engine(Plan(self.cfg, dict(self._executors)), self._reporter)
        for stage in self._in_order(engine.plan):
            run_stage(engine, stage)

    def _in_order(self, plan: Plan) -> list[Stage]:
        return [stage for key, stage in plan.stages.items() if key in self._executors]


def run_all(root: Path) -> int:
    """Make all that is not complete in processes of their own, with Luigi; return its exit status.

    As many workers as this process has cores, unless luigi.cfg says how many.
    """
    settings = ConfigParser()
    settings.read(root / "luigi.cfg")
    told = settings.has_option("core", "workers")
    workers = [] if told else ["--workers", str(len(os.sched_getaffinity(0)))]
    command = [sys.executable, "-m", "luigi", "--module", "tasks", "RunAll", *workers]
    return subprocess.run(command, cwd=root, check=False).returncode


def run_stage(engine: Engine, stage: Stage, portions: Iterable[Portion] | None = None) -> None:
    """Make what is not complete of one stage, or of some of its portions, in this process."""
    for portion in engine.plan.portions(stage) if portions is None else portions:
        if not engine.facts(portion).complete():
            engine.require_inputs(portion)
            engine.run_block(engine.plan.pieces(portion))
            engine.finalise(portion)
