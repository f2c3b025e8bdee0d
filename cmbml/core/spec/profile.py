"""Profiles: values of params.yaml, each with a dataset of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cmbml.core.errors import ConfigError, did_you_mean
from cmbml.core.spec.params import Params
from cmbml.core.spec.repository import PARAMS
from cmbml.core.spec.yamlio import read_yaml, yaml_text

PROFILES = "profiles"
# The one that is complete; params.yaml ships as a copy of it.
BASE = "mini"


class Profiles:
    """The profiles of a repository, with what the user has beside them.

    Parameters
    ----------
    root
        The repository.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / PROFILES
        self.given = {file.stem: read_values(file) for file in sorted(self.folder.glob("*.yaml"))}
        known: dict[str, Any] = {}
        for values in self.given.values():
            known = overlay(known, values)
        self.present = root / PARAMS
        present = read_values(self.present) if self.present.is_file() else {}
        # What the sky is, a profile says alone: bands and splits of two of them do not mix.
        described = Params.model_fields.keys() - {"populations"}
        self.own = _beyond({key: present[key] for key in present if key not in described}, known)

    def values(self, name: str) -> dict[str, Any]:
        """Content of params.yaml for a profile."""
        for wanted in (name, BASE):
            if wanted not in self.given:
                raise ConfigError(f"no profile '{wanted}' in {PROFILES}/: {did_you_mean(wanted, self.given)}")
        values = overlay(overlay(self.given[BASE], self.given[name]), self.own)
        # A split that a profile sets to null is left out.
        return {
            **values,
            "splits": {key: given for key, given in values["splits"].items() if given is not None},
        }

    def text(self, name: str) -> str:
        """The same as text: params.yaml as it stands, with the values that differ as the profile has them."""
        from cmbml.core.spec.yamledit import edited

        values = self.values(name)
        files = [yaml_text(self.folder / f"{one}.yaml") for one in (name, BASE)]
        text = yaml_text(self.present) if self.present.is_file() else files[-1]
        return edited(text, values, files)

    def file_of(self, name: str, key: Sequence[str]) -> str:
        """The file in which a value of a profile has to be changed."""
        wanted = key[:2] if key and key[0] in Params.model_fields else key
        return next(
            (f"{PROFILES}/{one}.yaml" for one in (name, BASE) if _has(self.given[one], wanted)), PARAMS
        )


def overlay(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace values of `base`, key by key; mappings are overlaid in turn."""
    merged = dict(base)
    for key, value in values.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = overlay(merged[key], value) if both else value
    return merged


def _beyond(values: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """What `values` has and `known` has not, key by key."""
    more: dict[str, Any] = {}
    for key, value in values.items():
        both = isinstance(value, dict) and isinstance(known.get(key), dict)
        if key not in known:
            more[key] = value
        elif both and (inner := _beyond(value, known[key])):
            more[key] = inner
    return more


def read_values(path: Path) -> dict[str, Any]:
    """Read the values of params.yaml, or of a profile.

    Raises
    ------
    ConfigError
        Where there are none.
    """
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{path.name}: expected keys and values at the top level")
    return values


def _has(values: Any, path: Sequence[str]) -> bool:
    for part in path:
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    return True
