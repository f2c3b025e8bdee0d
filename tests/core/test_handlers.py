import time
from hashlib import md5

import healpy as hp
import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable as AstropyQTable
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbml.core import AssetHandler
from cmbml.core.errors import CmbmlError, DataError, PipelineError
from cmbml.core.handlers import get_handler
from cmbml.core.handlers.base import TEMPORARY
from cmbml.core.spec.formats import BUILT_IN
from cmbml.sky.sht import unit_alm
from cmbml.sky.skymap import SkyAlm, SkyMap

NSIDE = 8


def sky(n_stokes=1, **facts):
    values = np.random.default_rng(1).standard_normal((n_stokes, 12 * NSIDE**2))
    return SkyMap(values, "uK_CMB", **{"fwhm_arcmin": 80.0, "lmax": 16, **facts})


def alm(n_stokes=1):
    return SkyAlm(np.stack([unit_alm(12, np.random.default_rng(i)) for i in range(n_stokes)]), "uK_CMB", 0.0)


EXAMPLES = {
    "Config": {"a": 1.5, "b": ["x", None], "c": {"d": True}},
    "Csv": [{"name": "x", "value": 0.1, "n": 3}, {"name": "y", "value": None, "n": 4}],
    "Text": "Ünïcode\n",
    "NumpyMap": np.arange(6.0).reshape(2, 3),
    "PowerSpectrum": {"TT": np.array([0, 0, 1 / 3]), "EE": np.array([0, 0, 2e-30])},
    "CambPowerSpectrum": {"TT": np.array([0, 0, 1 / 3])},
    "Figure": b"\x89PNG",
}


def equal(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(
            np.array_equal(a[k], b[k]) if isinstance(a[k], np.ndarray) else a[k] == b[k] for k in a
        )
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b


@pytest.mark.parametrize("name", EXAMPLES)
def test_round_trip_alone(tmp_path, name):
    handler = get_handler(name)
    path = tmp_path / "deep" / "file.npy"
    handler.write(path, EXAMPLES[name])
    assert equal(handler.read(path), EXAMPLES[name])
    assert [p.name for p in path.parent.iterdir()] == ["file.npy"]


@pytest.mark.parametrize("n_stokes", [1, 3])
def test_maps_keep_values_and_facts(tmp_path, n_stokes):
    path = tmp_path / "map.fits"
    written = sky(n_stokes, pixwin=True)
    get_handler("HealpyMap").write(path, written)
    found = get_handler("HealpyMap").read(path, nside=NSIDE)
    np.testing.assert_array_equal(found.values, written.values.astype(np.float32))
    assert (found.unit, found.fwhm_arcmin, found.lmax, found.pixwin) == ("uK_CMB", 80.0, 16, True)
    np.testing.assert_array_equal(hp.read_map(path, field=None).reshape(n_stokes, -1), found.values)


def test_unknown_facts_stay_unknown(tmp_path):
    get_handler("HealpyMap").write(tmp_path / "map.fits", SkyMap(sky().values, "K_CMB"))
    found = get_handler("HealpyMap").read(tmp_path / "map.fits")
    assert (found.fwhm_arcmin, found.lmax) == (None, None)


@pytest.mark.parametrize("n_stokes", [1, 3])
def test_alm_are_healpys(tmp_path, n_stokes):
    path = tmp_path / "alm.fits"
    get_handler("HealpyAlm").write(path, alm(n_stokes))
    found = get_handler("HealpyAlm").read(path)
    # float32 on disk
    np.testing.assert_allclose(found.values, alm(n_stokes).values, rtol=0, atol=3e-7)
    assert (found.unit, found.lmax, found.fwhm_arcmin) == ("uK_CMB", 12, 0.0)
    np.testing.assert_array_equal(
        np.atleast_2d(hp.read_alm(path, hdu=tuple(range(1, n_stokes + 1)))), found.values
    )


def test_tables_keep_units(tmp_path):
    table = AstropyQTable({"band": ["100"], "fwhm": [9.68] * u.arcmin})
    get_handler("QTable").write(tmp_path / "t.ecsv", table)
    assert get_handler("QTable").read(tmp_path / "t.ecsv")["fwhm"].unit == u.arcmin


def test_torch_states_round_trip_under_any_name(tmp_path):
    torch = pytest.importorskip("torch")
    state = {"model": {"w": torch.arange(3.0)}, "epoch": 2}
    handler = get_handler("PyTorchModel")
    for name in ("a.pt", "b.pt"):
        handler.write(tmp_path / name, state)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
    found = handler.read(tmp_path / "a.pt")
    assert found["epoch"] == 2
    assert torch.equal(found["model"]["w"], state["model"]["w"])


def test_nothing_in_a_hostile_torch_file_is_executed(tmp_path):
    torch = pytest.importorskip("torch")

    class Hostile:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'owned')!r}, 'w').close()",))

    with (tmp_path / "bad.pt").open("wb") as file:
        torch.save({"model": Hostile()}, file)
    with pytest.raises(DataError, match=r"not a whole file of tensors"):
        get_handler("PyTorchModel").read(tmp_path / "bad.pt")
    assert not (tmp_path / "owned").exists()


