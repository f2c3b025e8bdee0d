"""One hash for every numerical function in use: ``python -m tests.numerics [GROUP...]`` prints them as json.

Two processors on which all of them agree should give the same bytes in every stage.  The inputs are drawn by
PCG64, which is integer arithmetic.
"""

import cmbml  # noqa: F401 (first: it holds the libraries to the baseline)

# isort: split
import hashlib
import json
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

NSIDE, LMAX, THREADS = 32, 80, 1
RNG = np.random.default_rng(7)
X = RNG.uniform(-10.0, 10.0, 5001)
POSITIVE = RNG.uniform(1e-3, 9.0, 5001)
UNIT = RNG.uniform(-1.0, 1.0, 5001)
SQUARE = RNG.normal(size=(64, 67))
TALL = RNG.integers(-99, 99, (300, 9, 12)).astype(float)
COVARIANCE = TALL @ TALL.transpose(0, 2, 1)
N_ALM = (LMAX + 1) * (LMAX + 2) // 2
ALM = RNG.normal(size=(3, N_ALM)) + 1j * RNG.normal(size=(3, N_ALM))
ALM[:, : LMAX + 1].imag = 0
MAPS = RNG.normal(size=(2, 12 * NSIDE**2))
PIXELS = np.arange(12 * NSIDE**2)


def hashed(arrays: Any) -> str:
    """Hash of one array, or of several."""
    found = hashlib.md5(usedforsecurity=False)
    for array in arrays if isinstance(arrays, tuple) else (arrays,):
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:12]


def of_numpy() -> dict[str, Any]:
    """Elementary functions, sums, and linear algebra."""
    of_x = "exp expm1 sin cos tan tanh arctan square abs"
    of_positive = "log log10 sqrt reciprocal"
    table = X[:5000].reshape(50, 100)
    matrices = COVARIANCE + 9e4 * np.eye(9)
    return {
        "draws": (X, POSITIVE, MAPS, RNG.gamma(2.0, size=99)),
        **{name: getattr(np, name)(X) for name in of_x.split()},
        **{name: getattr(np, name)(POSITIVE) for name in of_positive.split()},
        **{f"{name} float32": getattr(np, name)(X.astype("f")) for name in ("exp", "sin", "tanh")},
        "arcsin, arccos": (np.arcsin(UNIT), np.arccos(UNIT)),
        "arctan2, hypot": (np.arctan2(X, UNIT), np.hypot(X, UNIT)),
        "power": (POSITIVE**UNIT, POSITIVE**2.37, np.array([float(x) ** 2.37 for x in POSITIVE[:99]])),
        "scalars": np.array([[np.exp(x), np.log(y)] for x, y in zip(X[:99], POSITIVE[:99], strict=True)]),
        "sum": (X.sum(), table.sum(0), table.sum(1), X.astype("f").sum(), ALM.sum(1)),
        "mean, std": (X.mean(), table.std(0), np.median(table, 0), np.quantile(X, [0.16, 0.84])),
        "interp, bincount": (np.interp(X, np.sort(UNIT), X), np.bincount((POSITIVE * 9).astype(int), X)),
        "linspace, geomspace": (np.linspace(0, 1, 77), np.geomspace(0.03, 30, 72)),
        "complex": (ALM * ALM[::-1], np.abs(ALM), ALM / ALM[0]),
        "matmul": (SQUARE @ SQUARE.T, SQUARE @ SQUARE[0], SQUARE.astype("f") @ SQUARE.T.astype("f")),
        "dot": np.dot(X, UNIT),
        "einsum": (np.einsum("ijk,ilk->jl", TALL, TALL), np.einsum("ijk,k->ij", TALL, TALL[0, 0])),
        "solve, inv": (np.linalg.solve(matrices, TALL), np.linalg.inv(matrices)),
        "eigh, cholesky": (*np.linalg.eigh(matrices), np.linalg.cholesky(matrices)),
        "svd, lstsq": (np.linalg.svd(SQUARE)[1], np.linalg.lstsq(SQUARE[:, :9], SQUARE[:, 9], rcond=None)[0]),
        "cond, norm": (np.linalg.cond(COVARIANCE), np.linalg.norm(SQUARE)),
    }


def of_scipy() -> dict[str, Any]:
    """Special functions, ranks, distributions, neighbours."""
    from scipy import special, stats
    from scipy.spatial import cKDTree

    return {
        "digamma, polygamma": (special.digamma(POSITIVE), special.polygamma(1, POSITIVE)),
        "rank, t, normal": (stats.rankdata(X), stats.t.ppf(0.975, np.arange(1, 99)), stats.norm.ppf(0.84)),
        "cKDTree": cKDTree(MAPS[:, :3000].T.reshape(-1, 3)).query(TALL[0, :, :3] / 99, 3),
    }


