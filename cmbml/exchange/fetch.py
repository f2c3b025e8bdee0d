"""Fetching science assets: several files at a time, each verified before it appears under its name."""

import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import requests
from tqdm import tqdm

from cmbml.core.errors import CmbmlError, DataError, ProblemsError, StorageError
from cmbml.core.files.checksums import md5_of
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.catalogue import Catalogue, RemoteFile, unpacked
from cmbml.core.spec.pipeline import Stage
from cmbml.core.spec.repository import RAW
from cmbml.exchange.records import LOCK, LockFile, write_record
from cmbml.exchange.transfer import Patience, Transfer, Wanted
from cmbml.exchange.unpack import unpack_tar

_MEGABYTE = 1e6


@dataclass(frozen=True)
class FetchOptions:
    """How to fetch.

    Attributes
    ----------
    jobs
        Files at a time.
    offline
        Verify what is there, and never touch the network.
    mirror
        Address of a folder that holds files at their places below data/raw/; tried before all others.
    patience
        How long to go on after faults.
    """

    jobs: int = 4
    offline: bool = False
    mirror: str | None = None
    patience: Patience = field(default_factory=Patience)


class Fetcher:
    """Brings files of the catalogue into data/raw/.

    Parameters
    ----------
    root
        The repository.
    options
        How.
    """

    def __init__(self, root: Path, options: FetchOptions) -> None:
        self.folder = root / RAW
        self.lock = LockFile(root)
        self.options = options
        self._learnt = self.lock.read()
        self._local = threading.local()
        self._stopped = threading.Event()

    def fetch(self, files: Iterable[RemoteFile]) -> None:
        """Fetch files that are not there, and verify those that are.

        Raises
        ------
        ProblemsError
            With every file that could not be had; the others are there then.
        """
        wanted = list({file.key: file for file in files}.values())
        if not self.options.offline:
            self._expect_space(wanted)
        total = sum(self._known(file)[0] or 0 for file in wanted)
        # Without a terminal tqdm draws nothing; the lines about each file remain.
        with (
            tqdm(total=total, unit="B", unit_scale=True, unit_divisor=1000, disable=None) as bar,
            ThreadPoolExecutor(self.options.jobs) as pool,
        ):
            try:
                problems = [p for p in pool.map(lambda file: self._one(file, bar), wanted) if p]
            except BaseException:
                self._stopped.set()
                pool.shutdown(cancel_futures=True)
                raise
        if problems:
            raise ProblemsError(problems)

    def _expect_space(self, wanted: list[RemoteFile]) -> None:
        missing = [self._known(file)[0] or 0 for file in wanted if not (self.folder / file.key).is_file()]
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if sum(missing) > free:
            need, have = (f"{number / 1e9:.1f} GB" for number in (sum(missing), free))
            raise StorageError(f"{self.folder}: {need} are to be fetched, {have} are free: make space")

    def _known(self, file: RemoteFile) -> tuple[int | None, str | None]:
        """Length and md5: published, or else learnt."""
        learnt = self._learnt.get(file.key, {})
        return file.size or learnt.get("bytes"), file.md5 or learnt.get("md5")

    def _one(self, file: RemoteFile, bar: "tqdm[None]") -> CmbmlError | None:
        try:
            if self._stopped.is_set():
                return None
            path = self.folder / file.key
            line = self._verify(file, path) if path.is_file() else self._transfer(file, path, bar)
            if file.unpack:
                self._unpack(file, path)
            bar.write(line)
        except CmbmlError as error:
            return error
        return None

    def _verify(self, file: RemoteFile, path: Path) -> str:
        size, md5 = self._known(file)
        found, length = md5_of(path), path.stat().st_size
        if (size is not None and length != size) or md5 not in (None, found):
            raise DataError(
                f"{path}: {length} bytes, md5 {found}: expected {size or '?'}, {md5}: delete it and fetch "
                f"again, or, if the archive has a new version, remove it from {LOCK}"
            )
        self._remember(file, found, length)
        return f"{file.key}: there, {'verified' if md5 else 'checksum learnt'}"

    def _transfer(self, file: RemoteFile, path: Path, bar: "tqdm[None]") -> str:
        if self.options.offline:
            raise DataError(f"{path}: not there: run `cmbml fetch` without --offline")
        size, md5 = self._known(file)
        if size is None:
            bar.total = None
        started = time.monotonic()
        wanted = Wanted(path, self._addresses(file), size, md5)

        def count(number: int) -> None:
            if self._stopped.is_set():
                raise DataError(f"{path}: interrupted: run again, it will be resumed")
            bar.update(number)

        transfer = Transfer(wanted, self._session(), self.options.patience, count)
        transfer.run(lambda md5, length: self._remember(file, md5, length))
        megabytes, seconds = path.stat().st_size / _MEGABYTE, time.monotonic() - started
        how = "verified" if md5 else "checksum learnt"
        return f"{file.key}: {megabytes:.1f} MB in {seconds:.1f} s ({megabytes / seconds:.0f} MB/s), {how}"

    def _addresses(self, file: RemoteFile) -> tuple[str, ...]:
        if self.options.mirror is None:
            return file.addresses
        return (f"{self.options.mirror.rstrip('/')}/{file.key}", *file.addresses)

    def _session(self) -> requests.Session:
        """Connections of this thread."""
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.max_redirects = 10
            self._local.session.headers["User-Agent"] = "cmbml"
        session: requests.Session = self._local.session
        return session

    def _remember(self, file: RemoteFile, md5: str, size: int) -> None:
        if file.md5 is None:
            self.lock.learn(file.key, md5, size)
        write_record(self.folder / file.key, md5, size)

    def _unpack(self, file: RemoteFile, path: Path) -> None:
        folder = self.folder / unpacked(file.key)
        if folder.is_dir():
            return
        for content in unpack_tar(path, folder):
            write_record(content, md5_of(content), content.stat().st_size)


