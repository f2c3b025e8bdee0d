"""Maps as others write them: what the header says is done, what it leaves open is told or said, the rest refused."""

import bz2
import gzip

import healpy as hp
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits

from cmbml.core.errors import DataError
from cmbml.core.handlers import get_handler
from cmbml.core.handlers.cards import WAYS
from cmbml.sky.sht import draw_alm
from cmbml.sky.skymap import UNSEEN, SkyAlm, SkyMap, is_unseen

NSIDE = 8
NPIX = 12 * NSIDE**2
STOKES = ["TEMPERATURE", "Q_POLARISATION", "U_POLARISATION"]


def sky(n_stokes=1, seed=0):
    return np.random.default_rng(seed).standard_normal((n_stokes, NPIX)).astype(np.float32)


def table(columns, cards=None, units="uK_CMB", name=None):
    """A HEALPix table of columns by name; cards that are None are left out."""
    units = units if isinstance(units, tuple) else (units,) * len(columns)
    made = [
        fits.Column(key, "J" if np.asarray(row).dtype.kind == "i" else "E", unit=unit, array=row)
        for (key, row), unit in zip(columns.items(), units, strict=True)
    ]
    hdu = fits.BinTableHDU.from_columns(made, name=name)
    usual = {"PIXTYPE": "HEALPIX", "ORDERING": "RING", "COORDSYS": "G", "NSIDE": NSIDE, "POLCCONV": "COSMO",
             "PIXWIN": False}  # fmt: skip
    hdu.header.update({key: value for key, value in (usual | (cards or {})).items() if value is not None})
    return hdu


@pytest.fixture
def write(tmp_path):
    """Writes a file of tables, or of one table of `sky`, and returns its path."""

    def written(*hdus, n_stokes=1, rows=None, **told):
        if not hdus:
            rows = sky(n_stokes) if rows is None else rows
            hdus = [table(dict(zip(STOKES, rows, strict=False)), **told)]
        path = tmp_path / "m.fits"
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path, overwrite=True)
        return path

    return written


def read(path, **told):
    return get_handler("HealpyMap").read(path, **told)


def refused(path, message, **told):
    with pytest.raises(DataError, match=message) as caught:
        read(path, **told)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_what_is_written_is_read_without_an_assumption(tmp_path):
    for name in ("m.fits", "m.fits.gz"):
        get_handler("HealpyMap").write(tmp_path / name, SkyMap(sky(3), "uK_CMB", 80.0, 16))
        found = read(tmp_path / name)
        np.testing.assert_array_equal(found.values, sky(3))
        assert found.assumed == ()
    assert (tmp_path / "m.fits.gz").read_bytes() == gzip.compress((tmp_path / "m.fits").read_bytes(), mtime=0)


def test_what_python_cannot_unpack_is_told(tmp_path):
    (tmp_path / "map.fits.Z").write_bytes(b"\x1f\x9d\x90" + bytes(3000))
    refused(tmp_path / "map.fits.Z", "packed by compress, as .Z: unpack it with gunzip first")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_packed_files_are_read_and_told_when_cut(write, tmp_path, pack):
    packed = tmp_path / "m.fits.gz"
    packed.write_bytes(pack(write().read_bytes()))
    np.testing.assert_array_equal(read(packed).values, sky())
    packed.write_bytes(packed.read_bytes()[:-40])
    refused(packed, "packed, and cannot be unpacked")


class TestOrdering:
    @pytest.mark.parametrize("word", ["NESTED", "NEST", "nested", "Nest"])
    def test_nested_is_turned(self, write, word):
        path = write(rows=hp.reorder(sky(), r2n=True), cards={"ORDERING": word})
        np.testing.assert_array_equal(read(path).values, sky())

    @pytest.mark.parametrize("word", ["NUNIQ", "RINGED", "5"])
    def test_another_is_refused(self, write, word):
        refused(write(cards={"ORDERING": word}), f"ORDERING is {word}: known are RING and NESTED")

    def test_another_nside_than_the_rows(self, write):
        refused(write(cards={"NSIDE": 16}), "NSIDE is 16, and 768 pixels are those of 8")


