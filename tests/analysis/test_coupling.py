import numpy as np
import pytest

from cmbml.analysis.spectra.coupling import mode_coupling, wigner_d
from cmbml.sky.sht import alm2cl, alm2map, alm_size, draw_alm, map2alm, resize_alm

LMAX = 6
NSIDE = 16


def test_full_sky_couples_nothing():
    mask_cl = np.zeros(2 * LMAX + 1)
    mask_cl[0] = 4 * np.pi
    coupling = mode_coupling(mask_cl, LMAX, polarised=True)
    for matrix in (coupling.tt, coupling.te, coupling.plus, coupling.minus):
        np.testing.assert_allclose(matrix[2:, 2:], np.eye(LMAX - 1), atol=1e-12)


def test_wigner_functions_are_orthogonal():
    lmax = 64
    x, weights = np.polynomial.legendre.leggauss(lmax + 1)
    for m, n in ((0, 0), (2, 0), (2, 2), (2, -2)):
        d = wigner_d(lmax, m, n, x)
        gram = (d * weights) @ d.T * (2 * np.arange(lmax + 1) + 1) / 2
        np.testing.assert_allclose(gram[m:, m:], np.eye(lmax + 1 - m), atol=1e-11)


def test_wigner_functions_of_low_degree():
    x = np.linspace(-1, 1, 11)
    d = wigner_d(3, 2, 2, x)
    np.testing.assert_allclose(d[3], ((1 + x) / 2) ** 2 * (3 * x - 2), atol=1e-14)
    d = wigner_d(3, 2, 0, x)
    np.testing.assert_allclose(d[3], np.sqrt(30) / 4 * x * (1 - x**2), atol=1e-14)


def _real_modes(ell, lmax):
    """Orthogonal real fields that make up degree `ell`, as a_lm: together of C_l = 1."""
    for m in range(ell + 1):
        index = m * (2 * lmax + 1 - m) // 2 + ell
        for unit in (1.0,) if m == 0 else (np.sqrt(0.5), 1j * np.sqrt(0.5)):
            alm = np.zeros(alm_size(lmax), dtype=complex)
            alm[index] = unit
            yield alm


@pytest.fixture(scope="module")
def mask_alm():
    alm = draw_alm(np.full(LMAX + 1, 0.1), np.random.default_rng(5))
    alm[0] = 2.5
    return alm


def _brute_force(mask, rows):
    """Spectra of masked single modes, summed over each degree: one row of modes of T, E or B switched on."""
    out = {}
    for ell in range(2, LMAX + 1):
        for mode in _real_modes(ell, LMAX):
            sky = alm2map(np.stack([mode * on for on in rows]), NSIDE)
            t, e, b = resize_alm(map2alm(sky * mask, 2 * LMAX, iterations=10), LMAX)
            for name, first, second in (("TT", t, t), ("TE", t, e), ("EE", e, e), ("BB", b, b)):
                column = out.setdefault(name, np.zeros((LMAX + 1, LMAX + 1)))[:, ell]
                column += alm2cl(first, second)
    return {name: matrix[2:, 2:] for name, matrix in out.items()}


def test_coupling_is_that_of_single_modes(mask_alm):
    """Every mode of every degree through the mask, one by one: no symbols, no integrals."""
    mask = alm2map(mask_alm, NSIDE)
    coupling = mode_coupling(alm2cl(resize_alm(mask_alm, 2 * LMAX)), LMAX, polarised=True)
    same, mixed = (coupling.plus + coupling.minus) / 2, (coupling.plus - coupling.minus) / 2
    only_e = _brute_force(mask, (0, 1, 0))
    both = _brute_force(mask, (1, 1, 0))
    only_b = _brute_force(mask, (0, 0, 1))
    # The product of mask and field is band-limited too: ten iterations leave rounding only.
    options = {"rtol": 0, "atol": 1e-9 * coupling.tt.max()}
    np.testing.assert_allclose(both["TT"], coupling.tt[2:, 2:], **options)
    np.testing.assert_allclose(both["TE"], coupling.te[2:, 2:], **options)
    np.testing.assert_allclose(only_e["EE"], same[2:, 2:], **options)
    np.testing.assert_allclose(only_e["BB"], mixed[2:, 2:], **options)
    np.testing.assert_allclose(only_b["BB"], same[2:, 2:], **options)
    np.testing.assert_allclose(only_b["EE"], mixed[2:, 2:], **options)


def test_coupling_is_the_sum_over_wigner_symbols(mask_alm):
    wigner = pytest.importorskip("sympy.physics.wigner").wigner_3j
    lmax, power = 3, alm2cl(mask_alm)
    expected = np.zeros((lmax + 1, lmax + 1))
    for a in range(lmax + 1):
        for b in range(lmax + 1):
            for c in range(abs(a - b), min(a + b, LMAX) + 1):
                symbol = float(wigner(a, b, c, 0, 0, 0))
                expected[a, b] += (2 * b + 1) * (2 * c + 1) / (4 * np.pi) * power[c] * symbol**2
    coupling = mode_coupling(alm2cl(resize_alm(mask_alm, 2 * lmax)), lmax)
    np.testing.assert_allclose(coupling.tt, expected, atol=1e-13 * expected.max())
