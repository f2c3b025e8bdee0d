"""Cost of simulating one sky in nine bands, beside the usual way with PySM 3 where its templates are present.

Run as ``PYSM_LOCAL_DATA=... python benchmarks/simulation.py``; writes benchmarks/results/simulation.json.
CAMB is left out on both sides.  Without templates only our own side is measured.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

# PySM's side reads this when it is imported; ours is told THREADS.
os.environ["OMP_NUM_THREADS"] = "2"

import healpy as hp
import numpy as np
from numpy.typing import NDArray

from cmbml.sky.cmb import draw_lensed_cmb
from cmbml.sky.cosmology import fixed, theory_spectra
from cmbml.sky.foregrounds import ForegroundDraw
from cmbml.sky.galaxy.model import galaxy_alm
from cmbml.sky.lensing import lensing_lmax
from cmbml.sky.noise.draws import draw_white_noise
from cmbml.sky.observe import combine_alm
from cmbml.sky.pysm.model import pysm_alm
from cmbml.sky.pysm.templates import template_files
from cmbml.sky.sht import alm2cl, alm2map, alm_size, map2alm, resize_alm

THREADS = 2
RESULT = Path(__file__).parent / "results" / "simulation.json"
FREQS = (28.4, 44.1, 70.4, 100.89, 142.876, 221.156, 357.5, 555.2, 866.8)
DEPTHS = (150.0, 162.0, 210.0, 77.4, 33.0, 46.8, 153.6, 806.0, 19000.0)
PRESETS = ("d1", "s1", "f1", "a1")
NSIDE_SKY = 512
BUDGETS = {
    "seconds_per_simulation_nside512": 15.0,
    "memory_mb_nside512": 2048,
    "megabytes_on_disk_nside512": 132.0,
    "ratio_fixed_foregrounds": 100.0,
    "ratio_drawn_foregrounds": 25.0,
    "relative_rms_difference": 1e-3,
}

Array = NDArray[np.float64]


def beams(nside: int) -> list[float]:
    """CMB-ML's beams in arcmin, as wide in pixels as at nside 512."""
    widths = (75.0, 65.0, 55.0, 43.0, 32.4, 22.3, 22.0, 21.5, 20.6)
    return [width * 512 / nside for width in widths]


def timed(action: Callable[[int], Any], repeats: int) -> dict[str, float]:
    """Median wall and processor seconds of `action` called with 1, 2, ...: load changes the latter less."""
    times = []
    for sim in range(1, repeats + 1):
        start = time.perf_counter(), time.process_time()
        action(sim)
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    wall, cpu = np.median(times, axis=0)
    return {"seconds": round(float(wall), 3), "cpu_seconds": round(float(cpu), 3)}


def drawn(sim: int) -> ForegroundDraw:
    """Foreground parameters of one simulation, all of them varied."""
    step = sim / 100
    return ForegroundDraw(1 + step, 1 - step, 1 + step, 1 - step, step / 10, step, step / 10, step)


def simulate(spectra: dict[str, Array], nside: int, sim: int, model: str) -> Array:
    """One simulation of ours: lensed CMB, foregrounds, noise, nine maps."""
    lmax = 5 * nside // 2
    rngs = [np.random.default_rng([sim, stream]) for stream in range(4)]
    cmb = draw_lensed_cmb(spectra, lmax, rngs[0], rngs[1], threads=THREADS)
    if model == "galaxy":
        sky = galaxy_alm(FREQS, drawn(sim), rngs[2], lmax, threads=THREADS)
    else:
        draw = ForegroundDraw() if model == "fixed" else drawn(sim)
        sky = pysm_alm(PRESETS, FREQS, draw, lmax, threads=THREADS)
    noise = np.concatenate([draw_white_noise(depth, lmax, rngs[3]) for depth in DEPTHS])
    observed = combine_alm(cmb, sky, noise, beams(nside), lmax)
    return np.concatenate([alm2map(alm[np.newaxis], nside, threads=THREADS).astype("f4") for alm in observed])


def camb_table(spectra: dict[str, Array], folder: Path) -> Path:
    """File of unlensed spectra as PySM's CMBLensed reads it: L, TT, EE, BB, TE, PP, TP, EP as D_l."""
    ell = np.arange(2, len(spectra["TT"]))
    square = ell * (ell + 1.0)
    columns = [spectra[f"{key}_unlensed"][2:] * square / (2 * np.pi) for key in ("TT", "EE", "BB", "TE")]
    columns.append(spectra["PP"][2:] * square**2 / (2 * np.pi))
    columns += [spectra[key][2:] * square**1.5 / (2 * np.pi) for key in ("TP", "EP")]
    path = folder / "camb.dat"
    np.savetxt(path, np.column_stack([ell, *columns]))
    return path


def without_weights(maps: Any, **options: Any) -> Any:
    """Healpy's analysis without the pixel weights that it would download; as many iterations."""
    options.pop("use_pixel_weights", None)
    return ANALYSE(maps, **options)


ANALYSE = hp.map2alm


