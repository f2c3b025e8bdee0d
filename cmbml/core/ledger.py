"""What has been made: the manifest in every out directory, and the journals of work under way.

A manifest is the only authority on completeness.  It is sorted, holds no time, host or absolute path, and
travels with the data.  While units are made, each process journals outside the out directories: *intent*,
before files take their names, and *done*, after.  What a crash leaves at intent is judged by its hashes.
"""

import json
import os
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cmbml.core.errors import DataError
from cmbml.core.handlers.base import TEMPORARY, explain_storage
from cmbml.core.plan import Plan, Portion, Unit
from cmbml.core.raw import md5_of
from cmbml.core.repository import LOCAL, MANIFEST

_HEADER = "recipe"


@dataclass(frozen=True)
class Entry:
    """A unit that was made.

    Attributes
    ----------
    sim
        The simulation, or None where the unit is a whole split or stage.
    fingerprint
        Fingerprint at the time.
    recipe
        Hash of what it shares with the portion's other units.
    identity
        Method, split, random stream, simulation.
    inputs
        Fingerprints of its inputs by name.
    files
        Bytes and MD5 of every file, by path relative to the repository.
    """

    sim: int | None
    fingerprint: str
    recipe: str
    identity: list[Any]
    inputs: dict[str, str]
    files: dict[str, list[Any]]


