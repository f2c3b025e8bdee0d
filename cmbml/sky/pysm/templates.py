"""Where PySM 3 keeps its templates, looked up without ever touching the network."""

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict
from urllib.error import URLError

from cmbml.sky.foregrounds import PROCEDURAL, PYSM

# As in pysm3.utils.data, which takes seconds to import; the tests compare the two.
DATA_URL = "https://portal.nersc.gov/project/cmb/pysm-data/"
SHARED_FOLDERS = ("/global/cfs/cdirs/cmb/www/pysm-data/",)
# These name a template for every frequency, in code; what is here of them is what they will read.
_NAMED_IN_CODE = {"WebSkyCIB": "websky/{}/cib/", "WebSkyRadioGalaxies": "websky/{}/radio/", "COLines": "co/"}
_CMB = ("c1", "c2", "c3", "c4")
_RANDOM = ("d6", "d11", "s6")  # these draw from numpy's global generator
_SUFFIXES = (".fits", ".fits.gz", ".txt", ".dat", ".h5")


# What is read here of a preset; the rest is for PySM alone.
Preset = TypedDict(
    "Preset",
    {"class": str, "available_nside": list[int], "num_layers": int, "websky_version": str},
    total=False,
)


@lru_cache(maxsize=1)
def preset_table() -> Mapping[str, Preset]:
    """PySM's table of presets: constructor arguments of each model by its name; PySM is not imported.

    Raises
    ------
    ValueError
        Where PySM is not installed.
    """
    spec = find_spec("pysm3")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError("foregrounds: PySM 3 is not installed: pip install pysm3, or set model: galaxy")
    table = Path(spec.submodule_search_locations[0]) / "data" / "presets.cfg"
    return tomllib.loads(table.read_text(encoding="utf-8"))


def preset_config(preset: str) -> Preset:
    """Constructor arguments of one preset.

    Raises
    ------
    ValueError
        Where PySM has no such preset.
    """
    table = preset_table()
    if preset not in table:
        raise ValueError(
            f"foregrounds: PySM has no preset {preset!r}; known are {', '.join(sorted(table))}, "
            "and the models galaxy and layered"
        )
    return table[preset].copy()


def check_preset(preset: str) -> None:
    """Refuse what is not a reproducible foreground.

    Raises
    ------
    ValueError
        Where the preset is unknown, a CMB, or draws from a global generator.
    """
    preset_config(preset)
    if preset in _CMB:
        raise ValueError(f"PySM preset {preset} is a CMB, not a foreground; remove it")
    if preset in _RANDOM:
        raise ValueError(f"PySM preset {preset} draws from numpy's global generator; choose another")


def _values(config: Mapping[str, object]) -> Iterator[tuple[str, str]]:
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
        config = preset_config(preset)
        names = [name.replace("{nside}", str(wanted)) for _, name in _values(config)]
        layers = range(1, int(config.get("num_layers", 0)) + 1)
        files += [
            each.replace("{layer}", str(layer))
            for each in names
            for layer in (layers if "{layer}" in each else (0,))
        ]
    return list(dict.fromkeys(files))


def _folders() -> list[Path]:
    """Folders that PySM searches, first to last."""
    own = [os.environ["PYSM_LOCAL_DATA"]] if "PYSM_LOCAL_DATA" in os.environ else []
    return [Path(folder) for folder in (*own, *SHARED_FOLDERS)]


def find_template(name: str) -> Path | None:
    """Local path of a template: PySM's own search order, the network left out."""
    from astropy.utils.data import cache_contents

    for folder in _folders():
        path = folder / name
        if path.is_file():
            return path
    cached = cache_contents().get(DATA_URL + name)
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


def presets_of(model: str, presets: Sequence[str]) -> tuple[str, ...]:
    """PySM presets that a foreground model stands for; none for the procedural galaxies.

    Parameters
    ----------
    model
        Name of a family, "pysm3", or presets joined by "+".
    presets
        What "pysm3" stands for.
    """
    if model in PROCEDURAL:
        return ()
    return tuple(presets) if model == PYSM else tuple(model.split("+"))


def locate(
    model: str, presets: Sequence[str], choices: Mapping[str, Sequence[str] | None], lmax: int
) -> dict[str, Path]:
    """Find all template files that a dataset's foregrounds read, by PySM's name of each.

    Parameters
    ----------
    model, presets
        The block foregrounds.
    choices
        Models among which each population chooses; None where it has `model`.
    lmax
        Band-limit of the maps.

    Raises
    ------
    ValueError
        Where a preset does not exist, or one of its templates is not on this machine.
    """
    models = dict.fromkeys(name for each in choices.values() for name in (each or (model,)))
    used = tuple(dict.fromkeys(preset for name in models for preset in presets_of(name, presets)))
    for preset in used:
        check_preset(preset)
    if not used:
        return {}
    nside = coarsest_nside(lmax)
    files = dict(zip(template_files(used, nside), require_templates(used, nside), strict=True))
    return files | {name: path for preset in used for name, path in _named_in_code(preset).items()}


def coarsest_nside(lmax: int) -> int:
    """Resolution whose pixels carry `lmax`: a 2.5th of it."""
    return -(-2 * lmax // 5)


def _named_in_code(preset: str) -> dict[str, Path]:
    """Templates on this machine that a preset may read without its table saying so, by PySM's name."""
    from astropy.utils.data import cache_contents

    config = preset_config(preset)
    prefix = _NAMED_IN_CODE.get(config.get("class", ""), "").format(config.get("websky_version", ""))
    if not prefix:
        return {}
    cached = {
        url.removeprefix(DATA_URL): Path(path)
        for url, path in cache_contents().items()
        if url.startswith(DATA_URL + prefix)
    }
    found = {
        prefix + path.name: path
        for folder in reversed(_folders())
        for path in sorted((folder / prefix).glob("*.fits*"))
    }
    return dict(sorted((cached | found).items()))


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
