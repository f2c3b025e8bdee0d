"""The base of all executors: a stage as a function from data and parameters to other data."""

import os
from pathlib import Path
from typing import Any

from cmbml.core.errors import UndeclaredError
from cmbml.core.files.asset import Asset, Reach, Writer, write_now
from cmbml.core.files.outside import find_files, find_program
from cmbml.core.spec.config import Config
from cmbml.core.spec.namer import Namer, tags_in
from cmbml.core.spec.pipeline import MAPS, THE_METHOD, AssetIn, AssetOut, Stage
from cmbml.core.spec.repository import LOCAL
from cmbml.core.spec.split import Split
from cmbml.core.stage.sealed import Access, Declared, StageConfig


class Files(Declared[Path]):
    """Files that a stage declares beside its assets, by name: a path; of a pattern, `all` behind it."""

    def __init__(self, stage: Stage, root: Path) -> None:
        self._patterns = stage.files or {}
        self._root = root
        super().__init__(stage, "files", {name: root / path for name, path in self._patterns.items()})

    def all(self, name: str) -> list[Path]:
        """All files behind a name, sorted."""
        return find_files(self._root, str(self[name].relative_to(self._root)))


class _Sealing(type):
    """Gives an executor a view of the parameters and closes it when the executor is made."""

    def __call__(cls, cfg: Config | StageConfig, *args: Any, **kwargs: Any) -> Any:
        view = StageConfig(Access(cfg)) if isinstance(cfg, Config) else cfg
        executor = super().__call__(view, *args, **kwargs)
        view.stage_access.sealed = True
        return executor


