"""All that is said to DVC: dvc.yaml, derived from the pipeline, its commands and its remotes."""

import hashlib
import inspect
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbml.core.errors import ConfigError, PipelineError
from cmbml.core.handlers import get_handler
from cmbml.core.plan.code import code_of
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.record.dvc_cache import setting
from cmbml.core.record.git import is_under_git
from cmbml.core.spec.formats import BUILT_IN
from cmbml.core.spec.instruments import instrument_files, table_path
from cmbml.core.spec.pipeline import Stage
from cmbml.core.spec.repository import DVC_LOCK, DVC_YAML, LOCAL
from cmbml.core.spec.yamlio import dump_yaml

if TYPE_CHECKING:
    from dvc.api import DVCFileSystem

_HEADER = "# Written by `cmbml dvc` from pipeline/ and params.yaml; edit those and run it again.\n"
# The package itself, where a repository is a clone.
CODE = "cmbml"
# DVC takes minutes to plan some hundred stages; these many it plans in seconds.
MAX_STAGES = 40
# What DVC has recorded last, told without starting it.
RECORDED = f"{LOCAL}/recorded"
_CHARTS, _TABLES = ".svg", ".csv"


def dvc_yaml(plan: Plan, *, with_code: bool = True) -> str:
    """Text of dvc.yaml: one stage for each stage of the pipeline, one out for each portion.

    Parameters
    ----------
    plan
        What is wanted.
    with_code
        Whether the code of a clone is beside it; without, it is the text for a repository of data alone.
    """
    if len(plan.stages) > MAX_STAGES:
        raise PipelineError(
            f"{len(plan.stages)} stages are more than DVC plans quickly: at most {MAX_STAGES}"
        )
    described = {
        "stages": {key: _stage(plan, stage, with_code=with_code) for key, stage in plan.stages.items()},
        "plots": [plot for stage in plan.stages.values() for plot in _plots(stage)],
    }
    return _HEADER + dump_yaml({key: value for key, value in described.items() if value})


def is_current(plan: Plan) -> bool:
    """Whether dvc.yaml says what the pipeline and the parameters say."""
    path = plan.config.root / DVC_YAML
    return path.is_file() and path.read_text(encoding="utf-8") == dvc_yaml(plan)


def expect_dvc(root: Path) -> None:
    """See to it that DVC can work here; in a downloaded archive it is told, once, to do without git.

    Raises
    ------
    ConfigError
        Where the repository has no DVC of its own; that of a folder above would look at other files.
    """
    if not (root / ".dvc").is_dir():
        raise ConfigError(f"{root}: has no DVC: `dvc init --no-scm`, or `cmbml run`, which records nothing")
    if is_under_git(root) or setting(root, "core", "no_scm")[1]:
        return
    subprocess.run(["dvc", "config", "--local", "core.no_scm", "true"], cwd=root, check=True)
    sys.stderr.write(
        "cmbml: no git here: DVC works without it (core.no_scm in .dvc/config.local; "
        "after `git init`: `dvc config --local --unset core.no_scm`)\n"
    )


