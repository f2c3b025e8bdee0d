"""The command line: look at the pipeline, run parts of it, score and report."""

import argparse
import pdb  # noqa: T100
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cmbml.cli.authoring import add_commands as add_authoring
from cmbml.cli.data import add_commands
from cmbml.cli.maps import add_map_commands
from cmbml.cli.options import Parser, number
from cmbml.cli.origins import add_origins
from cmbml.cli.submit import add_submit
from cmbml.core.engine.check import check_dvc, check_executors, check_plan, check_roles
from cmbml.core.engine.console import Progress, one_line_errors, open_log
from cmbml.core.engine.context import run_all, run_stage
from cmbml.core.engine.dvc import dvc_yaml, expect_dvc, is_recorded, record
from cmbml.core.engine.make import Engine
from cmbml.core.engine.regenerate import regenerate
from cmbml.core.engine.switch import apply_profile
from cmbml.core.errors import CmbmlError, ConfigError, PipelineError, did_you_mean
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.plan.pieces import Piece, Portion
from cmbml.core.spec.config import load_config
from cmbml.core.spec.numbers import Natural
from cmbml.core.spec.pipeline import Stage
from cmbml.core.spec.repository import DVC_YAML, PIPELINE, expect_own_code, find_root
from cmbml.core.views.compare import compare_to_head
from cmbml.core.views.leftovers import leftovers, remove_leftover
from cmbml.core.views.status import cost_lines, status_lines
from cmbml.exchange.card import write_card
from cmbml.exchange.croissant import write_croissant
from cmbml.report.freshness import REPORT, report_is_fresh, report_lacks

_USER_MISTAKE = 2
_EPILOG = (
    "`cmbml COMMAND --help` says more of each. Begin with `cmbml check`, `cmbml stages` and `cmbml status`; "
    "`make run` makes everything. A mistake is told in one line, and ends with 2."
)


def main(arguments: list[str] | None = None) -> None:
    """Run one command; a user's mistake is told in one line and ends with 2."""
    with one_line_errors(_USER_MISTAKE):
        options = _parser().parse_args(arguments)
        options.command(options)


def _version() -> str:
    try:
        return version("cmbml")
    except PackageNotFoundError:
        return "of a checkout that is not installed"


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="cmbml", description=__doc__, epilog=_EPILOG, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"cmbml {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    checking = _add(commands, "check", check, "find everything that is wrong before anything runs")
    checking.add_argument(
        "--unfinished", action="store_true", help="make executors of unfinished stages only"
    )
    _add(commands, "stages", stages, "list the stages with their splits and numbers of files")
    _add(commands, "graph", graph, "print the graph of stages as Mermaid text")
    state = _add(commands, "status", status, "say what would run, and why")
    state.add_argument("stage", nargs="*", help="keys of stages in pipeline/; by default, all of them")
    state.add_argument("--verify", action="store_true", help="read all files, to find any that was damaged")
    state.add_argument(
        "--leftovers",
        action="store_true",
        help="list unfinished files, and folders that nobody plans",
    )
    state.add_argument("--remove", action="store_true", help="with --leftovers: remove them")
    state.add_argument(
        "--cost", action="store_true", help="say what it took here, and what the rest will take"
    )
    add_origins(lambda *described: _add(commands, *described), _plan)
    dvc = _add(commands, "dvc", write_dvc, f"write {DVC_YAML} from {PIPELINE}/ and the parameters")
    dvc.add_argument("--check", action="store_true", help="only say whether it is up to date")
    _add_run(_add(commands, "run", run, "run all stages, or some, or repeat one simulation, in this process"))
    again = _add(
        commands, "regenerate", make_again, "make one simulation's files anew, outside of the dataset"
    )
    again.add_argument("stage", help="key of the stage in pipeline/")
    again.add_argument("--split", required=True, help="split of the simulation")
    again.add_argument("--sim", required=True, type=number(Natural), help="number of the simulation")
    again.add_argument("--into", required=True, type=Path, help="folder for the files")
    switch = _add(commands, "profile", profile, "switch to a profile of profiles/")
    switch.add_argument("name", help="name of the profile")
    switch.add_argument(
        "--force", action="store_true", help="overwrite changes of params.yaml that git does not have"
    )
    switch.add_argument("--into", type=Path, help="write a repository of its own there instead")
    _add(commands, "repro", repro, "check, make, record with DVC, then the report: what `make run` does")
    _add(commands, "report", report, "build reports/index.html")
    add_map_commands(lambda *described: _add(commands, *described), _plan)
    add_commands(lambda *described: _add(commands, *described), _plan)
    add_authoring(lambda *described: _add(commands, *described), _plan, find_root, parser)
    add_submit(lambda *described: _add(commands, *described), _plan)
    return parser


