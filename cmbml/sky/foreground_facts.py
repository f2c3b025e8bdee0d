"""What the foregrounds of a dataset are made of, in words: procedural galaxies, PySM's templates, or both."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cmbml.sky.foregrounds import PROCEDURAL
from cmbml.sky.pysm.templates import presets_of


@dataclass(frozen=True)
class ForegroundFacts:
    """What the foregrounds of a split are made of; where there are several kinds, each simulation has one.

    Attributes
    ----------
    families
        Families of procedural galaxies.
    presets
        Sets of PySM presets.
    """

    families: tuple[str, ...]
    presets: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        galaxies = (f"procedural galaxy ({name})" for name in self.families)
        templates = (f"PySM 3 ({', '.join(names)})" for names in self.presets)
        return " or ".join((*galaxies, *templates)) or "not simulated here"


def foreground_facts(
    models: Mapping[str, Sequence[str]], presets: Sequence[str]
) -> dict[str, ForegroundFacts]:
    """What the foregrounds of every split are made of.

    Parameters
    ----------
    models
        By split, the foreground models of which each simulation has one; none where it is not simulated.
    presets
        PySM presets that the model ``pysm3`` stands for.
    """
    return {split: _facts(names, presets) for split, names in models.items()}


def _facts(models: Sequence[str], presets: Sequence[str]) -> ForegroundFacts:
    families = (name for name in models if name in PROCEDURAL)
    templates = (presets_of(name, presets) for name in models if name not in PROCEDURAL)
    return ForegroundFacts(tuple(dict.fromkeys(families)), tuple(dict.fromkeys(templates)))


def foreground_summary(facts: Mapping[str, ForegroundFacts]) -> str:
    """One line for a dataset: what all splits have in common, else each kind with its splits."""
    splits: dict[ForegroundFacts, list[str]] = defaultdict(list)
    for split, fact in facts.items():
        splits[fact].append(split)
    if len(splits) == 1:
        return str(next(iter(splits)))
    return "; ".join(f"{', '.join(names)}: {fact}" for fact, names in splits.items())


EXTRAGALACTIC = {
    "sources": "radio sources",
    "cib": "infrared background",
    "tsz": "thermal Sunyaev-Zeldovich effect",
}


def extragalactic_summary(names: Sequence[str]) -> str:
    """What is drawn beyond the Galaxy, in words."""
    return ", ".join(EXTRAGALACTIC[name] for name in names)


def foreground_limits(facts: Mapping[str, ForegroundFacts]) -> Iterator[str]:
    """What one must not read into the foregrounds of a dataset: a sentence for each kind of them."""
    families = dict.fromkeys(name for fact in facts.values() for name in fact.families)
    presets = dict.fromkeys(name for fact in facts.values() for names in fact.presets for name in names)
    if families:
        where = _where({split: (fact.families, fact.presets) for split, fact in facts.items()})
        yield (
            f"The Galaxy{where} is procedural ({', '.join(families)}): "
            "like the real one in its statistics, not in its places."
        )
    if presets:
        where = _where({split: (fact.presets, fact.families) for split, fact in facts.items()})
        yield (
            f"The foregrounds{where} are PySM 3's ({', '.join(presets)}): "
            "all of these simulations have the same templates."
        )


def _where(kinds: Mapping[str, tuple[Sequence[object], Sequence[object]]]) -> str:
    """Where the first of two kinds is: nothing to say if it is all there is, else the splits that have it."""
    if all(this and not other for this, other in kinds.values()):
        return ""
    having = {split: other for split, (this, other) in kinds.items() if this}
    names = (f"some simulations of {split}" if other else split for split, other in having.items())
    return f" of {', '.join(names)}"
