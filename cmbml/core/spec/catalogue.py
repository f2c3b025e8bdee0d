"""The catalogue of science assets in pipeline/raw.yaml: what can be fetched, whence, on which terms."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from cmbml.core.errors import ConfigError, PipelineError, ProblemsError, did_you_mean
from cmbml.core.spec.repository import PIPELINE, RAW
from cmbml.core.spec.yamlio import read_yaml

CATALOGUE = f"{PIPELINE}/raw.yaml"
_MD5 = r"^[0-9a-f]{32}$"


class _Yaml(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _http(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"'{address}' is no http(s) address")
    if "{file}" not in address:
        raise ValueError(f"'{address}' lacks {{file}}: say where the file's name goes")
    return address


class Source(_Yaml):
    """An archive: where its files are, and what its users owe it."""

    title: str
    licence: str
    citation: str
    addresses: Annotated[tuple[Annotated[str, AfterValidator(_http)], ...], Field(min_length=1)]


class ScienceAsset(_Yaml):
    """Files of a source that belong together; numbered where there is a `count`."""

    source: str
    files: Annotated[tuple[str, ...], Field(min_length=1)]
    path: str
    count: int | None = Field(default=None, ge=1)
    bytes: int | None = Field(default=None, ge=0)
    md5: str | None = Field(default=None, pattern=_MD5)
    about_mb: float | None = None
    unpack: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        several = len(self.files) > 1 or self.count is not None
        if several and (self.bytes is not None or self.md5):
            raise ValueError("'bytes' and 'md5' are those of one file")
        if len(self.files) > 1 and "{file}" not in self.path:
            raise ValueError("several files need {file} in 'path'")
        if self.count and "{number" not in self.path:
            raise ValueError("'count' needs {number} in 'path'")
        if PurePosixPath(self.path).is_absolute() or ".." in PurePosixPath(self.path).parts:
            raise ValueError(f"'path' leaves {RAW}/")
        return self


@dataclass(frozen=True)
class RemoteFile:
    """One file of the catalogue.

    Attributes
    ----------
    key
        Its place below data/raw/, which is also its key in the lock file.
    addresses
        Where it may be had, the best first.
    size, md5
        What is published of it; None where nothing is.
    unpack
        Whether it is an archive whose content is wanted.
    """

    key: str
    addresses: tuple[str, ...]
    size: int | None
    md5: str | None
    unpack: bool


class Catalogue(_Yaml):
    """All sources and assets by name."""

    sources: dict[str, Source] = Field(default_factory=dict)
    science_assets: dict[str, ScienceAsset] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _joined(self) -> Self:
        for name, asset in self.science_assets.items():
            if asset.source not in self.sources:
                hint = did_you_mean(asset.source, self.sources)
                raise ValueError(f"science_assets.{name}: no source '{asset.source}': {hint}")
        return self

    def choose(self, patterns: list[str]) -> list[str]:
        """Names of the assets that match names or patterns such as ``planck_*``.

        Raises
        ------
        ConfigError
            Where one matches none.
        """
        chosen: dict[str, None] = {}
        for pattern in patterns:
            found = [name for name in self.science_assets if fnmatch(name, pattern)]
            if not found:
                hint = did_you_mean(pattern, self.science_assets)
                raise ConfigError(f"no science asset '{pattern}' in {CATALOGUE}: {hint}")
            chosen |= dict.fromkeys(found)
        return list(chosen)

    def files(self, name: str, count: int | None = None) -> Iterator[RemoteFile]:
        """Files of an asset; of a numbered one the first `count`."""
        asset = self.science_assets[name]
        source = self.sources[asset.source]
        numbers = [None] if asset.count is None else range(min(count or asset.count, asset.count))
        for number in numbers:
            tags = {} if number is None else {"number": number}
            for template in asset.files:
                file = template.format(**tags)
                yield RemoteFile(
                    key=asset.path.format(file=file, **tags),
                    addresses=tuple(address.replace("{file}", file) for address in source.addresses),
                    size=asset.bytes,
                    md5=asset.md5,
                    unpack=asset.unpack,
                )

    def owner(self, key: str) -> str | None:
        """Name of the asset that has a file at a place below data/raw/, or whose archive holds it."""
        for name in self.science_assets:
            for file in self.files(name):
                if key == file.key or (file.unpack and key.startswith(f"{unpacked(file.key)}/")):
                    return name
        return None


def unpacked(key: str) -> str:
    """Folder of an archive's content: its name without the suffix."""
    return key.removesuffix(".gz").removesuffix(".tgz").removesuffix(".tar")


def load_catalogue(root: Path) -> Catalogue:
    """Read the catalogue of a repository.

    Raises
    ------
    ProblemsError
        With everything that is wrong in it.
    """
    path = root / CATALOGUE
    content = (read_yaml(path) or {}) if path.is_file() else {}
    try:
        return Catalogue(**{key: content.get(key) or {} for key in Catalogue.model_fields})
    except ValidationError as error:
        raise ProblemsError([
            PipelineError(
                f"{CATALOGUE}: {'.'.join(map(str, detail['loc']))}: "
                f"{detail['msg'].removeprefix('Value error, ')}"
            )
            for detail in error.errors()
        ]) from None  # fmt: skip