class BaseStageExecutor(metaclass=_Sealing):
    """Ties pure functions to the assets of a stage.

    Override `process_sim` and the engine calls it for every simulation, in blocks with one `setup` each;
    override `process_split` and it is called once for every split; override `execute` and it is called once.

    Parameters
    ----------
    cfg
        The configuration; only declared parameters can be read, and only in ``__init__``.
    stage_str
        Key of the stage in ``pipeline/*.yaml``.
    """

    def __init__(self, cfg: StageConfig, stage_str: str) -> None:
        access = cfg.stage_access
        self.parameters_read = access.used
        self._access = access
        self._config: Config = access.config
        self.stage = access.stage = access.config.pipeline.stage(stage_str)
        access.population_in_hand = self._population_in_hand
        self.method = access.method
        self.threads = self.stage.threads
        self.epochs = self.stage.epochs
        # Where a long piece of work may save its progress; the engine gives every piece a folder of its own.
        self.scratch = access.config.root / LOCAL / "scratch" / stage_str
        self.writer: Writer = write_now
        self.warnings: list[str] = []
        self._only_split: str | None = None
        self.name_tracker = Namer(access.config.root, self._context())
        self.assets_out = Declared(self.stage, "assets_out", self._make_assets_out())
        self.assets_in = Declared(self.stage, "assets_in", self._make_assets_in())
        root, variables = access.config.root, self.stage.environment
        self.files = Files(self.stage, root)
        programs = {
            name: find_program(root, name, each) for name, each in (self.stage.programs or {}).items()
        }
        self.programs = Declared(self.stage, "programs", programs)
        # One that is not set is empty, as in the shell.
        values = {name: os.environ.get(name, "") for name in variables}
        self.environment = Declared(self.stage, "environment", values)

    @property
    def splits(self) -> list[Split]:
        """The splits that the stage declares; the one in hand, where the engine goes split by split.

        Of each, only those facts can be read that a fingerprint of the stage holds: what its inputs hold, and
        `split_facts`.
        """
        names = (self._only_split,) if self._only_split else self._config.split_names(self.stage)
        return [self._access.split(self._config.every_split[name]) for name in names]

    def restrict_to(self, split: str) -> None:
        """Work on one of the declared splits only."""
        self._only_split = split

    @property
    def estimates(self) -> tuple[str, ...]:
        """Names of the methods that are switched on, then of the reference rows.

        Raises
        ------
        UndeclaredError
            Where its fingerprint does not hold them: it reads from no stage that is made for each.
        """
        stages = self._config.pipeline.stages
        inputs = [stages.get(asset.stage) for asset in self._config.inputs(self.stage).values()]
        by_method = any(producer is not None and producer.for_each for producer in inputs)
        if "methods" not in self.stage.params and (self.stage.for_each or not by_method):
            raise UndeclaredError(
                f"stage '{self.stage.key}' reads which methods there are, which its fingerprint does not "
                f"hold: add 'methods' to 'params' of stage '{self.stage.key}' in {self.stage.file}"
            )
        return self._config.estimates

    def estimates_of(self, split: str) -> list[str]:
        """Those of the estimates that there are for a split."""
        stages = self._config.pipeline.stages
        return [key for key in self.estimates if split in self._config.split_names(stages[key])]

    def setup(self) -> None:
        """Prepare what all simulations of a block share: masks, templates, models."""

    def process_sim(self, split: Split, sim: int) -> None:
        """Make the outputs of one simulation; the contexts split and sim are set."""
        raise NotImplementedError

    def process_split(self, split: Split) -> None:
        """Make the outputs of one split: by default, simulation by simulation."""
        # Walking is no reading: how many there are changes none of them.
        for sim in self._config.every_split[split.name].iter_sims():
            with self.name_tracker.set_context("sim", sim):
                self.process_sim(split, sim)

    def default_execute(self) -> None:
        """Walk over the declared splits."""
        for split in self.splits:
            with self.name_tracker.set_context("split", split.name):
                self.process_split(split)

    def execute(self) -> None:
        """Make all outputs: by default, split by split."""
        self.setup()
        self.default_execute()

    def _population_in_hand(self) -> str | None:
        split = self.name_tracker.context.get("split")
        return self._config.every_split[split].population if split else None

    def _context(self) -> dict[str, Any]:
        context = {
            "dataset": self._config.dataset,
            "stage": self.stage.dir_name,
            "working": self.stage.working,
            "method": self.method,
        }
        return {tag: value for tag, value in context.items() if value is not None}

    def _write(self, *call: Any) -> None:
        self.writer(*call)

    def _make_assets_out(self) -> dict[str, Asset[Any]]:
        return {
            name: Asset(
                name,
                asset.path_template,
                asset.handler,
                "out",
                self.name_tracker,
                fields=asset.fields,
                writer=self._write,
            )
            for name, asset in self.stage.assets_out.items()
        }

    def _make_assets_in(self) -> dict[str, Asset[Any]]:
        made = {
            name: self._make_asset_in(name, asset) for name, asset in self._config.inputs(self.stage).items()
        }
        return {name: asset for name, asset in made.items() if asset is not None}

    def _make_asset_in(self, name: str, asset: AssetIn) -> Asset[Any] | None:
        """An input; None where it is the method's own and the one in hand does not make it."""
        key = (self.method or self._config.estimates[0]) if asset.stage == THE_METHOD else asset.stage
        producer = self._config.pipeline.stage(key)
        origin = producer.assets_out.get(asset.orig_name or name)
        if origin is None:
            return None
        tags = {"stage": producer.dir_name, "working": producer.working, "split": asset.split}
        return Asset(
            name,
            origin.path_template,
            origin.handler,
            "in",
            self.name_tracker,
            tags={tag: value for tag, value in tags.items() if value is not None},
            fields=origin.fields,
            reach=self._reach(asset, producer, origin),
        )

    def _reach(self, asset: AssetIn, producer: Stage, origin: AssetOut) -> Reach:
        declared = (asset.split,) if asset.split else self._config.split_names(self.stage)
        return Reach(
            splits=declared if "split" in tags_in(origin.path_template) else (),
            remedy=f"add the split to 'splits' of stage '{self.stage.key}' in {self.stage.file}",
            n_sims={name: split.n_sims for name, split in self._config.every_split.items()},
            choices=self._config.choices(producer, origin),
            pinned=asset.split,
            reads=asset.told or _told_of_others(producer, origin),
        )


def _told_of_others(producer: Stage, origin: AssetOut) -> dict[str, str]:
    """What the handler of maps that no stage has made is told: the way in, for advice that fits."""
    return {"way": "pipeline"} if producer.executor is None and origin.handler == MAPS else {}
