import numpy as np
import pytest

from cmbml.analysis.gathering import by_metric, profiles, table_rows
from cmbml.analysis.pixel import METRICS
from cmbml.analysis.scoring import (
    Ground,
    Score,
    band_rows,
    comparisons,
    latitude_profile,
    mean_rows,
    score,
)
from cmbml.analysis.spectra.comparison import Comparison
from cmbml.analysis.spectra.master import SPECTRA as NAMES
from cmbml.analysis.spectra.master import mask_statistics
from cmbml.analysis.spectra.scores import SPECTRAL_METRICS
from cmbml.analysis.tables import parse_name
from cmbml.sky.sht import alm2map, draw_alm
from cmbml.sky.skymap import SkyAlm, SkyMap

from .conftest import NSIDE, cmb_like_cl

LMAX = 64
WIDTH = 8
POWERS = {"TT": 1.0, "EE": 0.02, "BB": 0.01, "TE": 0.0}


@pytest.fixture(scope="module")
def ground(galactic_mask):
    return Ground(200.0, LMAX, NSIDE, galactic_mask)


@pytest.fixture(scope="module")
def theory():
    return {name: factor * cmb_like_cl(LMAX) for name, factor in POWERS.items()}


@pytest.fixture(scope="module")
def decouple(ground):
    bands, window = ground.bands(WIDTH), ground.window
    return {
        n_stokes: ground.decoupling(
            mask_statistics(ground.mask, bands, window=window, polarised=polarised),
            WIDTH,
            polarised=polarised,
        )
        for n_stokes, polarised in ((1, False), (3, True))
    }


@pytest.fixture(scope="module")
def truth(theory):
    rng = np.random.default_rng(5)
    return SkyAlm(np.stack([draw_alm(theory[name], rng) for name in ("TT", "EE", "BB")]), "uK_CMB", 0.0)


def noise(n_stokes, level=1e-3):
    rng = np.random.default_rng(6)
    return alm2map(np.stack([draw_alm(np.full(LMAX + 1, level), rng) for _ in range(n_stokes)]), NSIDE)


@pytest.mark.parametrize("n_stokes", [1, 3])
def test_every_field_spectrum_and_region_is_scored(ground, decouple, truth, theory, n_stokes):
    sky = ground.truth(SkyAlm(truth.values[:n_stokes], "uK_CMB", 0.0))
    files = theory | {f"{name}_unlensed": theory[name] for name in theory} | {"PP": theory["TT"]}
    found = score(sky + noise(n_stokes), truth, ground, decouple[n_stokes], files)
    names = [parse_name(name) for name in found.metrics]
    fields = {field for base, field, region in names if base in METRICS and region == "scored"}
    masked = {field for base, field, region in names if base in METRICS and region == "masked"}
    spectra = {field for base, field, _ in names if base in SPECTRAL_METRICS}
    assert fields == masked == ({""} if n_stokes == 1 else {"", "Q", "U"})
    assert spectra == ({""} if n_stokes == 1 else {"", "EE", "BB", "TE", "EB", "TB"})
    assert {row["field"] for row in found.latitude} == set("TQU"[:n_stokes])
    assert {row["spectrum"] for row in found.bands} == set(NAMES[: 1 if n_stokes == 1 else 6])
    # Noise of known power: 65^2 modes of 1e-3 uK^2 over the sphere, 7 % of chance.
    rms = np.sqrt(1e-3 * (LMAX + 1) ** 2 / (4 * np.pi))
    assert found.metrics["rmse"] == pytest.approx(rms, rel=0.07)
    assert found.metrics["additive"] == pytest.approx(rms, rel=0.07)
    assert found.metrics["multiplicative"] < 0.3 * rms


