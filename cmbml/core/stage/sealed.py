"""The view of the parameters that an executor gets: what its stage declares, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cmbml.core.errors import UndeclaredError

if TYPE_CHECKING:
    from cmbml.core.spec.config import Config
    from cmbml.core.spec.names import Name
    from cmbml.core.spec.params import CosmologyRegion, Params, PopulationParams
    from cmbml.core.spec.pipeline import Stage

    class _Populations(dict[Name, PopulationParams]):
        """All populations, or one block of each where the stage declares no more."""

        cosmology: Mapping[str | None, CosmologyRegion]

        def __getitem__(self, name: str | None) -> PopulationParams: ...

    class _Known(Params):
        """What editors and mypy know of `StageConfig`; the blocks that pipeline files add come on top."""

        populations: _Populations

else:
    _Known = object


@dataclass
class Access:
    """What one executor may read of the parameters, and what it has read.

    Attributes
    ----------
    config
        All parameters.
    method
        The method in hand, for stages that loop over methods.
    stage
        The stage, once the executor has said which it is.
    used
        Declared keys that were read.
    sealed
        Whether the executor is made, so that nothing more can be read.
    population_in_hand
        Names the population of the split that is being made.
    """

    config: Config
    method: str | None = None
    stage: Stage | None = None
    used: set[str] = field(default_factory=set)
    sealed: bool = False
    population_in_hand: Callable[[], str | None] = lambda: None

    def read(self, key: str) -> Any:
        """Read a declared key, or the branch that leads to one.

        Raises
        ------
        UndeclaredError
            Where the key is not declared, or it is too early or too late to read.
        ConfigError
            Where there is no such parameter.
        """
        if self.sealed:
            name = key.rpartition(".")[2]
            raise UndeclaredError(f"parameter '{key}' is read after __init__: keep it there, as self.{name}")
        if self.stage is None:
            raise UndeclaredError(f"parameter '{key}' is read before super().__init__(cfg, stage_str=...)")
        for declared in self.stage.params:
            if key == declared or key.startswith(f"{declared}."):
                self.used.add(declared)
                return self._value(key)
        if any(declared.startswith(f"{key}.") for declared in self.stage.params):
            return _Branch(self, key)
        self.config.value(key)
        raise UndeclaredError(
            f"stage '{self.stage.key}' reads the parameter '{key}' without declaring it: "
            f"add '{key}' to 'params' of stage '{self.stage.key}' in {self.stage.file}"
        )

    def _value(self, key: str) -> Any:
        value = self.config.value(key)
        if key.partition(".")[0] == "populations":
            return OwnPopulation(value, self.population_in_hand)
        return value


class StageConfig(_Known):
    """Parameters by attribute, as ``cfg.instrument.nside``, while an executor is made.

    Only declared keys can be read, only after ``super().__init__(cfg, stage_str=...)`` said which stage it
    is, and only until the executor's own ``__init__`` ends.
    """

    def __init__(self, access: Access) -> None:
        self.stage_access = access

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.stage_access.read(name)


class _Branch:
    """Keys below an undeclared one, some of which are declared."""

    def __init__(self, access: Access, key: str) -> None:
        self.stage_access = access
        self.stage_key = key

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Any:
        return self.stage_access.read(f"{self.stage_key}.{name}")


class OwnPopulation(Mapping[str, Any]):
    """The populations, of which only that of the split in hand can be read.

    So another population's change can recompute nothing.
    """

    def __init__(self, populations: Mapping[str, Any], in_hand: Callable[[], str | None]) -> None:
        self._populations = populations
        self._in_hand = in_hand

    def __getitem__(self, name: str) -> Any:
        if name != self._in_hand():
            raise UndeclaredError(
                f"population '{name}' is read, but the split in hand has '{self._in_hand()}': "
                "read populations[split.population] in process_split or process_sim"
            )
        return self._populations[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._populations)

    def __len__(self) -> int:
        return len(self._populations)
