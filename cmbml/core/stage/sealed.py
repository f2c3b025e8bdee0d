"""The view of the parameters that an executor gets: what its stage declares, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cmbml.core.errors import ConfigError, UndeclaredError, did_you_mean
from cmbml.core.spec.repository import PARAMS
from cmbml.core.spec.split import Split

if TYPE_CHECKING:
    from cmbml.core.spec.config import Config
    from cmbml.core.spec.names import Name
    from cmbml.core.spec.params import CosmologyRegion, Params, PopulationParams
    from cmbml.core.spec.pipeline import Stage

    class _Populations(dict[Name, PopulationParams]):
        """All populations, or one block of each where the stage declares no more."""

        cosmology: OwnPopulation[CosmologyRegion]

        def __getitem__(self, name: str | None) -> PopulationParams: ...

    class _Known(Params):
        """What editors and mypy know of `StageConfig`; the blocks that pipeline files add come on top."""

        populations: _Populations

else:
    _Known = object

T = TypeVar("T")


class Declared(Mapping[str, T], Generic[T]):
    """What a stage declares under one key, by name; anything else says what to add where.

    Parameters
    ----------
    stage
        The stage.
    key
        The key of the stage.
    values
        What is declared.
    """

    def __init__(self, stage: Stage, key: str, values: Mapping[str, T]) -> None:
        self._stage = stage
        self._key = key
        self._values = values

    def __getitem__(self, name: str) -> T:
        if name not in self._values:
            raise UndeclaredError(
                f"stage '{self._stage.key}' has no '{name}' in '{self._key}': "
                f"{did_you_mean(name, self._values)}; "
                f"add '{name}' to '{self._key}' of stage '{self._stage.key}' in {self._stage.file}"
            )
        return self._values[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a name, or `default` where it is not declared or switched off."""
        return self._values.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


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
    split_facts
        By split, the facts that the fingerprints of what is made hold; None where nothing is recorded and all
        may be seen.
    """

    config: Config
    method: str | None = None
    stage: Stage | None = None
    used: set[str] = field(default_factory=set)
    sealed: bool = False
    population_in_hand: Callable[[], str | None] = lambda: None
    split_facts: Mapping[str, frozenset[str]] | None = None

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

    def split(self, split: Split) -> Split:
        """A split as the executor sees it.

        Raises
        ------
        UndeclaredError
            Where not even its name may be seen.
        """
        if self.split_facts is None or self.stage is None:
            return split
        seen = SealedSplit(split, self.split_facts.get(split.name, frozenset()), self.stage)
        return seen if seen.name else split

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


class SealedSplit(Split):
    """A split of which an executor sees only what the fingerprints of its stage hold."""

    def __init__(self, split: Split, facts: frozenset[str], stage: Stage) -> None:
        vars(self).update(_split=split, _facts=facts, _stage=stage)

    def _fact(self, fact: str) -> Any:
        split, stage = vars(self)["_split"], vars(self)["_stage"]
        if fact not in vars(self)["_facts"]:
            raise UndeclaredError(
                f"stage '{stage.key}' reads {fact} of split '{split.name}', which its fingerprint does not "
                f"hold: add '{fact}' to 'split_facts' of stage '{stage.key}' in {stage.file}"
            )
        return getattr(split, fact)

    @property
    def name(self) -> str:
        """Name of the split."""
        return str(self._fact("name"))

    @property
    def n_sims(self) -> int:
        """Number of simulations."""
        return int(self._fact("n_sims"))

    @property
    def stream(self) -> str:
        """Name of the random stream."""
        return str(self._fact("stream"))

    @property
    def population(self) -> Any:
        """Name of the population; where only its content counts, a key to that."""
        stage, facts = vars(self)["_stage"], vars(self)["_facts"]
        if "population" not in facts and any(key.partition(".")[0] == "populations" for key in stage.params):
            return PopulationKey(vars(self)["_split"].population, stage)
        return self._fact("population")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Split) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"Split({self.name!r})"


class PopulationKey:
    """A population whose content counts, and whose name does not: it opens `populations` and says nothing."""

    def __init__(self, name: str, stage: Stage) -> None:
        self._name = name
        self._stage = stage

    def opens(self, name: str | None) -> bool:
        """Whether it is the key to a population."""
        return self._name == name

    def __str__(self) -> str:
        raise UndeclaredError(
            f"stage '{self._stage.key}' reads the name of a population, which its fingerprint does not hold: "
            f"add 'population' to 'split_facts' of stage '{self._stage.key}' in {self._stage.file}"
        )

    def __eq__(self, other: object) -> bool:
        return str(self) == other

    __hash__ = None  # type: ignore[assignment]


class OwnPopulation(Mapping[str | None, T], Generic[T]):
    """The populations, of which only that of the split in hand can be read.

    So another population's change can recompute nothing.
    """

    def __init__(self, populations: Mapping[str, T], in_hand: Callable[[], str | None]) -> None:
        self._populations = populations
        self._in_hand = in_hand

    def vet(self, refuse: Callable[[T], None]) -> None:
        """Let a function look at every population, and refuse what is impossible: call it from ``__init__``.

        Parameters
        ----------
        refuse
            Raises ValueError, and returns nothing that a result could depend on.

        Raises
        ------
        ConfigError
            Where it refuses one.
        """
        for name, population in self._populations.items():
            try:
                refuse(population)
            except ValueError as error:
                raise ConfigError(f"{PARAMS}: populations.{name}: {error}") from None

    def __getitem__(self, name: str | PopulationKey | None) -> T:
        in_hand = self._in_hand()
        if not (name.opens(in_hand) if isinstance(name, PopulationKey) else name == in_hand):
            asked = "another population" if isinstance(name, PopulationKey) else f"population '{name}'"
            raise UndeclaredError(
                f"{asked} is read, but the split in hand has '{in_hand}': "
                "read populations[split.population] in process_split or process_sim"
            )
        return self._populations[str(in_hand)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._populations)

    def __len__(self) -> int:
        return len(self._populations)