def test_temperature_alone_is_scored_against_polarised_truth(ground, decouple, truth, theory):
    whole = ground.truth(truth)
    alone = score(whole[:1] + noise(1), truth, ground, decouple[3], theory)
    both = score(whole + noise(3), truth, ground, decouple[3], theory)
    assert not any(field for _, field, _ in map(parse_name, alone.metrics))
    # The noise of T is the same draw.
    assert alone.metrics["rmse"] == both.metrics["rmse"]
    assert alone.metrics["spectrum_error"] == pytest.approx(both.metrics["spectrum_error"], rel=1e-9)


def test_perfect_estimate_scores_perfectly(ground, decouple, truth, theory):
    sky = ground.truth(truth)
    metrics = score(sky, truth, ground, decouple[3], theory).metrics
    assert metrics["rmse"] == metrics["rmse_Q_masked"] == metrics["residual_power_EE"] == 0
    assert metrics["psnr"] == np.inf
    assert metrics["coherence"] == pytest.approx(1)


def test_a_lost_tenth_of_the_cmb_is_multiplicative(ground, decouple, truth, theory):
    sky = ground.truth(truth)
    metrics = score(0.9 * sky, truth, ground, decouple[3], theory).metrics
    assert metrics["multiplicative"] == pytest.approx(metrics["rmse"])
    assert metrics["additive"] < 1e-9 * metrics["rmse"]
    assert metrics["transfer_error"] == pytest.approx(0.1)


@pytest.fixture(scope="module")
def faint_b(theory):
    """Skies whose B is as faint below E as lensing's, and of unlike shape."""
    return theory | {"BB": theory["EE"][40] / 300 * (np.arange(LMAX + 1) > 1)}


def skies(theory, n_sims):
    for sim in range(n_sims):
        rng = np.random.default_rng([8, sim])
        yield np.stack([draw_alm(theory[name], rng) for name in ("TT", "EE", "BB", "BB")])


def bb_of(found, kind):
    return np.array([row[kind] for row in found.bands if row["spectrum"] == "BB"])


def test_a_map_without_b_scores_none(ground, decouple, faint_b):
    (sky,) = skies(faint_b, 1)
    estimate = ground.truth(SkyAlm(np.stack([*sky[:2], 0 * sky[2]]), "uK_CMB", 0.0))
    found = score(estimate, SkyAlm(sky[:3], "uK_CMB", 0.0), ground, decouple[3], faint_b)
    np.testing.assert_allclose(bb_of(found, "cross") / bb_of(found, "truth"), 0, atol=3e-3)
    assert found.metrics["coherence_BB"] == 0
    assert found.metrics["transfer_error_BB"] == pytest.approx(1, abs=3e-3)
    assert found.metrics["coherence_EE"] == pytest.approx(1, abs=1e-6)


def test_the_b_of_another_sky_does_not_cohere(ground, decouple, faint_b):
    coherence, powers = [], []
    for sky in skies(faint_b, 30):
        estimate = ground.truth(SkyAlm(sky[[0, 1, 3]], "uK_CMB", 0.0))
        found = score(estimate, SkyAlm(sky[:3], "uK_CMB", 0.0), ground, decouple[3], faint_b)
        coherence.append(bb_of(found, "cross") / np.sqrt(bb_of(found, "estimate") * bb_of(found, "truth")))
        powers.append(bb_of(found, "truth"))
    error = np.std(coherence, axis=0, ddof=1) / np.sqrt(30)
    # 8 bands: 3.5 sigma is a chance of 0.4 %; with E in it, the first bands have 0.99 and 0.5.
    assert np.abs(np.mean(coherence, axis=0) / error).max() < 3.5
    expected = decouple[3].expected(faint_b)["BB"]
    error = np.std(powers, axis=0, ddof=1) / np.sqrt(30)
    assert np.abs((np.mean(powers, axis=0) - expected) / error).max() < 3.5


def test_estimate_arrives_with_its_beam(ground, truth):
    sharp = alm2map(truth.values[:1], NSIDE)
    smooth = ground.estimate(SkyMap(sharp, "uK_CMB", 0.0, LMAX))
    expected = ground.truth(SkyAlm(truth.values[:1], "uK_CMB", 0.0))
    # Quadrature with three iterations leaves 1e-4 of the rms, twice that at the poles.
    np.testing.assert_allclose(smooth, expected, atol=5e-4 * expected.std())


