"""Cost of scoring one estimate: post-processing, pixel metrics and decoupled spectra, on one core.

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

from cmbml.analysis.pixel import latitude_rmse, pixel_metrics
from cmbml.analysis.postprocess import common, common_from_map
from cmbml.analysis.spectra.bands import Bands
from cmbml.analysis.spectra.comparison import compare
from cmbml.analysis.spectra.master import mask_statistics, masked_alm, master_from
from cmbml.core.handlers.healpix import HealpyMap
from cmbml.sky.sht import alm2map, draw_alm, gaussian_beam
from cmbml.sky.skymap import SkyMap

BUDGET_S = 1.5
FWHM_ARCMIN = 20.6
N_METHODS = 5
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


def measure(nside: int, folder: Path) -> dict[str, Times]:
    """Wall times in seconds: of what is done once, once a simulation, and once a simulation and method."""
    lmax = 2 * nside
    ell = np.arange(lmax + 1)
    cl = np.divide(6000.0, ell * (ell + 1), out=np.zeros(lmax + 1), where=ell > 1)
    truth_alm = draw_alm(cl, np.random.default_rng(1))
    noise = alm2map(draw_alm(np.full(lmax + 1, 1e-4), np.random.default_rng(2)), nside)
    mask = galactic_mask(nside)
    ground: dict[str, Any] = {"fwhm_arcmin": FWHM_ARCMIN, "lmax": lmax, "nside": nside, "mask": mask}
    once: Times = {}
    per_sim: Times = {}
    per_method: Times = {}
    bands = Bands.linear(2, lmax, 30)
    window = gaussian_beam(FWHM_ARCMIN, lmax)
    kept = timed(lambda: mask_statistics(mask, bands, window=window), once, "mask_statistics", repeats=1)
    prepared = timed(lambda: master_from(kept, bands, window=window), once, "couple_mask", repeats=1)
    truth = timed(lambda: common(truth_alm, 0.0, **ground), per_sim, "common_truth")
    truth_masked = timed(lambda: masked_alm(truth[None], mask, lmax), per_sim, "analyse_truth")
    path = folder / "estimate.fits"
    HealpyMap().write(path, SkyMap((truth + noise)[None], "uK_CMB", FWHM_ARCMIN, lmax))
    sky = timed(lambda: HealpyMap().read(path), per_method, "read")
    estimate = timed(lambda: common_from_map(sky, **ground)[0], per_method, "common_estimate")
    timed(lambda: pixel_metrics(estimate, truth, mask), per_method, "pixel_metrics")
    timed(lambda: latitude_rmse(estimate, truth, np.linspace(-90, 90, 19)), per_method, "latitude")
    masked = timed(lambda: masked_alm(estimate[None], mask, lmax), per_method, "analyse_estimate")
    timed(lambda: compare(masked, truth_masked, prepared), per_method, "compare")
    other: Times = {}
    timed(lambda: hp.anafast(estimate * mask, lmax=lmax, iter=1), other, "healpy_anafast_iter1", repeats=1)
    return {
        "once": once,
        "per_simulation": per_sim,
        "per_simulation_and_method": per_method,
        "compared": other,
    }


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nside", type=int, default=512)
    nside = parser.parse_args().nside
    with TemporaryDirectory() as folder:
        seconds = measure(nside, Path(folder))
    total = {
        kind: round(
            added(seconds["per_simulation_and_method"], kind)
            + added(seconds["per_simulation"], kind) / N_METHODS,
            3,
        )
        for kind in ("wall", "cpu")
    }
    result = {
        "subject": "spectra",
        "sizes": {"nside": nside, "lmax": 2 * nside, "n_methods": N_METHODS, "threads": 1},
        "machine": {
            "processor": platform.machine(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load_average": os.getloadavg()[0],
        },
        "seconds": seconds,
        "per_simulation_and_method_s": total,
        "budget_s": BUDGET_S if nside == 512 else None,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
