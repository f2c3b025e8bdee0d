"""Where the repository is, and the names of the places in it."""

from importlib.util import find_spec
from pathlib import Path

from cmbml.core.errors import ConfigError

PARAMS = "params.yaml"
PIPELINE = "pipeline"
DVC_YAML = "dvc.yaml"
DVC_LOCK = "dvc.lock"
DATA = "data"
RAW = "data/raw"
LOCAL = ".cmbml"
MANIFEST = "_manifest.jsonl"


def find_root(start: Path | None = None) -> Path:
    """Nearest folder upwards from `start` (default: the working directory) that holds dvc.yaml.

    Raises
    ------
    ConfigError
        Where there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / DVC_YAML).is_file():
            return folder
    raise ConfigError(f"{here}: no {DVC_YAML} here or above; change into the repository")


def expect_own_code(root: Path, program: str) -> None:
    """Refuse to run one clone's data with another clone's code.

    Raises
    ------
    ConfigError
        Where the repository has code of its own, and another is in use; `program` is how to run its own.
    """
    spec = find_spec("cmbml")
    code = Path(spec.origin).parent.parent if spec and spec.origin else None
    if (root / "cmbml/__init__.py").is_file() and code != root:
        raise ConfigError(f"{root}: the code in use is that of {code}: run `{program}` in this folder")