def test_mover_moves(tmp_path):
    (tmp_path / "made.txt").write_text("x")
    get_handler("Mover").write(tmp_path / "kept" / "x.txt", tmp_path / "made.txt")
    assert (tmp_path / "kept" / "x.txt").read_text() == "x"
    assert not (tmp_path / "made.txt").exists()
    with pytest.raises(DataError, match=r"no such file to move"):
        get_handler("Mover").write(tmp_path / "y", tmp_path / "made.txt")


def test_empty_neither_reads_nor_takes_data(tmp_path):
    get_handler("Empty").write(tmp_path / "sign")
    with pytest.raises(DataError, match=r"does not read"):
        get_handler("Empty").read(tmp_path / "sign")
    with pytest.raises(DataError, match=r"takes no data"):
        get_handler("Empty").write(tmp_path / "sign", 1)


@pytest.mark.parametrize("name", [*EXAMPLES, "HealpyMap", "HealpyAlm"])
def test_bytes_are_deterministic(tmp_path, name):
    data = {"HealpyMap": sky(), "HealpyAlm": alm()}.get(name, EXAMPLES.get(name))
    digests = []
    for file in ("a.fits", "b.fits"):
        get_handler(name).write(tmp_path / file, data)
        digests.append(md5((tmp_path / file).read_bytes(), usedforsecurity=False).hexdigest())
        time.sleep(1.1 if name.startswith("Healpy") else 0)  # FITS can carry times in seconds
    assert digests[0] == digests[1]


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_missing_file_is_named(tmp_path, name):
    if name == "Empty":
        pytest.skip("does not read")
    with pytest.raises(DataError, match=r"gone\.x: no such file: run the stage"):
        get_handler(name).read(tmp_path / "gone.x")


class Failing(AssetHandler):
    """Breaks off in the middle."""

    def write(self, path, data):
        path.write_text("half")
        raise RuntimeError("power cut")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match=r"power cut"):
        Failing().write(path, None)
    assert path.read_text() == "old"
    assert not list(tmp_path.glob(f"{TEMPORARY}*"))


def test_a_link_into_a_cache_is_not_written_through(tmp_path):
    cached = tmp_path / "cached"
    cached.write_text("old")
    (tmp_path / "hard").hardlink_to(cached)
    (tmp_path / "soft").symlink_to(cached)
    for name in ("hard", "soft"):
        get_handler("Text").write(tmp_path / name, "new")
    assert cached.read_text() == "old"


def write_fits(path, values, ordering="RING", unit="uK_CMB"):
    hp.write_map(path, values, nest=ordering == "NESTED", column_units=unit, dtype=np.float64, overwrite=True)


