"""Sending data to others: plain FITS under CMB-ML's file names, or shards for training elsewhere.

Every number is the one in the dataset.  Only the truth as a map is computed here, from its a_lm, in double
precision; the a_lm go along.
"""

import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmbml.core.errors import ConfigError, DataError, did_you_mean
from cmbml.core.handlers.base import temporary_path
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.namer import sim_tag
from cmbml.core.spec.roles import CMB, OBSERVATIONS
from cmbml.core.views.dataset import Dataset
from cmbml.sky.sht import Map, alm2map

SHARD = "{split}-{number:06d}.tar"


@dataclass(frozen=True)
class Selection:
    """What is exported.

    Attributes
    ----------
    into
        A folder that is empty or not there.
    splits
        Names of the splits; by default all that have a truth.
    methods
        Keys of stages with an output `cleaned`, whose maps go along.
    """

    into: Path
    splits: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()


class Exporter:
    """Reads a dataset simulation by simulation.

    Parameters
    ----------
    plan
        The dataset.
    selection
        What is wanted of it.

    Raises
    ------
    ConfigError
        Where a split or method does not exist, or the folder is not empty.
    """

    def __init__(self, plan: Plan, selection: Selection) -> None:
        self.config = plan.config
        self.data = Dataset(plan.config)
        self.into = selection.into
        self.splits = selection.splits or tuple(plan.config.splits)
        self.methods = selection.methods
        for name in self.splits:
            if name not in plan.config.splits:
                raise ConfigError(f"no split '{name}': {did_you_mean(name, plan.config.splits)}")
        for key in self.methods:
            if key not in plan.config.estimates:
                raise ConfigError(f"no method '{key}': {did_you_mean(key, plan.config.estimates)}")
        if self.into.exists() and any(self.into.iterdir()):
            raise ConfigError(f"{self.into}: is not empty: choose another folder")

    def sims(self) -> Iterator[tuple[str, int]]:
        """All simulations that are exported."""
        for split in self.splits:
            for sim in self.config.splits[split].iter_sims():
                yield split, sim

    def bands(self, split: str, sim: int) -> dict[str, Path]:
        """Files of the observed bands."""
        obs = self.data.output(OBSERVATIONS)
        return {
            freq: obs.at(split=split, sim=sim, freq=freq).path for freq in self.config.params.instrument.freqs
        }

    def truth(self, split: str, sim: int) -> tuple[Path, Map]:
        """File of the truth's a_lm, and the truth as a map without a beam, ``(n_stokes, npix)`` in uK_CMB."""
        ref = self.data.output(CMB).at(split=split, sim=sim)
        return ref.path, alm2map(ref.read().values, self.config.params.instrument.nside)[: self.n_stokes]

    @property
    def n_stokes(self) -> int:
        """Number of Stokes fields."""
        return self.config.params.instrument.n_stokes

    def cleaned(self, split: str, sim: int) -> dict[str, Path]:
        """Files of the chosen methods."""
        return {key: self.data[key].cleaned.at(split=split, sim=sim).path for key in self.methods}


def export_fits(exporter: Exporter) -> int:
    """Write plain FITS under the names that CMB-ML uses; return the number of files.

    ``DATASET/Simulation/Train/sim0000``: ``obs_100_map.fits``, ``cmb_map_fid.fits``, ``cmb_alm_fid.fits``;
    ``DATASET/METHOD/Train/sim0000/cmb_map_pred.fits``.  Files of bands and methods are copies, byte by byte.
    """
    base = exporter.into / exporter.config.dataset
    count = 0
    for split, sim in exporter.sims():
        place = Path(split.capitalize()) / sim_tag(sim)
        wanted = {
            base / "Simulation" / place / f"obs_{freq}_map.fits": path
            for freq, path in exporter.bands(split, sim).items()
        }
        for key, path in exporter.cleaned(split, sim).items():
            wanted[base / key / place / "cmb_map_pred.fits"] = path
        alm, sky = exporter.truth(split, sim)
        wanted[base / "Simulation" / place / "cmb_alm_fid.fits"] = alm
        for target, source in wanted.items():
            _copy(source, target)
        _write_double(base / "Simulation" / place / "cmb_map_fid.fits", sky)
        count += len(wanted) + 1
    return count