def test_worst_place_is_outside_the_mask(ground):
    residual = np.zeros(12 * NSIDE**2)
    residual[0], residual[residual.size // 2] = -2.0, 5.0
    lon, lat = ground.worst(residual)
    assert lat > 85, "the pole, not the brighter pixel in the masked plane"
    assert 0 <= lon < 360


COMPARISON = Comparison(np.array([5.0, 15.0]), *(np.array([k, 2.0 * k]) for k in (4.0, 5.0, 4.5, 0.5)))


def test_rows_of_bands_come_back():
    found = comparisons(band_rows("EE", COMPARISON, np.array([1.0, 2.0])))
    comparison, sigma = found["EE"]
    np.testing.assert_array_equal(comparison.cross, COMPARISON.cross)
    np.testing.assert_array_equal(sigma, [1, 2])


def test_error_of_a_mean_falls_with_the_root_of_their_number():
    rows = band_rows("TT", COMPARISON, np.array([1.0, 2.0]))
    mean = mean_rows([rows, rows, rows, rows])
    assert [row["sigma"] for row in mean] == [0.5, 1.0]
    assert [row["truth"] for row in mean] == [4.0, 8.0]


def test_profiles_add_squares():
    row = {"field": "T", "region": "all", "latitude_deg": 5.0, "mae": 1.0}
    (found,) = latitude_profile([[row | {"mse": 1.0}], [row | {"mse": 7.0, "mae": 3.0}]])
    assert (found["rmse_uk"], found["mae_uk"]) == (2.0, 2.0)


def test_tables_hold_what_each_method_has():
    row = {"field": "T", "region": "all", "latitude_deg": 5.0, "mae": 1.0, "mse": 1.0}
    bands = band_rows("TT", COMPARISON, np.ones(2))
    found = {
        ("test", "net"): [Score({"rmse": 1.0, "rmse_Q": 2.0}, [row], bands)] * 2,
        ("test", "old"): [Score({"rmse": 3.0}, [row], bands)],
    }
    rows = table_rows(found)
    assert [list(row) for row in rows] == [["split", "method", "sim", "rmse", "rmse_Q"]] * 3
    assert by_metric(rows)["test"] == {
        "net": {"rmse": [1.0] * 2, "rmse_Q": [2.0] * 2},
        "old": {"rmse": [3.0]},
    }
    latitude, powers = profiles(found)
    assert [row["method"] for row in latitude] == ["net", "old"]
    assert len(powers) == 4


def test_halves_are_crossed_and_gathered_beside_estimates_without(ground, decouple, truth, theory):
    """Independent noise of twice the power in each half: no bias is left, and the whole has one."""
    truth = SkyAlm(truth.values[:1], "uK_CMB", 0.0)
    sky = ground.truth(truth)
    rng = np.random.default_rng(8)
    whole, difference = (alm2map(draw_alm(np.full(LMAX + 1, 5.0), rng)[None], NSIDE) for _ in range(2))
    halves = [sky + whole + difference, sky + whole - difference]
    scores = [score(sky + whole, truth, ground, decouple[1], theory, parts) for parts in (halves, ())]
    assert scores[0].metrics["halves_error"] < 0.5 * scores[0].metrics["spectrum_error"]
    assert "halves_error" not in scores[1].metrics
    _, rows = profiles({("test", "one"): scores[:1], ("test", "other"): scores[1:]})
    assert len({tuple(row) for row in rows}) == 1, "one table has one set of columns"
    with_halves, without = (
        comparisons([row for row in rows if row["method"] == method])["TT"][0] for method in ("one", "other")
    )
    expected = comparisons(scores[0].bands)["TT"][0].halves
    np.testing.assert_allclose(with_halves.halves, expected)
    assert without.halves is None
