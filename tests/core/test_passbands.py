"""Passbands of an instrument: files in any encoding; every mistake is named in one line."""

import pytest

from cmbml.core.errors import ConfigError, DataError
from cmbml.core.spec.instruments import instrument_files, read_bands, table_path
from cmbml.core.spec.params import Band
from cmbml.core.spec.passbands import Passband, read_passband

TABLE = """\
# %ECSV 1.0
# ---
# datatype:
# - {name: band, datatype: string}
# - {name: freq, unit: GHz, datatype: float64}
# - {name: fwhm, unit: arcmin, datatype: float64}
# - {name: depth, unit: uK_CMB arcmin, datatype: float64}
# - {name: passband, datatype: string}
band freq fwhm depth passband
low 30.0 60.0 10.0 low.csv
high 100.0 30.0 5.0 ""
"""
PASSBAND = "# convention: rj\n# nominal: 28\nGHz,response\n27,0.5\n30,1.0\n33,0.5\n"


def folder(root, table=TABLE, passband=PASSBAND):
    (root / "mine").mkdir()
    (root / "mine/bands.ecsv").write_text(table)
    (root / "mine/low.csv").write_text(passband)
    return table_path(root, "mine")


def test_an_instrument_is_a_folder(tmp_path):
    path = folder(tmp_path)
    bands = {name: Band(**row) for name, row in read_bands(path).items()}
    assert bands["low"].passband == Passband(
        convention="rj", nominal_ghz=28, freq_ghz=(27, 30, 33), response=(0.5, 1, 0.5)
    )
    assert bands["high"].passband is None
    assert instrument_files(path) == [path, path.with_name("low.csv")]
    assert table_path(tmp_path, "mine/bands.ecsv") == path


def test_the_digest_holds_what_a_passband_is(tmp_path):
    """Not how it is written; records hold it in place of the rows."""
    given = {"freq_ghz": 30.0, "fwhm_arcmin": 60.0, "depth_uk_arcmin": 1.0}
    usual = Band(**given, passband=read_passband(folder(tmp_path).with_name("low.csv")))
    assert usual.model_dump()["response"] == usual.response
    assert "passband" not in usual.model_dump()
    texts = {
        "# convention: rj\n# nominal: 28.0\n27 0.50\n30\t1\n33, 0.5 # edge\n": True,
        PASSBAND.replace("rj", "power"): False,
        PASSBAND.replace("nominal: 28", "nominal: 29"): False,
        PASSBAND.replace("33,0.5", "33,0.6"): False,
    }
    for text, same in texts.items():
        (tmp_path / "other.csv").write_text(text)
        other = Band(**given, passband=read_passband(tmp_path / "other.csv"))
        assert (other.response == usual.response) == same


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("27 0.5\n", "low.csv: lacks the line '# convention: power', or rj: add it"),
        ("# convention: energy\n27 0.5\n", "lacks the line '# convention: power'"),
        ("# convention: rj\n27 0.5 3\n", "low.csv, line 2: 3 columns, expected two"),
        ("# convention: rj\n27\n", "low.csv, line 2: 1 columns, expected two"),
        ("# convention: rj\n27 one\n", "low.csv, line 2: .* 'one'"),
        ("# convention: rj\n-27 1\n", "low.csv, line 2: .*greater than 0"),
        ("# convention: rj\n27 nan\n", "low.csv, line 2: .*finite"),
        ("# convention: rj\n# nominal: ten\n27 1\n", "low.csv: nominal: .* 'ten'"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, text, message):
    with pytest.raises(ConfigError, match=f"^.*{message}.*$"):
        read_bands(folder(tmp_path, passband=text))


def test_files_that_are_not_there_or_no_text(tmp_path):
    with pytest.raises(ConfigError, match=r"gone.csv: no such file in mine: add it, or leave the cell blank"):
        read_bands(folder(tmp_path, TABLE.replace("low.csv", "gone.csv")))
    (tmp_path / "latin.csv").write_bytes("# \N{MICRO SIGN}\n90 1\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin.csv: not readable as utf-8: byte b5 in line 1"):
        read_passband(tmp_path / "latin.csv")
    (tmp_path / "utf16.csv").write_text(PASSBAND, encoding="utf-16")
    assert read_passband(tmp_path / "utf16.csv")["freq_ghz"] == [27, 30, 33]


def test_a_band_has_one_response():
    given = {"freq_ghz": 30.0, "fwhm_arcmin": 60.0, "depth_uk_arcmin": 1.0}
    with pytest.raises(ValueError, match="narrower than twice its centre 30"):
        Band(**given, bandwidth_ghz=60.0)
    with pytest.raises(ValueError, match="has a bandwidth and a passband: leave out one"):
        Band(
            **given,
            bandwidth_ghz=5.0,
            passband={"convention": "rj", "freq_ghz": [27.0, 33.0], "response": [1.0, 1.0]},
        )
