"""Networks beside the best linear method on the same skies: excess over the noise floor, paired intervals.

Run as ``python benchmarks/training.py`` or ``make bench-ml``; it makes the dataset of the profile ml-64 below
.cmbml/bench-ml, carries on where it was interrupted, and writes benchmarks/results/training.json and .md.
``--profile demo`` tries it on a few coarse skies.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import healpy as hp
import numpy as np
import torch
from numpy.typing import NDArray

from cmbml.core.handlers import get_handler
from cmbml.core.spec.yamlio import read_yaml
from cmbml.core.views.dataset import Dataset
from cmbml.methods.gsc_unet.cleaning import open_cleaner
from cmbml.methods.hilc.configured import configured_hilc
from cmbml.methods.nilc.configured import configured_nilc
from cmbml.methods.nn.samples import target_map
from cmbml.sky.passbands import passband_of
from cmbml.sky.sht import Alm, alm2cl, alm2map, almxfl, gaussian_beam, map2alm, resize_alm

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results"
FLOOR, PLAIN = "noise_floor", "nilc"
LINEAR = ("nilc_regularised", "hilc", "nilc")
NETWORKS = ("gsc_unet", "cmbnncs", "patch_nn")
# (split, at most this excess of gsc_unet in units of the best linear method's)
TARGETS = {"test": 0.4, "shifted": 0.7, "other_foregrounds": 0.7}
OURS = "gsc_unet"
# Stages whose results are only scored.
LAST = ("nilc", "gsc_unet", "cmbnncs_prediction", "cmbnncs", "patch_nn")
RESAMPLES = 4000
BAND_WIDTH, LATITUDE_WIDTH = 20, 10
# One standard deviation of a Gaussian, and how far from it coverage may be.
COVERAGE, COVERAGE_TOLERANCE = 0.6827, 0.02
# Skies on which the response to the CMB is measured.
RESPONSES = 4
Array = NDArray[np.float64]


def run(folder: Path, *command: str) -> float:
    """Run a module of Python there, with the code that is here; seconds."""
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", *command], cwd=folder, check=True, env=environment)
    return time.perf_counter() - started


def make(profile: str, folder: Path) -> float:
    """Make the dataset and the scores of all methods; seconds."""
    run(ROOT, "cmbml", "profile", profile, "--into", str(folder))
    if profile != "ml-64":
        params = folder / "params.yaml"
        methods = ", ".join((*LINEAR, *NETWORKS))
        text = re.sub(
            r"^methods:\n(- .*\n)+", f"methods: [{methods}]\n", params.read_text(), flags=re.MULTILINE
        )
        params.write_text(text)
    leave_train_out(folder)
    one_thread_each(folder)
    run(folder, "cmbml", "dvc")
    return run(folder, "luigi", "--module", "tasks", "RunAll", "--workers", "2")


def leave_train_out(folder: Path) -> None:
    """Spare the stages that nothing learns from the train split: half of all skies."""
    splits = [split for split in read_yaml(folder / "params.yaml")["splits"] if split != "train"]
    for path in (folder / "pipeline").glob("*.yaml"):
        lines = rf"\g<0>    splits: [{', '.join(splits)}]\n"
        text = re.sub(rf"^  ({'|'.join(LAST)}):\n", lines, path.read_text(), flags=re.MULTILINE)
        path.write_text(text)


def one_thread_each(folder: Path) -> None:
    """Of two workers on two cores each has one."""
    for path in (folder / "pipeline").glob("*.yaml"):
        path.write_text(path.read_text().replace("    threads: 2\n", ""))


def errors(folder: Path, dataset: str) -> dict[str, dict[str, Array]]:
    """RMSE of every simulation by split and method, uK_CMB."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in get_handler("Csv").read(folder / f"data/{dataset}/scores/simulations.csv"):
        found.setdefault(row["split"], {}).setdefault(row["method"], []).append(row["rmse"])
    return {split: {m: np.array(v) for m, v in methods.items()} for split, methods in found.items()}


def excess(rmse: Array, floor: Array) -> Array:
    """Mean square error above that of the noise alone, uK^2."""
    return rmse**2 - floor**2