def needed(plan: Plan, catalogue: Catalogue) -> list[RemoteFile]:
    """Files of the catalogue that the stages which are switched on read."""
    keys = dict.fromkeys(key for stage in plan.stages.values() for key in _raw_keys(plan, stage))
    templates = [name for preset in _presets(plan) if (name := f"pysm_{preset}") in catalogue.science_assets]
    files = [file for key in keys for file in _with_place(catalogue, key)]
    return [*files, *(file for name in templates for file in catalogue.files(name))]


def _raw_keys(plan: Plan, stage: Stage) -> Iterator[str]:
    for name in plan.config.inputs(stage):
        # Templates that are not there yet have no place; their presets name them.
        with suppress(DataError):
            labels = plan.raw_files(stage, name)
            yield from (label.removeprefix(f"{RAW}/") for label in labels if label.startswith(f"{RAW}/"))


def _presets(plan: Plan) -> Iterator[str]:
    """PySM presets that the foregrounds of any population are made of."""
    from cmbml.sky.pysm.templates import presets_of

    params = plan.config.params
    for population in params.populations.values():
        for model in population.models or (params.foregrounds.model,):
            yield from presets_of(model, params.foregrounds.presets)


def _with_place(catalogue: Catalogue, key: str) -> Iterator[RemoteFile]:
    owner = catalogue.owner(key)
    if owner is None:
        return
    for file in catalogue.files(owner):
        if key == file.key or (file.unpack and key.startswith(f"{unpacked(file.key)}/")):
            yield file


def list_lines(root: Path, catalogue: Catalogue) -> Iterator[str]:
    """A line for every asset: what it is, how big, whether it is here; then what is owed for it."""
    for name, asset in catalogue.science_assets.items():
        files = list(catalogue.files(name))
        here = sum((root / RAW / file.key).is_file() for file in files)
        title = catalogue.sources[asset.source].title
        size = _size(asset.bytes, asset.about_mb, len(files))
        yield f"{name:<24} {here:>4}/{len(files):<4} {size:>10}  {title}"
    for name, source in catalogue.sources.items():
        yield f"{name}: {source.title}\n  licence: {source.licence}\n  cite: {source.citation}"


def _size(exact: int | None, about_mb: float | None, count: int) -> str:
    if exact is None and about_mb is None:
        return "?"
    megabytes = exact / _MEGABYTE if exact is not None else about_mb or 0.0
    return f"{megabytes * count:.0f} MB"
