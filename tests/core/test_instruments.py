"""Instruments from tables: as astropy writes them, in any encoding that they declare; every mistake is named."""

import codecs
import math
import subprocess
import sys

import astropy.units as u
import pytest
from astropy.table import QTable, Table
from astropy.utils.masked import Masked

from cmbml.core.errors import CmbmlError, ConfigError
from cmbml.core.spec.config import load_config
from cmbml.core.spec.instruments import SHIPPED, read_bands, table_path
from cmbml.core.spec.params import Band
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


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("uK_CMB arcmin", 1),
        ("uK-arcmin", 1),
        ("arcmin uKcmb", 1),
        ("uK_CMB-arcmin", 1),
        ("\N{MICRO SIGN}K arcmin", 1),
        ("\N{GREEK SMALL LETTER MU}K.arcmin", 1),
        ("mK_CMB arcsec", 1e3 / 60),
        ("K deg", 6e7),
        ("K rad", 1e6 * 10800 / math.pi),
    ],
)
def test_depths_are_read_in_the_spellings_of_the_field(tmp_path, unit, factor):
    bands = read_bands(written(tmp_path, (HEADER + ROWS).replace("K_CMB arcmin", unit)))
    assert bands["low"]["depth_uk_arcmin"] == pytest.approx(1e-4 * factor)


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*/*.ecsv")), ids=lambda path: path.parent.name)
def test_shipped_tables_are_instruments(path):
    """As astropy reads them, though they are read without it: that takes too long for every process."""
    values = {"instrument.table": path.parent.name, "instrument.bands": None}
    instrument = load_config(ROOT, overrides=values).params.instrument
    assert len(instrument.bands) >= 6
    table = Table.read(path, format="ascii.ecsv")
    assert table["band"].tolist() == list(instrument.bands)
    assert table["fwhm"].tolist() == instrument.fwhm_arcmin
    if "depth_p" in table.colnames:
        assert table["depth_p"].tolist() == [b.depth_p_uk_arcmin for b in instrument.bands.values()]


def test_shipped_tables_are_read_without_astropy():
    code = (
        "import sys; from cmbml.core.spec.instruments import *\n"
        "for path in SHIPPED.glob('*/*.ecsv'): read_bands(path)\n"
        "assert 'astropy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


BANDS = {
    "100": {"freq_ghz": 100.0, "fwhm_arcmin": 120.0, "depth_uk_arcmin": 50.0, "depth_p_uk_arcmin": 70.0},
    "857": {"freq_ghz": 857.0, "fwhm_arcmin": 60.0, "depth_uk_arcmin": 1e4, "depth_p_uk_arcmin": None},
}


def quantities(kind=QTable):
    return kind(
        {
            "band": [100, 857],
            "freq": [100, 857] * u.GHz,
            "fwhm": [2, 1] * u.deg,
            "depth": [50, 1e4] * u.arcmin * u.uK,
            "depth_p": Masked([70.0, 1.0], mask=[False, True]) * u.uK * u.arcmin,
        }
    )


@pytest.mark.parametrize("kind", [QTable, Table])
@pytest.mark.parametrize("options", [{}, {"serialize_method": "data_mask"}, {"delimiter": ","}])
def test_what_astropy_writes_is_read(tmp_path, kind, options):
    quantities(kind).write(tmp_path / "q.ecsv", **options)
    assert read_bands(tmp_path / "q.ecsv") == BANDS


@pytest.mark.parametrize("column", ["freq", "fwhm", "depth"])
def test_masked_values_are_refused_where_one_is_needed(tmp_path, column):
    table = quantities()
    table[column] = Masked(table[column], mask=[True, False])
    table.write(tmp_path / "q.ecsv")
    with pytest.raises(
        ConfigError, match=rf"^q.ecsv, row 1 \(band 100\): {column} is blank: give it a value"
    ):
        read_bands(tmp_path / "q.ecsv")


NOTED = HEADER.replace("# datatype", "# meta: {note: in \xb5K}\n# datatype") + ROWS


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-32-le", codecs.BOM_UTF32_LE),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_marks_of_the_byte_order_say_the_encoding(tmp_path, encoding, mark, end):
    path = tmp_path / "mine.ecsv"
    path.write_bytes(mark + NOTED.replace("\n", end).encode(encoding))
    assert read_bands(path)["high"]["fwhm_arcmin"] == 15.0


