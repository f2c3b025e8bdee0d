"""Everything that can be known to be wrong before anything runs; no data is loaded."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cmbml.core.engine.dvc import is_current
from cmbml.core.engine.make import Engine
from cmbml.core.engine.undeclared import undeclared
from cmbml.core.errors import (
    CmbmlError,
    ConfigError,
    DataError,
    PipelineError,
    ProblemsError,
    UndeclaredError,
    did_you_mean,
)
from cmbml.core.handlers import get_handler
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.namer import tags_in
from cmbml.core.spec.pipeline import Stage
from cmbml.core.spec.repository import DVC_YAML, PARAMS
from cmbml.core.spec.roles import CONSUMERS, Role
from cmbml.core.stage.executor import BaseStageExecutor

# Keys that the engine itself gives to splits and simulations, so that no executor's __init__ reads them.
_READ_BY_ENGINE = ("populations",)


def check_plan(plan: Plan, stages: Iterable[Stage] | None = None) -> None:
    """Check what can be checked without importing the science: fast enough for every run.

    Parameters
    ----------
    plan
        What is wanted.
    stages
        Which stages to check; by default all that are switched on.

    Raises
    ------
    ProblemsError
        With every problem found.
    """
    stages = list(plan.stages.values() if stages is None else stages)
    problems = [problem for stage in stages for problem in _stage_problems(plan, stage)]
    if not problems:
        problems += _shared_files(plan, stages)
    if problems:
        raise ProblemsError(problems)


def check_dvc(plan: Plan) -> None:
    """Check that dvc.yaml is the one that pipeline/ and params.yaml lead to.

    Raises
    ------
    PipelineError
        Where it is not.
    """
    if not is_current(plan):
        raise PipelineError(
            f"{DVC_YAML}: disagrees with pipeline/, imports, splits or methods: run `cmbml dvc`"
        )


def check_roles(plan: Plan) -> None:
    """Check that what reads finished data finds all that it reads: see `cmbml.core.spec.roles`.

    Raises
    ------
    ProblemsError
        With every stage or output that a consumer would miss.
    """
    problems = [
        PipelineError(f"pipeline/: `{consumer}` reads {role}: {reason}")
        for consumer, roles in CONSUMERS.items()
        if _missing(plan, roles[0]) is None
        for role in roles
        if (reason := _missing(plan, role)) is not None
    ]
    if problems:
        raise ProblemsError(problems)


def _missing(plan: Plan, role: Role) -> str | None:
    """What there is in place of a role; None where a stage that is switched on plays it."""
    if not plan.makers(role.stage):
        return f"no stage '{role.stage}' is switched on: {did_you_mean(role.stage, plan.stages)}"
    outputs = plan.config.pipeline.stages[role.stage].assets_out
    if role.output not in outputs:
        return f"stage '{role.stage}' makes no '{role.output}': {did_you_mean(role.output, outputs)}"
    return None


def check_executors(plan: Plan, stages: Iterable[Stage] | None = None) -> list[str]:
    """Make every executor once; return their warnings.

    Parameters
    ----------
    plan
        What is wanted.
    stages
        Which stages to check; by default all that are switched on.

    Raises
    ------
    ProblemsError
        With every problem found.
    """
    engine = Engine(plan)
    stages = plan.stages.values() if stages is None else stages
    warnings: list[str] = []
    problems = [problem for stage in stages for problem in _executor_problems(engine, stage, warnings)]
    if problems:
        raise ProblemsError(problems)
    return warnings


def _stage_problems(plan: Plan, stage: Stage) -> Iterator[CmbmlError]:
    for key in stage.params:
        try:
            plan.config.value(key)
        except ConfigError as error:
            yield PipelineError(f"{stage.where}.params: {str(error).removeprefix(f'{PARAMS}: ')}")
    checks: tuple[Callable[[], object], ...] = (
        lambda: plan.code(stage),
        lambda: plan.config.split_names(stage),
        lambda: [get_handler(a.handler) for a in (*stage.assets_out.values(), *plan.input_assets(stage))],
        lambda: plan.files_of(stage),
        lambda: plan.program_files(stage.key),
    )
    for check in checks:
        try:
            check()
        except CmbmlError as error:
            yield PipelineError(f"{stage.where}: {error}")
            return
    yield from undeclared(plan, stage)
    yield from _pinned_problems(plan, stage)
    for name in plan.config.inputs(stage):
        yield from _missing_raw(plan, stage, name)


def _pinned_problems(plan: Plan, stage: Stage) -> Iterator[CmbmlError]:
    for name, asset in stage.assets_in.items():
        if asset.split and asset.split not in plan.config.splits:
            known = ", ".join(plan.config.splits)
            yield PipelineError(f"{stage.where}.assets_in.{name}: no split '{asset.split}': known: {known}")


def _missing_raw(plan: Plan, stage: Stage, name: str) -> Iterator[CmbmlError]:
    try:
        files = plan.raw_files(stage, name)
    except CmbmlError as error:
        yield error
        return
    for label, path in files.items():
        # One that is only recorded is no problem where all that is made of it is there.
        if not path.is_file() and not Path(f"{path}.dvc").is_file():
            where = f"{stage.where}.assets_in.{name}"
            yield DataError(
                f"{where}: science asset {label} is missing: fetch it, with `cmbml fetch` or by hand"
            )


def _shared_files(plan: Plan, stages: Iterable[Stage]) -> Iterator[CmbmlError]:
    """Files that two pieces would write."""
    owners: dict[str, str] = {}
    for stage in stages:
        for portion in plan.portions(stage):
            piece = plan.pieces(portion)[0]
            for path in plan.files(piece):
                if path in owners:
                    yield PipelineError(
                        f"{stage.where}: {path} is also written by {owners[path]}: rename one"
                    )
                owners.setdefault(path, str(piece))


def _executor_problems(engine: Engine, stage: Stage, warnings: list[str]) -> Iterator[CmbmlError]:
    method = engine.plan.config.estimates[0] if stage.for_each else None
    try:
        executor = engine.make_executor(stage.key, method)
    except CmbmlError as error:
        yield error
        return
    warnings += [f"{stage.key}: {line}" for line in executor.warnings]
    yield from _unread(executor)
    loop = engine.plan.code(stage).loop
    if loop == "process_sim" and not _per_sim(stage):
        yield PipelineError(
            f"{stage.where}: {type(executor).__name__} works simulation by simulation, but an output's path "
            "lacks {split} or {sim}: add the tags, or override process_split or execute"
        )


def _per_sim(stage: Stage) -> bool:
    return all({"split", "sim"} <= set(tags_in(a.path_template)) for a in stage.assets_out.values())


def _unread(executor: BaseStageExecutor) -> Iterator[CmbmlError]:
    stage = executor.stage
    for key in stage.params:
        if key not in executor.parameters_read and key not in _READ_BY_ENGINE:
            yield UndeclaredError(
                f"{stage.where}.params: '{key}' is declared but never read: "
                f"remove it, or read it in {type(executor).__name__}.__init__"
            )