def usual_way(table: Path, nside: int, sim: int, nside_sky: int = NSIDE_SKY) -> tuple[Array, Array]:
    """PySM 3 as people run it: every component at nside 512 in every band, then smoothed and regraded."""
    import pysm3
    import pysm3.units as u

    cmb = pysm3.CMBLensed(nside=nside_sky, cmb_spectra=str(table), cmb_seed=sim, apply_delens=False)
    sky = pysm3.Sky(nside=nside_sky, preset_strings=list(PRESETS))
    sky.components.append(cmb)
    maps = []
    with patch.object(hp, "map2alm", without_weights):
        for freq, fwhm in zip(FREQS, beams(nside), strict=True):
            emission = sky.get_emission(freq * u.GHz)
            emission = emission.to(u.uK_CMB, equivalencies=u.cmb_equivalencies(freq * u.GHz))
            maps.append(
                pysm3.apply_smoothing_and_coord_transform(
                    emission, fwhm=fwhm * u.arcmin, lmax=5 * nside // 2, output_nside=nside
                )[0].value
            )
    return np.array(maps), np.asarray(cmb.map[0].value, dtype=np.float64)


def agreement(theirs: Array, cmb_map: Array, nside: int) -> list[float]:
    """Rms of the difference over the rms of the signal in every band, at l up to 2 nside, on the same CMB."""
    lmax = 5 * nside // 2
    cmb = map2alm(cmb_map, lmax, iterations=3, threads=THREADS)[np.newaxis]
    sky = pysm_alm(PRESETS, FREQS, ForegroundDraw(), lmax, threads=THREADS)
    none = np.zeros((len(FREQS), alm_size(lmax)), dtype=complex)
    ours = combine_alm(cmb, sky, none, beams(nside), lmax)
    weights = 2 * np.arange(2 * nside + 1) + 1
    ratios = []
    for alm, other in zip(ours, theirs, strict=True):
        expected = map2alm(other, lmax, threads=THREADS)
        cut = [resize_alm(each, 2 * nside) for each in (alm - expected, expected)]
        difference, signal = (np.sum((alm2cl(each) * weights)[2:]) for each in cut)
        ratios.append(float(np.sqrt(difference / signal)))
    return ratios


def measure_ours(nside: int, model: str, repeats: int) -> dict[str, float]:
    """Seconds of one simulation and the peak memory of the process that makes it."""
    spectra = theory_spectra(fixed("planck2018"), lensing_lmax(5 * nside // 2), threads=THREADS)
    simulate(spectra, nside, 0, model)  # fills caches
    times = timed(lambda sim: simulate(spectra, nside, sim, model), repeats)
    return times | {"memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}


def in_own_process(nside: int, model: str, repeats: int) -> dict[str, float]:
    """`measure_ours` in a fresh process, so that its memory is its own."""
    command = [sys.executable, __file__, "--only", f"{nside},{model},{repeats}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def measure_usual(nside: int, repeats: int) -> dict[str, Any]:
    """The usual way, PySM's kernels compiled before, and how far its maps are from ours."""
    spectra = theory_spectra(fixed("planck2018"), 3 * NSIDE_SKY, threads=THREADS)
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        table = camb_table(spectra, Path(folder))
        usual_way(table, 32, 0, nside_sky=64)
        times = timed(lambda sim: made.update(last=usual_way(table, nside, sim)), repeats)
    return times | {"difference": agreement(*made["last"], nside)}


def have_templates() -> bool:
    """Whether the templates of the usual way are in the folder that PYSM_LOCAL_DATA names."""
    folder = os.environ.get("PYSM_LOCAL_DATA")
    return folder is not None and all((Path(folder) / name).is_file() for name in template_files(PRESETS))


def disk_megabytes(nside: int) -> float:
    """One simulation on disk: nine float32 maps and the truth's a_lm as complex64."""
    return (len(FREQS) * 12 * nside**2 * 4 + alm_size(5 * nside // 2) * 8) / 1e6


def measure() -> dict[str, Any]:
    """Everything, ours and theirs, in one run."""
    galaxy = {nside: in_own_process(nside, "galaxy", 3) for nside in (64, 128, 256, 512)}
    nsides = np.log(list(galaxy))
    seconds = np.log([row["seconds"] for row in galaxy.values()])
    result = {
        "galaxy": {str(nside): row for nside, row in galaxy.items()},
        "growth_exponent": round(float(np.polyfit(nsides[1:], seconds[1:], 1)[0]), 2),
        "seconds_per_simulation_nside128": galaxy[128]["seconds"],
        "seconds_per_simulation_nside512": galaxy[512]["seconds"],
        "memory_mb_nside512": galaxy[512]["memory_mb"],
        "megabytes_on_disk_nside512": round(disk_megabytes(512), 1),
    }
    if have_templates():
        fixed_sky, drawn_sky = (in_own_process(128, model, 5) for model in ("fixed", "drawn"))
        usual = measure_usual(128, 2)
        result |= {"fixed_foregrounds": fixed_sky, "drawn_foregrounds": drawn_sky}
        result["relative_rms_difference"] = float(f"{max(usual.pop('difference')):.2g}")
        result["usual_way"] = usual
        for name, ours in (("fixed", fixed_sky), ("drawn", drawn_sky)):
            for clock, prefix in (("seconds", ""), ("cpu_seconds", "cpu_")):
                result[f"{prefix}ratio_{name}_foregrounds"] = round(usual[clock] / ours[clock], 1)
    return result


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    only = parser.parse_args().only
    if only:
        nside, model, repeats = only.split(",")
        print(json.dumps(measure_ours(int(nside), model, int(repeats))))
        return
    loads = [os.getloadavg()[0]]
    measured = measure()
    loads.append(os.getloadavg()[0])
    result = {
        "subject": "simulation",
        "sizes": {"bands": len(FREQS), "stokes": "T", "lmax": "2.5 nside", "threads": THREADS},
        "machine": {
            "processor": platform.machine(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load_average_before_and_after": loads,
        },
        **measured,
        "budgets": BUDGETS,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