class TestPolarisation:
    def test_iau_is_turned_to_cosmo(self, write):
        found = read(write(n_stokes=3, cards={"POLCCONV": "IAU"})).values
        np.testing.assert_array_equal(found, sky(3) * [[1], [1], [-1]])

    def test_missing_pixels_keep_their_mark(self, write):
        rows = sky(3)
        rows[:, 5] = UNSEEN
        found = read(write(rows=rows, cards={"POLCCONV": "IAU"}), allow_unseen=True).values
        assert np.flatnonzero(is_unseen(found[2])).tolist() == [5]

    def test_absent_is_cosmo_and_said_where_there_is_polarisation(self, write):
        found = read(write(n_stokes=3, cards={"POLCCONV": None}))
        np.testing.assert_array_equal(found.values, sky(3))
        assert found.assumed == ("polconv COSMO (no POLCCONV)",)
        assert read(write(n_stokes=1, cards={"POLCCONV": None})).assumed == ()

    def test_the_option_settles_it_and_may_not_contradict(self, write):
        silent = write(n_stokes=3, cards={"POLCCONV": None})
        np.testing.assert_array_equal(read(silent, polconv="iau").values[2], -sky(3)[2])
        loud = write(n_stokes=3, cards={"POLCCONV": "COSMO"})
        refused(loud, "POLCCONV is COSMO, --polconv IAU contradicts", polconv="IAU", way="command")
        refused(write(n_stokes=3, cards={"POLCCONV": "LEFT"}), "POLCCONV is 'LEFT', which is not known")

    def test_it_counts_in_the_primary_header_too(self, write, tmp_path):
        path = write(n_stokes=3, cards={"POLCCONV": None})
        fits.setval(path, "POLCCONV", value="IAU", ext=0)
        np.testing.assert_array_equal(read(path).values[2], -sky(3)[2])

    @pytest.mark.parametrize(("card", "here", "there", "same"), [
        ("COORDSYS", "G", "C", "GALACTIC"), ("ORDERING", "RING", "NESTED", "ring"), ("NSIDE", NSIDE, 64, f"{NSIDE}.0"),
        ("POLCCONV", "COSMO", "IAU", ""), ("PIXWIN", False, True, ".false."), ("BAD_DATA", -32768.0, 0, "-3.2768D4"),
    ])  # fmt: skip
    def test_it_may_not_contradict_the_table(self, write, card, here, there, same):
        path = write(n_stokes=3, cards={card: here})
        fits.setval(path, card, value=there, ext=0)
        refused(path, f"{card} is {there} in the primary header, {here} in the table's: mend one of them")
        fits.setval(path, card, value=same, ext=0)
        np.testing.assert_array_equal(read(path).values, sky(3))


def band_limited(n_stokes):
    rng = np.random.default_rng(3)
    alm = np.array([draw_alm(np.r_[0, 0, np.full(11, 1.0)], rng) for _ in range(n_stokes)])
    return np.atleast_2d(hp.alm2map(alm if n_stokes == 3 else alm[0], NSIDE)), alm


