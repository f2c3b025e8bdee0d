"""Which splits a stage is made for: what can be simulated, imported or observed decides it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cmbml.core.errors import PipelineError, did_you_mean
from cmbml.core.spec.pipeline import AssetIn, Stage

if TYPE_CHECKING:
    from cmbml.core.spec.config import Config


def split_names(config: "Config", stage: Stage) -> tuple[str, ...]:
    """Names of the splits that a stage is made for, or may read, in the order of params.yaml.

    Without a list these are all simulated splits.  A split that is imported or observed goes as far as its
    data do: a stage is made for it where all that it reads by split is there for it.

    Raises
    ------
    PipelineError
        Where one that is listed is not in params.yaml.
    """
    known = config.every_split
    if stage.source is not None:
        return tuple(name for name in known if config.params.splits[name].source == stage.source)
    if stage.splits == "all":
        return tuple(name for name in known if _reaches(config, stage, name))
    for name in stage.splits:
        if name not in known:
            raise PipelineError(f"{stage.where}.splits: no split '{name}': {did_you_mean(name, known)}")
    return tuple(name for name in known if name in stage.splits)


def is_wanted(config: "Config", stage: Stage) -> bool:
    """Whether there is any split that a stage could be made of."""
    by_split = stage.per_split or (stage.splits == "all" and any(_makers(config, stage)))
    return not by_split or bool(split_names(config, stage))


def _reaches(config: "Config", stage: Stage, split: str) -> bool:
    source = config.params.splits[split].source
    if source == "simulated":
        return True
    if any(other.source == source for other in config.pipeline.stand_ins(stage.key)):
        return False
    inputs = list(_makers(config, stage))
    return bool(inputs) and all(any(split in split_names(config, m) for m in makers) for makers in inputs)


def _makers(config: "Config", stage: Stage) -> Iterator[list[Stage]]:
    """Stages that may make an input, for each input that is kept apart by split."""
    for name, asset in config.inputs(stage).items():
        makers = [maker for maker, _ in config.pipeline.producers(stage, name) if maker.executor]
        if _by_split(asset, makers):
            yield makers


def _by_split(asset: AssetIn, makers: list[Stage]) -> bool:
    return asset.split is None and any(maker.per_split for maker in makers)
