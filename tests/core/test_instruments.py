"""Instruments from tables: units are read, and every mistake is named."""

import pytest

from cmbml.core.errors import ConfigError
from cmbml.core.spec.config import load_config
from cmbml.core.spec.instruments import SHIPPED, read_bands, table_path
from tests.conftest import ROOT

HEADER = """\
# %ECSV 1.0
# ---
# datatype:
# - {name: band, datatype: string}
# - {name: freq, unit: Hz, datatype: float64}
# - {name: fwhm, unit: deg, datatype: float64}
# - {name: depth, unit: K_CMB arcmin, datatype: float64}
band freq fwhm depth
"""
ROWS = "low 30e9 0.5 1e-4\nhigh 100e9 0.25 5e-5\n"


def written(tmp_path, text):
    path = tmp_path / "mine.ecsv"
    path.write_text(text)
    return path


def test_units_are_converted(tmp_path):
    bands = read_bands(written(tmp_path, HEADER + ROWS))
    assert list(bands) == ["low", "high"]
    assert bands["high"] == pytest.approx({"freq_ghz": 100.0, "fwhm_arcmin": 15.0, "depth_uk_arcmin": 50.0})


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.ecsv")), ids=lambda path: path.stem)
def test_shipped_tables_are_instruments(path):
    values = {"instrument.table": path.stem, "instrument.bands": None}
    instrument = load_config(ROOT, overrides=values).params.instrument
    assert len(instrument.bands) >= 7
    astropy = pytest.importorskip("astropy.table")
    table = astropy.Table.read(path, format="ascii.ecsv")
    assert list(map(str, table["band"])) == list(instrument.bands)


def test_the_mini_table_is_the_default_instrument():
    values = {"instrument.table": "mini", "instrument.bands": None}
    assert (
        load_config(ROOT, overrides=values).params.instrument.bands
        == load_config(ROOT).params.instrument.bands
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("unit: deg, ", "", "column 'fwhm' has no unit: give it one such as arcmin"),
        ("unit: deg", "unit: parsec", "column 'fwhm' has the unit 'parsec': give it one such as arcmin"),
        ("# - {name: depth, unit: K_CMB arcmin, datatype: float64}\n", "", "no column 'depth': add it"),
        ("name: fwhm", "name: fwmh", "unknown column 'fwmh': did you mean 'fwhm'?"),
        (
            ROWS,
            "high 100e9 0.25 5e-5\nlow 30e9 0.5 1e-4\n",
            "in order of frequency, each frequency once: sort",
        ),
        (ROWS, "low 30e9 0.5 1e-4\nhigh 30e9 0.25 5e-5\n", "each frequency once"),
        (ROWS, "low 30e9 0.5 1e-4\nlow 100e9 0.25 5e-5\n", "band 'low' stands twice"),
        (ROWS, "", "holds no band"),
        ("30e9", "thirty", "band low: freq is no number: 'thirty'"),
        ("low 30e9 0.5", "low 30e9", "a row has more or fewer values"),
        ("# %ECSV 1.0\n", "", "not an ECSV table"),
    ],
)
def test_mistakes_are_named(tmp_path, old, new, message):
    text = HEADER + ROWS
    assert old in text
    with pytest.raises(ConfigError, match="mine") as caught:
        read_bands(written(tmp_path, text.replace(old, new)))
    assert message in str(caught.value)


def test_unknown_instruments_are_named(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'litebird'"):
        table_path(tmp_path, "litebrd")
    with pytest.raises(ConfigError, match="give a path in the repository"):
        table_path(tmp_path, "gone.ecsv")
