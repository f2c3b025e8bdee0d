"""Maps and a_lm in FITS files that hypothesis makes: right cards and wrong ones, any columns, damaged or whole.

What is read is what healpy and astropy read, with the facts of the header applied by hand; all else is refused
in one line.  The big forms run in `make soak`.
"""

import warnings

import astropy.units as u
import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbml.core.handlers import get_handler
from cmbml.sky.passbands import as_bandpass
from cmbml.sky.skymap import UNSEEN, is_unseen
from tests.spoiling import NASTY, damaged, soak, taken

GHZ = 100.0
CMB = u.thermodynamic_temperature(GHZ * u.GHz, T_cmb=2.7255 * u.K)
RJ = u.brightness_temperature(GHZ * u.GHz)
# uK_CMB per unit.
UNITS = {
    "uK_CMB": 1.0,
    "mK,thermodynamic": 1e3,
    "K_CMB": 1e6,
    "Kcmb": 1e6,
    "mK": 1e3,
    "MJy/sr": (1 * u.MJy / u.sr).to_value(u.uK, CMB),
    "K_RJ": (1 * u.K).to(u.MJy / u.sr, RJ).to_value(u.uK, CMB),
}
SKIES = {
    "T": ("I", "T", "I_STOKES", "TEMPERATURE", "signal"),
    "Q": ("Q", "Q_STOKES", "Q_POLARISATION"),
    "U": ("U", "U_STOKES", "u-polarisation"),
}
OTHERS = ("HITS", "N_OBS", "II_COV", "PIXEL", "GAL040", "MASK", "mine", "I", "Q", "")
FORMATS = ("E",) * 6 + (
    "D",
    "J",
    "I",
    "B",
    "L",
    "4E",
    "3E",
    "0E",
    "A",
    "8A",
    "X",
    "C",
    "PE(4)",
    "PJ()",
    "QD",
    "K",
    "?",
)
DTYPES = {"E": ">f4", "D": ">f8", "J": ">i4", "I": ">i2", "B": "u1", "K": ">i8"}


def quoted(text):
    return "'{}'".format(str(text).replace("'", "''"))


def text_of(value):
    """A value as a card has it."""
    return (
        quoted(value)
        if isinstance(value, str)
        else {True: "T", False: "F"}.get(value, repr(value))
        if isinstance(value, bool)
        else repr(value)
    )