class TestCoordinates:
    @pytest.mark.parametrize("word", ["C", "Q", "ICRS", "FK5", "J2000", "CELESTIAL", "E", "ecliptic"])
    def test_others_are_refused_with_the_advice_that_works(self, write, word):
        key = "E" if word[0] in "Ee" else "C"
        path = write(cards={"COORDSYS": word})
        refused(path, f"COORDSYS is {word} .*: --coord {key} has it rotated", way="command")
        assert "rotated from" in read(path, coord=key).assumed[0]

    @pytest.mark.parametrize("word", ["X", "FK4"])
    def test_what_is_not_known_is_refused(self, write, word):
        refused(write(cards={"COORDSYS": word}), f"COORDSYS is '{word}', which is not known")

    @pytest.mark.parametrize("card", ["RADESYS", "RADECSYS", "COORDREF"])
    @pytest.mark.parametrize("word", ["ICRS", "FK5"])
    def test_a_frame_alone_is_equatorial(self, write, card, word):
        path = write(cards={"COORDSYS": None, card: word})
        refused(path, rf"{card} is {word} \(equatorial\): --coord C has it rotated", way="command")
        assert "rotated from" in read(path, coord="C").assumed[0]
        assert read(write(cards={"COORDSYS": "G", card: word})).assumed == ()

    def test_a_frame_that_is_not_that_of_the_rotation_is_told(self, write):
        path = write(cards={"COORDSYS": None, "RADESYS": "FK4"})
        refused(path, "RADESYS is 'FK4', which is not known: say --coord", way="command")
        refused(write(cards={"COORDSYS": "G", "SKYCOORD": "C"}), "COORDSYS is G, SKYCOORD is C: mend one")

    def test_absent_is_galactic_and_said(self, write):
        for word in (None, "", "unknown"):
            assert read(write(cards={"COORDSYS": word})).assumed == ("coord G (no COORDSYS)",)

    def test_the_option_may_not_contradict_the_header(self, write):
        refused(write(), "COORDSYS is G, --coord C contradicts it", coord="C", way="command")

    @pytest.mark.parametrize("n_stokes", [1, 3])
    def test_a_sky_is_rotated_as_healpy_does(self, write, n_stokes):
        rows, alm = band_limited(n_stokes)
        found = read(write(rows=rows, cards={"COORDSYS": "C", "LMAX": 12}), coord="C").values
        rotated = hp.Rotator(coord="CG").rotate_alm(alm if n_stokes == 3 else alm[0])
        expected = np.atleast_2d(hp.alm2map(rotated, NSIDE))
        np.testing.assert_allclose(found, expected, atol=1e-3)

    def test_the_direction_is_that_of_astropy(self, write):
        """A hot spot at the equatorial pole stands at the Galactic place that astropy names."""
        rows = np.zeros((1, NPIX))
        rows[0, hp.query_disc(NSIDE, [0, 0, 1], np.radians(15))] = 1
        found = read(write(rows=rows, cards={"COORDSYS": None}), coord="C").values[0]
        place = SkyCoord(0 * u.deg, 90 * u.deg, frame="icrs").galactic
        hot = np.average(hp.pix2vec(NSIDE, np.arange(NPIX)), axis=1, weights=np.clip(found, 0, None))
        expected = hp.ang2vec(place.l.deg, place.b.deg, lonlat=True)
        assert hot @ expected / np.linalg.norm(hot) > np.cos(np.radians(2))

    def test_holes_are_filled_first_and_are_missing_where_they_come_to(self, write):
        rows, _ = band_limited(1)
        hole = hp.query_disc(NSIDE, [1, 0, 0], np.radians(20))
        whole = read(write(rows=rows, cards={"COORDSYS": "C"}), coord="C").values[0]
        rows[0, hole] = UNSEEN
        found = read(write(rows=rows, cards={"COORDSYS": "C"}), coord="C", allow_unseen=True).values[0]
        missing = is_unseen(found)
        assert missing.sum() == pytest.approx(len(hole), abs=4)
        centre = SkyCoord(0 * u.deg, 0 * u.deg, frame="icrs").galactic
        assert missing[hp.ang2pix(NSIDE, centre.l.deg, centre.b.deg, lonlat=True)]
        far = ~is_unseen(hp.smoothing(missing.astype(float), fwhm=0.5)) & (
            hp.smoothing(missing.astype(float), fwhm=0.5) < 1e-3
        )
        assert np.std((found - whole)[far]) < 0.05 * np.std(whole)

    def test_a_mask_is_rotated_pixel_by_pixel(self, write):
        mask = np.ones((1, NPIX))
        mask[0, hp.query_disc(NSIDE, [0, 0, 1], np.radians(30))] = 0
        found = read(write(rows=mask, cards={"COORDSYS": "C"}), content="weights", coord="C").values[0]
        assert set(found) == {0, 1}
        lon, lat = hp.pix2ang(NSIDE, np.arange(NPIX), lonlat=True)
        declination = SkyCoord(lon * u.deg, lat * u.deg, frame="galactic").icrs.dec.deg
        assert not found[declination > 67].any()
        assert found[declination < 53].all()
        galactic = read(write(rows=mask), content="weights", coord="C").values[0]
        np.testing.assert_array_equal(galactic, mask[0])


