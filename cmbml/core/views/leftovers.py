"""What nobody plans any more: unfinished files of the dead, and out directories under earlier names."""

from collections.abc import Iterator
from pathlib import Path

from cmbml.core.errors import ConfigError
from cmbml.core.handlers.base import TEMPORARY
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.record.facts import is_below, read_manifest, remove
from cmbml.core.spec.profile import PROFILES
from cmbml.core.spec.repository import DATA, MANIFEST, PARAMS
from cmbml.core.spec.yamlio import read_yaml


def leftovers(plan: Plan) -> Iterator[Path]:
    """Out directories that belong to no stage or split of the present dataset, and unfinished files.

    Those of a dataset that any profile describes are not among them; neither is a folder without a manifest,
    which nobody here has made, nor a file that a process of this machine is still writing.
    """
    data = plan.config.root / DATA
    wanted = {plan.folder(portion) for stage in plan.stages.values() for portion in plan.portions(stage)}
    others = set(_datasets(plan.config.root)) - {plan.config.dataset}
    for manifest in sorted(data.rglob(MANIFEST)):
        folder = manifest.parent
        if folder not in wanted and folder.relative_to(data).parts[0] not in others:
            yield folder
    yield from (path for path in sorted(data.rglob(f"{TEMPORARY}*")) if not _is_alive(path))


def _is_alive(unfinished: Path) -> bool:
    """Whether the process whose number is in the name still runs."""
    number = unfinished.name.removeprefix(TEMPORARY).partition(".")[0]
    return number.isdigit() and Path("/proc", number).exists()


def _datasets(root: Path) -> Iterator[str]:
    for file in (root / PARAMS, *(root / PROFILES).glob("*.yaml")):
        try:
            values = read_yaml(file)
        except ConfigError:
            continue
        if isinstance(values, dict):
            yield str(values.get("dataset"))


def remove_leftover(plan: Plan, path: Path) -> list[Path]:
    """Remove an unfinished file, or what the manifest of a folder names; return what of others stays."""
    stop = plan.config.root / DATA
    if path.is_file() or path.is_symlink():
        remove(path, stop)
        return []
    name = str(path.relative_to(plan.config.root))
    for fact in read_manifest(path / MANIFEST, name).facts.values():
        for file in fact.files:
            if is_below(plan.config.root, name, file):
                remove(plan.config.root / file, stop)
    remove(path / MANIFEST, stop)
    return [file for file in path.rglob("*") if not file.is_dir()] if path.is_dir() else []