@pytest.fixture
def fits(tmp_path):
    path = tmp_path / "m.fits"
    write_fits(path, np.arange(12.0 * NSIDE**2))
    return path


def test_nested_maps_are_turned_to_ring(tmp_path):
    ring = np.arange(12.0 * NSIDE**2)
    write_fits(tmp_path / "n.fits", hp.reorder(ring, r2n=True), "NESTED")
    np.testing.assert_array_equal(get_handler("HealpyMap").read(tmp_path / "n.fits").values[0], ring)


def test_a_map_of_another_nside_is_refused(fits):
    with pytest.raises(DataError, match=r"nside is 8, expected 16: bring"):
        get_handler("HealpyMap").read(fits, nside=16)


def test_units_are_never_guessed(tmp_path, fits):
    write_fits(tmp_path / "u.fits", np.ones(12), unit="")
    handler = get_handler("HealpyMap")
    with pytest.raises(DataError, match=r"names no unit: say unit="):
        handler.read(tmp_path / "u.fits")
    assert handler.read(tmp_path / "u.fits", unit="mK_CMB").to("uK_CMB").values[0, 0] == 1000
    with pytest.raises(DataError, match=r"TUNIT is uK_CMB, unit='mK_CMB' contradicts it"):
        handler.read(fits, unit="mK_CMB")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.nan, "holds NaN"),
        (np.inf, "holds (NaN or infinite|numbers as large as inf)"),
        (hp.UNSEEN, "has 1 missing pixels .UNSEEN.: inpaint"),
        (-1.6375e30, "has 1 missing pixels"),
    ],
)
def test_bad_pixels_are_refused_on_both_ways(tmp_path, value, expected):
    values = np.ones(12 * NSIDE**2)
    values[5] = value
    write_fits(tmp_path / "b.fits", values)
    with pytest.raises(DataError, match=expected):
        get_handler("HealpyMap").read(tmp_path / "b.fits")
    with pytest.raises(DataError, match=expected):
        get_handler("HealpyMap").write(tmp_path / "c.fits", SkyMap(values[np.newaxis], "uK_CMB"))
    assert not (tmp_path / "c.fits").exists()


def test_missing_pixels_come_through_where_allowed(tmp_path):
    values = np.ones(12 * NSIDE**2)
    values[5] = -1.6375e30
    write_fits(tmp_path / "b.fits", values)
    found = get_handler("HealpyMap").read(tmp_path / "b.fits", allow_unseen=True)
    assert np.flatnonzero(found.values[0] == hp.UNSEEN).tolist() == [5]


@settings(max_examples=20)
@given(st.floats(0.01, 0.99))
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path_factory, part):
    path = tmp_path_factory.mktemp("t") / "m.fits"
    write_fits(path, np.arange(12.0 * NSIDE**2))
    whole = path.read_bytes()
    # FITS pads its end: cut at least the padding off.
    path.write_bytes(whole[: int(part * (len(whole) - 2880))])
    with pytest.raises(DataError, match=r"m.fits: (truncated|not a readable FITS)"):
        get_handler("HealpyMap").read(path)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "m.fits").write_text("hello")
    for name in ("HealpyMap", "HealpyAlm", "NumpyMap"):
        with pytest.raises(DataError, match=r"m.fits: not a"):
            get_handler(name).read(tmp_path / "m.fits")


def test_a_map_without_ordering_is_refused(fits):
    from astropy.io import fits as pyfits

    with pyfits.open(fits, mode="update") as hdus:
        del hdus[1].header["ORDERING"]
    with pytest.raises(DataError, match=r"names no ORDERING"):
        get_handler("HealpyMap").read(fits)