def _copy(source: Path, target: Path) -> None:
    if not source.is_file():
        raise DataError(f"{source}: not there: run `make run`, or `cmbml pull`")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _write_double(path: Path, sky: Map) -> None:
    """Write maps as CMB-ML does: uK_CMB, RING, double precision."""
    from astropy.io import fits

    names = "IQU"[: len(sky)]
    columns = [fits.Column(name, "D", unit="uK_CMB", array=row) for name, row in zip(names, sky, strict=True)]
    table = fits.BinTableHDU.from_columns(columns)
    nside = int(np.sqrt(sky.shape[1] / 12))
    cards: dict[str, Any] = {
        "PIXTYPE": "HEALPIX", "ORDERING": "RING", "COORDSYS": "G", "NSIDE": nside, "FIRSTPIX": 0,
        "LASTPIX": sky.shape[1] - 1, "INDXSCHM": "IMPLICIT", "OBJECT": "FULLSKY",
    }  # fmt: skip
    table.header.update(cards)
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, overwrite=True)


def export_shards(exporter: Exporter, shard_bytes: int) -> list[Path]:
    """Write WebDataset shards: tar files of samples that a loader reads in one stream; return them.

    A sample ``test_0003`` has ``.obs.npy`` (bands, Stokes, pixels; float32), ``.cmb.npy`` (truth without a
    beam, float64), ``.cmb_alm.npy`` (its a_lm, complex64), ``.METHOD.npy``, and ``.json`` with bands, beams,
    units and md5.  The same data give the same bytes.
    """
    exporter.into.mkdir(parents=True, exist_ok=True)
    shards: list[Path] = []
    for split in exporter.splits:
        samples = ((s, sim) for s, sim in exporter.sims() if s == split)
        shards += _write_shards(exporter, split, samples, shard_bytes)
    return shards


def _write_shards(
    exporter: Exporter, split: str, samples: Iterator[tuple[str, int]], shard_bytes: int
) -> Iterator[Path]:
    pending = next(samples, None)
    number = 0
    while pending is not None:
        path = exporter.into / SHARD.format(split=split, number=number)
        unfinished = temporary_path(path)
        with tarfile.open(unfinished, "w", format=tarfile.USTAR_FORMAT) as tar:
            written = 0
            while pending is not None and (not written or written < shard_bytes):
                written += _add_sample(tar, exporter, *pending)
                pending = next(samples, None)
        unfinished.replace(path)
        number += 1
        yield path


def _add_sample(tar: tarfile.TarFile, exporter: Exporter, split: str, sim: int) -> int:
    instrument = exporter.config.params.instrument
    obs = exporter.data.output(OBSERVATIONS)
    skies = [obs.at(split=split, sim=sim, freq=freq).read().values for freq in instrument.freqs]
    _, truth = exporter.truth(split, sim)
    arrays = {
        "obs": np.stack(skies).astype(np.float32),
        "cmb": truth,
        "cmb_alm": exporter.data.output(CMB).at(split=split, sim=sim).read().values.astype(np.complex64),
    }
    for key in exporter.methods:
        sky = exporter.data[key].cleaned.at(split=split, sim=sim).read()
        arrays[key] = sky.values.astype(np.float32)
    members = {f"{name}.npy": _npy(array) for name, array in arrays.items()}
    members["json"] = json.dumps(_facts(exporter, split, sim), indent=1).encode()
    return sum(_add(tar, f"{split}_{sim:04d}.{name}", content) for name, content in sorted(members.items()))


def _facts(exporter: Exporter, split: str, sim: int) -> dict[str, Any]:
    from cmbml.core.files.checksums import md5_of

    instrument = exporter.config.params.instrument
    return {
        "dataset": exporter.config.dataset,
        "split": split,
        "sim": sim,
        "unit": "uK_CMB",
        "ordering": "RING",
        "fields": instrument.fields,
        "bands": list(instrument.freqs),
        "freq_ghz": instrument.freq_ghz,
        "fwhm_arcmin": instrument.fwhm_arcmin,
        "lmax": instrument.lmax,
        "md5": {freq: md5_of(path) for freq, path in exporter.bands(split, sim).items()},
    }


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> int:
    member = tarfile.TarInfo(name)  # time, owner and mode are the same for all
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
    return len(content)