class TestMissing:
    @pytest.mark.parametrize("mark", [-32768.0, "-3.2768E+04", 0.0, -99])
    def test_the_files_own_mark(self, write, mark):
        rows = sky()
        rows[0, 7] = float(mark)
        path = write(rows=rows, cards={"BAD_DATA": mark})
        assert np.flatnonzero(is_unseen(read(path, allow_unseen=True).values[0])).tolist() == [7]
        refused(path, "has 1 missing pixels")

    @pytest.mark.parametrize(
        ("value", "size"), [(3e38, r"3e\+38"), (-1.6375e24, r"1.6375e\+24"), (-np.inf, "inf")]
    )
    def test_numbers_that_no_sky_has(self, write, value, size):
        rows = sky()
        rows[0, 3] = value
        refused(write(rows=rows), f"holds numbers as large as {size}, which no sky has", missing="nan")

    def test_not_a_number_counts_on_request(self, write):
        rows = sky()
        rows[0, 7] = np.nan
        path = write(rows=rows)
        refused(path, "holds NaN in 1 pixels: --missing nan counts them", way="command")
        found = read(path, missing="nan", allow_unseen=True).values[0]
        assert np.flatnonzero(is_unseen(found)).tolist() == [7]

    @pytest.mark.parametrize("scaled", [{}, {"TSCAL1": 0.1, "TZERO1": 30.0}])
    def test_whole_numbers_with_a_null(self, write, scaled):
        rows = np.arange(NPIX)
        rows[7] = -1
        column = fits.Column("TEMPERATURE", "J", unit="uK_CMB", null=-1, array=rows)
        hdu = fits.BinTableHDU.from_columns([column])
        hdu.header.update({"ORDERING": "RING", "COORDSYS": "G", "PIXWIN": False} | scaled)
        found = read(write(hdu), allow_unseen=True).values[0]
        assert np.flatnonzero(is_unseen(found)).tolist() == [7]
        assert found[100] == pytest.approx(40.0 if scaled else 100.0)


class TestTypes:
    @pytest.mark.parametrize(("text", "truth"), [("F", False), (".false.", False), ("T", True), (".TRUE.", True), (0, False), (1, True)])  # fmt: skip
    def test_pixwin(self, write, text, truth):
        assert read(write(cards={"PIXWIN": text})).pixwin is truth

    def test_pixwin_that_is_no_logical_or_contradicts(self, write):
        refused(write(cards={"PIXWIN": "maybe"}), "PIXWIN is 'maybe': expected T or F")
        refused(write(), "PIXWIN is F, and it is read as with the pixel window", pixwin=True)
        assert read(write(cards={"PIXWIN": None})).assumed == ("no pixel window (no PIXWIN)",)
        assert read(write(cards={"PIXWIN": None}), pixwin=True).pixwin

    @pytest.mark.parametrize(("card", "fwhm"), [(5, 5), ("5.0", 5), ("120 arcmin", 120), ("2 deg", 120), ("1.5 degrees", 90), (0, 0)])  # fmt: skip
    def test_beam(self, write, card, fwhm):
        assert read(write(cards={"BEAMFWHM": card})).fwhm_arcmin == fwhm

    @pytest.mark.parametrize("card", [-5, "nan", "wide", "5 parsec", "inf"])
    def test_no_beam(self, write, card):
        refused(write(cards={"BEAMFWHM": card}), "BEAMFWHM is .*: expected arcmin")

    def test_lmax(self, write):
        assert read(write(cards={"LMAX": "16"})).lmax == 16
        for card in (-1, 2.5, "many"):
            refused(write(cards={"LMAX": card}), "LMAX is")


