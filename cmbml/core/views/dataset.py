"""Finished data, read from Python: every output of every stage by name."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from cmbml.core.errors import PipelineError, did_you_mean
from cmbml.core.files.asset import Asset, Reach
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.config import Config, load_config
from cmbml.core.spec.namer import Namer, tags_in
from cmbml.core.spec.pipeline import AssetOut, Stage
from cmbml.core.spec.roles import Role
from cmbml.core.spec.split import Split


class Dataset(Mapping[str, "StageData"]):
    """The outputs of a repository's stages, by the key of the stage.

    Parameters
    ----------
    config
        Parameters and pipeline of the repository.
    """

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def open(cls, root: Path | str | None = None) -> "Dataset":
        """Open the repository at `root`, by default the one around the working directory."""
        return cls(load_config(root))

    @property
    def splits(self) -> dict[str, Split]:
        """The splits by name."""
        return self.config.splits

    def regenerate(self, stage: str, *, split: str, sim: int, into: Path | str) -> list[Path]:
        """Make one simulation's files of a stage anew in the folder `into`, bit by bit as they were.

        Raises
        ------
        DataError
            Where the dataset remembers other bytes, code or parameters.
        """
        from cmbml.core.engine.regenerate import regenerate

        return regenerate(self.config, stage, split, sim, Path(into))

    def output(self, role: Role) -> Asset[Any]:
        """The output that plays a role."""
        asset: Asset[Any] = getattr(self[role.stage], role.output)
        return asset

    def __getitem__(self, key: str) -> "StageData":
        return StageData(self.config, self.config.pipeline.stage(key))

    def __iter__(self) -> Iterator[str]:
        """Keys of the stages that the parameters switch on."""
        return iter(self._stages)

    def __repr__(self) -> str:
        return f"<dataset {self.config.dataset}: {', '.join(self)}>"

    def __len__(self) -> int:
        return len(self._stages)

    @cached_property
    def _stages(self) -> list[str]:
        return list(Plan(self.config).stages)


class StageData:
    """The outputs of one stage, each by its name as an attribute, to be read."""

    def __init__(self, config: Config, stage: Stage) -> None:
        self._config = config
        self._stage = stage

    def __getattr__(self, name: str) -> Asset[Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        outputs = self._stage.assets_out
        if name not in outputs:
            hint = did_you_mean(name, outputs)
            raise PipelineError(f"stage '{self._stage.key}' makes no '{name}': {hint}")
        context = {"dataset": self._config.dataset, "stage": self._stage.dir_name}
        context |= {"working": self._stage.working} if self._stage.working else {}
        namer = Namer(self._config.root, context)
        out = outputs[name]
        return Asset(
            name, out.path_template, out.handler, "in", namer, fields=out.fields, reach=self._reach(out)
        )

    def _reach(self, out: AssetOut) -> Reach:
        """What there is of an output: a stage that stands in makes the same files, for other splits."""
        config = self._config
        makers = (self._stage, *config.pipeline.stand_ins(self._stage.key))
        made = {name for maker in makers for name in config.split_names(maker)}
        splits = tuple(name for name in config.every_split if name in made)
        choices = config.choices(self._stage, out)
        if "method" in tags_in(out.path_template):
            choices["method"] = config.estimates
        return Reach(
            splits=splits,
            remedy=f"the splits are {', '.join(splits)}",
            n_sims={name: config.every_split[name].n_sims for name in splits},
            choices=choices,
        )

    def __repr__(self) -> str:
        made = (f"{name} ({self._stage.assets_out[name].handler})" for name in dir(self))
        return f"<stage {self._stage.key}: {', '.join(made)}>"

    def __dir__(self) -> list[str]:
        return sorted(self._stage.assets_out)