class Ledger:
    """What has been made of one portion.

    Parameters
    ----------
    plan
        What is wanted.
    portion
        Which out directory.
    """

    def __init__(self, plan: Plan, portion: Portion) -> None:
        self.plan = plan
        self.portion = portion
        self.root = plan.config.root
        self.folder = plan.folder(portion)
        self.manifest = self.folder / MANIFEST
        local = self.root / LOCAL
        name = ".".join([plan.config.dataset, *(part for part in portion if part)])
        self.journals = local / "journal" / name
        self.attic = local / "attic" / f"{name}.jsonl"
        self.locks = local / "locks" / name
        self._seen: Any = None
        self._finalised: dict[int | None, Entry] = {}
        self._entries: dict[int | None, Entry] = {}

    @property
    def entries(self) -> dict[int | None, Entry]:
        """Entries of the manifest, overlaid by the journals; read again where another process wrote."""
        self._refresh()
        return self._entries

    @property
    def finalised(self) -> dict[int | None, Entry]:
        """Entries of the manifest alone."""
        self._refresh()
        return self._finalised

    def _refresh(self) -> None:
        seen = [_signature(path) for path in (self.manifest, *self._journal_files())]
        if seen != self._seen:
            self._finalised = {entry.sim: entry for entry in read_entries(self.manifest)}
            self._entries = self._finalised | self._recovered()
            self._entries = {sim: entry for sim, entry in self._entries.items() if entry.files}
            self._seen = seen

    def _journal_files(self) -> list[Path]:
        return sorted(self.journals.glob("*.jsonl"))

    def _recovered(self) -> dict[int | None, Entry]:
        """Last state of every journalled unit; one without files where a crash left it broken."""
        records = [record for path in self._journal_files() for record in _json_lines(path)]
        last = {record["entry"]["sim"]: record for record in sorted(records, key=lambda r: int(r["time"]))}
        recovered = {}
        for sim, record in last.items():
            entry = Entry(**record["entry"])
            whole = record["state"] == "done" or self._matches(entry)
            recovered[sim] = entry if whole else Entry(sim, "", "", [], {}, {})
        return recovered

    def _matches(self, entry: Entry) -> bool:
        return all(
            (self.root / path).is_file() and md5_of(self.root / path) == md5
            for path, (_, md5) in entry.files.items()
        )

    def stale(self, unit: Unit, entries: dict[int | None, Entry] | None = None) -> str | None:
        """Say in a few words why a unit must be made; None where it is complete."""
        entry = (self.entries if entries is None else entries).get(unit.sim)
        if entry is None:
            return "never made"
        if entry.fingerprint != self.plan.fingerprint(unit):
            return self._difference(entry, unit)
        if sorted(entry.files) != self.plan.files(unit):
            return "other files are declared"
        for path, (size, _) in entry.files.items():
            found = _size(self.root / path)
            if found != size:
                return f"{path} is {'missing' if found is None else f'{found} bytes instead of {size}'}"
        return None

    def _difference(self, entry: Entry, unit: Unit) -> str:
        """Name what changed between an entry's fingerprint and the wanted one."""
        wanted = self.plan.recipe(self.portion)
        if entry.recipe != wanted.digest:
            old = self.recipes().get(entry.recipe, {})
            changed = [
                f"{kind} {key}"
                for kind in ("code", "packages", "handlers", "params", "settings")
                for key in _changed(old.get(kind, {}), getattr(wanted, kind))
            ]
            return f"changed: {', '.join(changed)}" if changed else "recipe changed"
        inputs = _changed(entry.inputs, self.plan.input_digests(unit))
        return f"changed: input {', input '.join(inputs)}" if inputs else "another simulation's"

    def recipes(self) -> dict[str, dict[str, Any]]:
        """Recipes that the manifest's entries were made by."""
        return {record[_HEADER]: record for record in _json_lines(self.manifest) if "sim" not in record}

    def complete(self) -> bool:
        """Whether the manifest says, and sizes confirm, that all wanted units and no others are there."""
        units = self.plan.units(self.portion)
        finalised = self.finalised
        same = set(finalised) == {unit.sim for unit in units} and not self._journal_files()
        return same and all(self.stale(unit, finalised) is None for unit in units)

    def new_entry(self, unit: Unit, files: dict[str, list[Any]]) -> Entry:
        """Describe a unit that has just been made."""
        return Entry(
            sim=unit.sim,
            fingerprint=self.plan.fingerprint(unit),
            recipe=self.plan.recipe(self.portion).digest,
            identity=self.plan.identity(unit),
            inputs=self.plan.input_digests(unit),
            files=files,
        )

    def journal(self, state: str, entry: Entry) -> None:
        """Append to this process's journal: ``intent`` or ``done``."""
        path = self.journals / f"{socket.gethostname()}-{os.getpid()}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {"state": state, "time": time.time_ns(), "entry": asdict(entry)}
        try:
            with path.open("a", encoding="utf-8") as file:
                # The first newline ends a line that a killed process of the same number left half written.
                file.write(f"\n{json.dumps(record)}\n")
        except OSError as error:
            raise explain_storage(path, error) from error

    def finalise(self) -> None:
        """Write the manifest, remove what is ours and no longer wanted, and close the journals.

        Raises
        ------
        DataError
            Where a unit is not complete.
        """
        units = self.plan.units(self.portion)
        entries = self.entries
        for unit in units:
            if reason := self.stale(unit, entries):
                raise DataError(f"{unit}: not complete: {reason}: run the stage again")
        wanted = [entries[unit.sim] for unit in units]
        self._remove_unwanted(wanted, [*entries.values(), *self.finalised.values()])
        recipe = {_HEADER: self.plan.recipe(self.portion).digest, **asdict(self.plan.recipe(self.portion))}
        self.folder.mkdir(parents=True, exist_ok=True)
        _write_lines(self.manifest, [recipe, *(asdict(entry) for entry in wanted)])
        for path in self._journal_files():
            path.unlink(missing_ok=True)

    def _remove_unwanted(self, wanted: list[Entry], owned: list[Entry]) -> None:
        keep = {path for entry in wanted for path in entry.files}
        for path in {path for entry in owned for path in entry.files} - keep:
            remove(self.root / path, self.folder)
        for unfinished in self.folder.rglob(f"{TEMPORARY}*"):
            if not _alive(unfinished.name.removeprefix(TEMPORARY).partition(".")[0]):
                remove(unfinished, self.folder)
        self._remember(entry for entry in self.finalised.values() if entry not in wanted)

    def _remember(self, dropped: Iterable[Entry]) -> None:
        """Keep the entries that the manifest loses: their files may still be in the DVC cache."""
        lines = [json.dumps(asdict(entry)) + "\n" for entry in dropped]
        if lines:
            self.attic.parent.mkdir(parents=True, exist_ok=True)
            with self.attic.open("a", encoding="utf-8") as file:
                file.writelines(lines)

    def remembered(self) -> dict[str, Entry]:
        """Entries that the manifest once had, by fingerprint."""
        return {record["fingerprint"]: Entry(**record) for record in _json_lines(self.attic)}


def read_entries(manifest: Path) -> Iterator[Entry]:
    """Read the entries of a manifest; none where it is absent."""
    return (Entry(**record) for record in _json_lines(manifest) if "sim" in record)


def remove(path: Path, stop: Path) -> None:
    """Remove a file and the folders that it leaves empty, up to `stop`."""
    path.unlink(missing_ok=True)
    for folder in path.parents:
        if folder == stop or not folder.is_relative_to(stop) or any(folder.iterdir()):
            return
        folder.rmdir()


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            # A process that was killed while it wrote leaves half a last line.
            continue


def _write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    unfinished = path.with_name(f"{TEMPORARY}{os.getpid()}.{path.name}")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(record, sort_keys=True) + "\n" for record in records)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise explain_storage(path, error) from error
    unfinished.replace(path)


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _changed(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def _alive(pid: str) -> bool:
    return pid.isdigit() and Path(f"/proc/{pid}").exists()
