"""Profiles: values of params.yaml, each with a dataset of its own."""

import shutil
from pathlib import Path
from typing import Any

from cmbml.core.errors import ConfigError, did_you_mean
from cmbml.core.spec.repository import PARAMS, PIPELINE, RAW
from cmbml.core.spec.yamlio import dump_yaml, read_yaml

PROFILES = "profiles"
# Networks that ship, which git tracks.
TRAINED = f"{RAW}/pretrained"
# The one that is complete; params.yaml ships as a copy of it.
BASE = "mini"
# By this line editors complete and check the file.
SCHEMA_LINE = "# yaml-language-server: $schema=schema/params.json"


def apply_profile(root: Path, name: str, folder: Path) -> None:
    """Write params.yaml for a profile into `folder`; elsewhere also pipeline/, luigi.cfg, networks.

    Every profile but the first is an overlay of the first, whatever params.yaml says at present.

    Raises
    ------
    ConfigError
        Where there is no such profile.
    """
    profiles = root / PROFILES
    known = [file.stem for file in profiles.glob("*.yaml")]
    if name not in known:
        raise ConfigError(f"no profile '{name}' in {PROFILES}/: {did_you_mean(name, known)}")
    text = (profiles / f"{BASE}.yaml").read_text(encoding="utf-8")
    if name != BASE:
        values = overlay(read_yaml(profiles / f"{BASE}.yaml"), read_yaml(profiles / f"{name}.yaml"))
        # A split that a profile sets to null is left out.
        values["splits"] = {split: given for split, given in values["splits"].items() if given is not None}
        origin = f"# {PROFILES}/{BASE}.yaml, overlaid with {PROFILES}/{name}.yaml"
        text = f"{SCHEMA_LINE}\n{origin}\n{dump_yaml(values)}"
    if folder != root:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(root / PIPELINE, folder / PIPELINE, dirs_exist_ok=True)
        shutil.copy(root / "luigi.cfg", folder)
        shutil.copytree(root / TRAINED, folder / TRAINED, dirs_exist_ok=True)
    (folder / PARAMS).write_text(text, encoding="utf-8")


def overlay(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Replace values of `base`, key by key; mappings are overlaid in turn."""
    merged = dict(base)
    for key, value in values.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = overlay(merged[key], value) if both else value
    return merged
