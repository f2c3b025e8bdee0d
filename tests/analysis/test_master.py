import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbml.analysis.postprocess import common, remove_dipole
from cmbml.analysis.spectra.bands import Bands
from cmbml.analysis.spectra.comparison import Comparison, compare
from cmbml.analysis.spectra.master import (
    SPECTRA,
    mask_statistics,
    masked_alm,
    master,
    master_from,
    pseudo_spectra,
    scalar_fields,
    synthesise_scalars,
)
from cmbml.sky.mask import galactic_mask
from cmbml.sky.sht import alm2map, alm_size, almxfl, draw_alm, gaussian_beam, unit_alm

from .conftest import cmb_like_cl

NSIDE, LMAX = 32, 64
BANDS = Bands.linear(2, LMAX, 7)
FULL_SKY = np.ones(12 * NSIDE**2)
BEAM = gaussian_beam(200, LMAX)


@pytest.fixture(scope="module")
def mask():
    theta = hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2))[0]
    ramp = np.clip((np.abs(90 - np.degrees(theta)) - 15) / 12, 0, 1)
    return 0.5 - 0.5 * np.cos(np.pi * ramp)


@pytest.fixture(scope="module")
def theory():
    tt = cmb_like_cl(LMAX) * (1 + 0.5 * np.sin(np.arange(LMAX + 1) / 12))
    return {"TT": tt, "EE": 0.02 * tt, "BB": 0.01 * tt, "TE": 0.06 * tt}


def draw_teb(theory, rng):
    """Correlated a_lm of T, E, B of the spectra, whose TE over TT is the same at every l."""
    t, e, b = (unit_alm(LMAX, rng) for _ in range(3))
    ratio = theory["TE"][2] / theory["TT"][2]
    temperature = almxfl(t, np.sqrt(theory["TT"]))
    rest = np.sqrt(theory["EE"] - ratio**2 * theory["TT"])
    return np.stack([temperature, ratio * temperature + almxfl(e, rest), almxfl(b, np.sqrt(theory["BB"]))])


def simulate(theory, rng):
    """T, E and B as scalars."""
    return synthesise_scalars(np.stack([almxfl(row, BEAM) for row in draw_teb(theory, rng)]), NSIDE)


def test_pseudo_spectra_are_healpys_anafast(theory, mask, rng):
    sky = simulate(theory, rng)
    result = pseudo_spectra(masked_alm(sky, mask, LMAX, iterations=3))
    fields = dict(zip("TEB", sky * mask, strict=True))
    assert list(result) == list(SPECTRA)
    for name, cl in result.items():
        expected = hp.anafast(*(fields[letter] for letter in name), lmax=LMAX, iter=3)
        np.testing.assert_allclose(cl, expected, rtol=1e-9, atol=1e-9 * np.abs(cl).max())


