"""Datasets of CMB-ML: a tar archive for each simulation, found, checked and described for the import stages.

The archives stay where they are; data/raw/cmb_ml/ gets an index of them, with md5, and a link.
"""

import itertools
import re
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from cmbml.core.errors import ConfigError, DataError
from cmbml.core.files.checksums import md5_of
from cmbml.core.handlers import get_handler
from cmbml.core.spec.profile import overlay
from cmbml.core.spec.repository import RAW
from cmbml.core.spec.yamledit import edited
from cmbml.core.spec.yamlio import dump_yaml, read_yaml, yaml_text
from cmbml.exchange.records import write_record
from cmbml.exchange.unpack import checked_members

INDEX = f"{RAW}/cmb_ml/index.yaml"
ARCHIVES = f"{RAW}/cmb_ml/archives"
TRUTH = "cmb_map_fid.fits"
_BAND = re.compile(r"obs_(\w+)_map\.fits")
_SPLIT = re.compile(r"(?i)(?:^|[/_.-])(train|valid|test[a-z0-9]*)(?=$|[/_.-])")
_SIM = re.compile(r"(?i)sim_?(\d+)")
# What CMB-ML's beams resolve at its nside 512; coarser maps carry as much less.
_NSIDE, _FWHM_ARCMIN = 512, 20.6


@dataclass(frozen=True)
class Archive:
    """One archive: which simulation it holds, and what tells it from another."""

    split: str
    sim: int
    file: str
    bytes: int
    md5: str
    bands: tuple[str, ...]


def index_archives(folder: Path) -> list[Archive]:
    """Find the archives below a folder and see what they hold; nothing is unpacked.

    Raises
    ------
    DataError
        Where there are none, one is unsafe or damaged, a simulation is missing, stands twice, or lacks bands.
    """
    paths = [path for path in sorted(folder.rglob("*.tar*")) if path.is_file()]
    if not paths:
        raise DataError(f"{folder}: holds no tar archive")
    archives = sorted((_look_into(path, folder) for path in paths), key=lambda one: (one.split, one.sim))
    for before, after in itertools.pairwise(archives):
        if (before.split, before.sim) == (after.split, after.sim):
            raise DataError(f"{before.file}, {after.file}: are both {after.split} simulation {after.sim}")
        if before.bands != after.bands:
            raise DataError(f"{after.file}: has bands {after.bands}, others {before.bands}")
    for split in {one.split for one in archives}:
        sims = [one.sim for one in archives if one.split == split]
        if missing := sorted(set(range(len(sims))) - set(sims)):
            raise DataError(
                f"{folder}: split {split} has {len(sims)} archives, but simulation {missing[0]} is none"
            )
    return archives


def _look_into(path: Path, folder: Path) -> Archive:
    file = path.relative_to(folder).as_posix()
    names = [name for name, _ in checked_members(path)]
    bands = {found[1] for name in names if (found := _BAND.fullmatch(name.name))}
    truth = [name for name in names if name.name == TRUTH]
    if not bands or len(truth) != 1:
        raise DataError(f"{path}: expected obs_FREQ_map.fits and one {TRUTH} in it")
    split, sim = _which(path, f"{file.partition('.tar')[0]}/{truth[0].parent}")
    in_order = sorted(
        bands, key=lambda band: (not band.isdecimal(), int(band) if band.isdecimal() else 0, band)
    )
    return Archive(split, sim, file, path.stat().st_size, md5_of(path), tuple(in_order))


def _which(path: Path, place: str) -> tuple[str, int]:
    """Split and number, as the folders in the archive or its own name say."""
    splits, sims = _SPLIT.findall(place), _SIM.findall(place)
    if not splits or not sims:
        raise DataError(
            f"{path}: neither its name nor its folders say split and simulation, as Train/sim0000"
        )
    return splits[-1].lower(), int(sims[-1])


def register(root: Path, folder: Path, name: str) -> Path:
    """Write the index of a CMB-ML dataset, link its folder, and write a profile for it; return the profile.

    Of a profile that is there, what the archives do not say stays.

    Parameters
    ----------
    root
        The repository.
    folder
        Where the archives lie.
    name
        Name of the dataset and profile.

    Raises
    ------
    ConfigError
        Where the name cannot be that of a file.
    DataError
        As `index_archives`.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ConfigError(f"--name {name}: use letters, digits, ., - and _ only")
    archives = index_archives(folder)
    nside = _nside_of(folder / archives[0].file)
    index = root / INDEX
    index.parent.mkdir(parents=True, exist_ok=True)
    index.write_text(dump_yaml({"archives": [_plain(one) for one in archives]}), encoding="utf-8")
    write_record(index, md5_of(index), index.stat().st_size)
    link = root / ARCHIVES
    link.unlink(missing_ok=True)
    link.symlink_to(folder.resolve(), target_is_directory=True)
    profile = root / "profiles" / f"{name}.yaml"
    profile.parent.mkdir(exist_ok=True)
    text, values = _HEADER, _profile(name, archives, nside)
    if profile.is_file():
        text, values = yaml_text(profile), overlay(read_yaml(profile), values)
    profile.write_text(edited(text, values), encoding="utf-8")
    return profile


_HEADER = "# A dataset of CMB-ML, imported: `cmbml import cmb-ml` wrote this from the archives.\n"


def _plain(archive: Archive) -> dict[str, Any]:
    return {**asdict(archive), "bands": list(archive.bands)}


def _profile(name: str, archives: list[Archive], nside: int) -> dict[str, Any]:
    splits = {one.split: {"n_sims": one.sim + 1, "source": "imported"} for one in archives}
    lmax, fwhm = int(2.5 * nside), _FWHM_ARCMIN * _NSIDE / nside
    peaks = [max(2, int(lmax * part)) for part in (0.16, 0.47)]
    fine = [max(2 + i, int(lmax * part)) for i, part in enumerate((0.04, 0.16, 0.31, 0.55))]
    return {
        "dataset": name,
        "splits": {**dict.fromkeys(("train", "valid", "test", "shifted")), **splits},
        "instrument": {"nside": nside, "lmax": lmax, "table": "cmbml", "bands": None, "fields": "T"},
        "analysis": {"fwhm_arcmin": fwhm, "lmax": 2 * nside},
        "nilc": {"peaks": [*peaks, lmax + 1]},
        "nilc_regularised": {"peaks": [*fine, lmax + 1]},
    }


def _nside_of(archive: Path) -> int:
    """Resolution of the maps, from the header of the first one."""
    with tarfile.open(archive, "r:*") as tar:
        member = next(one for one in tar if PurePosixPath(one.name).name == TRUTH)
        file = tar.extractfile(member)
        with TemporaryDirectory() as scratch:
            path = Path(scratch) / TRUTH
            path.write_bytes(b"" if file is None else file.read())
            try:
                return int(get_handler("HealpyMap").read(path, content="T").nside)
            except DataError as error:
                raise DataError(f"{archive}: {str(error).removeprefix(f'{scratch}/')}") from None


def archive_of(index: dict[str, Any], split: str, sim: int) -> dict[str, Any]:
    """Entry of one simulation in the index.

    Raises
    ------
    DataError
        Where there is none.
    """
    for entry in _entries(index):
        if (entry["split"], entry["sim"]) == (split, sim):
            return entry
    raise DataError(f"{INDEX}: has no {split} simulation {sim}: run `cmbml import cmb-ml` again")


def _entries(index: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from index["archives"]