class TestPixels:
    def partial(self, pixels, cards=None, **more):
        return table(
            {"PIXEL": pixels, "SIGNAL": sky()[0, pixels], "N_OBS": np.full(len(pixels), 3.0)},
            {"OBJECT": "PARTIAL", **(cards or {})},
            **more,
        )

    @pytest.mark.parametrize("pixels", [np.array([9, 3, 700]), np.arange(192)])
    @pytest.mark.parametrize("cards", [{}, {"INDXSCHM": "EXPLICIT"}, {"GRAIN": 1}])
    def test_the_rest_of_a_partial_map_is_missing(self, write, cards, pixels):
        found = read(write(self.partial(pixels, cards)), allow_unseen=True).values[0]
        np.testing.assert_array_equal(found[pixels], sky()[0, pixels])
        assert is_unseen(np.delete(found, pixels)).all()

    def test_their_numbers_may_be_nested(self, write):
        pixels = np.arange(NPIX)[::-1].copy()
        hdu = self.partial(pixels, {"ORDERING": "NESTED", "INDXSCHM": "EXPLICIT"})
        np.testing.assert_array_equal(read(write(hdu)).values[0], hp.reorder(sky()[0], n2r=True))

    @pytest.mark.parametrize("pixels", [[1, 1], [-1, 2], [5, NPIX]])
    def test_numbers_that_cannot_be(self, write, pixels):
        hdu = self.partial(np.array([1, 2]))
        hdu.data["PIXEL"] = pixels
        refused(write(hdu), "the numbers of its pixels are not all different")

    def test_what_the_header_must_say(self, write):
        refused(write(self.partial(np.array([1, 2]), {"NSIDE": None})), "names no NSIDE")
        refused(write(self.partial(np.array([1, 2]), {"INDXSCHM": "IMPLICIT"})), "INDXSCHM is IMPLICIT, and")
        refused(write(cards={"INDXSCHM": "EXPLICIT"}), "no column numbers the pixels")
        refused(write(cards={"INDXSCHM": "SPARSE"}), "INDXSCHM is SPARSE")
        refused(write(cards={"GRAIN": 4}), "GRAIN is 4")


class TestColumns:
    @pytest.mark.parametrize("name", ["I", "I_STOKES", "TEMPERATURE", "T", "SIGNAL", "INTENSITY", "I_Stokes"])
    def test_temperature_by_name_wherever_it_stands(self, write, name):
        hits = np.full(NPIX, 9.0)
        path = write(table({"HITS": hits, "II_COV": hits, name: sky()[0], "TMASK": hits}))
        np.testing.assert_array_equal(read(path).values, sky())

    def test_polarisation_by_name(self, write):
        rows = sky(3)
        path = write(
            table({"U-POLARISATION": rows[2], "N_OBS": rows[0], "Q-POLARISATION": rows[1], "SIGNAL": rows[0]})
        )
        np.testing.assert_array_equal(read(path).values, rows)
        np.testing.assert_array_equal(read(path, content="T").values, rows[:1])
        refused(write(table({"T": rows[0], "Q": rows[1]})), "has a column Q and no U")

    def test_short_names_of_all_three(self, write):
        rows = sky(3)
        path = write(table({"COUNTS": rows[0], "U_POL": rows[2], "TEMP": rows[0], "Q_POL": rows[1]}))
        np.testing.assert_array_equal(read(path).values, rows)

    def test_one_of_an_unknown_name_is_taken_and_said(self, write):
        found = read(write(table({"HITS": sky()[0], "C1": sky()[0]})))
        assert found.assumed == ("column C1, the only one that can be it",)
        rows = sky(3)
        np.testing.assert_array_equal(
            read(write(table({"C1": rows[0], "Q": rows[1], "U": rows[2]}))).values, rows
        )

    @pytest.mark.parametrize("names", [["HITS"], ["A", "B"], ["T", "TEMPERATURE"], ["Q", "U"]])
    def test_what_could_be_several_or_none_is_refused_with_the_option(self, write, names):
        refused(write(table(dict.fromkeys(names, sky()[0]))), "--column", way="command")

    def test_the_user_names_a_column(self, write):
        path = write(table({"A": sky()[0], "B": sky(seed=2)[0]}))
        for told in ({"column": "b"}, {"field": "1"}, {"field": 1}, {"column": ["B"]}):
            np.testing.assert_array_equal(read(path, **told).values, sky(seed=2))
        refused(path, "no column 'C': ", column="C")
        path = write(table({"MAP 1": sky()[0], "map_1": sky(seed=2)[0]}))
        np.testing.assert_array_equal(read(path, column="MAP 1").values, sky())
        refused(path, "columns 0, 1 are called 'MAP_1'", column="MAP_1")
        path = write(table({"A": sky()[0], "B": sky(seed=2)[0]}))
        refused(path, "numbered from 0 to 1", field=2)
        refused(path, "say one of them", column="A", field=1)

    def test_masks_by_name_and_of_any_unit(self, write):
        mask = (np.arange(NPIX) % 2).astype(float)
        for unit in ("mask", "boolean", "N/A", "mK", None):
            path = write(table({"I_STOKES": sky()[0], "TMASK": mask}, units=unit))
            found = read(path, content="weights")
            np.testing.assert_array_equal(found.values[0], mask)
            assert found.unit == "1"
        wmap = write(table({"TEMPERATURE": 0 * mask, "N_OBS": mask}))
        assert not read(wmap, content="weights").values.any()
        np.testing.assert_array_equal(read(wmap, content="weights", column="N_OBS").values[0], mask)
        refused(write(rows=100 * sky()), "goes down to -[0-9.]+, as no mask does", content="weights")
        ringing = (mask - 0.1).astype(np.float32)
        np.testing.assert_array_equal(read(write(rows=ringing[None]), content="weights").values[0], ringing)
        several = write(table({"GAL020": mask, "GAL040": mask}))
        refused(several, "GAL020, GAL040 could be meant: say --mask-column", content="weights", way="mask")

    def test_variances_by_name(self, write):
        names = ("I_STOKES", "HITS", "II_COV", "IQ_COV", "QQ_COV", "UU_COV")
        path = write(table(dict(zip(names, sky(6), strict=True)), units="(K_CMB)^2"))
        found = read(path, content="variance")
        np.testing.assert_array_equal(found.values, sky(6)[[2, 4, 5]])
        assert found.unit == "K_CMB^2"


