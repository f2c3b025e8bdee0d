"""Switching to a profile: nothing is written that is not valid, and nothing of the user's is lost."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from cmbml.core.engine.dvc import CODE, dvc_yaml
from cmbml.core.errors import ConfigError
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.record.git import committed
from cmbml.core.spec.config import make_config
from cmbml.core.spec.instruments import instrument_files, table_path
from cmbml.core.spec.profile import Profiles
from cmbml.core.spec.repository import DVC_YAML, PARAMS, PIPELINE, RAW
from cmbml.core.spec.yamlio import parse_yaml, read_yaml

# Networks that ship, which git tracks.
TRAINED = f"{RAW}/pretrained"


def apply_profile(
    root: Path, name: str, folder: Path, *, force: bool = False, say: Callable[[str], object] = print
) -> Plan:
    """Write params.yaml and dvc.yaml for a profile into `folder`; elsewhere also all else that runs need.

    A profile is an overlay of the first one.  What no profile has is the user's own and stays: blocks, keys
    of the methods' blocks, and populations; of all else, what has the same value stays as it is written, with
    its comments.  Nothing is written unless all of it is valid.

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
    profiles = Profiles(root)
    text = profiles.text(name)
    values = parse_yaml(text, PARAMS)
    plan = Plan(make_config(root, values, file_of=lambda key: profiles.file_of(name, key)))
    stages = dvc_yaml(plan, with_code=folder == root)
    if not force:
        _spare_edits(root, folder, profiles, say)
    if folder != root:
        for needed in (PIPELINE, "luigi.cfg", TRAINED, *_own_files(plan)):
            _copy(root / needed, folder / needed)
    (folder / PARAMS).write_text(text, encoding="utf-8")
    (folder / DVC_YAML).write_text(stages, encoding="utf-8")
    return plan


def _spare_edits(root: Path, folder: Path, profiles: Profiles, say: Callable[[str], object]) -> None:
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
    for stage in stages:
        yield from (str(p.relative_to(root)) for paths in plan.files_of(stage).values() for p in paths)
    table = plan.config.params.instrument.table
    if table:
        paths = instrument_files(table_path(root, table))
        yield from (str(path.relative_to(root)) for path in paths if path.is_relative_to(root / table))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    elif source.is_file():
        shutil.copy(source, target)
