import numpy as np
import pytest

from cmbml.sky.chains import WMAP_COLUMNS, chain_row, wmap_cosmology
from cmbml.sky.cosmology import theory_spectra

ROW = {"H0": 70.0, "omegabh2": 0.0226, "omegach2": 0.114, "tau": 0.089, "ns002": 0.972, "a002": 2.41}


def test_a_row_becomes_a_cosmology_at_wmaps_pivot():
    cosmology = wmap_cosmology(ROW)
    assert cosmology.As == pytest.approx(2.41e-9)
    assert (cosmology.pivot_scalar, cosmology.mnu) == (0.002, 0.0)
    assert wmap_cosmology({**ROW, "mnu": 0.3}).mnu == 0.3


def test_its_sky_is_ours():
    """The first acoustic peak of any viable cosmology: 5500 to 6000 uK^2 at l of about 220."""
    cl = theory_spectra(wmap_cosmology(ROW), 220, n_stokes=1)["TT"]
    assert 5500 < 220 * 221 * cl[220] / (2 * np.pi) < 6000


@pytest.mark.parametrize("name", list(WMAP_COLUMNS.values()))
def test_missing_parameters_are_named(name):
    with pytest.raises(ValueError, match=f"no {name};"):
        wmap_cosmology({key: value for key, value in ROW.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "a002",
            2.41e-9,
            r"As should be .* \(it is 2.41e-18\): is the chain in WMAP's units, a002 in 1e-9",
        ),
        ("H0", 0.7, "H0 should be between 10 and 200"),
        ("omegabh2", np.nan, "ombh2 should be between"),
        ("mnu", -0.1, "mnu should be between"),
    ],
)
def test_numbers_that_no_universe_has_are_refused(name, value, message):
    with pytest.raises(ValueError, match=message):
        wmap_cosmology({**ROW, name: value})


def test_rows_are_uniform():
    """10000 draws into 10 bins: each 1000 with deviation 30; 5 sigma."""
    rows = [chain_row(603_936, np.random.default_rng([1, i])) for i in range(10_000)]
    counts = np.histogram(rows, bins=10, range=(0, 603_936))[0]
    assert np.abs(counts - 1000).max() < 150


def test_an_empty_chain_is_refused():
    with pytest.raises(ValueError, match="no rows"):
        chain_row(0, np.random.default_rng(0))