class TestUnits:
    @pytest.mark.parametrize(("text", "unit"), [
        ("mK,thermodynamic", "mK_CMB"), ("mK, thermodynamic", "mK_CMB"), ("Kcmb", "K_CMB"), ("KCMB", "K_CMB"),
        ("K_cmb", "K_CMB"), ("MJy sr-1", "MJy/sr"), ("MJy / sr", "MJy/sr"), ("uK_RJ", "uK_RJ"),
    ])  # fmt: skip
    def test_spellings(self, write, text, unit):
        found = read(write(units=text))
        assert (found.unit, found.assumed) == (unit, ())

    def test_a_bare_kelvin_is_thermodynamic_and_said_unless_told(self, write):
        path = write(units="mK")
        assert read(path).unit == "mK_CMB"
        assert read(path).assumed == ("unit mK_CMB (it says mK)",)
        assert read(path, unit="mK_RJ").unit == "mK_RJ"
        refused(path, "TUNIT is mK, unit='K_CMB' contradicts it", unit="K_CMB")

    def test_the_option_settles_what_is_not_known(self, write):
        for text in (None, "unknown", "none", "arbitrary"):
            assert read(write(units=text), unit="K_CMB").unit == "K_CMB"
        refused(
            write(units="arbitrary"), "TUNIT is 'arbitrary', which is not known: say --unit", way="command"
        )
        refused(write(units="K_CMB"), "contradicts it", unit="uK_CMB")
        refused(write(units=None), "unit='cm' is not known", unit="cm")

    def test_columns_agree_by_meaning(self, write):
        rows = dict(zip("IQU", sky(3), strict=True))
        assert read(write(table(rows, units=("K_CMB", "Kcmb", None)))).unit == "K_CMB"
        refused(write(table(rows, units=("K_CMB", "mK_CMB", None))), "columns have several units")


