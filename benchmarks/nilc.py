"""Needlet ILC against pyilc, harmonic ILC and the noise floor: error, time and memory.

At nside 256 and 512 the whole process of `cmbml clean nilc` is measured; at nside 64, the regularised needlet
ILC on skies of other kinds than it learned from.

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
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["OMP_NUM_THREADS"] = "2"

import healpy as hp
import numpy as np
import yaml
from numpy.typing import NDArray

from cmbml.core.handlers import get_handler
from cmbml.interfaces.pyilc.config import OUTPUT_NAME, Channel, failure, nilc_config
from cmbml.methods.hilc.hilc import HilcOptions, hilc
from cmbml.methods.hilc.hilc import nuisance_covariance as binned_covariance
from cmbml.methods.nilc.nilc import NeedletPrior, NilcOptions, nilc, nuisance_covariance
from cmbml.sky.cosmology import fixed, theory_spectra
from cmbml.sky.distributions import Distribution, Normal, Uniform
from cmbml.sky.foregrounds import draw_foregrounds
from cmbml.sky.galaxy.family import FAMILIES
from cmbml.sky.galaxy.model import galaxy_alm
from cmbml.sky.noise.draws import draw_white_noise
from cmbml.sky.pysm.model import pysm_alm
from cmbml.sky.sht import Alm, alm2map, almxfl, draw_alm, gaussian_beam, map2alm
from cmbml.sky.skymap import SkyMap

THREADS = 2
NAMES = ("30", "44", "70", "100", "143", "217", "353", "545", "857")
COLUMNS = (("freq", "GHz"), ("fwhm", "arcmin"), ("depth", "uK_CMB arcmin"))
HEADER = ["# %ECSV 1.0", "# ---", "# datatype:", "# - {name: band, datatype: string}"] + [
    f"# - {{name: {name}, unit: {unit}, datatype: float64}}" for name, unit in COLUMNS
]
RESULT = Path(__file__).parent / "results" / "nilc.json"
FREQS = (28.4, 44.1, 70.4, 100.89, 142.876, 221.156, 357.5, 555.2, 866.8)
DEPTHS = (150.0, 162.0, 210.0, 77.4, 33.0, 46.8, 153.6, 806.0, 19000.0)
FWHM = (75.0, 65.0, 55.0, 43.0, 32.4, 22.3, 22.0, 21.5, 20.6)
FWHM_OUT = 20.6
PEAKS = (50, 100, 200, 300, 450, 601)
NSIDE, LMAX, ILC_BIAS = 256, 600, 0.001
DOMAIN_DEG, SHRINKAGE, BIN_WIDTH = 8.0, 0.99, 10
N_TRAIN = 12
# The dataset mini: beams three times as wide, and the values of params.yaml.
MINI_LMAX, MINI_PEAKS, PLAIN_PEAKS = 160, (20, 50, 80, 120, 161), (80, 120, 161)
MINI_DOMAIN_DEG, MINI_SHRINKAGE, N_UNLIKE = 12.0, 0.999, 4
BUDGETS = {
    "rmse_uk": 3.35,
    "regularised_rmse_uk": 2.6,
    "seconds": 4.0,
    "process_seconds": 6.0,
    "memory_mb": 1536,
    "memory_mb_512": 4096,
    "growth": 8.0,
    "worst_ratio_to_plain": 1.0,
    "pyilc_ratio": 30,
}
# Scatter of the foregrounds: amplitudes, indices, temperature and small scales, as in the nominal population.
SCATTER: dict[str, Distribution] = {
    **dict.fromkeys(
        ("dust_amplitude", "sync_amplitude", "freefree_amplitude", "ame_amplitude"), Normal(1.0, 0.12)
    ),
    **dict.fromkeys(("dust_beta", "sync_beta"), Normal(0.0, 0.05)),
    "dust_temp": Normal(0.0, 1.0),
    "ame_peak": Normal(0.0, 1.5),
    "small_scale": Normal(1.0, 0.15),
}
DUSTY: dict[str, Distribution] = SCATTER | {
    "dust_amplitude": Normal(1.6, 0.12),
    "ame_amplitude": Normal(1.4, 0.12),
    "dust_beta": Normal(0.08, 0.05),
    "dust_temp": Normal(-1.5, 1.0),
    "small_scale": Normal(1.3, 0.15),
}
BRIGHT: dict[str, Distribution] = SCATTER | {
    "sync_amplitude": Uniform(1.5, 2.5),
    "sync_beta": Uniform(0.0, 0.2),
    "freefree_amplitude": Normal(1.3, 0.12),
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


def rmse(alm: Alm, nside: int = NSIDE) -> float:
    """Root mean square outside 20 degrees of latitude, mean removed, uK_CMB."""
    sky = alm2map(alm, nside, threads=THREADS)
    z = hp.pix2vec(nside, np.arange(len(sky)))[2]
    return float(np.std(sky[np.abs(z) > np.sin(np.radians(20))]))


def noise_floor(noise: Alm) -> Alm:
    """The best unbiased combination where there are no foregrounds."""
    beams = np.array([gaussian_beam(fwhm, LMAX) for fwhm in FWHM])
    inverse = (beams / np.array(DEPTHS)[:, None]) ** 2
    weights = inverse / inverse.sum(axis=0) * gaussian_beam(FWHM_OUT, LMAX) / beams
    return np.asarray(np.sum([almxfl(alm, fl) for alm, fl in zip(noise, weights, strict=True)], axis=0))


def clean(folder: Path) -> None:
    """In a process of its own: the call of nilc alone on the a_lm of `folder`, its time and memory."""
    alms = np.load(folder / "alms.npy")
    start, busy = time.perf_counter(), time.process_time()
    nilc(alms, **NEEDLETS, ilc_bias=ILC_BIAS)
    spent = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - busy}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (folder / "cost.json").write_text(json.dumps(spent | {"memory_mb": memory}))


def run_clean(alms: Alm, folder: Path) -> dict[str, float]:
    """What the call of nilc costs in a fresh process."""
    np.save(folder / "alms.npy", alms)
    subprocess.run([sys.executable, __file__, "--clean", str(folder)], check=True)
    return dict(json.loads((folder / "cost.json").read_text()))


def run_command(alms: Alm, nside: int, lmax: int, folder: Path) -> tuple[Alm, dict[str, float]]:
    """`cmbml clean nilc` on maps of the bands: the cleaned a_lm, and what the whole process costs.

    Beams are those of nside 256, narrower or wider as the resolution is.
    """
    folder.mkdir()
    scale = LMAX / lmax
    for name, alm, fwhm in zip(NAMES, alms, FWHM, strict=True):
        sky = SkyMap(alm2map(alm, nside, threads=THREADS)[None], "uK_CMB", fwhm * scale, lmax)
        get_handler("HealpyMap").write(folder / f"obs_{name}.fits", sky)
    rows = [
        f"{row[0]} {row[1]} {row[2] * scale} {row[3]}" for row in zip(NAMES, FREQS, FWHM, DEPTHS, strict=True)
    ]
    (folder / "instrument.ecsv").write_text("\n".join([*HEADER, "band freq fwhm depth", *rows, ""]))
    options = {"--maps": "obs_{freq}.fits", "--instrument": "instrument.ecsv", "--out": "cleaned.fits"}
    options |= {"--lmax": str(lmax), "--fwhm": str(FWHM_OUT * scale), "--threads": str(THREADS)}
    command = [sys.executable, "-m", "cmbml", "clean", "nilc", *(x for pair in options.items() for x in pair)]
    code = (
        "import json, resource, subprocess, sys, time; start = time.perf_counter();"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(json.dumps({'seconds': time.perf_counter() - start,"
        " 'cpu_seconds': used.ru_utime + used.ru_stime, 'memory_mb': used.ru_maxrss / 1024}))"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=True,
        capture_output=True,
        text=True,
    )
    cleaned = get_handler("HealpyMap").read(folder / "cleaned.fits").values[0]
    return map2alm(cleaned, lmax, threads=THREADS), dict(json.loads(done.stdout))


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
    sky = signal + foregrounds + noise
    result["call"] = run_clean(sky, folder)
    cleaned, result["process"] = run_command(sky, NSIDE, LMAX, folder / "256")
    result["rmse_uk"] = {"noise_floor": rmse(noise_floor(noise)), "nilc": rmse(cleaned - truth)}
    result["process_512"] = double_resolution(folder / "512")
    result["growth"] = result["process_512"]["cpu_seconds"] / result["process"]["cpu_seconds"]
    if checkout := os.environ.get("PYILC_PATH"):
        maps = alm2map(sky[:, None], NSIDE, threads=THREADS)[:, 0]
        theirs, seconds = run_pyilc(maps, Path(checkout).resolve(), folder)
        result["rmse_uk"]["pyilc"] = rmse(theirs - truth)
        result["pyilc_seconds"] = seconds
        result["pyilc_ratio"] = seconds / result["process"]["seconds"]

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
    result["unlike_skies"] = unlike_skies()
    return result


def double_resolution(folder: Path) -> dict[str, float]:
    """What the whole process costs at nside 512: the galaxy at half its resolution serves as foreground."""
    lmax, rng = 2 * LMAX, np.random.default_rng(5)
    cmb = draw_alm(1e4 / (np.arange(lmax + 1) + 2.0) ** 2, rng)
    dust = draw_alm(1e5 / (np.arange(lmax + 1) + 5.0) ** 2.5, rng)
    alms = [
        almxfl(cmb + (freq / 143) ** 2 * dust, gaussian_beam(fwhm / 2, lmax))
        + draw_white_noise(depth, lmax, rng)[0]
        for freq, fwhm, depth in zip(FREQS, FWHM, DEPTHS, strict=True)
    ]
    return run_command(np.array(alms), 2 * NSIDE, lmax, folder)[1]


def unlike_skies() -> dict[str, dict[str, float]]:
    """At nside 64, learned on nominal galaxies: errors on other skies, and the worst ratio to plain."""
    beams = [3 * fwhm for fwhm in FWHM]
    base: dict[str, Any] = {"fwhm_arcmin": beams, "fwhm_out": 80.0, "lmax": MINI_LMAX, "threads": THREADS}
    learning = base | {"peaks": MINI_PEAKS, "domain_deg": MINI_DOMAIN_DEG}
    kinds: dict[str, tuple[str, dict[str, Distribution]]] = {
        "nominal": ("galaxy", SCATTER),
        "dusty": ("galaxy", DUSTY),
        "bright_synchrotron": ("galaxy", BRIGHT),
        "layered": ("layered", SCATTER),
    }
    if os.environ.get("PYSM_LOCAL_DATA"):
        kinds["pysm"] = ("pysm", SCATTER)
    priors = [
        nuisance_covariance(mini_nuisance(seed, *kinds["nominal"]), **learning) for seed in range(2 * N_TRAIN)
    ]
    options = NilcOptions(prior=NeedletPrior(np.mean(priors, axis=0), MINI_DOMAIN_DEG, MINI_SHRINKAGE))
    out = {}
    for kind, (model, population) in kinds.items():
        pairs = np.array([mini_errors(seed, model, population, base, options) for seed in range(N_UNLIKE)])
        names = ("nilc", "nilc_regularised")
        out[kind] = dict(zip(names, pairs.mean(axis=0).tolist(), strict=True))
        out[kind]["worst_ratio"] = float((pairs[:, 1] / pairs[:, 0]).max())
    return out


def mini_nuisance(seed: int, model: str, population: Mapping[str, Distribution]) -> Alm:
    """Foregrounds and noise of one sky of mini's resolution."""
    rng = np.random.default_rng(seed)
    draw, lmax = draw_foregrounds(population, rng.spawn(1)[0]), MINI_LMAX
    if model == "pysm":
        sky = pysm_alm(("d1", "s1", "f1", "a1"), FREQS, draw, lmax, threads=THREADS)
    else:
        sky = galaxy_alm(FREQS, draw, rng.spawn(1)[0], lmax, family=FAMILIES[model], threads=THREADS)
    beamed = [almxfl(alm, gaussian_beam(3 * fwhm, lmax)) for alm, fwhm in zip(sky, FWHM, strict=True)]
    noise = [draw_white_noise(depth, lmax, rng) for depth in DEPTHS]
    return np.array(beamed).reshape(len(FREQS), -1) + np.array(noise).reshape(len(FREQS), -1)


def mini_errors(
    seed: int, model: str, population: Mapping[str, Distribution], base: dict[str, Any], learned: NilcOptions
) -> list[float]:
    """Errors of the tuned plain and of the regularised needlet ILC on one sky, uK_CMB."""
    rng = np.random.default_rng(10_000 + seed)
    ell = np.arange(MINI_LMAX + 1)
    cmb = draw_alm(np.where(ell < 2, 0, 6000.0 / (ell + 1.0) ** 2), rng)
    beams = [gaussian_beam(fwhm, MINI_LMAX) for fwhm in base["fwhm_arcmin"]]
    sky = mini_nuisance(5_000 + seed, model, population) + np.array([almxfl(cmb, beam) for beam in beams])
    truth = almxfl(cmb, gaussian_beam(base["fwhm_out"], MINI_LMAX))
    choices = ((PLAIN_PEAKS, None), (MINI_PEAKS, learned))
    results = [nilc(sky, **base, peaks=peaks, ilc_bias=ILC_BIAS, options=o) for peaks, o in choices]
    return [rmse(one.alm - truth, nside=64) for one in results]


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
