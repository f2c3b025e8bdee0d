"""Needlet ILC against pyilc, harmonic ILC and the noise floor, at nside 256: error, time and memory.

Run as ``PYSM_LOCAL_DATA=... PYILC_PATH=... python benchmarks/nilc.py``; writes benchmarks/results/nilc.json.
Without PySM's templates the sky is the procedural galaxy; without a pyilc checkout its side is left out.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["OMP_NUM_THREADS"] = "2"

import healpy as hp
import numpy as np
import yaml
from numpy.typing import NDArray

from cmbml.methods.hilc.hilc import HilcOptions, hilc
from cmbml.methods.hilc.hilc import nuisance_covariance as binned_covariance
from cmbml.methods.nilc.nilc import NeedletPrior, NilcOptions, nilc, nuisance_covariance
from cmbml.methods.pyilc.config import OUTPUT_NAME, Channel, failure, nilc_config
from cmbml.sky.cosmology import fixed, theory_spectra
from cmbml.sky.foregrounds import draw_foregrounds
from cmbml.sky.galaxy import galaxy_alm
from cmbml.sky.noise import draw_white_noise
from cmbml.sky.pysm import pysm_alm
from cmbml.sky.sht import Alm, alm2map, almxfl, draw_alm, gaussian_beam, map2alm

THREADS = 2
RESULT = Path(__file__).parent / "results" / "nilc.json"
FREQS = (28.4, 44.1, 70.4, 100.89, 142.876, 221.156, 357.5, 555.2, 866.8)
DEPTHS = (150.0, 162.0, 210.0, 77.4, 33.0, 46.8, 153.6, 806.0, 19000.0)
FWHM = (75.0, 65.0, 55.0, 43.0, 32.4, 22.3, 22.0, 21.5, 20.6)
FWHM_OUT = 20.6
PEAKS = (50, 100, 200, 300, 450, 601)
NSIDE, LMAX, ILC_BIAS = 256, 600, 0.001
DOMAIN_DEG, SHRINKAGE, BIN_WIDTH = 8.0, 0.99, 10
N_TRAIN = 12
BUDGETS = {"rmse_uk": 3.35, "regularised_rmse_uk": 2.6, "seconds": 4.0, "memory_mb": 1536, "pyilc_ratio": 30}
# Scatter of the foregrounds: amplitudes, indices, temperature and small scales, as in the nominal population.
SCATTER = {
    **dict.fromkeys(("dust_amplitude", "sync_amplitude", "freefree_amplitude", "ame_amplitude"), (1.0, 0.12)),
    **dict.fromkeys(("dust_beta", "sync_beta"), (0.0, 0.05)),
    "dust_temp": (0.0, 1.0),
}
BEAMS: dict[str, Any] = {"fwhm_arcmin": FWHM, "fwhm_out": FWHM_OUT, "lmax": LMAX}
NEEDLETS: dict[str, Any] = BEAMS | {"peaks": PEAKS, "threads": THREADS}

Array = NDArray[np.float64]


def nuisance(seed: int, model: str, *, scattered: bool) -> tuple[Alm, Alm]:
    """Foregrounds at the beam of each band, and noise: ``(n_freq, nalm)`` each."""
    rng = np.random.default_rng(seed)
    population = SCATTER if scattered else {}
    draw = draw_foregrounds(population, rng.spawn(1)[0])
    if model == "pysm":
        sky = pysm_alm(("d1", "s1", "f1", "a1"), FREQS, draw, LMAX, threads=THREADS)
    else:
        sky = galaxy_alm(FREQS, draw, rng.spawn(1)[0], LMAX, threads=THREADS)
    beamed = [almxfl(alm, gaussian_beam(fwhm, LMAX)) for alm, fwhm in zip(sky, FWHM, strict=True)]
    noise = [draw_white_noise(depth, LMAX, rng) for depth in DEPTHS]
    return np.array(beamed), np.array(noise).reshape(len(FREQS), -1)


def rmse(alm: Alm) -> float:
    """Root mean square outside 20 degrees of latitude, mean removed, uK_CMB."""
    sky = alm2map(alm, NSIDE, threads=THREADS)
    z = hp.pix2vec(NSIDE, np.arange(len(sky)))[2]
    return float(np.std(sky[np.abs(z) > np.sin(np.radians(20))]))


def noise_floor(noise: Alm) -> Alm:
    """The best unbiased combination where there are no foregrounds."""
    beams = np.array([gaussian_beam(fwhm, LMAX) for fwhm in FWHM])
    inverse = (beams / np.array(DEPTHS)[:, None]) ** 2
    weights = inverse / inverse.sum(axis=0) * gaussian_beam(FWHM_OUT, LMAX) / beams
    return np.asarray(np.sum([almxfl(alm, fl) for alm, fl in zip(noise, weights, strict=True)], axis=0))


def clean(folder: Path) -> None:
    """In a process of its own: clean the maps of `folder`, and note time and memory."""
    maps = np.load(folder / "maps.npy")
    start, busy = time.perf_counter(), time.process_time()
    alms = np.array([map2alm(sky, LMAX, threads=THREADS) for sky in maps])
    analysed, busy_analysed = time.perf_counter(), time.process_time()
    result = nilc(alms, **NEEDLETS, ilc_bias=ILC_BIAS)
    spent = {"analysis": analysed - start, "nilc": time.perf_counter() - analysed}
    cpu = {"analysis": busy_analysed - busy, "nilc": time.process_time() - busy_analysed}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    np.save(folder / "cleaned.npy", result.alm)
    (folder / "cost.json").write_text(json.dumps({"seconds": spent, "cpu_seconds": cpu, "memory_mb": memory}))


def run_clean(maps: Array, folder: Path) -> tuple[Alm, dict[str, Any]]:
    """Clean maps in a fresh process: the cleaned a_lm, and what it cost."""
    np.save(folder / "maps.npy", maps)
    subprocess.run([sys.executable, __file__, "--clean", str(folder)], check=True)
    return np.load(folder / "cleaned.npy"), json.loads((folder / "cost.json").read_text())


def run_pyilc(maps: Array, checkout: Path, folder: Path) -> tuple[Alm, float]:
    """Clean the same maps with pyilc: its a_lm and the seconds of its whole process."""
    channels = []
    for sky, freq, fwhm in zip(maps, FREQS, FWHM, strict=True):
        path = folder / f"{freq}.fits"
        hp.write_map(path, sky * 1e-6, column_units="K_CMB", dtype=np.float64)
        channels.append(Channel(str(path), freq, fwhm))
    config = nilc_config(
        channels,
        output_folder=str(folder),
        nside=NSIDE,
        lmax=LMAX,
        peaks=PEAKS,
        ilc_bias=ILC_BIAS,
        fwhm_out=FWHM_OUT,
    )
    (folder / "config.yml").write_text(yaml.safe_dump(config))
    start = time.perf_counter()
    program = subprocess.run(
        [sys.executable, "main.py", str(folder / "config.yml")],
        cwd=checkout / "pyilc",
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    if program.returncode:
        raise SystemExit(failure(program.stdout + program.stderr, program.returncode))
    return map2alm(hp.read_map(folder / OUTPUT_NAME), LMAX, threads=THREADS), seconds


def learned(model: str) -> tuple[NilcOptions, HilcOptions]:
    """Covariances of the nuisance of training skies."""
    needlets, binned = [], []
    for seed in range(N_TRAIN):
        alms = np.add(*nuisance(seed, model, scattered=True))
        needlets.append(nuisance_covariance(alms, **NEEDLETS, domain_deg=DOMAIN_DEG))
        binned.append(binned_covariance(alms, **BEAMS, bin_width=BIN_WIDTH))
    prior = NeedletPrior(np.mean(needlets, axis=0), DOMAIN_DEG, SHRINKAGE)
    return NilcOptions(prior=prior), HilcOptions(prior=np.mean(binned, axis=0), shrinkage=1.0)


def measure(folder: Path) -> dict[str, Any]:
    """Errors of all methods on one sky of nominal and one of scattered foregrounds, and the cost of nilc."""
    model = "pysm" if os.environ.get("PYSM_LOCAL_DATA") else "galaxy"
    cl = theory_spectra(fixed("planck2018"), LMAX, n_stokes=1, threads=THREADS)["TT"]
    cmb = draw_alm(cl, np.random.default_rng(99))
    truth = almxfl(cmb, gaussian_beam(FWHM_OUT, LMAX))
    signal = np.array([almxfl(cmb, gaussian_beam(fwhm, LMAX)) for fwhm in FWHM])
    result: dict[str, Any] = {"sky": model, "rmse_uk": {}, "scattered_rmse_uk": {}}

    foregrounds, noise = nuisance(1000, model, scattered=False)
    maps = np.array([alm2map(alm, NSIDE, threads=THREADS) for alm in signal + foregrounds + noise])
    cleaned, cost = run_clean(maps, folder)
    result |= cost
    result["rmse_uk"] = {"noise_floor": rmse(noise_floor(noise)), "nilc": rmse(cleaned - truth)}
    if checkout := os.environ.get("PYILC_PATH"):
        theirs, seconds = run_pyilc(maps, Path(checkout).resolve(), folder)
        result["rmse_uk"]["pyilc"] = rmse(theirs - truth)
        result["pyilc_seconds"] = seconds
        result["pyilc_ratio"] = seconds / sum(cost["seconds"].values())

    regularised, harmonic = learned(model)
    foregrounds, noise = nuisance(1001, model, scattered=True)
    sky = signal + foregrounds + noise
    plain = nilc(sky, **NEEDLETS, ilc_bias=ILC_BIAS)
    shrunk = nilc(sky, **NEEDLETS, ilc_bias=ILC_BIAS, options=regularised)
    by_ell = hilc(sky, **BEAMS, bin_width=BIN_WIDTH, options=harmonic)
    result["scattered_rmse_uk"] = {
        "noise_floor": rmse(noise_floor(noise)),
        "nilc": rmse(plain.alm - truth),
        "nilc_regularised": rmse(shrunk.alm - truth),
        "hilc_learned": rmse(by_ell.alm - truth),
    }
    return result


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clean", type=Path, help=argparse.SUPPRESS)
    if folder := parser.parse_args().clean:
        clean(folder)
        return
    with TemporaryDirectory() as name:
        measured = measure(Path(name))
    result = {
        "subject": "nilc",
        "sizes": {"nside": NSIDE, "lmax": LMAX, "bands": len(FREQS), "peaks": PEAKS, "threads": THREADS},
        "machine": {
            "processor": platform.machine(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load_average": os.getloadavg()[0],
        },
        **measured,
        "budgets": BUDGETS,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