def test_a_map_in_other_coordinates_is_refused(fits):
    from astropy.io import fits as pyfits

    with pyfits.open(fits, mode="update") as hdus:
        hdus[1].header["COORDSYS"] = "C"
    with pytest.raises(
        DataError, match=r"COORDSYS is C \(equatorial\): coord='C' has it rotated to Galactic"
    ):
        get_handler("HealpyMap").read(fits)


@pytest.mark.parametrize(("text", "expected"), [
    ("# ell TT\n0 1\n2 3\n", "count from 0 without gaps"),
    ("# TT\n1\n", "'ell' first"),
    ("# ell TT\n0 1 2\n", "one for each column"),
    ("# ell TT\n0 1\n1\n", "not a table of numbers"),
    ("# ell TT\n", "holds no row"),
    ("# ell TT\n0 1\n1 nan\n", "holds NaN or infinite values"),
])  # fmt: skip
def test_spectra_must_say_their_l(tmp_path, text, expected):
    (tmp_path / "cl.txt").write_text(text)
    with pytest.raises(DataError, match=expected):
        get_handler("PowerSpectrum").read(tmp_path / "cl.txt")


def test_a_dotted_path_names_a_users_handler(toy):
    toy.write(
        "mine.py",
        "from cmbml.core import AssetHandler\nclass Mine(AssetHandler):\n    pass\nclass Not:\n    pass\n",
    )
    assert isinstance(get_handler("mine.Mine"), AssetHandler)
    with pytest.raises(PipelineError, match=r"no subclass of cmbml.core.AssetHandler"):
        get_handler("mine.Not")
    with pytest.raises(PipelineError, match=r"cannot be imported"):
        get_handler("mine.Gone")


def test_wmap_maps_need_their_unit_and_respect_ordering(shared):
    folder = shared / "wmap"
    v_band = folder / "wmap_band_iqumap_r9_7yr_V_v4_udgraded32.fits"
    handler = get_handler("HealpyMap")
    with pytest.raises(CmbmlError, match=r"names no unit"):
        handler.read(v_band)
    sky_map = handler.read(v_band, unit="mK_CMB", field=0, nside=32).to("uK_CMB")
    mask = handler.read(
        folder / "wmap_temperature_analysis_mask_r9_7yr_v4_udgraded32.fits", unit="1", field=0
    ).values[0]
    seen = sky_map.values[0][mask > 0.5]
    # 32: the V band's rms outside the mask is the CMB's 70 uK at 2 degrees, within the Galaxy's residue.
    assert 50 < seen.std() < 90
    np.testing.assert_allclose(sky_map.values[0] / 1000, hp.read_map(v_band, field=0), rtol=1e-6)


@pytest.mark.parametrize(("nside", "n_stokes"), [(8, 1), (16, 3)])
def test_bytes_are_those_of_healpy(tmp_path, nside, n_stokes):
    data = SkyMap(np.random.default_rng(1).normal(size=(n_stokes, 12 * nside**2)), "uK_CMB", 80.0, 20)
    get_handler("HealpyMap").write(tmp_path / "ours.fits", data)
    names = list("IQU"[:n_stokes])
    cards = [
        ("STOKES", "".join(names)),
        ("POLCCONV", "COSMO"),
        ("PIXWIN", False),
        ("BEAMFWHM", 80.0),
        ("LMAX", 20),
    ]
    hp.write_map(
        tmp_path / "theirs.fits",
        data.values.astype(np.float32),
        dtype=np.float32,
        coord="G",
        column_names=names,
        column_units="uK_CMB",
        extra_header=cards,
    )
    assert (tmp_path / "ours.fits").read_bytes() == (tmp_path / "theirs.fits").read_bytes()


@pytest.mark.parametrize("name", ["Text", "Csv", "Transmission", "ChainColumn", "PowerSpectrum", "NumpyMap"])
def test_a_file_that_cannot_be_read_is_told_in_one_line(tmp_path, name):
    with pytest.raises(DataError, match=r"cannot be read: Is a directory$"):
        get_handler(name).read(tmp_path)