def hdu(cards, data=b""):
    """Bytes of an HDU: astropy would refuse to write most of what is wrong here."""
    lines = [f"{key:<8}= {value}"[:80].ljust(80) for key, value in cards]
    header = "".join([*lines, "END".ljust(80)]).encode("latin-1", "replace")
    return header.ljust(-(-len(header) // 2880) * 2880) + data.ljust(-(-len(data) // 2880) * 2880, b"\0")


PRIMARY = [("SIMPLE", "T"), ("BITPIX", "8"), ("NAXIS", "0"), ("EXTEND", "T")]
WRONG = st.sampled_from(
    [text_of(word) for word in NASTY]
    + ["", "1", "-1", "0.5", "T", "(1, 2)", "NaN", "1D5", "'", "''", "1E400"]
)
# Values of cards, the first of them as they should be.
CARDS = {
    "PIXTYPE": ["'HEALPIX'", "'OTHER'"],
    "ORDERING": ["'RING'", "'NESTED'", "'nest '", "'NUNIQ'"],
    "COORDSYS": ["'G'", "'GALACTIC'", "'C'", "'?'", "'UNKNOWN'"],
    "POLCCONV": ["'COSMO'", "'IAU'", "'XXX'", "'iau '"],
    "INDXSCHM": ["'IMPLICIT'", "'EXPLICIT'"],
    "GRAIN": ["0", "1", "2"],
    "OBJECT": ["'FULLSKY'", "'PARTIAL'"],
    "BAD_DATA": ["-1.6375E+30", "-1.6375D30", "0.0", "7"],
    "PIXWIN": ["T", "F", "'T'", "1"],
    "BEAMFWHM": ["80.0", "'80 arcmin'", "'1.5 deg'", "0", "-3"],
    "LMAX": ["8", "8.0", "1000000", "-2"],
    "FIRSTPIX": ["0"],
    "TTYPE1": ["'T'", "'PIXEL'"],
}
SIGHT = ("PIXTYPE", "ORDERING", "COORDSYS", "POLCCONV")


@st.composite
def columns_of(draw):
    """Names and formats of columns: most often a sky, or T, Q and U, with others beside it."""
    families = draw(st.sampled_from([("T",), ("T",), ("T", "Q", "U"), ("T", "Q", "U"), ("T", "Q"), ()]))
    names = [draw(st.sampled_from(SKIES[family])) for family in families]
    names += draw(st.lists(st.sampled_from(OTHERS), min_size=not names, max_size=2))
    if draw(st.integers(0, 4)) == 0:
        names = draw(st.permutations(names))
    usual = draw(st.sampled_from(["E", "D", "4E"]))
    odd = st.integers(0, 14).flatmap(lambda n: st.sampled_from(FORMATS) if n == 0 else st.just(usual))
    return [(name, draw(odd)) for name in names]


def column_bytes(rng, form, rows, first):
    """Values of a column, and the form that they have."""
    letter = form[-1]
    repeat = int(form[:-1] or 1) if form[:-1].isdecimal() or form == letter else 1
    if letter in DTYPES:
        values = (
            rng.integers(0, 100, (rows, repeat)) if letter not in "ED" else rng.normal(0, 50, (rows, repeat))
        )
        if letter in "ED" and values.size:
            for mark, chance in zip((UNSEEN, -1.6e30, np.nan, np.inf, 7.0), first, strict=True):
                values[rng.random(values.shape) < chance] = mark
        return values.astype(DTYPES[letter])
    width = {"L": 1, "A": 1, "X": 1, "C": 8, "P": 8, "Q": 16}.get(form.lstrip("0123456789")[:1], 4) * repeat
    return rng.integers(0, 256, (rows, width)).astype("u1") if width else np.zeros((rows, 0), "u1")


@st.composite
def wronged(draw, cards, n_columns):
    """Cards of which now and then one is another, has no right value, or is missing."""
    cards = list(cards)
    if draw(st.integers(0, 3)) == 0:
        scaling = {
            "TSCAL": ["2.0", "0"],
            "TZERO": ["10", "32768"],
            "TNULL": ["3", "7.5", "-1"],
            "TUNIT": ["'K'", "''", "'kg'", "'mK_CMB'"],
        }
        key = draw(st.sampled_from(list(scaling)))
        cards.append((f"{key}{draw(st.integers(1, n_columns))}", draw(st.sampled_from(scaling[key]))))
    if draw(st.integers(0, 4)) == 0:
        place = draw(st.integers(0, len(cards) - 1))
        cards[place] = (cards[place][0], draw(WRONG))
    if draw(st.integers(0, 9)) == 0:
        del cards[draw(st.integers(1, len(cards) - 1))]
    return cards


@st.composite
def table_hdu(draw):
    """A binary table: a map of HEALPix, more or less."""
    columns = draw(columns_of())
    nside = draw(st.sampled_from([1, 2, 4, 8]))
    explicit = draw(st.integers(0, 6)) == 0
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    npix = 12 * nside**2
    repeats = {form[:-1] for _, form in columns}
    rows = (
        npix // int(next(iter(repeats)))
        if len(repeats) == 1
        and next(iter(repeats)).isdecimal()
        and next(iter(repeats)) != "0"
        and npix % int(next(iter(repeats))) == 0
        else npix
    )
    if draw(st.integers(0, 19)) == 0:
        rows = draw(st.integers(0, 60))
    chances = [draw(st.sampled_from([0, 0, 0, 0, 0.1])) for _ in range(5)]
    chances[3] = draw(st.sampled_from([0] * 9 + [0.1]))
    arrays = [column_bytes(rng, form, rows, chances) for _, form in columns]
    if explicit:
        rows = draw(st.integers(1, npix))
        arrays = [array[:rows] for array in arrays]
        numbers = rng.permutation(npix)[:rows]
        if draw(st.integers(0, 5)) == 0:
            numbers[0] = draw(st.sampled_from([-1, npix, numbers[-1]]))
        if all(len(array) == rows for array in arrays):
            columns, arrays = [("PIXEL", "J"), *columns], [numbers[:, None].astype(">i4"), *arrays]
        rows = len(arrays[0])
    data = np.concatenate(
        [array.view("u1").reshape(rows, -1) if array.size else np.zeros((rows, 0), "u1") for array in arrays],
        axis=1,
    )
    cards = [("XTENSION", "'BINTABLE'"), ("BITPIX", "8"), ("NAXIS", "2"), ("NAXIS1", str(data.shape[1])),
             ("NAXIS2", str(rows)), ("PCOUNT", "0"), ("GCOUNT", "1"), ("TFIELDS", str(len(columns)))]  # fmt: skip
    unit = draw(st.sampled_from(list(UNITS)))
    for number, (name, form) in enumerate(columns, 1):
        cards += [
            (f"TTYPE{number}", quoted(name)),
            (f"TFORM{number}", quoted(form)),
            (f"TUNIT{number}", quoted(unit)),
        ]
    cards.append(("NSIDE", str(nside)))
    cards += [(key, draw(st.sampled_from([CARDS[key][0]] * 6 + CARDS[key]))) for key in SIGHT]
    if explicit:
        cards.append(("INDXSCHM", "'EXPLICIT'"))
    for key in draw(st.lists(st.sampled_from([*CARDS, "INDXSCHM"]), max_size=2)):
        cards.append((key, draw(st.sampled_from(CARDS[key]))))
    return hdu(draw(wronged(cards, len(columns))), data.tobytes())


PICTURE = hdu(
    [
        ("XTENSION", "'IMAGE   '"),
        ("BITPIX", "-32"),
        ("NAXIS", "2"),
        ("NAXIS1", "4"),
        ("NAXIS2", "5"),
        ("PCOUNT", "0"),
        ("GCOUNT", "1"),
    ],
    bytes(80),
)


@st.composite
def map_files(draw):
    hdus = draw(
        st.sampled_from([["table"]] * 8 + [["table", "table"], ["picture", "table"], ["picture"], []])
    )
    return hdu(PRIMARY) + b"".join(PICTURE if kind == "picture" else draw(table_hdu()) for kind in hdus)


TOLD = st.sampled_from(
    [{"missing": "nan"}] * 6
    + [{}, {"unit": "mK_CMB"}, {"polconv": "IAU"}, {"coord": "G"}, {"coord": "C"}, {"hdu": 1}, {"hdu": "2"}]
    + [
        {"column": "I"},
        {"field": "0"},
        {"field": (0, 1, 2)},
        {"pixwin": True},
        {"missing": "0"},
        {"column": "I,Q"},
    ]
    + [{"field": "-1"}, {"field": "٣"}, {"way": "command", "hdu": ""}, {"fwhm_arcmin": 80.0}]
)


def by_name(names, content):
    """Places of T, or T, Q and U."""
    plain = [name.replace("-", "_").upper() for name in names]
    wanted = {family: [known.replace("-", "_").upper() for known in SKIES[family]] for family in SKIES}
    found = {family: [i for i, name in enumerate(plain) if name in wanted[family]] for family in wanted}
    places = (
        [found["T"], found["Q"], found["U"]]
        if content == "TQU" and found["Q"] and found["U"]
        else [found["T"]]
    )
    return [place[0] for place in places] if all(len(place) == 1 for place in places) else None


def by_healpy(path, content, told):
    """The map as healpy reads it, missing pixels NaN, uK_CMB where it is a sky; None where it is none of healpy's."""
    with fits.open(path) as hdus:
        tables = [n for n, one in enumerate(hdus) if isinstance(one, fits.BinTableHDU)]
        tables = [int(told["hdu"])] if told.get("hdu") else tables
        if len(tables) > 1:
            tables = [
                n
                for n in tables
                if "ORDERING" in hdus[n].header or hdus[n].header.get("PIXTYPE") == "HEALPIX"
            ]
        if len(tables) != 1:
            return None
        (number,) = tables
        table, header = hdus[number], hdus[number].header
        names = list(table.columns.names)
        places = by_name(names, content)
        if places is None:
            return None
        header["ORDERING"] = {"NEST": "NESTED"}.get(
            header["ORDERING"].strip().upper(), header["ORDERING"].strip().upper()
        )
        partial = header.get("INDXSCHM", "").strip().upper() == "EXPLICIT" or "PIXEL" in names
        if partial and names[0] != "PIXEL":
            return None
        for card in ("OBJECT", "INDXSCHM"):
            header.pop(card, None)
        fields = [place - partial for place in places]
        rows = np.atleast_2d(hp.read_map(hdus, field=fields, hdu=number, partial=partial, dtype=np.float64))
        for row, place in zip(rows, places, strict=True):
            null, form = header.get(f"TNULL{place + 1}"), table.columns[place].format
            if form[-1] in "BIJK" and isinstance(null, int):
                scale, zero = (
                    header.get(f"{key}{place + 1}", usual) for key, usual in (("TSCAL", 1), ("TZERO", 0))
                )
                row[row == null * scale + zero] = np.nan
        bad = header.get("BAD_DATA")
        rows[rows < -8e29] = np.nan
        if bad not in (None, ""):
            rows[np.isclose(rows, float(str(bad).upper().replace("D", "E")), rtol=1e-6, atol=0)] = np.nan
        convention = str(told.get("polconv") or header.get("POLCCONV", "COSMO")).strip().upper()
        if len(rows) == 3 and convention == "IAU":
            rows[2] *= -1
        unit = told.get("unit") or header.get(f"TUNIT{places[0] + 1}")
        return rows * {**UNITS, "K": 1e6, "mK_CMB": 1e3}.get(str(unit).strip(), np.nan)


def maps_are_those_of_healpy(path, content, told):
    sky = taken(
        lambda file: get_handler("HealpyMap").read(file, content=content, allow_unseen=True, **told), path
    )
    if sky is None:
        return
    missing = is_unseen(sky.values)
    assert np.isfinite(sky.values).all()
    assert sky.values.shape[1] == 12 * sky.nside**2
    if content not in ("T", "TQU") or told.get("coord") == "C" or not {"column", "field"}.isdisjoint(told):
        return
    theirs = by_healpy(path, content, told)
    if theirs is None:
        return
    ours = np.where(missing, np.nan, sky.to("uK_CMB", band=as_bandpass(GHZ)).values)
    np.testing.assert_allclose(ours, theirs, rtol=2e-4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("spoilt_maps")


@soak(110, 9000)
def test_maps_are_read_as_healpy_reads_them_or_refused_in_one_line(folder, examples):
    @settings(max_examples=examples)
    @given(damaged(map_files()), st.sampled_from(["TQU", "TQU", "T", "weights", "variance"]), TOLD)
    def property_(content, wanted, told):
        path = folder / "mine.fits"
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            maps_are_those_of_healpy(path, wanted, told)

    property_()


@st.composite
def alm_files(draw):
    """Coefficients as healpy and the project write them: one table for T, or for each of T, E and B."""
    lmax, fields = draw(st.integers(0, 6)), draw(st.sampled_from([1, 3, 3, 2]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    ell, m = hp.Alm.getlm(lmax)
    index = ell * ell + ell + m + 1
    if draw(st.integers(0, 5)) == 0:
        index = draw(st.sampled_from([index[::-1], index + 1, index * 0]))
    form = draw(st.sampled_from(["E", "D"]))
    tables = []
    for _ in range(fields):
        rows = np.zeros(len(index), [("index", ">i4"), ("real", DTYPES[form]), ("imag", DTYPES[form])])
        rows["index"], rows["real"], rows["imag"] = index, *rng.normal(size=(2, len(index)))
        rows["imag"][m == 0] = 0
        if draw(st.integers(0, 9)) == 0:
            rows["real"][0] = draw(st.sampled_from([np.nan, np.inf]))
        cards = [("XTENSION", "'BINTABLE'"), ("BITPIX", "8"), ("NAXIS", "2"), ("NAXIS1", str(rows.itemsize)),
                 ("NAXIS2", str(len(rows))), ("PCOUNT", "0"), ("GCOUNT", "1"), ("TFIELDS", "3")]  # fmt: skip
        names = draw(
            st.sampled_from([("index", "real", "imag")] * 9 + [("imag", "index", "real"), ("a", "b", "c")])
        )
        for number, (name, kind) in enumerate(zip(names, ("J", form, form), strict=True), 1):
            cards += [(f"TTYPE{number}", quoted(name)), (f"TFORM{number}", quoted(kind))]
        cards += [("TUNIT2", quoted("uK_CMB")), ("TUNIT3", quoted("uK_CMB")), ("LMAX", str(lmax))]
        cards.append(("BEAMFWHM", draw(st.sampled_from(["80.0", "80.0", *CARDS["BEAMFWHM"]]))))
        if draw(st.integers(0, 3)) == 0:
            place = draw(st.integers(0, len(cards) - 1))
            cards[place] = (cards[place][0], draw(WRONG))
        tables.append(hdu(cards, rows.tobytes()))
    return hdu(PRIMARY) + b"".join(tables)


def coefficients_are_those_of_healpy(path):
    alms = taken(get_handler("HealpyAlm").read, path)
    if alms is None:
        return
    assert np.isfinite(alms.values).all()
    assert alms.fwhm_arcmin is None or alms.fwhm_arcmin >= 0
    for number, row in enumerate(alms.values, 1):
        np.testing.assert_array_equal(row, np.asarray(hp.read_alm(path, hdu=number)))


@soak(40, 2000)
def test_coefficients_are_read_as_healpy_reads_them_or_refused_in_one_line(folder, examples):
    @settings(max_examples=examples)
    @given(damaged(alm_files()))
    def property_(content):
        path = folder / "alm.fits"
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            coefficients_are_those_of_healpy(path)

    property_()
