"""Which parts of a dataset `dvc push` sends and `dvc pull` gets: whole, by stage, split or simulations."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cmbml.core.errors import ConfigError, DataError, PipelineError, did_you_mean
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.plan.pieces import Portion
from cmbml.core.spec.namer import sim_tag
from cmbml.core.spec.repository import DVC_LOCK, DVC_YAML, MANIFEST
from cmbml.core.spec.yamlio import dump_yaml, read_yaml

# Here for as long as DVC runs; a second command in the same repository waits for DVC's lock anyway.
GATHERED = "cmbml-transfer.dvc"


def targets(
    plan: Plan, stages: list[str] | None = None, split: str | None = None, sims: str | None = None
) -> list[str]:
    """Arguments for DVC: the whole pipeline, stages, out directories, or simulations in them.

    Parameters
    ----------
    plan
        The dataset.
    stages
        Keys of stages; by default all.
    split
        Only this split; what has no splits is left out then.
    sims
        Only these simulations: ``3``, or ``0:10`` for the first ten.

    Raises
    ------
    ConfigError, PipelineError
        Where there is no such stage, split or simulation.
    """
    for key in stages or ():
        if key not in plan.stages:
            raise PipelineError(f"no stage '{key}': {did_you_mean(key, plan.stages)}")
    if split is not None and split not in plan.config.splits:
        raise ConfigError(f"no split '{split}': {did_you_mean(split, plan.config.splits)}")
    if split is None and sims is None:
        # DVC reads its lock file anew for every target: the fewer, the quicker.
        return list(stages or ()) or [DVC_YAML]
    chosen = [plan.stages[key] for key in stages] if stages else list(plan.stages.values())
    portions = [portion for stage in chosen for portion in plan.portions(stage)]
    wanted = [portion for portion in portions if split is None or portion.split == split]
    found = [path for portion in wanted for path in _paths(plan, portion, sims)]
    if not found or (sims is not None and not any(path.endswith(MANIFEST) for path in found)):
        raise ConfigError("nothing is chosen: that stage has no such split or simulation")
    return found


@contextmanager
def gathered(root: Path, wanted: list[str]) -> Iterator[list[str]]:
    """Make one argument of several out directories, for as long as DVC runs.

    DVC reads its lock file, with all stages in it, once for every directory that it is given, and twice if
    it pulls; a `.dvc` file that lists the directories it reads once.

    Parameters
    ----------
    root
        The repository.
    wanted
        What `targets` gave.

    Yields
    ------
    list of str
        The same arguments, or the name of the `.dvc` file that stands for them.

    Raises
    ------
    DataError
        Where there is no `dvc.lock`.
    """
    recorded = _recorded(root) if len(wanted) > 1 else {}
    if not set(wanted) & set(recorded):
        yield wanted
        return
    file = root / GATHERED
    outs = [recorded[path] for path in wanted if path in recorded]
    try:
        file.write_text(dump_yaml({"outs": outs}), encoding="utf-8")
        yield [GATHERED]
    finally:
        file.unlink(missing_ok=True)


def _recorded(root: Path) -> dict[str, dict[str, str | int]]:
    """Outs of all stages as `dvc.lock` has them, by path."""
    lock = root / DVC_LOCK
    if not lock.exists():
        raise DataError(f"no {DVC_LOCK}: nothing has been published from here; run `cmbml repro` first")
    return {out["path"]: out for stage in read_yaml(lock)["stages"].values() for out in stage.get("outs", ())}


def _paths(plan: Plan, portion: Portion, sims: str | None) -> Iterator[str]:
    folder = plan.folder(portion).relative_to(plan.config.root).as_posix()
    made = plan.sims(portion)
    if sims is None or made is None:
        if sims is None or portion.split is not None:
            yield folder
        return
    chosen = [sim for sim in _numbers(sims) if sim in made]
    yield from (f"{folder}/{sim_tag(sim)}" for sim in chosen)
    if chosen:
        yield f"{folder}/{MANIFEST}"


def _numbers(text: str) -> range:
    found = re.fullmatch(r"(\d+)(?::(\d+))?", text)
    if found is None:
        raise ConfigError(f"--sims {text}: say 3, or 0:10 for the first ten")
    first = int(found[1])
    return range(first, int(found[2]) if found[2] else first + 1)