@pytest.mark.parametrize("said", ["# coding: latin-1", "# -*- coding: latin-1 -*-", "# encoding: latin-1"])
def test_encodings_may_be_declared(tmp_path, said):
    path = tmp_path / "mine.ecsv"
    path.write_bytes(NOTED.replace("# ---", f"# ---\n{said}").encode("latin-1"))
    assert read_bands(path)["high"]["fwhm_arcmin"] == 15.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (NOTED.encode("latin-1"), "utf-8: byte b5 in line 3: save it as UTF-8, or declare its encoding"),
        (NOTED.encode("utf-16-le"), "UTF-16 without a byte-order mark"),
        (codecs.BOM_UTF16_LE + b"\x00", "not readable as utf-16"),
        (b"# %ECSV 1.0\n# coding: klingon\n", "not readable as klingon: unknown encoding"),
        (b"# %ECSV 1.0\n# coding: zlib\n", "not readable as zlib"),
    ],
)
def test_text_that_cannot_be_read_is_told_in_one_line(tmp_path, content, message):
    path = tmp_path / "mine.ecsv"
    path.write_bytes(content)
    with pytest.raises(CmbmlError, match=r"^[^\n]*mine.ecsv: [^\n]+$") as caught:
        read_bands(path)
    assert message in str(caught.value)


@pytest.mark.parametrize("declared", ["", '# delimiter: "\\t"\n'])
def test_tabs_may_separate_columns(tmp_path, declared):
    text = HEADER.replace("# datatype", f"{declared}# datatype")
    rows = text.splitlines()[-1] + "\n" + ROWS.replace("low", "the low one")
    tabbed = (
        "\n".join(text.splitlines()[:-1])
        + "\n"
        + rows.replace(" ", "\t").replace("the\tlow\tone", "the low one")
    )
    bands = read_bands(written(tmp_path, tabbed))
    assert list(bands) == ["the low one", "high"]
    assert bands["high"]["fwhm_arcmin"] == 15.0


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
        ("unit: deg", "unit: kg", "column 'fwhm' has the unit 'kg': give it one such as arcmin"),
        ("unit: Hz", "unit: dB(Hz)", "column 'freq' has the unit 'dB(Hz)': give it one such as GHz"),
        ("unit: Hz", "unit: um", "column 'freq' has the unit 'um'"),
        ("K_CMB arcmin", "K_RJ arcmin", "column 'depth' has the unit 'K_RJ arcmin'"),
        ("K_CMB arcmin", "K_CMB", "column 'depth' has the unit 'K_CMB': give it one such as uK_CMB arcmin"),
        ("fwhm", "fwmh", "unknown column 'fwmh': did you mean 'fwhm'?"),
        ("band", "name", "unknown column 'name'"),
        ("freq", "bandwidth", "no column 'freq': add it, with a unit such as GHz"),
        ("0.25", '""', "mine.ecsv, row 2 (band high): fwhm is blank: give it a value"),
        ("0.25", "nan", "row 2 (band high): fwhm should be a finite number (it is nan)"),
        ("0.25", "0", "row 2 (band high): fwhm should be greater than 0 (it is 0.0)"),
        ("0.5", "-0.5", "row 1 (band low): fwhm should be greater than 0 (it is -30.0)"),
        ("1e-4", "0", "row 1 (band low): depth should be greater than 0"),
        ("1e-4", "inf", "row 1 (band low): depth should be a finite number"),
        ("1e-4", "1e308", "row 1 (band low): depth should be a finite number"),
        ("30e9", "30e19", "row 1 (band low): freq should be less than or equal to 20000"),
        ("\nlow", '\n""', "row 1: '' is no name, or stands twice"),
        ("unit: deg, datatype: float64", "unit: deg, datatype: bool", "not readable as ECSV"),
        (
            "datatype: float64}\nband",
            "datatype: string, subtype: 'float64[2]'}\nband",
            "not readable as ECSV",
        ),
        ("# datatype:", "# datatype: 3", "not readable as ECSV"),
        ("# ---", "# : [", "not readable as ECSV"),
        (
            ROWS,
            "high 100e9 0.25 5e-5\nlow 30e9 0.5 1e-4\n",
            "in order of frequency, each frequency once: sort",
        ),
        (ROWS, "low 30e9 0.5 1e-4\nhigh 30e9 0.25 5e-5\n", "each frequency once"),
        (ROWS, "low 30e9 0.5 1e-4\nlow 100e9 0.25 5e-5\n", "row 2: 'low' is no name, or stands twice"),
        (ROWS, "", "holds no band"),
        ("30e9", "thirty", "column 'freq' failed to convert"),
        ("low 30e9 0.5", "low 30e9", "inconsistent with data columns (3)"),
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
    with pytest.raises(ConfigError, match="give the path of a table"):
        table_path(tmp_path, "gone.ecsv")


def test_a_blank_depth_of_polarisation_is_not_the_default(tmp_path):
    """Without the column bands have sqrt(2) of temperature's, with a blank cell no Q and U."""
    usual = Band(**read_bands(written(tmp_path, HEADER + ROWS))["low"])
    assert usual.depth_p_uk_arcmin == pytest.approx(math.sqrt(2) * usual.depth_uk_arcmin)
    planck = {name: Band(**row) for name, row in read_bands(table_path(tmp_path, "planck")).items()}
    assert [name for name, band in planck.items() if not band.polarised] == ["545", "857"]