@pytest.mark.parametrize("lmax", [2 * NSIDE, 5 * NSIDE // 2])
def test_e_and_b_are_told_apart_on_the_full_sky(rng, lmax):
    alm = draw_alm(cmb_like_cl(lmax), rng)
    e, b = scalar_fields(alm2map(np.stack([alm, 0 * alm]), NSIDE), lmax)
    assert np.std(e - alm2map(alm, NSIDE)) < 0.01 * e.std()
    assert b.std() < 5e-3 * e.std()


def test_full_sky_needs_no_decoupling(theory, rng):
    sky = simulate(theory, rng)
    single = Bands.linear(2, LMAX, 1)
    plain = master(FULL_SKY, single, window=BEAM, polarised=True)
    result = plain.decouple(pseudo_spectra(masked_alm(sky, FULL_SKY, LMAX)))
    fields = dict(zip("TEB", sky, strict=True))
    for name, powers in result.items():
        cl = hp.anafast(*(fields[letter] for letter in name), lmax=LMAX, iter=3)
        expected = single.average(cl / BEAM**2)
        # Quadrature by equal weights at lmax = 2 nside, of each mode of this very sky: 1 % near the end.
        np.testing.assert_allclose(powers, expected, atol=0.01 * np.abs(expected).max())


def _modes(lmax):
    """Orthogonal real fields of l >= 2, as a_lm, by degree: together of C_l = 1."""
    for ell in range(2, lmax + 1):
        for m in range(ell + 1):
            for unit in (1.0,) if m == 0 else (np.sqrt(0.5), 1j * np.sqrt(0.5)):
                alm = np.zeros(alm_size(lmax), dtype=complex)
                alm[m * (2 * lmax + 1 - m) // 2 + ell] = unit
                yield ell, alm


@pytest.mark.parametrize("name", SPECTRA)
def test_estimator_is_exactly_unbiased_on_a_coarse_grid(name):
    """All modes of a small sky, one by one, through a binary mask and the dipole's fit: no sampling noise."""
    nside, bands = 4, Bands((2, 4, 6, 9))
    lmax = bands.lmax
    window = gaussian_beam(600, lmax)
    mask = (np.abs(hp.pix2vec(nside, np.arange(12 * nside**2))[2]) > 0.3).astype(float)
    power = np.sqrt(bands.unbinning @ np.array([9.0, 4, 6])) * window
    total = np.zeros(lmax + 1)
    for ell, alm in _modes(lmax):
        on = [letter in name for letter in "TEB"]
        fields = np.outer(on, alm2map(power[ell] * alm, nside))
        seen = masked_alm(remove_dipole(fields, mask), mask, lmax)
        total += pseudo_spectra(seen)[name]
    found = master(mask, bands, window=window, polarised=True).decouple({name: total})[name]
    # Rounding, enlarged by the condition of three bands on so coarse a grid.
    np.testing.assert_allclose(found, [9, 4, 6], rtol=1e-9)
    left_out = master(mask, bands, window=window, polarised=True, dipole_removed=False)
    change = left_out.decouple({name: total})[name][0] / 9 - 1
    assert (abs(change) > 0.01) == ("T" in name), "the fit takes more than a percent of T here"


def test_expected_powers_are_exact_where_d_l_is_flat(mask):
    flat = {"TT": cmb_like_cl(LMAX)}
    result = master(mask, BANDS, window=BEAM).expected(flat)
    np.testing.assert_allclose(result["TT"], 1000, rtol=1e-9)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_any_band_powers_come_back(seed):
    """Decoupling is the exact inverse of coupling, E and B included, whatever the powers of the bands."""
    rng = np.random.default_rng(seed)
    powers = {name: rng.uniform(0.1, 10, len(BANDS)) for name in SPECTRA}
    smooth = 0.6 + 0.4 * hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2))[rng.integers(3)]
    estimator = master(smooth, BANDS, window=BEAM, polarised=True)
    result = estimator.expected({name: BANDS.unbinning @ power for name, power in powers.items()})
    for name, power in powers.items():
        np.testing.assert_allclose(result[name], power, rtol=1e-8)


@pytest.fixture(scope="module")
def ensemble(mask, theory):
    """Band powers of 200 masked skies, monopole and dipole removed as for every score."""
    estimator = master(mask, BANDS, window=BEAM, polarised=True)
    rows = []
    for sim in range(200):
        sky = remove_dipole(simulate(theory, np.random.default_rng([77, sim])), mask)
        rows.append(estimator.decouple(pseudo_spectra(masked_alm(sky, mask, LMAX))))
    return estimator, {name: np.array([row[name] for row in rows]) for name in SPECTRA}


@pytest.mark.parametrize("name", ["TT", "EE", "BB", "TE"])
def test_estimator_is_unbiased_over_200_skies(ensemble, theory, name):
    estimator, powers = ensemble
    values, expected = powers[name], estimator.expected(theory)[name]
    z = (values.mean(axis=0) - expected) / (values.std(axis=0, ddof=1) / np.sqrt(len(values)))
    # 9 bands: 3.5 sigma is a chance of 0.4 % for any of them, chi2 / 9 > 2.6 one of 0.5 %; seeds are fixed.
    assert np.abs(z).max() < 3.5
    assert np.mean(z**2) < 2.6


@pytest.mark.parametrize("name", ["TT", "EE", "BB", "TE", "EB", "TB"])
def test_analytic_errors_are_those_of_200_skies(ensemble, theory, name):
    estimator, powers = ensemble
    analytic = np.sqrt(np.diag(estimator.covariance(name, theory)))
    ratio = powers[name].std(axis=0, ddof=1) / analytic
    # A standard deviation of 200 is known to 5 %; the approximation is good to 10 % in the lowest band.
    np.testing.assert_allclose(ratio, 1, atol=0.2)
    assert ratio.mean() == pytest.approx(1, abs=0.06)


def test_uncorrected_mask_would_be_seen(ensemble, theory, mask, rng):
    """The usual shortcut, pseudo-spectrum over the mean of the mask, is off by more than its error."""
    estimator, _ = ensemble
    shortcut = BANDS.average(estimator.pseudo(theory)["TT"] / BEAM**2 / mask.mean())
    truth = BANDS.average(theory["TT"])
    error = np.sqrt(np.diag(estimator.covariance("TT", theory)) / 200)
    assert np.max(np.abs(shortcut - truth) / error) > 5


def test_covariance_on_the_full_sky_counts_modes(theory):
    covariance = master(FULL_SKY, BANDS).covariance("TT", theory)
    d = BANDS.average(theory["TT"])
    # D_l varies by a tenth within a band: its square has 1 % more than the square of its mean.
    np.testing.assert_allclose(np.diag(covariance), 2 * d**2 / BANDS.modes, rtol=0.03)


def test_kept_statistics_make_the_same_estimator(theory, mask):
    direct = master(mask, BANDS, window=BEAM, polarised=True)
    statistics = mask_statistics(mask, BANDS, window=BEAM, polarised=True)
    kept = master_from(statistics, BANDS, window=BEAM, polarised=True)
    for name, power in direct.expected(theory).items():
        np.testing.assert_array_equal(kept.expected(theory)[name], power)
    np.testing.assert_array_equal(kept.covariance("TT", theory), direct.covariance("TT", theory))
    assert kept.mean_square == pytest.approx(np.mean(mask**2), rel=1e-12)
    with pytest.raises(ValueError, match="belong to other bands"):
        master_from(mask_statistics(mask, BANDS), Bands.linear(2, LMAX, 5))


@pytest.mark.parametrize("name", ["TT", "EE", "BB", "TE"])
def test_scale_of_the_mask_is_irrelevant(theory, mask, name):
    whole, half = (master(scale * mask, BANDS, polarised=True) for scale in (1, 0.5))
    np.testing.assert_allclose(
        half.covariance(name, theory), whole.covariance(name, theory), rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(half.expected(theory)[name], whole.expected(theory)[name], rtol=1e-9)


def test_comparison_of_a_damped_noisy_estimate(mask, rng):
    """Gain g and independent noise n: transfer g, residual (1-g)^2 C + n, coherence from both."""
    cl, noise_cl, gain = cmb_like_cl(LMAX), np.full(LMAX + 1, 0.5), 0.9
    estimator = master(mask, BANDS)
    results = []
    for sim in range(40):
        sim_rng = np.random.default_rng([3, sim])
        truth = alm2map(draw_alm(cl, sim_rng)[None], NSIDE)
        noise = alm2map(draw_alm(noise_cl, sim_rng)[None], NSIDE)
        alms = [masked_alm(sky, mask, LMAX) for sky in (gain * truth + noise, truth)]
        result = compare(*alms, estimator)["TT"]
        np.testing.assert_allclose(
            result.residual, result.estimate + result.truth - 2 * result.cross, rtol=1e-8, atol=1e-6
        )
        results.append(result)
    powers = ("truth", "estimate", "cross", "residual")
    mean = Comparison(
        results[0].ell, **{kind: np.mean([getattr(one, kind) for one in results], axis=0) for kind in powers}
    )
    noise = BANDS.average(noise_cl)
    # Noise and truth correlate by chance: sqrt(noise / truth / modes / 40), 1 % at the high end.
    np.testing.assert_allclose(mean.transfer, gain, atol=0.02)
    np.testing.assert_allclose(mean.residual, (1 - gain) ** 2 * mean.truth + noise, rtol=0.15)
    np.testing.assert_allclose(mean.coherence, gain / np.sqrt(gain**2 + noise / mean.truth), atol=0.02)


def test_perfect_estimate_has_transfer_and_coherence_one(mask, truth_alm):
    alm = masked_alm(alm2map(truth_alm[None], NSIDE), mask, LMAX)
    result = compare(alm, alm, master(mask, BANDS))["TT"]
    np.testing.assert_allclose(result.transfer, 1, rtol=1e-12)
    np.testing.assert_allclose(result.coherence, 1, rtol=1e-12)
    np.testing.assert_array_equal(result.residual, 0)
    np.testing.assert_array_equal(result.error, 0)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"window": BEAM[:-1]}, "ends at l = 63, the bands at 64"),
        ({"window": gaussian_beam(700, LMAX)}, "falls to .* within the bands"),
        ({"mask": 0 * FULL_SKY}, "zero everywhere"),
        ({"mask": 1.0 * (np.arange(12 * NSIDE**2) < 12)}, "cannot be told apart"),
    ],
)
def test_unfit_masks_and_windows_are_refused(options, reason):
    arguments = {"mask": FULL_SKY, "bands": Bands.linear(2, LMAX, 2)} | options
    with pytest.raises(ValueError, match=reason):
        master(**arguments)


def test_shipped_mask_is_unbiased_at_the_mini_dataset():
    """The default dataset's own mask, beam and grid, over 200 skies against the error of their mean."""
    nside, lmax, fwhm = 64, 160, 80.0
    mask = galactic_mask(nside, 20.0)
    bands = Bands.linear(2, lmax, 10)
    theory = {"TT": cmb_like_cl(lmax)}
    estimator = master(mask, bands, window=gaussian_beam(fwhm, lmax))
    rows = []
    for sim in range(200):
        alm = draw_alm(theory["TT"], np.random.default_rng([11, sim]))
        sky = common(alm, 0.0, fwhm_arcmin=fwhm, lmax=lmax, nside=nside, mask=mask)
        rows.append(estimator.decouple(pseudo_spectra(masked_alm(sky[None], mask, lmax)))["TT"])
    error = np.sqrt(np.diag(estimator.covariance("TT", theory)) / len(rows))
    z = (np.mean(rows, axis=0) - 1000) / error
    # 16 bands: 3.5 sigma is a chance of 0.7 % for any of them, chi2 / 16 > 2.1 one of 0.6 %.
    assert np.abs(z).max() < 3.5
    assert np.mean(z**2) < 2.1
