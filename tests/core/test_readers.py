"""Readers of tables, transmissions, chains and numbers on files that hypothesis spoils.

Nothing but a refusal in one line may come of them, and what is read is what astropy or numpy reads.  The big
forms run in `make soak`.
"""

import math
import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable, Table
from astropy.utils.masked import Masked
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbml.core.handlers import get_handler
from cmbml.core.spec import numbers
from cmbml.core.spec.instruments import read_bands
from cmbml.core.spec.numbers import parsed
from cmbml.sky.chains import wmap_cosmology
from cmbml.sky.passbands import tabulated
from cmbml.sky.units import rj_to_cmb
from tests.spoiling import NASTY, expect_one_line, soak, spoilt, taken

TABLE = """\
# %ECSV 1.0
# ---
# datatype:
# - {name: band, datatype: string}
# - {name: freq, unit: GHz, datatype: float64}
# - {name: fwhm, unit: deg, datatype: float64}
# - {name: depth, unit: uK arcmin, datatype: float64}
# - {name: depth_p, unit: mK arcmin, datatype: float64}
# meta: {comments: [two bands]}
# schema: astropy-2.0
band freq fwhm depth depth_p
low 30.5 0.5 100.0 0.2
high 100.0 0.25 5e1 ""
"""
PLAIN = TABLE.replace("deg", "arcmin").replace("uK arc", "uK_CMB arc").replace("mK arc", "uK_CMB arc")
PLAIN = PLAIN.replace("# meta: {comments: [two bands]}\n# schema: astropy-2.0\n", "")
COLUMNS = {
    "freq": ("freq_ghz", u.GHz),
    "fwhm": ("fwhm_arcmin", u.arcmin),
    "depth": ("depth_uk_arcmin", u.uK * u.arcmin),
}
TRANSMISSION = "# GHz response\n" + "".join(f"{90 + 2 * i} {i * (10 - i) / 25}\n" for i in range(11))
CHAIN = "".join(f"{i + 1:10d} {70 + i:16.8e}\n" for i in range(5))
MEANS = {"H0": 70.0, "omegabh2": 0.0226, "omegach2": 0.114, "tau": 0.089, "ns002": 0.972, "a002": 2.41}