def _add(
    commands: "argparse._SubParsersAction[Parser]",
    name: str,
    command: Callable[[argparse.Namespace], None],
    text: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    parser.set_defaults(command=command)
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stage", nargs="*", help="keys of stages in pipeline/; by default, all of them")
    parser.add_argument("--split", help="only this split")
    parser.add_argument("--method", help="only this method, for stages that loop over methods")
    parser.add_argument("--sim", type=number(Natural), help="only this simulation, even where it is complete")
    parser.add_argument("--force", action="store_true", help="compute even what is complete, or in the cache")
    parser.add_argument("--pdb", action="store_true", help="open the debugger where it fails")


def _plan() -> Plan:
    root = find_root()
    # The user's own modules lie in the repository; an installed copy of ours must not hide them.
    sys.path.insert(0, str(root))
    expect_own_code(root, "python -m cmbml")
    return Plan(load_config(root))


def check(options: argparse.Namespace) -> None:
    """Check everything, list all problems."""
    plan = _plan()
    _check(plan, Engine(plan).unfinished() if options.unfinished else None)


def _check(plan: Plan, stages: list[Stage] | None) -> None:
    check_plan(plan)
    for line in check_executors(plan, stages):
        print(f"warning: {line}")
    check_roles(plan)
    check_dvc(plan)
    print(f"{plan.config.dataset}: {len(plan.stages)} stages, no problem found", flush=True)


def stages(_: argparse.Namespace) -> None:
    """Print a line for every stage."""
    plan = _plan()
    for stage in plan.stages.values():
        pieces = [piece for portion in plan.portions(stage) for piece in plan.pieces(portion)]
        files = sum(len(plan.files(piece)) for piece in pieces)
        splits = [portion.split for portion in plan.portions(stage) if portion.split]
        where = ", ".join(dict.fromkeys(splits)) or "-"
        print(
            f"{stage.key:<18} {plan.code(stage).loop:<14} {len(pieces):>6} pieces {files:>7} files  {where}"
        )


def graph(_: argparse.Namespace) -> None:
    """Print the stages and what they read as a Mermaid graph."""
    plan = _plan()
    print("flowchart TD")
    for stage in plan.stages.values():
        print(f"    {stage.key}")
        sources = dict.fromkeys(s.stage for portion in plan.portions(stage) for s in plan.sources(portion))
        for source in sources:
            print(f"    {source} --> {stage.key}")


def status(options: argparse.Namespace) -> None:
    """Print what is not complete, and why; or what it costs."""
    plan = _plan()
    if options.leftovers or options.remove:
        _leftovers(plan, options)
        return
    chosen = _named(plan, options.stage)
    for line in (
        cost_lines(plan, chosen) if options.cost else status_lines(plan, chosen, verify=options.verify)
    ):
        print(line)


def _leftovers(plan: Plan, options: argparse.Namespace) -> None:
    if not options.leftovers or options.stage:
        raise ConfigError("--remove goes with --leftovers, and names no stage: `cmbml status --leftovers`")
    found = list(leftovers(plan))
    for path in found:
        print(path.relative_to(plan.config.root))
        for other in remove_leftover(plan, path) if options.remove else ():
            print(f"{other.relative_to(plan.config.root)} stays: nothing here has made it")
    if not found:
        print("no leftovers")


def _named(plan: Plan, keys: list[str]) -> list[Stage]:
    """The stages with these keys, or all of them where there are none, in order."""
    for key in keys:
        if key not in plan.stages:
            raise PipelineError(f"no stage '{key}': {did_you_mean(key, plan.stages)}")
    return [stage for key, stage in plan.stages.items() if key in keys or not keys]


def write_dvc(options: argparse.Namespace) -> None:
    """Write dvc.yaml, or check it."""
    plan = _plan()
    check_plan(plan)
    if options.check:
        check_dvc(plan)
        return
    path = plan.config.root / DVC_YAML
    text = dvc_yaml(plan)
    if path.read_text(encoding="utf-8") == text:
        print(f"{DVC_YAML} is up to date")
        return
    path.write_text(text, encoding="utf-8")
    print(f"wrote {DVC_YAML}: {len(plan.stages)} stages")


def run(options: argparse.Namespace) -> None:
    """Run all stages, or some, or force parts of one."""
    plan = _plan()
    check_plan(plan)
    if len(options.stage) != 1 and (options.sim is not None or options.force):
        raise ConfigError("--sim and --force repeat what one stage makes: name the stage")
    chosen = _named(plan, options.stage)
    progress = Progress(plan.stages, open_log(plan.config.root))
    engine = Engine(plan, progress)
    try:
        for stage in chosen:
            _run_chosen(engine, stage, progress, options)
    except CmbmlError:
        raise
    except Exception:
        if options.pdb:
            pdb.post_mortem()
        raise


def _run_chosen(engine: Engine, stage: Stage, progress: Progress, options: argparse.Namespace) -> None:
    portions = [portion for portion in engine.plan.portions(stage) if _chosen(portion, options)]
    if not portions:
        splits = "/".join(p.split for p in engine.plan.portions(stage) if p.split) or "none"
        raise ConfigError(f"stage '{stage.key}' has no such split or method: its splits are {splits}")
    progress.start(stage.key)
    if options.force or options.sim is not None:
        for portion in portions:
            pieces = [piece for piece in engine.plan.pieces(portion) if options.sim in (None, piece.sim)]
            _repeat(engine, portion, pieces, progress)
        return
    for portion in portions:
        progress.expect(engine.facts(portion).flaws(engine.plan.pieces(portion)))
    run_stage(engine, stage, portions)


def _chosen(portion: Portion, options: argparse.Namespace) -> bool:
    return options.split in (None, portion.split) and options.method in (None, portion.method)


def _repeat(engine: Engine, portion: Portion, pieces: list[Piece], progress: Progress) -> None:
    if not pieces:
        raise ConfigError(f"{portion}: no such simulation: it has {len(engine.plan.pieces(portion))}")
    progress.expect(pieces)
    engine.require_inputs(portion)
    engine.run_block(pieces, force=True)
    facts = engine.facts(portion)
    if not facts.flaws(engine.plan.pieces(portion)):
        engine.finalise(portion)


def make_again(options: argparse.Namespace) -> None:
    """Make the files of one simulation anew."""
    plan = _plan()
    check_plan(plan)
    for path in regenerate(plan.config, options.stage, options.split, options.sim, options.into):
        print(path)


def profile(options: argparse.Namespace) -> None:
    """Overlay params.yaml with a profile, here or in a repository of its own."""
    root = find_root()
    folder = root if options.into is None else options.into.resolve()
    sys.path.insert(0, str(root))
    plan = apply_profile(root, options.name, folder, force=options.force)
    print(f"{folder}: dataset {plan.config.dataset}, {len(plan.stages)} stages")


def repro(_: argparse.Namespace) -> None:
    """Make and record what is unfinished; write card and report; compare with the last commit."""
    plan = _plan()
    expect_dvc(plan.config.root)
    unfinished = Engine(plan).unfinished()
    _check(plan, unfinished)
    _make_and_record(plan, unfinished)
    write_card(plan)
    write_croissant(plan)
    if lacking := report_lacks(plan):
        print(f"no report: the pipeline has no stage {', '.join(lacking)}")
    else:
        _report(plan)
    if line := compare_to_head(plan):
        print(line)


def _make_and_record(plan: Plan, unfinished: list[Stage]) -> None:
    """Make all at once, with a worker for every core, then let DVC record what is complete."""
    status = run_all(plan.config.root) if unfinished else 0
    still = {stage.key for stage in Engine(plan).unfinished()} if unfinished else set()
    if still:
        if made := [stage for stage in unfinished if stage.key not in still]:
            record(plan, made)
        sys.exit(status or 1)
    if not is_recorded(plan):
        record(plan, list(plan.stages.values()))


def report(_: argparse.Namespace) -> None:
    """Build the report, unless there is one of the same data, code and commit."""
    _report(_plan())


def _report(plan: Plan) -> None:
    if report_is_fresh(plan):
        print(f"{REPORT} is up to date")
        return
    from cmbml.report.build import ReportBuilder

    print(f"wrote {ReportBuilder(plan).build()}: open it in a browser")