def of_the_sphere() -> dict[str, Any]:
    """Harmonic transforms and pixels."""
    import ducc0
    import healpy as hp

    geometry = ducc0.healpix.Healpix_Base(NSIDE, "RING").sht_info()
    loc = np.stack([np.linspace(0.1, 3.0, 999), np.linspace(0.0, 6.0, 999)], 1)
    common = {"lmax": LMAX, "nthreads": THREADS}
    grid = ducc0.sht.synthesis_2d(alm=ALM[:1], spin=0, ntheta=161, nphi=324, geometry="GL", **common)
    return {
        "synthesis T": ducc0.sht.synthesis(alm=ALM[:1], spin=0, **common, **geometry),
        "synthesis QU": ducc0.sht.synthesis(alm=ALM[1:], spin=2, **common, **geometry),
        "adjoint_synthesis": (
            ducc0.sht.adjoint_synthesis(map=MAPS[:1], spin=0, **common, **geometry),
            ducc0.sht.adjoint_synthesis(map=MAPS, spin=2, **common, **geometry),
        ),
        "synthesis_2d": grid,
        "analysis_2d": ducc0.sht.analysis_2d(map=grid, spin=0, geometry="GL", **common),
        "synthesis_general": ducc0.sht.synthesis_general(
            alm=ALM[:1], spin=0, loc=loc, epsilon=1e-7, **common
        ),
        "Gauss-Legendre": (ducc0.misc.GL_thetas(161), ducc0.misc.GL_weights(161, 1)),
        "healpy pixels": (*hp.pix2vec(NSIDE, PIXELS), *hp.pix2ang(NSIDE, PIXELS)),
        "healpy weights, rotation": (
            *hp.get_interp_weights(NSIDE, loc[:, 0], loc[:, 1]),
            hp.Rotator(coord=["E", "G"])(np.eye(3)),
        ),
    }


def of_camb() -> dict[str, Any]:
    """Spectra before lensing."""
    import camb

    given = camb.set_params(H0=67.4, ombh2=0.0224, omch2=0.12, As=2.1e-9, ns=0.965, tau=0.054, lmax=300)
    return {"unlensed": camb.get_results(given).get_unlensed_scalar_cls(300)}


def of_torch() -> dict[str, Any]:
    """Layers forward and backward, linear algebra, and a training."""
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(3)
    draws = torch.randn(4000)
    matrices = torch.as_tensor(COVARIANCE + 9e4 * np.eye(9), dtype=torch.float32)
    lower = torch.linalg.cholesky(matrices)
    return {
        "draws": (draws, torch.randperm(999)),
        "elementary": (draws.exp(), draws.abs().log1p(), draws.asinh(), draws.tanh()),
        "sums": (draws.sum(), draws.mean(), draws.reshape(40, 100).sum(0)),
        "matmul": (draws[:3600].reshape(60, 60) @ draws[:3600].reshape(60, 60), matrices @ matrices),
        "cholesky": lower,
        "solve": torch.linalg.solve(matrices, matrices[..., :1] + 1.0),
        "solve_triangular": torch.linalg.solve_triangular(lower, matrices[..., :1], upper=False),
    } | _training()


def _training() -> dict[str, Any]:
    import torch

    net = torch.nn.Sequential(
        torch.nn.Conv2d(9, 16, 3, padding=1),
        torch.nn.SiLU(),
        torch.nn.BatchNorm2d(16),
        torch.nn.Conv2d(16, 32, 4, stride=2, padding=1),
        torch.nn.PReLU(),
        torch.nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 1, 1),
    )
    images = torch.randn(2, 9, 32, 32)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3, fused=True)
    found: dict[str, Any] = {"forward": net(images).detach()}
    for step in range(4):
        optimizer.zero_grad()
        (net(images) - images[:, :1]).square().mean().backward()
        found[f"gradients {step}"] = tuple(p.grad.clone() for p in net.parameters())
        optimizer.step()
        found[f"weights {step}"] = tuple(p.detach().clone() for p in net.parameters())
    return found


GROUPS: dict[str, Callable[[], dict[str, Any]]] = {
    "numpy": of_numpy,
    "scipy": of_scipy,
    "sphere": of_the_sphere,
    "camb": of_camb,
    "torch": of_torch,
}


def packages() -> dict[str, str]:
    """Versions of what computes; the C library gives numpy some of its functions."""
    found = {name: version(name) for name in ("numpy", "scipy", "ducc0", "healpy", "camb", "torch")}
    return found | {"libc": " ".join(platform.libc_ver())}


def hashes(groups: list[str]) -> dict[str, dict[str, str]]:
    """Hashes by group and function."""
    return {group: {name: hashed(value) for name, value in GROUPS[group]().items()} for group in groups}


if __name__ == "__main__":
    json.dump({"packages": packages(), "hashes": hashes(sys.argv[1:] or list(GROUPS))}, sys.stdout, indent=2)