def run_dvc(root: Path, *command: str) -> None:
    """Run a command of DVC in a repository; end the program as DVC does where that fails."""
    expect_dvc(root)
    done = subprocess.run(["dvc", *command], cwd=root, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def record(plan: Plan, finished: Sequence[Stage]) -> None:
    """Let DVC record in dvc.lock what was made without it: what lies there, as it is.

    Parameters
    ----------
    plan
        The dataset.
    finished
        Stages that are complete and to be recorded.
    """
    if len(finished) < len(plan.stages):
        run_dvc(plan.config.root, "commit", "--force", *(stage.key for stage in finished))
        return
    # DVC reads its lock file anew for every stage that is named, so where all are meant, none is.
    if all(path.is_file() for stage in finished for path in _science_assets(plan, stage)):
        run_dvc(plan.config.root, "commit", "--force")
    else:
        # Their records say what they were; that is enough where nothing is to be made of them.
        run_dvc(plan.config.root, "repro", "--allow-missing")
    mark = plan.config.root / RECORDED
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(_recorded_mark(plan), encoding="utf-8")


def is_recorded(plan: Plan) -> bool:
    """Whether the last record that was made here is that of the present plan and dvc.lock."""
    mark = plan.config.root / RECORDED
    return mark.is_file() and mark.read_text(encoding="utf-8") == _recorded_mark(plan)


def _recorded_mark(plan: Plan) -> str:
    root = plan.config.root
    files = [root / DVC_YAML, root / DVC_LOCK]
    texts = [path.read_text(encoding="utf-8") if path.is_file() else "" for path in files]
    portions = [portion for stage in plan.stages.values() for portion in plan.portions(stage)]
    prints = [plan.fingerprint(piece) for portion in portions for piece in plan.pieces(portion)]
    return hashlib.sha256("\0".join([*texts, *prints]).encode()).hexdigest()


def _science_assets(plan: Plan, stage: Stage) -> Iterator[Path]:
    for name in plan.config.inputs(stage):
        yield from plan.raw_files(stage, name).values()


def published_files(root: Path, remote: str | None = None) -> "DVCFileSystem":
    """Files of a remote, by default the repository's own, by their paths from the root.

    `dvc pull` reads its lock file anew for every path; this reads it once, and does not fill DVC's cache.
    """
    from dvc.api import DVCFileSystem

    expect_dvc(root)
    return DVCFileSystem(str(root), remote=remote)


def _stage(plan: Plan, stage: Stage, *, with_code: bool) -> dict[str, Any]:
    outside = [a.path_template for a in stage.assets_out.values() if not a.path_template.startswith("{root}")]
    deps = {*_code(plan, stage), *_handlers(plan, stage), *_inputs(plan, stage)}
    described: dict[str, Any] = {
        "cmd": f"python -m luigi --module tasks {stage.class_name} --alone",
        "deps": sorted(dep for dep in deps if with_code or not dep.startswith(f"{CODE}/")),
        "params": [*_params(plan, stage), {stage.file: [f"stages.{stage.key}"]}],
        "outs": [
            *({_relative(plan, plan.folder(p)): {"persist": True}} for p in plan.portions(stage)),
            *({path: {"cache": False, "persist": True}} for path in outside if path.endswith(_TABLES)),
        ],
        "metrics": [{path: {"cache": False, "persist": True}} for path in outside if path.endswith(".json")],
        # what has columns to choose from is described outside of the stage
        "plots": [{path: {"cache": False, "persist": True}} for path in outside if path.endswith(_CHARTS)],
    }
    return {key: value for key, value in described.items() if value}


def _plots(stage: Stage) -> Iterator[dict[str, Any]]:
    for asset in stage.assets_out.values():
        if asset.plot is not None:
            yield {asset.path_template: {"title": stage.key, **asset.plot.model_dump(mode="json")}}


def _relative(plan: Plan, path: Path) -> str:
    return path.relative_to(plan.config.root).as_posix()


def _code(plan: Plan, stage: Stage) -> Iterator[str]:
    for file in plan.code(stage).files:
        if file.is_relative_to(plan.config.root):
            yield _relative(plan, file)


def _handlers(plan: Plan, stage: Stage) -> Iterator[str]:
    """Files of the handlers, of whose change DVC would not hear otherwise."""
    for asset in (*stage.assets_out.values(), *plan.input_assets(stage)):
        own = () if asset.handler in BUILT_IN else code_of(asset.handler).files
        for file in (Path(inspect.getfile(type(get_handler(asset.handler)))), *own):
            if file.is_relative_to(plan.config.root):
                yield _relative(plan, file)


def _inputs(plan: Plan, stage: Stage) -> Iterator[str]:
    for portion in plan.portions(stage):
        for source in plan.sources(portion):
            yield _relative(plan, plan.folder(source))
    table = plan.config.params.instrument.table
    if table and any(key.startswith("instrument") for key in stage.params):
        for path in instrument_files(table_path(plan.config.root, table)):
            yield from [_relative(plan, path)] if path.is_relative_to(plan.config.root) else []
    for files in plan.files_of(stage).values():
        yield from (_relative(plan, path) for path in files)
    for name in plan.config.inputs(stage):
        # What is located has no path that would be the same on another machine.
        yield from plan.raw_files(stage, name, located=False)


def _params(plan: Plan, stage: Stage) -> list[str]:
    """Keys of params.yaml that a stage's results or their number depend on."""
    keys = {"populations" if key.startswith("populations.") else key for key in stage.params}
    if stage.per_split or stage.splits != "all" or stage.assets_in or stage.split_facts:
        keys |= {"splits"} if stage.splits == "all" else {f"splits.{name}" for name in stage.splits}
    if stage.for_each:
        keys.add("methods")
    keys = {found for key in keys if (found := _written(plan.config.written, key))}
    # DVC refuses a key beside one that contains it.
    return sorted(key for key in keys if not any(key.startswith(f"{other}.") for other in keys))


def _written(values: Any, key: str) -> str:
    """The longest beginning of a key that params.yaml has: DVC wants to find what it depends on."""
    found: list[str] = []
    for part in key.split("."):
        if not isinstance(values, dict) or part not in values:
            break
        values = values[part]
        found.append(part)
    return ".".join(found)
