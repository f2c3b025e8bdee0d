"""The stage that cleans with a user's own pyilc, each simulation in a process and a folder of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from cmbml.core import Asset, BaseStageExecutor, Split, StageConfig
from cmbml.core.errors import ConfigError, StageError
from cmbml.core.handlers import get_handler
from cmbml.core.spec.pipeline import Program
from cmbml.interfaces.pyilc.config import OUTPUT_NAME, Channel, failure, last_lines, nilc_config
from cmbml.interfaces.pyilc.params import PyilcParams
from cmbml.methods.executors import without_levels
from cmbml.methods.ilc import known_beams
from cmbml.sky.levels import common_levels
from cmbml.sky.skymap import SkyMap

# Where it is looked for without a pipeline; a stage says its own.
PYILC = Program(place="$PYILC_PATH", source="https://github.com/jcolinhill/pyilc")
MAIN = Path("pyilc", "main.py")


class PyilcExecutor(BaseStageExecutor):
    """Cleans the temperature of every simulation with pyilc."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="pyilc")
        self.out_cleaned: Asset[SkyMap] = self.assets_out["cleaned"]
        self.in_obs: Asset[SkyMap] = self.assets_in["obs"]
        self.nside = cfg.instrument.nside
        self.lmax = cfg.instrument.lmax
        self.freq_ghz = {name: band.freq_ghz for name, band in cfg.instrument.bands.items()}
        self.settings: PyilcParams = cfg.pyilc
        self.fwhm_out = cfg.analysis.fwhm_arcmin
        self.checkout = as_checkout(self.programs["pyilc"])
        if cfg.instrument.fields != "T":
            raise ConfigError(
                "methods: pyilc cleans temperature only: switch it off, or set instrument.fields to T"
            )

    def process_sim(self, split: Split, sim: int) -> None:
        """Clean one simulation."""
        files = [self.in_obs.at(freq=freq, split=split.name, sim=sim) for freq in self.freq_ghz]
        levelled = [without_levels(file.read(nside=self.nside)) for file in files]
        freq_ghz = list(self.freq_ghz.values())
        cleaned = run_pyilc(
            self.checkout,
            [sky for sky, _ in levelled],
            self.settings,
            freq_ghz=freq_ghz,
            fwhm_out=self.fwhm_out,
            lmax=self.lmax,
            threads=self.threads,
        )
        common = common_levels([levels for _, levels in levelled], freq_ghz)
        values = common.onto_map(cleaned.values, self.fwhm_out)
        self.out_cleaned.write(replace(cleaned, values=values))


def as_checkout(folder: Path) -> Path:
    """The folder, if it holds pyilc.

    Raises
    ------
    ConfigError
        Where it does not.
    """
    if (folder / MAIN).is_file():
        return folder
    raise ConfigError(
        f"pyilc: no {MAIN} in {folder}: get it from {PYILC.source}, or take pyilc out of 'methods'"
    )


def run_pyilc(
    checkout: Path,
    maps: Sequence[SkyMap],
    settings: PyilcParams,
    *,
    freq_ghz: Sequence[float],
    fwhm_out: float,
    lmax: int,
    threads: int = 1,
) -> SkyMap:
    """Clean maps with pyilc in a private folder, which is removed afterwards.

    Parameters
    ----------
    checkout
        Folder of the checkout.
    maps
        Temperature of each band at its own beam, all of one nside, in a thermodynamic unit.
    settings
        Needlets and tolerated bias.
    freq_ghz
        Centre of each band, GHz.
    fwhm_out, lmax
        Beam, arcmin, and band-limit of the result.
    threads
        Number of OpenMP threads of the program.

    Returns
    -------
    SkyMap
        Cleaned temperature in uK_CMB with its beam.

    Raises
    ------
    StageError
        Where the program fails or leaves no map, with its last lines.
    """
    beams = known_beams([sky.fwhm_arcmin for sky in maps], len(maps))
    with TemporaryDirectory(prefix="cmbml-pyilc-") as name:
        folder = Path(name)
        channels = [
            Channel(_write_band(folder / f"band_{index}.fits", sky), freq, fwhm)
            for index, (sky, freq, fwhm) in enumerate(zip(maps, freq_ghz, beams, strict=True))
        ]
        config = nilc_config(
            channels,
            output_folder=name,
            nside=maps[0].nside,
            lmax=lmax,
            peaks=settings.peaks,
            ilc_bias=settings.ilc_bias,
            fwhm_out=fwhm_out,
        )
        get_handler("Config").write(folder / "config.yml", config)
        _call(checkout, folder, threads)
        values = get_handler("HealpyMap").read(folder / OUTPUT_NAME, content="T", unit="uK_CMB").values
    return SkyMap(values, "uK_CMB", fwhm_out, lmax)


def _write_band(path: Path, sky: SkyMap) -> str:
    # pyilc tells K from uK by the header; K_CMB is the unit of Planck's own files
    kelvin = sky.to("K_CMB")
    get_handler("HealpyMap").write(path, SkyMap(kelvin.values[:1], kelvin.unit, sky.fwhm_arcmin, sky.lmax))
    return str(path)


def _call(checkout: Path, folder: Path, threads: int) -> None:
    done = subprocess.run(
        [sys.executable, MAIN.name, str(folder / "config.yml")],
        cwd=checkout / MAIN.parent,
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "MPLBACKEND": "Agg"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StageError(failure(done.stdout, done.returncode))
    if not (folder / OUTPUT_NAME).is_file():
        said = " | ".join(last_lines(done.stdout)) or "it printed nothing"
        raise StageError(f"pyilc ended well and left no {OUTPUT_NAME}: {said}")
