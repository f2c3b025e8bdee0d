"""What a map was made from: its provenance, or the manifest of the dataset that it lies in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cmbml.clean.request import provenance_of
from cmbml.core.errors import CmbmlError, ConfigError, DataError
from cmbml.core.files.checksums import md5_of
from cmbml.core.handlers import get_handler
from cmbml.core.views.trace import find_origin
from cmbml.sky.instrument import Instrument, described

_OBS = "obs"  # what every method's stage calls the observed bands


@dataclass(frozen=True)
class Origin:
    """How a map was made.

    Attributes
    ----------
    method
        The method, as `cmbml clean` and the pipeline call it.
    maps
        MD5 of the maps of the bands.
    instrument
        The bands.
    """

    method: str
    maps: frozenset[str]
    instrument: Instrument


def origin_of(path: Path) -> Origin:
    """What made a cleaned map, and of which maps.

    Raises
    ------
    DataError
        Where nothing tells, or the file is another than the one that is told of.
    """
    record = provenance_of(path)
    origin = _of_provenance(path, record) if record.is_file() else _of_manifest(path)
    if origin is None:
        raise DataError(
            f"{path}: nothing says how it was made: no {record.name} beside it: clean it with `cmbml clean`"
        )
    return origin


def _of_provenance(path: Path, record: Path) -> Origin:
    said: dict[str, Any] = get_handler("Config").read(record)
    try:
        method, maps, md5 = said["method"], said["maps"], said["results"][path.name]
        origin = Origin(str(method), frozenset(str(one["md5"]) for one in maps), said["bands"])
    except (KeyError, TypeError):
        raise DataError(
            f"{record}: does not say which maps {path.name} was made from: clean it anew"
        ) from None
    if md5_of(path) != md5:
        raise DataError(f"{path}: is not the map that {record.name} tells of: clean it anew")
    return origin


def _of_manifest(path: Path) -> Origin | None:
    try:
        made = find_origin(path)
    except CmbmlError:
        return None
    sources = [source for name, _, source in made.sources() if name == _OBS and source is not None]
    files = [content for source in sources for content in source.fact.files.values()]
    if md5_of(path) not in {md5 for _, md5 in made.fact.files.values()}:
        raise DataError(f"{path}: changed since the pipeline made it: run its stage again")
    return Origin(
        str(made.header["stage"]), frozenset(md5 for _, md5 in files), _instrument(path, made.header)
    )


def _instrument(path: Path, header: Mapping[str, Any]) -> Instrument:
    """The bands that a stage read, of the parameters that its manifest holds."""
    params = header["params"]
    bands = params.get("instrument.bands") or params.get("instrument", {}).get("bands")
    if bands is None:
        raise DataError(f"{path}: its stage does not declare instrument.bands: add them to its params")
    return described({name: SimpleNamespace(**band) for name, band in bands.items()})


def expect_made_from(option: str, path: Path, method: str, maps: frozenset[str]) -> None:
    """Refuse a map that another method made, or that was made of other maps.

    Raises
    ------
    ConfigError
        Where it does not belong.
    DataError
        As `origin_of`.
    """
    origin = origin_of(path)
    if origin.method != method:
        raise ConfigError(f"{option}: {path} was made by {origin.method}: give what {method} has cleaned")
    if not maps <= origin.maps:
        raise ConfigError(f"{option}: {path} was made from other maps: clean these with {method}")


def expect_one_simulation(option: str, path: Path, other: Path) -> None:
    """Refuse two files of a dataset that belong to different simulations; files of elsewhere tell nothing.

    Raises
    ------
    ConfigError
        Where they do.
    """
    try:
        identities = [find_origin(each).fact.identity[1:] for each in (path, other)]
    except CmbmlError:
        return
    if identities[0] != identities[1]:
        told = [f"simulation {sim} of {split}" for split, _, sim in identities]
        raise ConfigError(f"{option}: {path} is of {told[0]}, the maps are of {told[1]}")


def contents(paths: Iterable[Path]) -> dict[str, str]:
    """MD5 of what was written, by name: by it a map is known again."""
    return {path.name: md5_of(path) for path in paths}


def file_facts(folder: Path, files: dict[str, Path | None]) -> dict[str, Any]:
    """What a provenance says of files that were read; nothing of those that are None."""
    return {
        name: {"file": str(path), "md5": md5_of(folder / path)}
        for name, path in files.items()
        if path is not None
    }
