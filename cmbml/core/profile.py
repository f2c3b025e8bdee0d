"""Profiles: overlays of params.yaml, each with a dataset of its own."""

import shutil
from pathlib import Path
from typing import Any

from cmbml.core.errors import ConfigError, did_you_mean
from cmbml.core.repository import PARAMS, PIPELINE
from cmbml.core.yamlio import dump_yaml, read_yaml

PROFILES = "profiles"


def apply_profile(root: Path, name: str, folder: Path) -> None:
    """Write params.yaml, overlaid with a profile, into `folder`; elsewhere also pipeline/ and luigi.cfg.

    Raises
    ------
    ConfigError
        Where there is no such profile.
    """
    path = root / PROFILES / f"{name}.yaml"
    known = [file.stem for file in (root / PROFILES).glob("*.yaml")]
    if name not in known:
        raise ConfigError(f"no profile '{name}' in {PROFILES}/: {did_you_mean(name, known)}")
    values = overlay(read_yaml(root / PARAMS), read_yaml(path))
    if folder != root:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(root / PIPELINE, folder / PIPELINE, dirs_exist_ok=True)
        shutil.copy(root / "luigi.cfg", folder)
    comment = f"# {PARAMS} overlaid with {PROFILES}/{name}.yaml\n"
    (folder / PARAMS).write_text(comment + dump_yaml(values), encoding="utf-8")


def overlay(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Replace values of `base`, key by key; mappings are overlaid in turn."""
    merged = dict(base)
    for key, value in values.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = overlay(merged[key], value) if both else value
    return merged
