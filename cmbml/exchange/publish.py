"""Which parts of a dataset `dvc push` sends and `dvc pull` gets: whole, by stage, split or simulations."""

import re
from collections.abc import Iterator

from cmbml.core.errors import ConfigError, PipelineError, did_you_mean
from cmbml.core.namer import sim_tag
from cmbml.core.plan import Plan
from cmbml.core.repository import DVC_YAML, MANIFEST
from cmbml.core.units import Portion


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
    if not found:
        raise ConfigError("nothing is chosen: that stage has no such split or simulation")
    return found


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
