import numpy as np
import pytest

from cmbml.analysis.spectra.coupling import mode_coupling
from cmbml.sky.sht import alm2cl, alm2map, alm_size, draw_alm, map2alm, resize_alm

LMAX = 6
NSIDE = 16


def test_full_sky_couples_nothing():
    mask_cl = np.zeros(2 * LMAX + 1)
    mask_cl[0] = 4 * np.pi
    np.testing.assert_allclose(mode_coupling(mask_cl, LMAX), np.eye(LMAX + 1), atol=1e-12)


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


def test_coupling_is_that_of_single_modes(mask_alm):
    """Every mode of every degree through the mask, one by one: no symbols, no integrals."""
    mask = alm2map(mask_alm, NSIDE)
    coupling = mode_coupling(alm2cl(resize_alm(mask_alm, 2 * LMAX)), LMAX)
    found = np.zeros((LMAX + 1, LMAX + 1))
    for ell in range(LMAX + 1):
        for mode in _real_modes(ell, LMAX):
            masked = map2alm(alm2map(mode, NSIDE) * mask, 2 * LMAX, iterations=10)
            found[:, ell] += alm2cl(resize_alm(masked, LMAX))
    # The product of mask and field is band-limited too: ten iterations leave rounding only.
    np.testing.assert_allclose(found, coupling, rtol=0, atol=1e-9 * coupling.max())


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
    np.testing.assert_allclose(coupling, expected, atol=1e-13 * expected.max())
