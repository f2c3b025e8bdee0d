"""All numbers of one estimate of one simulated sky, whoever made it: ours or a stranger's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import healpy as hp
import numpy as np

from cmbml.analysis.metric import metric_name
from cmbml.analysis.pixel import latitude_metrics, region_metrics
from cmbml.analysis.postprocess import common_alm, common_from_map, common_map
from cmbml.analysis.residuals import split_by_gain
from cmbml.analysis.spectra.bands import Bands
from cmbml.analysis.spectra.comparison import Comparison, compare
from cmbml.analysis.spectra.coupling import Matrix
from cmbml.analysis.spectra.master import (
    Master,
    masked_alm,
    master_from,
    scalar_fields,
    synthesise_scalars,
)
from cmbml.analysis.spectra.scores import cross_metrics, spectral_metrics
from cmbml.sky.sht import Alm, Cl, Map, gaussian_beam
from cmbml.sky.skymap import SkyAlm, SkyMap

LATITUDE_EDGES_DEG = tuple(range(-90, 91, 10))
POWERS = ("truth", "estimate", "cross", "residual")
HALVES = "halves"

Cell = str | float
Rows = list[dict[str, Cell]]


@dataclass(frozen=True)
class Ground:
    """The common beam, band-limit, grid and mask to which truth and estimates are brought.

    Attributes
    ----------
    fwhm_arcmin, lmax, nside
        Beam, band-limit and grid.
    mask
        Weights in [0, 1]: ``(npix,)``.
    threads
        Number of threads of the transforms.
    """

    fwhm_arcmin: float
    lmax: int
    nside: int
    mask: Map
    threads: int = 1

    def truth_alm(self, sky: SkyAlm) -> Alm:
        """The truth as it is compared: T or T, E, B, ``(n_stokes, nalm)``, uK_CMB."""
        return common_alm(sky, fwhm_arcmin=self.fwhm_arcmin, lmax=self.lmax)

    def truth(self, sky: SkyAlm) -> Map:
        """The truth as it is compared: T or T, Q, U, ``(n_stokes, npix)``, uK_CMB."""
        return self.synthesise(self.truth_alm(sky))

    def synthesise(self, alm: Alm) -> Map:
        """Map of a_lm of the common beam and band-limit, without monopole and dipole."""
        return common_map(alm, nside=self.nside, mask=self.mask, threads=self.threads)

    def estimate(self, sky: SkyMap) -> Map:
        """An estimate as it is compared: ``(n_stokes, npix)``, uK_CMB; ValueError where it is refused."""
        return common_from_map(sky, **vars(self))

    def worst(self, residual: Map) -> tuple[float, float]:
        """Galactic longitude and latitude, deg, of the largest residual ``(npix,)``, masked sky apart."""
        pixel = int(np.argmax(np.abs(residual) * self.mask))
        lon, lat = hp.pix2ang(self.nside, pixel, lonlat=True)
        return float(lon), float(lat)

    @property
    def window(self) -> Cl:
        """Beam of the skies that are compared: ``(lmax + 1,)``."""
        return gaussian_beam(self.fwhm_arcmin, self.lmax)

    def bands(self, width: int) -> Bands:
        """Bands of power spectra, of `width` multipoles."""
        return Bands.linear(2, self.lmax, width)

    def decoupling(self, statistics: Matrix, width: int, *, polarised: bool) -> Master:
        """Decoupling of spectra under the mask, from its `mask_statistics`."""
        return master_from(statistics, self.bands(width), window=self.window, polarised=polarised)


def metric_rows(metrics: Mapping[str, float]) -> Rows:
    """Metrics as rows of a table: ``metric`` and ``value``."""
    return [{"metric": name, "value": value} for name, value in metrics.items()]


def metrics_of(rows: Rows) -> dict[str, float]:
    """Undo `metric_rows`."""
    return {str(row["metric"]): float(row["value"]) for row in rows}


@dataclass(frozen=True)
class Score:
    """All numbers of one estimate.

    Attributes
    ----------
    metrics
        Numbers by name: see `cmbml.analysis.metric.metric_name`.
    latitude
        Rows of ``field``, ``latitude_deg``, ``region`` and pixel metrics.
    bands
        Rows of ``spectrum``, ``ell``, band powers in uK^2 and their ``sigma``.
    """

    metrics: dict[str, float]
    latitude: Rows
    bands: Rows


def score(
    estimate: Map,
    truth: SkyAlm,
    ground: Ground,
    master: Master,
    theory: Mapping[str, Cl],
    halves: Sequence[Map] = (),
) -> Score:
    """Compare an estimate with the truth.

    Parameters
    ----------
    estimate
        T or T, Q, U on common ground, in uK_CMB: ``(n_stokes, npix)``.
    truth
        The true T or T, E, B; what only one of the two has is not compared.
    ground
        The common ground.
    master
        Decoupling of its mask.
    theory
        Spectra C_l of the sky, for its sample variance, uK_CMB^2: ``(lmax + 1,)`` each, or longer.
    halves
        The two cleaned halves as the estimate, where there are some.
    """
    n_stokes = min(len(estimate), len(truth.values))
    alm = ground.truth_alm(truth)[:n_stokes]
    true = ground.synthesise(alm)
    pixels, latitude = _pixel_scores(estimate[:n_stokes], true, ground.mask)
    residuals = [sky[:n_stokes] - true for sky in (estimate, *halves)]
    compared = _compare(residuals, true, alm, ground, master)
    metrics, bands = _spectral_scores(compared, master, theory)
    return Score(pixels | metrics, latitude, bands)


def _pixel_scores(estimate: Map, truth: Map, mask: Map) -> tuple[dict[str, float], Rows]:
    """Metrics of pixels, and rows by latitude, of all fields: ``(n_stokes, npix)`` each."""
    metrics: dict[str, float] = {}
    latitude: Rows = []
    for field, one, other in zip("TQU", estimate, truth, strict=False):
        for region, found in region_metrics(one, other, mask).items():
            metrics |= {metric_name(name, field, region): value for name, value in found.items()}
        parts = split_by_gain(one, other, mask)
        metrics |= {
            metric_name(name, field): parts[name] for name in ("response", "multiplicative", "additive")
        }
        rows = latitude_metrics(one, other, LATITUDE_EDGES_DEG, mask)
        latitude += [{"field": field, **row} for row in rows]
    return metrics, latitude


def _compare(
    residuals: Sequence[Map], truth: Map, alm: Alm, ground: Ground, master: Master
) -> dict[str, Comparison]:
    """Compare T, E and B as scalars: those of the truth by its a_lm, those of residuals by their maps.

    The residuals are those of the estimate and, where there are some, of its halves.

    The quadrature of Q and U leaks from E to B, in proportion to what it is applied to: never to the truth.
    """
    lmax, threads = master.bands.lmax, ground.threads
    fields = [sky[:1] for sky in (truth, *residuals)]
    if len(alm) == 3:
        scalars = (
            synthesise_scalars(alm[1:], ground.nside, threads),
            *(scalar_fields(sky[1:], lmax, threads=threads) for sky in residuals),
        )
        fields = [np.concatenate(pair) for pair in zip(fields, scalars, strict=True)]
    true, *rest = (masked_alm(rows, ground.mask, lmax, threads=threads) for rows in fields)
    own, *halves = (true + one for one in rest)
    return compare(own, true, master, halves)


def _spectral_scores(
    found: Mapping[str, Comparison], master: Master, theory: Mapping[str, Cl]
) -> tuple[dict[str, float], Rows]:
    """Metrics of all spectra, and rows by band."""
    metrics: dict[str, float] = {}
    bands: Rows = []
    for name, comparison in found.items():
        sigma = np.sqrt(np.diag(master.covariance(name, theory)))
        if name[0] == name[1]:
            numbers = spectral_metrics(comparison, sigma, master.bands.modes)
        else:
            autos = (found[2 * name[0]], found[2 * name[1]])
            numbers = cross_metrics(comparison, sigma, master.bands.modes, autos)
        metrics |= {metric_name(key, name): value for key, value in numbers.items()}
        bands += band_rows(name, comparison, sigma)
    return metrics, bands


def band_rows(spectrum: str, comparison: Comparison, sigma: Cl) -> Rows:
    """Band powers of one spectrum as rows of a table."""
    columns = {"ell": comparison.ell, **{kind: getattr(comparison, kind) for kind in POWERS}, "sigma": sigma}
    columns |= {} if comparison.halves is None else {HALVES: comparison.halves}
    return [
        {"spectrum": spectrum, **dict(zip(columns, map(float, row), strict=True))}
        for row in zip(*columns.values(), strict=True)
    ]


def comparisons(rows: Rows) -> dict[str, tuple[Comparison, Cl]]:
    """Undo `band_rows`: comparison and sigma by spectrum."""
    tables: dict[str, Rows] = {}
    for row in rows:
        tables.setdefault(str(row["spectrum"]), []).append(row)
    return {spectrum: _comparison(table) for spectrum, table in tables.items()}


def _comparison(rows: Rows) -> tuple[Comparison, Cl]:
    optional = [HALVES] if np.isfinite(rows[0].get(HALVES, np.nan)) else []
    names = ("ell", *POWERS, "sigma", *optional)
    columns = {name: np.array([row[name] for row in rows]) for name in names}
    sigma = columns.pop("sigma")
    return Comparison(**columns), sigma


def mean_rows(tables: list[Rows]) -> Rows:
    """Mean band powers over simulations, row by row; sigma is that of the mean."""
    out = []
    for same in zip(*tables, strict=True):
        mean = {name: float(np.mean([row[name] for row in same])) for name in same[0] if name != "spectrum"}
        mean["sigma"] /= len(tables) ** 0.5
        out.append({"spectrum": same[0]["spectrum"], **mean})
    return out


def latitude_profile(tables: list[Rows]) -> Rows:
    """Errors by field, region and latitude: ``rmse_uk``, root of the mean MSE, and ``mae_uk``."""
    keys = ("field", "region", "latitude_deg")
    groups: dict[tuple[Cell, ...], Rows] = {}
    for row in (row for table in tables for row in table):
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return [
        dict(zip(keys, place, strict=True))
        | {
            "rmse_uk": float(np.sqrt(np.mean([row["mse"] for row in rows]))),
            "mae_uk": float(np.mean([row["mae"] for row in rows])),
        }
        for place, rows in groups.items()
    ]
