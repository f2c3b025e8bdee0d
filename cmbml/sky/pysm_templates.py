"""Where PySM 3 keeps its templates, looked up without ever touching the network."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError

_SUFFIXES = (".fits", ".fits.gz", ".txt", ".dat", ".h5")


def preset_table() -> Mapping[str, Any]:
    """PySM's table of presets: constructor arguments of each model by its name."""
    from pysm3.sky import PRESET_MODELS

    return dict(PRESET_MODELS)


def preset_config(preset: str) -> Mapping[str, Any]:
    """Constructor arguments of one preset.

    Raises
    ------
    ValueError
        Where PySM has no such preset.
    """
    table = preset_table()
    if preset not in table:
        raise ValueError(f"PySM has no preset {preset!r}; known are {', '.join(sorted(table))}")
    return dict(table[preset])


def _values(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """All text values of a preset that name a template file, with their keys, sub-components included."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _values(value)
        elif isinstance(value, str) and value.endswith(_SUFFIXES):
            yield key, value


def template_nside(preset: str, nside: int) -> int | None:
    """Resolution that PySM publishes a preset's ``{nside}`` templates at, the nearest to `nside`."""
    available = preset_config(preset).get("available_nside")
    return None if available is None else min(available, key=lambda each: abs(each - nside))


def template_files(presets: tuple[str, ...], nside: int = 512) -> list[str]:
    """Template files that some presets read, relative to PySM's data folder, each once.

    Parameters
    ----------
    presets
        PySM's names, such as ``("d1", "s1")``.
    nside
        Resolution of the wanted maps; chooses among templates that come in several.
    """
    files = []
    for preset in presets:
        wanted = template_nside(preset, nside)
        files += [name.replace("{nside}", str(wanted)) for _, name in _values(preset_config(preset))]
    return list(dict.fromkeys(files))


def find_template(name: str) -> Path | None:
    """Local path of a template: PySM's own search order, the network left out."""
    from astropy.utils.data import cache_contents
    from pysm3.utils.data import DATAURL, RemoteData

    for folder in RemoteData().data_folders:
        path = Path(folder) / name
        if path.is_file():
            return path
    cached = cache_contents().get(DATAURL + name)
    return Path(cached) if cached else None


def require_templates(presets: tuple[str, ...], nside: int = 512) -> list[Path]:
    """Local paths of all templates of some presets.

    Raises
    ------
    ValueError
        Where one is missing, naming it and the remedy; PySM itself would wait for the network.
    """
    names = template_files(presets, nside)
    paths = [find_template(name) for name in names]
    missing = [name for name, path in zip(names, paths, strict=True) if path is None]
    if missing:
        folder = os.environ.get("PYSM_LOCAL_DATA", "not set")
        raise ValueError(
            f"PySM presets {', '.join(presets)}: no template {', '.join(missing)} on this machine; fetch it "
            f"from PySM's data server into a folder and set PYSM_LOCAL_DATA to that folder (now {folder})"
        )
    return [path for path in paths if path is not None]


@contextmanager
def offline(preset: str) -> Iterator[None]:
    """Keep PySM off the network, for presets that name their templates in code (CIB, radio galaxies, CO).

    Raises
    ------
    ValueError
        Where a template is not on this machine.
    """
    from astropy.utils.data import conf

    with conf.set_temp("allow_internet", False):
        try:
            yield
        except (URLError, OSError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"PySM preset {preset}: a template is not on this machine ({reason}); fetch it from PySM's "
                "data server into a folder and set PYSM_LOCAL_DATA to that folder"
            ) from error
