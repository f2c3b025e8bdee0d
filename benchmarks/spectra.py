"""Cost of scoring one estimate on one core: reading, common ground, pixel metrics and decoupled spectra.

Run as ``python benchmarks/spectra.py [--nside 512]``; writes benchmarks/results/spectra.json.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# The budget is for one core; libraries read this when they are imported.
os.environ["OMP_NUM_THREADS"] = "1"

import healpy as hp
import numpy as np
from numpy.typing import NDArray

from cmbml.analysis.scoring import Ground, score
from cmbml.analysis.spectra.master import mask_statistics
from cmbml.core.handlers.healpix import HealpyAlm, HealpyMap
from cmbml.sky.sht import alm2map, draw_alm
from cmbml.sky.skymap import SkyAlm, SkyMap

BUDGET_S = 1.5
FWHM_ARCMIN = 20.6
BAND_WIDTH = 30
N_STOKES = {"T": 1, "TQU": 3}
RESULT = Path(__file__).parent / "results" / "spectra.json"


Times = dict[str, dict[str, float]]


def timed(action: Callable[[], Any], times: Times, name: str, repeats: int = 3) -> Any:
    """Run `action` and note the least of its times in seconds: by the clock, and of this core."""
    spent = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        result = action()
        spent.append((time.perf_counter() - wall, time.process_time() - cpu))
    least = np.min(spent, axis=0).round(4).tolist()
    times[name] = dict(zip(("wall", "cpu"), least, strict=True))
    return result


def added(times: Times, kind: str) -> float:
    """Sum over steps of one kind of time."""
    return sum(step[kind] for step in times.values())


def galactic_mask(nside: int) -> NDArray[np.float64]:
    """Weights that rise smoothly from 10 to 20 degrees of latitude."""
    z = hp.pix2vec(nside, np.arange(12 * nside**2))[2]
    ramp = np.clip((np.abs(np.degrees(np.arcsin(z))) - 10) / 10, 0, 1)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * ramp))


def measure(nside: int, fields: str, folder: Path) -> dict[str, Times]:
    """Times in seconds of what is done once, and of each simulation and method, as the stage does it."""
    lmax, n_stokes = 2 * nside, N_STOKES[fields]
    ell = np.arange(lmax + 1)
    cl = np.divide(6000.0, ell * (ell + 1), out=np.zeros(lmax + 1), where=ell > 1)
    theory = {"TT": cl, "EE": 0.02 * cl, "BB": 0.01 * cl, "TE": 0 * cl}
    rng = np.random.default_rng(1)
    truth = np.stack([draw_alm(theory[name], rng) for name in ("TT", "EE", "BB")[:n_stokes]])
    noise = np.stack([draw_alm(np.full(lmax + 1, 1e-4), rng) for _ in truth])
    ground = Ground(FWHM_ARCMIN, lmax, nside, galactic_mask(nside))
    once: Times = {}
    each: Times = {}
    bands, polarised = ground.bands(BAND_WIDTH), n_stokes == 3
    kept = timed(
        lambda: mask_statistics(ground.mask, bands, window=ground.window, polarised=polarised),
        once,
        "mask_coupling",
        repeats=1,
    )
    master = timed(lambda: ground.decoupling(kept, BAND_WIDTH, polarised=polarised), once, "setup", repeats=1)
    HealpyAlm().write(folder / "cmb.fits", SkyAlm(truth, "uK_CMB", 0.0))
    estimate = ground.truth(SkyAlm(truth, "uK_CMB", 0.0)) + alm2map(noise, nside)
    HealpyMap().write(folder / "cleaned.fits", SkyMap(estimate, "uK_CMB", FWHM_ARCMIN, lmax))
    one = timed(lambda: HealpyMap().read(folder / "cleaned.fits"), each, "read_estimate")
    other = timed(lambda: HealpyAlm().read(folder / "cmb.fits"), each, "read_truth")
    mine = timed(lambda: ground.estimate(one), each, "estimate_to_common_ground")
    timed(lambda: score(mine, other, ground, master, theory), each, "score")
    compared: Times = {}
    timed(lambda: hp.anafast(mine[0] * ground.mask, lmax=lmax, iter=1), compared, "anafast_iter1", repeats=1)
    return {"once": once, "per_simulation_and_method": each, "compared": compared}


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nside", type=int, default=512)
    nside = parser.parse_args().nside
    seconds = {}
    for fields in N_STOKES:
        with TemporaryDirectory() as folder:
            seconds[fields] = measure(nside, fields, Path(folder))
    result = {
        "subject": "spectra",
        "sizes": {"nside": nside, "lmax": 2 * nside, "threads": 1},
        "machine": {
            "processor": platform.machine(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load_average": os.getloadavg()[0],
        },
        "seconds": seconds,
        "per_simulation_and_method_s": {
            fields: {
                kind: round(added(times["per_simulation_and_method"], kind), 3) for kind in ("wall", "cpu")
            }
            for fields, times in seconds.items()
        },
        "budget_s": BUDGET_S if nside == 512 else None,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