def by_astropy(path):
    """The bands as astropy reads them; None where it cannot, or does not know a unit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            table = Table.read(path, format="ascii.ecsv")
            rows = {str(name).strip(): {} for name in table["band"].tolist()}
            for column, (key, wanted) in COLUMNS.items():
                unit = u.Unit(str(table[column].unit).replace("_CMB", ""))
                for row, value in zip(rows.values(), table[column].tolist(), strict=True):
                    row[key] = float(value) * unit.to(wanted)  # a column without a type is text
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
    return rows


def bands_are_those_of_astropy(path):
    ours, theirs = taken(read_bands, path), by_astropy(path)
    if ours is None:
        return
    freqs = [band["freq_ghz"] for band in ours.values()]
    assert freqs == sorted(set(freqs))
    assert all(math.isfinite(value) and value > 0 for band in ours.values() for value in band.values())
    content = path.read_bytes()
    if theirs is None:  # it knows no other encodings, and no tabs
        assert not content.isascii() or any(word in content for word in (b"\t", b"coding", b"vi"))
        return
    for name, band in theirs.items():
        assert {key: ours[name][key] for key in band} == pytest.approx(band, rel=1e-12)


def transmissions_are_integrated_as_they_are(path):
    table = taken(get_handler("Transmission").read, path)
    if table is None:
        return
    freqs, response = table
    try:
        band = tabulated(freqs, response, 100.0)
    except ValueError as error:
        expect_one_line(error)
        return
    assert np.isfinite([band.freqs_ghz, band.weights]).all()
    assert band.average(lambda freq: 1 / rj_to_cmb(freq)) == pytest.approx(1, rel=1e-9)
    power = response / response.max()
    power = np.where(power > 1e-6, power, 0) * freqs**2
    seen = np.where(power > 0, freqs, 100.0)  # far beyond, where nothing is transmitted, the factor overflows
    direct = np.trapezoid(power * (freqs / 100), freqs) / np.trapezoid(power / rj_to_cmb(seen), freqs)
    assert band.average(lambda freq: freq / 100) == pytest.approx(direct, rel=1e-3)


def chains_are_of_universes(path):
    column = taken(get_handler("ChainColumn").read, path)
    for row in range(len(column) if column is not None else 0):
        value = taken(lambda _, row=row: column[row], path)
        if value is None:
            continue
        width = column.width
        assert value == float(path.read_bytes()[row * width : (row + 1) * width].split()[1])
        try:
            assert 10 <= wmap_cosmology(MEANS | {"H0": value}).H0 <= 200
        except ValueError as error:
            expect_one_line(error)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("spoilt")


@pytest.mark.parametrize(
    ("holds", "texts", "examples"),
    [
        (bands_are_those_of_astropy, (TABLE, PLAIN), 20),
        (transmissions_are_integrated_as_they_are, (TRANSMISSION,), 60),
        (chains_are_of_universes, (CHAIN,), 60),
        pytest.param(bands_are_those_of_astropy, (TABLE, PLAIN), 8000, marks=pytest.mark.soak),
        pytest.param(transmissions_are_integrated_as_they_are, (TRANSMISSION,), 8000, marks=pytest.mark.soak),
        pytest.param(chains_are_of_universes, (CHAIN,), 4000, marks=pytest.mark.soak),
    ],
)
def test_spoilt_files_are_read_right_or_refused_in_one_line(folder, holds, texts, examples):
    @settings(max_examples=examples)
    @given(spoilt(texts))
    def property_(content):
        path = folder / "mine.ecsv"
        path.write_bytes(content)
        holds(path)

    property_()


USUAL = st.floats(1e-3, 100)
VALUES = USUAL | USUAL | USUAL | USUAL | st.floats() | st.none()


@soak(10, 2000)
@pytest.mark.parametrize("kind", [QTable, Table])
def test_tables_of_any_numbers_are_read_as_astropy_wrote_them(folder, kind, examples):
    @settings(max_examples=examples)
    @given(
        st.lists(st.tuples(VALUES, VALUES, VALUES, VALUES), min_size=1, max_size=4),
        st.sampled_from([{}, {"delimiter": ","}, {"serialize_method": "data_mask"}]),
        st.sampled_from([(u.GHz, u.deg, u.mK * u.arcsec), (u.Hz, u.rad, u.K * u.deg)]),
    )
    def property_(rows, options, units):
        rows = [(freq and freq + 100 * number, *others) for number, (freq, *others) in enumerate(rows)]
        columns = [
            Masked([v or 0.0 for v in c], mask=[v is None for v in c]) for c in zip(*rows, strict=True)
        ]
        values = [column * unit for column, unit in zip(columns, (*units, units[-1]), strict=True)]
        names = [f"band {number}" for number in range(len(rows))]
        table = kind({"band": names, **dict(zip(("freq", "fwhm", "depth", "depth_p"), values, strict=True))})
        path = folder / "mine.ecsv"
        table.write(path, overwrite=True, **options)
        bands_are_those_of_astropy(path)

    property_()


KINDS = [
    getattr(numbers, name) for name in ("Finite", "Positive", "Fwhm", "Depth", "Frequency", "Lmax", "Nside")
]
SCALARS = (
    st.floats() | st.integers() | st.booleans() | st.none() | st.text(max_size=5) | st.sampled_from(NASTY)
)


@soak(150, 20000)
def test_numbers_are_finite_or_refused_in_one_line(examples):
    @settings(max_examples=examples)
    @given(st.sampled_from(KINDS), SCALARS | SCALARS.map(str) | st.lists(SCALARS, max_size=2))
    def property_(kind, value):
        try:
            number = parsed(kind, value)
        except ValueError as error:
            expect_one_line(error)
            return
        assert math.isfinite(number)
        assert not isinstance(value, bool)
        assert number == float(value)

    property_()