def interval(numerator: Array, denominator: Array, rng: np.random.Generator) -> dict[str, float]:
    """Ratio of two means over the same simulations, with its 95 % interval: both are resampled alike."""
    drawn = rng.integers(len(numerator), size=(RESAMPLES, len(numerator)))
    ratios = numerator[drawn].mean(axis=1) / denominator[drawn].mean(axis=1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    ratio = numerator.mean() / denominator.mean()
    return {"ratio": round(float(ratio), 4), "lo": round(float(low), 4), "hi": round(float(high), 4)}


def compare(found: dict[str, dict[str, Array]]) -> dict[str, Any]:
    """Every method beside the best linear one, which is chosen on valid."""
    best = min(LINEAR, key=lambda method: found["valid"][method].mean())
    rng = np.random.default_rng(1)
    table: dict[str, Any] = {}
    for split, methods in found.items():
        if split == "train":
            continue
        floor = methods[FLOOR]
        linear = excess(methods[best], floor)
        table[split] = {
            method: {
                "rmse": round(float(np.sqrt(np.mean(methods[method] ** 2))), 4),
                "excess": interval(excess(methods[method], floor), linear, rng),
                "rmse_to_plain_nilc": interval(methods[method], methods[PLAIN], rng),
            }
            for method in (*LINEAR, *NETWORKS)
        } | {FLOOR: {"rmse": round(float(np.sqrt(np.mean(floor**2))), 4)}}
    return {"best_linear": best, "splits": table}


def profiles(data: Dataset, split: str, linear: str) -> dict[str, Any]:
    """Where in multipole and latitude the network is worse than the linear method, and its coverage.

    Errors of both are squared in every band of multipoles, and of latitudes, sky by sky; a band is worse
    where the 95 % interval of the mean paired difference lies above zero.
    """
    params = data.config.params
    mask = data["mask"].mask.read().values[0] > 0
    latitude = np.abs(90 - np.degrees(hp.pix2ang(params.instrument.nside, np.arange(mask.size))[0]))
    rows, covered = [], []
    for sim in data.splits[split].iter_sims():
        cmb = data["cmb"].cmb.at(split=split, sim=sim).read().values
        truth = target_map(cmb, params.instrument.nside, params.analysis.fwhm_arcmin, params.analysis.lmax)[0]
        wrong = {m: data[m].cleaned.at(split=split, sim=sim).read().values[0] - truth for m in (OURS, linear)}
        sigma = data[OURS].uncertainty.at(split=split, sim=sim).read().values[0]
        covered.append((np.abs(wrong[OURS]) < sigma)[mask].mean())
        rows.append([banded(wrong[m], mask, latitude, params.analysis.lmax) for m in (OURS, linear)])
    difference = np.array(rows)[:, 0] - np.array(rows)[:, 1]
    low = difference.mean(axis=0) - 1.96 * difference.std(axis=0, ddof=1) / np.sqrt(len(rows))
    names = band_names(mask, latitude, params.analysis.lmax)
    ratio = np.mean(rows, axis=0)
    return {
        "ratio": {name: round(float(r), 3) for name, r in zip(names, ratio[0] / ratio[1], strict=True)},
        "worse": [name for name, bound in zip(names, low, strict=True) if bound > 0],
        "covered": round(float(np.mean(covered)), 4),
    }


def response(data: Dataset) -> list[float]:
    """Share of a second CMB, that of another test sky, in what is cleaned where it is in the bands."""
    params, split = data.config.params, "test"
    models = data["gsc_unet_training"]
    cleaner = open_cleaner(models.model.at(epoch="best").read(), models.normalisation.at().read(), 1)
    bands = params.instrument.bands.values()
    beams, passbands = [band.fwhm_arcmin for band in bands], [passband_of(band) for band in bands]
    learned = {key: data[key].covariance.at().read() for key in ("nilc_covariance", "hilc_covariance")}
    lmax, nside = params.instrument.lmax, params.instrument.nside

    def clean(alms: Alm) -> Alm:
        shared = {"fwhm_arcmin": beams, "fwhm_out": params.analysis.fwhm_arcmin, "lmax": lmax}
        covariance = learned["nilc_covariance"][0]
        base = configured_nilc(
            alms, params.nilc_regularised, passbands=passbands, learned=covariance, **shared
        )
        other = configured_hilc(alms, params.hilc, learned=learned["hilc_covariance"][0], **shared)
        maps = (alm2map(each.alm[None], nside) for each in (base, other))
        return map2alm(cleaner.clean(alms[None], beams, *maps, torch.device("cpu"))[0], lmax)[0]

    found = []
    sims = list(data.splits[split].iter_sims())
    for sim, another in zip(sims[:RESPONSES], [sims[-1], *sims], strict=False):
        seen = [data["observations"].obs.at(split=split, sim=sim, freq=f) for f in params.instrument.bands]
        alms = np.stack([map2alm(ref.read().values, lmax)[0] for ref in seen])
        cmb = resize_alm(data["cmb"].cmb.at(split=split, sim=another).read().values, lmax)[0]
        added = np.stack([almxfl(cmb, gaussian_beam(beam, lmax)) for beam in beams])
        wanted = almxfl(cmb, gaussian_beam(cleaner.fwhm_arcmin, lmax))
        got = alm2cl(clean(alms + added) - clean(alms), wanted)
        modes = 2 * np.arange(lmax + 1) + 1
        found.append(round(float((modes * got)[2:].sum() / (modes * alm2cl(wanted))[2:].sum()), 5))
    return found


def banded(wrong: Array, mask: NDArray[np.bool_], latitude: Array, lmax: int) -> Array:
    """Power of an error in bands of multipoles, then its mean square in bands of latitude."""
    cl = hp.alm2cl(map2alm((wrong * mask)[None], lmax)[0])
    bands = [cl[low : low + BAND_WIDTH].mean() for low in range(0, lmax, BAND_WIDTH)]
    squares = [np.mean(wrong[mask & (latitude // LATITUDE_WIDTH == k)] ** 2) for k in belts(mask, latitude)]
    return np.array([*bands, *squares])


def belts(mask: NDArray[np.bool_], latitude: Array) -> list[int]:
    """Numbers of the bands of latitude that the mask leaves."""
    return [int(k) for k in np.unique(latitude[mask] // LATITUDE_WIDTH)]


def band_names(mask: NDArray[np.bool_], latitude: Array, lmax: int) -> list[str]:
    """Names of what `banded` gives."""
    multipoles = [f"l {low}-{low + BAND_WIDTH - 1}" for low in range(0, lmax, BAND_WIDTH)]
    width = LATITUDE_WIDTH
    return multipoles + [f"|b| {k * width}-{(k + 1) * width}" for k in belts(mask, latitude)]


def markdown(result: dict[str, Any]) -> str:
    """The table, for people."""
    lines = [
        f"Excess over the noise floor, in units of that of `{result['best_linear']}`; 95 % paired intervals.",
        "",
        "| split | method | RMSE, uK | excess | RMSE to plain NILC |",
        "|---|---|---|---|---|",
    ]
    for split, methods in result["splits"].items():
        for method, row in methods.items():
            cells = [
                f"{row[key]['ratio']:.3f} [{row[key]['lo']:.3f}, {row[key]['hi']:.3f}]" if key in row else ""
                for key in ("excess", "rmse_to_plain_nilc")
            ]
            lines.append(f"| {split} | {method} | {row['rmse']:.3f} | {' | '.join(cells)} |")
    lines += [
        "",
        "| split | gsc_unet worse than the best linear method in | errors within one sigma |",
        "|---|---|---|",
    ]
    for split, found in result["profiles"].items():
        lines.append(f"| {split} | {', '.join(found['worse']) or 'nothing'} | {found['covered']:.3f} |")
    said = ", ".join(map(str, result["response"]))
    lines += ["", f"Share of a second CMB in the bands that is in the cleaned map, sky by sky: {said}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make, compare, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="ml-64", help="name of the profile")
    profile = parser.parse_args().profile
    folder = ROOT / ".cmbml" / f"bench-{profile}"
    load, continued = os.getloadavg()[0], folder.exists()
    seconds = make(profile, folder)
    result = {
        "subject": "training",
        "profile": profile,
        "machine": {
            "processor": platform.machine(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load_average_before": load,
        },
        "seconds": round(seconds, 1),
        "carried_on": continued,
        **compare(errors(folder, profile)),
        "targets": TARGETS | {"covered": [COVERAGE - COVERAGE_TOLERANCE, COVERAGE + COVERAGE_TOLERANCE]},
    }
    data = Dataset.open(folder)
    result["profiles"] = {s: profiles(data, s, result["best_linear"]) for s in data.splits if s != "train"}
    result["response"] = response(data)
    RESULTS.mkdir(exist_ok=True)
    name = "training" if profile == "ml-64" else f"training-{profile}"
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    (RESULTS / f"{name}.md").write_text(markdown(result))
    print(markdown(result))


if __name__ == "__main__":
    main()
