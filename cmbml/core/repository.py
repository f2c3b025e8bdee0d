"""Where the repository is, and the names of the places in it."""

from pathlib import Path

from cmbml.core.errors import ConfigError

PARAMS = "params.yaml"
PIPELINE = "pipeline"
DVC_YAML = "dvc.yaml"
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