class TestTables:
    def test_the_map_is_found_among_tables_and_pictures(self, write):
        other = fits.BinTableHDU.from_columns([fits.Column("L", "J", array=np.arange(4))], name="BEAM")
        picture = fits.ImageHDU(np.zeros((4, 5)))
        path = write(other, picture, table({"I": sky()[0]}, name="MAP"))
        np.testing.assert_array_equal(read(path).values, sky())

    def test_several_maps_are_told_apart_by_the_option(self, write):
        path = write(table({"I": sky()[0]}, name="ONE"), table({"I": sky(seed=2)[0]}, name="TWO"))
        refused(path, r"tables in HDU 1 \(ONE\), 2 \(TWO\): say --hdu 1", way="command")
        for hdu in (2, "2", "two"):
            np.testing.assert_array_equal(read(path, hdu=hdu).values, sky(seed=2))
        refused(path, "hdu='3': no such table", hdu="3")

    def test_weights_beside_the_sky_are_not_the_sky(self, write):
        weights = table(dict.fromkeys(["N_OBS", "QQ", "QU", "UU"], sky(seed=2)[0]), name="INVERSE WEIGHTS")
        path = write(weights, table({"TEMPERATURE": sky()[0], "N_OBS": sky(seed=3)[0]}, name="STOKES MAPS"))
        np.testing.assert_array_equal(read(path).values, sky())
        refused(path, "tables in HDU", content="weights")

    def test_pixels_of_another_kind(self, write):
        refused(write(cards={"PIXTYPE": "CAR"}), "PIXTYPE is CAR: expected HEALPIX")

    def test_advice_for_programmers_is_not_passed_on(self, tmp_path):
        (tmp_path / "m.fits").write_text("<html>")
        refused(tmp_path / "m.fits", "not a readable FITS file: No SIMPLE card found[^.]*$")

    def test_pictures_are_told(self, write, tmp_path):
        refused(write(fits.ImageHDU(np.zeros((4, 5)))), "HDU 1 is a picture of 4 x 5: give the map itself")
        fits.PrimaryHDU(np.zeros(NPIX)).writeto(tmp_path / "p.fits")
        refused(tmp_path / "p.fits", "HDU 0 is a picture of 768")

    def test_columns_without_numbers(self, write):
        hdu = fits.BinTableHDU.from_columns([fits.Column("I", "3A", array=["a", "b"])])
        hdu.header["ORDERING"] = "RING"
        refused(write(hdu), "column I holds no real numbers")


def test_advice_fits_every_way_in(write):
    path = write(units=None)
    for way, option in WAYS.items():
        refused(path, option.format("unit", "...").replace("{", r"\{"), way=way)
    refused(
        write(rows=np.full((1, NPIX), np.nan)), "--missing nan counts them", way="mask", content="weights"
    )


def test_columns_of_one_name_are_told_apart_and_all_need_one(write):
    path = write(table(dict(zip("ab", sky(2), strict=True))))
    content = (
        path.read_bytes().replace(b"TTYPE1  = 'a", b"TTYPE1  = 'I").replace(b"TTYPE2  = 'b", b"TTYPE2  = 'i")
    )
    path.write_bytes(content)
    refused(path, "columns I, i could be meant: say field='0' or another")
    np.testing.assert_array_equal(read(path, column="i").values, sky(2)[1:])
    np.testing.assert_array_equal(read(path, field="1").values, sky(2)[1:])
    path.write_bytes(content.replace(b"TTYPE2  =", b"TTYPF2  ="))
    refused(path, "not a readable FITS file: field names must be strings")


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"'BINTABLE'", b"0.5       "), (b"TTYPE1  = 'T", b"TTYPE1  = T "), (b"TFORM1  = 'E", b"TFORM1  = '?")],
)
def test_headers_that_astropy_stumbles_over_are_told_in_one_line(write, old, new):
    path = write()
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    refused(path, "not a readable FITS file|truncated, or no map")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda hdu: hdu.data["real"].__setitem__(0, np.nan), "NaN or infinite"),
        (lambda hdu: hdu.data["index"].sort(), "in healpy's order"),
        (lambda hdu: hdu.header.set("LMAX", 3), "not all up to LMAX = 3"),
        (lambda hdu: hdu.header.set("BEAMFWHM", "wide"), "BEAMFWHM is 'wide'"),
    ],
)
def test_coefficients_that_are_not_what_they_say_are_refused(tmp_path, change, message):
    path = tmp_path / "alm.fits"
    get_handler("HealpyAlm").write(
        path, SkyAlm(draw_alm(np.ones(5), np.random.default_rng(1))[None], "uK_CMB", 80.0)
    )
    with fits.open(path, mode="update") as hdus:
        change(hdus[1])
    with pytest.raises(DataError, match=message) as caught:
        get_handler("HealpyAlm").read(path)
    assert str(caught.value).startswith(f"{path}: ")
