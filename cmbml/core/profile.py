"""Profiles: values of params.yaml, each with a dataset of its own."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cmbml.core.config import make_config
from cmbml.core.dvcfile import CODE, dvc_yaml
from cmbml.core.errors import ConfigError, did_you_mean
from cmbml.core.plan import Plan
from cmbml.core.provenance import committed
from cmbml.core.repository import DVC_YAML, PARAMS, PIPELINE, RAW
from cmbml.core.schema import Params
from cmbml.core.yamlio import dump_yaml, read_yaml

PROFILES = "profiles"
# Networks that ship, which git tracks.
TRAINED = f"{RAW}/pretrained"
# The one that is complete; params.yaml ships as a copy of it.
BASE = "mini"
# By this line editors complete and check the file.
SCHEMA_LINE = "# yaml-language-server: $schema=schema/params.json"


def apply_profile(
    root: Path, name: str, folder: Path, *, force: bool = False, say: Callable[[str], object] = print
) -> Plan:
    """Write params.yaml and dvc.yaml for a profile into `folder`; elsewhere also all else that runs need.

    A profile is an overlay of the first one.  What no profile has is the user's own and stays: blocks, keys
    of the methods' blocks, and populations.  Nothing is written unless all of it is valid.

    Parameters
    ----------
    root
        The repository.
    name
        Name of the profile.
    folder
        The repository itself, or where another one is to be.
    force
        Overwrite a params.yaml with changes that git does not have.
    say
        Told where such a file is kept, outside of git.

    Returns
    -------
    Plan
        What is to be made there, by the code of the repository.

    Raises
    ------
    ConfigError
        Where there is no such profile, or params.yaml has changes that git does not have.
    ProblemsError
        Where the values are not valid; each is named with the file that it comes from.
    """
    profiles = _Profiles(root)
    values = profiles.values(name)
    plan = Plan(make_config(root, values, file_of=lambda key: profiles.file_of(name, key)))
    text, stages = profiles.text(name), dvc_yaml(plan, with_code=folder == root)
    if not force:
        _spare_edits(root, folder, profiles, say)
    if folder != root:
        for needed in (PIPELINE, "luigi.cfg", TRAINED, *_own_files(plan)):
            _copy(root / needed, folder / needed)
    (folder / PARAMS).write_text(text, encoding="utf-8")
    (folder / DVC_YAML).write_text(stages, encoding="utf-8")
    return plan


class _Profiles:
    """The profiles of a repository, with what the user has beside them.

    Parameters
    ----------
    root
        The repository.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / PROFILES
        self.given = {file.stem: _read(file) for file in sorted(self.folder.glob("*.yaml"))}
        known: dict[str, Any] = {}
        for values in self.given.values():
            known = overlay(known, values)
        present = _read(root / PARAMS) if (root / PARAMS).is_file() else {}
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
        """The same as text: that of the first profile as it is written, with its comments."""
        if name == BASE and not self.own.keys() & self.given[BASE].keys():
            written = (self.folder / f"{BASE}.yaml").read_text(encoding="utf-8")
            return written + (f"\n{dump_yaml(self.own)}" if self.own else "")
        origin = f"# {PROFILES}/{BASE}.yaml, overlaid with {PROFILES}/{name}.yaml"
        return f"{SCHEMA_LINE}\n{origin}\n{dump_yaml(self.values(name))}"

    def file_of(self, name: str, key: Sequence[str]) -> str:
        """The file in which a value of a profile has to be changed."""
        wanted = key[:2] if key and key[0] in Params.model_fields else key
        return next(
            (f"{PROFILES}/{one}.yaml" for one in (name, BASE) if _has(self.given[one], wanted)), PARAMS
        )


def _spare_edits(root: Path, folder: Path, profiles: _Profiles, say: Callable[[str], object]) -> None:
    """Refuse to overwrite values that are nowhere else, or keep a copy where git is no help."""
    path = folder / PARAMS
    if not path.is_file():
        return
    saved = committed(root, PARAMS) if folder == root else None
    text = path.read_text(encoding="utf-8")
    if saved is not None and saved.strip() == text.strip():
        return
    if read_yaml(path) in [profiles.values(name) for name in profiles.given]:
        return
    if saved is not None:
        raise ConfigError(f"{PARAMS} has changes that git does not have: commit them, or --force")
    kept = path.with_name(f"{PARAMS}.bak")
    shutil.copy(path, kept)
    say(f"{kept}: the former {PARAMS}, which no profile writes")


def _own_files(plan: Plan) -> Iterator[str]:
    """The user's own packages and modules in the repository, and table of bands, that a profile needs."""
    root, pipeline, stages = plan.config.root, plan.config.pipeline, plan.stages.values()
    outputs = [asset for stage in stages for asset in stage.assets_out.values()]
    named = [*pipeline.parameters.values(), *(asset.handler for asset in outputs)]
    named += [path for path in (*(s.executor for s in stages), *(a.locate for a in outputs)) if path]
    tops = {path.partition(".")[0] for path in named if "." in path}
    files = {file for stage in stages for file in plan.code(stage).files if file.is_relative_to(root)}
    beside = {file.relative_to(root) for file in files}
    tops |= {file.parts[0].removesuffix(".py") for file in beside if "site-packages" not in file.parts}
    for top in sorted(tops - {CODE}):
        yield from (name for name in (top, f"{top}.py") if (root / name).exists())
    table = plan.config.params.instrument.table
    if table and (root / table).is_file():
        yield table


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    elif source.is_file():
        shutil.copy(source, target)


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


def _read(path: Path) -> dict[str, Any]:
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
