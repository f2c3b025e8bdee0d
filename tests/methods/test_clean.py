"""`cmbml clean` on files as users have them: our own, and Planck's with all their habits."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import healpy as hp
import numpy as np
import pytest
import yaml
from astropy.io import fits
from test_pyilc_run import checkout

from cmbml.clean.linear import METHODS
from cmbml.clean.networks import NETWORKS, NetworkCleaning, clean_sky_of
from cmbml.clean.response import response_rows, second_cmb, told
from cmbml.cli.entry import main
from cmbml.core.files.checksums import md5_of
from cmbml.core.handlers import get_handler
from cmbml.core.spec.params import Band
from cmbml.methods import registry
from cmbml.methods.nilc.nilc import nuisance_covariance
from cmbml.methods.nilc.seds import mixing_columns
from cmbml.sky import sht
from cmbml.sky.instrument import described
from cmbml.sky.levels import Levels
from cmbml.sky.passbands import as_bandpass
from cmbml.sky.pixwin import pixel_window, polarisation_window
from cmbml.sky.skymap import SkyMap
from cmbml.sky.units import mjysr_per_kelvin
from tests.conftest import ROOT

LMAX = 40
BANDS = {"30": 28.4, "100": 100.9, "143": 142.9, "353": 357.5, "545": 555.2, "857": 866.8}
FWHM = dict(zip(BANDS, (500.0, 450.0, 400.0, 350.0, 320.0, 300.0), strict=True))
NAMES = {"30": "LFI_SkyMap_030_16_R3.00_full.fits"} | {
    name: f"HFI_SkyMap_{name}_32_R3.01_full.fits" for name in BANDS if name != "30"
}
ELL = np.arange(LMAX + 1)
# Planck 2018 I
SUN = Levels(np.append(0.0, 3362.08 * hp.ang2vec(264.021, 48.253, lonlat=True)))


def test_every_method_of_the_registry_can_be_carried_out_and_no_other():
    of_kind = {kind: {m.name for m in registry.METHODS if m.kind == kind} for kind in get_args(registry.Kind)}
    assert set(METHODS) == of_kind["linear"] | of_kind["program"]
    assert set(NETWORKS) == of_kind["network"]
    assert of_kind["filter"] == {"wiener"}
    for name, cleaning in NETWORKS.items():
        assert cleaning is not NetworkCleaning or callable(clean_sky_of(name))


def test_help_names_every_method(capsys):
    with pytest.raises(SystemExit):
        main(["clean", "--help"])
    assert ", ".join(registry.NAMES) in " ".join(capsys.readouterr().out.split())


def draw(seed):
    """T, E, B of the CMB, and of foregrounds and noise in every band at its beam: uK_CMB."""
    rng = np.random.default_rng(seed)
    power = np.where(ELL < 2, 0, 1e4 / (ELL + 2.0) ** 2)
    fields = (1.0, 0.1, 0.01)
    cmb = np.array([sht.draw_alm(power * f, rng) for f in fields])
    dust = np.array([sht.draw_alm(power * f, rng) for f in fields])
    sed = mixing_columns(["dust"], list(BANDS.values()))[:, 0]
    sed /= sed[2]
    noise = [[sht.draw_alm(np.full(LMAX + 1, 1e-4 * s), rng) for _ in fields] for s in sed]
    beams = [sht.gaussian_beam(fwhm, LMAX) for fwhm in FWHM.values()]
    nuisance = [s * sht.almxfl(dust, b) + n for s, b, n in zip(sed, beams, np.array(noise), strict=True)]
    return cmb, np.array(nuisance)


@pytest.fixture(scope="module")
def sky():
    return draw(1)


def observed(sky):
    cmb, nuisance = sky
    beams = [sht.gaussian_beam(fwhm, LMAX) for fwhm in FWHM.values()]
    return np.array([sht.almxfl(cmb, beam) for beam in beams]) + nuisance


INSTRUMENT = described(
    {name: Band(freq_ghz=freq, fwhm_arcmin=FWHM[name], depth_uk_arcmin=1.0) for name, freq in BANDS.items()}
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with an instrument's table; the command is called there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    columns = "".join(
        f"# - {{name: {name}, unit: {unit}, datatype: float64}}\n"
        for name, unit in (("freq", "GHz"), ("fwhm", "arcmin"), ("depth", "uK_CMB arcmin"))
    )
    rows = "".join(f"{name} {freq} {FWHM[name]} 1.0\n" for name, freq in BANDS.items())
    head = f"# %ECSV 1.0\n# ---\n# datatype:\n# - {{name: band, datatype: string}}\n{columns}"
    (tmp_path / "wide.ecsv").write_text(f"{head}band freq fwhm depth\n{rows}", encoding="utf-8")
    return tmp_path


def write_plain(folder, alms, name="obs", n_stokes=1):
    for band, alm in zip(BANDS, alms, strict=True):
        sky = SkyMap(sht.alm2map(alm[:n_stokes], 16), "uK_CMB", FWHM[band], LMAX)
        get_handler("HealpyMap").write(folder / f"{name}_{band}.fits", sky)


def write_planck(folder, alms):
    """Files as in the Planck archive: NESTED, K_CMB with ten columns or MJy/sr with three, big numbers for holes."""
    for band, alm in zip(BANDS, alms, strict=True):
        nside = 16 if band == "30" else 32
        windows = [pixel_window(nside, LMAX), *[polarisation_window(nside, LMAX)] * 2]
        pixelised = np.array([sht.almxfl(a, w) for a, w in zip(alm, windows, strict=True)])
        stokes = hp.reorder(sht.alm2map(pixelised, nside), r2n=True)
        bright = band in ("545", "857")
        unit, factor = (
            ("MJy/sr", 1e-6 * mjysr_per_kelvin(as_bandpass(BANDS[band]))) if bright else ("K_CMB", 1e-6)
        )
        maps = (stokes[:1] if bright else stokes) * factor
        if band == "143":
            maps[:, 100:104] = -1.6375e30
        names = ["I_STOKES"] if bright else ["I_STOKES", "Q_STOKES", "U_STOKES"]
        weights = (
            ["HITS", "II_COV"]
            if bright
            else ["HITS", "II_COV", "IQ_COV", "IU_COV", "QQ_COV", "QU_COV", "UU_COV"]
        )
        columns = [fits.Column(n, "E", unit=unit, array=row) for n, row in zip(names, maps, strict=True)]
        columns += [fits.Column(n, "E", unit=f"{unit}^2", array=np.ones(maps.shape[1])) for n in weights]
        table = fits.BinTableHDU.from_columns(columns, name="FREQ-MAP")
        table.header.update(
            {
                "PIXTYPE": "HEALPIX",
                "ORDERING": "NESTED",
                "NSIDE": nside,
                "COORDSYS": "GALACTIC",
                "BAD_DATA": -1.6375e30,
            }
        )
        table.writeto(folder / NAMES[band])


def clean(*extra, method="nilc", maps="obs_{freq}.fits", ilc_bias=0.02):
    arguments = [method, "--maps", maps, "--instrument", "wide.ecsv", "--fwhm", "300", "--lmax", str(LMAX)]
    bias = ["--set", "peaks=[20, 41]"] if method == "nilc" else []
    if method == "nilc" and not any(word.startswith("ilc_bias") for word in extra):
        bias += ["--set", f"ilc_bias={ilc_bias}"]
    main(["clean", *arguments, *bias, "--out", "out/cleaned.fits", *extra])


def read(name="cleaned.fits"):
    return get_handler("HealpyMap").read(Path("out") / name)


def truth(sky, n_stokes=1):
    return sht.alm2map(sht.almxfl(sky[0][:n_stokes], sht.gaussian_beam(300.0, LMAX)), 16)


def error(sky, cleaned):
    expected = truth(sky, len(cleaned.values))
    return np.std(cleaned.values - expected, axis=1) / np.std(expected, axis=1)


def test_maps_of_one_simulation_are_cleaned(folder, sky, capsys):
    write_plain(folder, observed(sky))
    clean()
    cleaned = read()
    assert (cleaned.nside, cleaned.fwhm_arcmin, cleaned.lmax, cleaned.unit) == (16, 300.0, LMAX, "uK_CMB")
    assert error(sky, cleaned)[0] < 0.1
    written = [line.rpartition("/")[2] for line in capsys.readouterr().out.splitlines()]
    assert written == ["cleaned.fits", "cleaned_weights.csv", "cleaned_beam.txt", "cleaned_provenance.yaml"]


def test_what_is_written_beside_the_map(folder, sky):
    write_plain(folder, observed(sky))
    clean()
    rows = get_handler("Csv").read(folder / "out/cleaned_weights.csv")
    for scale in {row["scale"] for row in rows}:
        # weights of the bands add up to one on every scale
        assert sum(row["mean"] for row in rows if row["scale"] == scale) == pytest.approx(1, abs=1e-10)
    beam = get_handler("PowerSpectrum").read(folder / "out/cleaned_beam.txt")["B"]
    assert beam == pytest.approx(sht.gaussian_beam(300.0, LMAX))
    record = yaml.safe_load((folder / "out/cleaned_provenance.yaml").read_text())
    assert record["settings"]["ilc_bias"] == 0.02
    assert [entry["band"] for entry in record["maps"]] == list(BANDS)
    assert all(len(entry["md5"]) == 32 for entry in record["maps"])
    assert record["packages"]["numpy"] == np.__version__


def test_response_is_the_share_that_comes_out(sky):
    added = sky[0][0]
    rows = response_rows("T", sht.almxfl(added, np.where(ELL < 7, 0.9, 1.0)), added)
    assert [row["response"] for row in rows] == pytest.approx([0.9, 0.9, 1, 1, 1])
    assert [row["changed"] for row in rows] == pytest.approx([0.1, 0.1, 0, 0, 0])
    assert told(rows) == ("the CMB is changed: 0.9 of it is left in T at l 2-3", False)
    assert told(rows[2:])[1]


@pytest.mark.long
def test_a_second_cmb_says_how_much_is_kept(folder, sky, capsys):
    """What the command says is what comes out when the second CMB stands in the files."""
    write_plain(folder, observed(sky))
    clean("--check-response", method="hilc_plain")
    assert "response: the CMB is changed: 0." in capsys.readouterr().err
    record = yaml.safe_load(Path("out/cleaned_provenance.yaml").read_text())
    assert not record["signal_preserving"]
    rows = get_handler("Csv").read(Path("out/cleaned_response.csv"))
    assert [row["l_max"] for row in rows] == [3, 6, 10, 25, 40]
    before = sht.map2alm(read().values[0], LMAX)
    added = second_cmb(LMAX, 1, 1)
    more = [sht.almxfl(added, sht.gaussian_beam(fwhm, LMAX)) for fwhm in FWHM.values()]
    write_plain(folder, observed(sky)[:, :1] + more)
    clean(method="hilc_plain")
    kept = sht.map2alm(read().values[0], LMAX) - before
    out = sht.almxfl(added[0], sht.gaussian_beam(300.0, LMAX))
    modes = 2 * np.arange(4, 7) + 1
    expected = (modes @ sht.alm2cl(kept, out)[4:7]) / (modes @ sht.alm2cl(out)[4:7])
    # The levels that are taken off the bands are fitted anew.
    assert rows[1]["response"] == pytest.approx(expected, abs=0.02)


def test_a_filter_has_no_second_cmb(folder, sky):
    write_plain(folder, observed(sky))
    with pytest.raises(SystemExit):
        clean("--check-response", method="wiener", maps="obs_143.fits")


def test_planck_files_give_what_plain_ones_give(folder, sky):
    write_plain(folder, observed(sky))
    clean()
    plain = read()
    write_planck(folder, observed(sky))
    clean("--pixwin", maps="?FI_SkyMap_{freq:03d}_*_full.fits")
    difference = np.std(read().values - plain.values) / np.std(plain.values)
    # four pixels of one band were missing and are inpainted: 3e-3 of the sky, which weights of ten blow up
    assert difference < 0.02
    coverage = read("cleaned_mask.fits")
    assert coverage.unit == "1"
    assert (coverage.values == 0).sum() == 1
    record = yaml.safe_load((folder / "out/cleaned_provenance.yaml").read_text())
    assert {e["band"]: e["inpainted_pixels"] for e in record["maps"]}["143"] == 4
    assert {e["nside"] for e in record["maps"]} == {16, 32}


def test_polarisation_of_planck_files_uses_the_bands_that_have_it(folder, sky):
    write_planck(folder, observed(sky))
    clean("--pixwin", "--fields", "TQU", maps="?FI_SkyMap_{freq:03d}_*_full.fits")
    cleaned = read()
    assert cleaned.values.shape[0] == 3
    assert (error(sky, cleaned) < (0.1, 0.3, 0.3)).all()
    rows = get_handler("Csv").read(folder / "out/cleaned_weights.csv")
    assert {str(row["band"]) for row in rows if row["field"] == "E"} == {"30", "100", "143", "353"}


def test_pixels_outside_the_mask_do_not_count(folder, sky):
    """A star outside the mask that would ruin the map, and none of it is seen."""
    alms = observed(sky)
    write_plain(folder, alms)
    mask = np.ones(12 * 32**2)
    mask[hp.query_disc(32, hp.ang2vec(1.0, 2.0), 0.3)] = 0
    get_handler("HealpyMap").write(folder / "mask.fits", SkyMap(mask[None], "1"))
    clean("--mask", "mask.fits")
    without = read()
    for number, band in enumerate(BANDS):
        path = folder / f"obs_{band}.fits"
        star = get_handler("HealpyMap").read(path)
        star.values[0, hp.query_disc(16, hp.ang2vec(1.0, 2.0), 0.1)] += 1e6 * (number + 1)
        get_handler("HealpyMap").write(path, star)
    clean("--mask", "mask.fits")
    assert read().values == pytest.approx(without.values, abs=1e-3)
    kept = read("cleaned_mask.fits").values[0] > 0
    assert kept.mean() == pytest.approx(mask.mean(), abs=0.01)
    expected = truth(sky)[0]
    assert np.std((without.values[0] - expected)[kept]) < 0.3 * np.std(expected)


def test_levels_change_nothing_beyond_the_dipole_and_are_told(folder, sky, capsys):
    alms = observed(sky)
    write_plain(folder, alms)
    clean()
    without = beyond_levels(read())
    assert "warning" not in capsys.readouterr().err
    for number, fwhm in enumerate(FWHM.values()):
        alms[number, 0] += SUN.alm(LMAX, fwhm)
        alms[number, 0, 0] += 30 * number
    write_plain(folder, alms)
    clean()
    # nside 16 carries a dipole of 3362 to 1e-5
    assert np.abs(beyond_levels(read()) - without).max() < 0.05
    warning = capsys.readouterr().err.splitlines()
    assert [line.partition(" band ")[0] for line in warning] == ["warning: dipole of"]
    record = yaml.safe_load(Path("out/cleaned_provenance.yaml").read_text(encoding="utf-8"))
    off, back = record["maps"][0]["levels_taken_off"], record["levels_put_back"]
    # the CMB has some
    assert off["dipole_uk"] == pytest.approx(SUN.dipole, abs=60)
    assert off["dipole_lon_lat_deg"] == pytest.approx(SUN.direction, abs=2)
    assert back["dipole_uk"] == 0


def test_a_hole_of_one_band_is_a_hole_of_all(folder, sky):
    alms = observed(sky)
    hole = hp.query_disc(16, hp.ang2vec(1.0, 2.0), 0.3)
    results = []
    for spoiled in (BANDS, ["100"], ["30", "100"]):
        write_plain(folder, alms)
        for number, band in enumerate(spoiled):
            with fits.open(folder / f"obs_{band}.fits", mode="update") as hdus:
                missing = hole[number % 2 :: 2] if len(spoiled) == 2 else hole
                hdus[1].data.field(0).reshape(-1)[missing] = hp.UNSEEN
        clean()
        results.append(read().values)
        facts = yaml.safe_load(Path("out/cleaned_provenance.yaml").read_text(encoding="utf-8"))["maps"]
        assert {one["inpainted_pixels"] for one in facts} == {hole.size}
        assert sum(one["missing_pixels"] > 0 for one in facts) == len(spoiled)
        assert (read("cleaned_mask.fits").values[0] == 0).sum() == hole.size
    for other in results[1:]:
        assert other == pytest.approx(results[0], abs=1e-3)


def test_holes_of_other_resolutions_count_too(folder, sky):
    write_planck(folder, observed(sky))
    path = folder / NAMES["30"]
    with fits.open(path, mode="update") as hdus:
        hdus[1].data["I_STOKES"][7] = hp.UNSEEN
    clean("--pixwin", maps="*_{freq:03d}_*.fits")
    facts = yaml.safe_load(Path("out/cleaned_provenance.yaml").read_text(encoding="utf-8"))["maps"]
    # four pixels at nside 32 lie in one or two at nside 16, and one of these in four
    assert (facts[0]["missing_pixels"], facts[1]["missing_pixels"]) == (1, 0)
    assert 2 <= facts[0]["inpainted_pixels"] <= 5
    assert facts[1]["inpainted_pixels"] == 8


def test_swapped_bands_are_a_warning(folder, sky, capsys):
    write_plain(folder, observed(sky))
    for band in ("143", "353"):
        path = folder / f"obs_{band}.fits"
        seen = get_handler("HealpyMap").read(path)
        get_handler("HealpyMap").write(folder / f"x_{band}.fits", replace(seen, fwhm_arcmin=None))
    (folder / "x_143.fits").replace(folder / "obs_353.fits")
    (folder / "x_353.fits").replace(folder / "obs_143.fits")
    clean()
    assert "look whether two bands are swapped" in capsys.readouterr().err


def test_components_go_through_the_same_weights(folder, sky):
    write_plain(folder, observed(sky))
    write_plain(folder, sky[1], name="nuisance")
    write_plain(folder, observed(sky) - sky[1], name="cmb")
    clean("--component", "nuisance=nuisance_{freq}.fits", "--component", "cmb=cmb_{freq}.fits")
    parts = read("cleaned_cmb.fits").values + read("cleaned_nuisance.fits").values
    # analysis with three iterations leaves 1e-4 of each map, and weights are as large as ten
    assert np.std(parts - read().values) < 1e-3 * np.std(parts)
    assert np.std(read("cleaned_cmb.fits").values - truth(sky)) < 1e-3 * np.std(truth(sky))


def test_a_learned_covariance_needs_the_instrument_that_it_was_learned_with(folder, sky, capsys):
    write_plain(folder, observed(sky))
    made = {"lmax": LMAX, "peaks": [20, 41], "needlets": "cosine", "domain_deg": 60.0, "fwhm_out": 300.0}
    prior = np.mean(
        [
            nuisance_covariance(draw(seed)[1][:, 0], fwhm_arcmin=list(FWHM.values()), **made)
            for seed in range(20, 24)
        ],
        axis=0,
    )
    (folder / "model").mkdir()
    np.save(folder / "model/covariance.npy", prior[None])
    settings = {"instrument": dict(INSTRUMENT), **made}
    (folder / "model/settings.yaml").write_text(yaml.safe_dump(settings))
    clean("--set", "peaks=[20, 41]")
    plain = error(sky, read())[0]
    clean("--model", "model/covariance.npy", method="nilc_regularised")
    assert error(sky, read())[0] < plain
    for key, was in (
        ("freq_ghz", 27.0),
        ("depth_uk_arcmin", 10.0),
        ("response", "power 0123"),
        ("fwhm_arcmin", 299.0),
    ):
        settings["instrument"] = INSTRUMENT | {key: [was, *INSTRUMENT[key][1:]]}
        (folder / "model/settings.yaml").write_text(yaml.safe_dump(settings))
        with pytest.raises(SystemExit):
            clean("--model", "model/covariance.npy", method="nilc_regularised")
        here = f"{key} of band {next(iter(BANDS))} was {was}, is {INSTRUMENT[key][0]}"
        assert f"--model: learned with another instrument: {here}: learn it anew" in capsys.readouterr().err
    del settings["instrument"]
    (folder / "model/settings.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(SystemExit):
        clean("--model", "model/covariance.npy", method="nilc_regularised")
    assert "learned with another instrument: it is not said which: learn it anew" in capsys.readouterr().err


def test_a_model_of_another_method_is_told(folder, sky, capsys):
    write_plain(folder, observed(sky))
    np.save(folder / "covariance.npy", np.zeros(3))
    (folder / "settings.yaml").write_text("shrinkage: 1.0\n")
    with pytest.raises(SystemExit):
        clean("--model", "covariance.npy", method="hilc")
    assert "--model covariance.npy: the settings.yaml beside it is not of hilc: " in capsys.readouterr().err


def write_cleaned(path, sky, method="nilc_regularised"):
    """A map as `cmbml clean` leaves it: with its record beside it."""
    get_handler("HealpyMap").write(path, sky)
    record = {
        "method": method,
        "bands": INSTRUMENT,
        "maps": [{"md5": "0" * 32}],
        "results": {path.name: md5_of(path)},
    }
    get_handler("Config").write(path.with_name(f"{path.stem}_provenance.yaml"), record)


WINDOW = np.linspace(1, 0, LMAX + 1)


@pytest.fixture
def cleaned_map(folder, sky):
    """A cleaned map without foregrounds, its window and one of T, E, B: what `cmbml clean wiener` takes."""
    for name, n_stokes in (("cleaned", 1), ("polarised", 3)):
        values = SkyMap(truth(sky, n_stokes), "uK_CMB", 300.0, LMAX)
        write_cleaned(folder / f"out/{name}.fits", values)
    for learned in (folder, folder / "elsewhere"):
        learned.mkdir(exist_ok=True)
        facts = {"instrument": INSTRUMENT, "estimate": "nilc_regularised", "fwhm_arcmin": 300.0, "lmax": LMAX}
        get_handler("Config").write(learned / "settings.yaml", facts)
    get_handler("PowerSpectrum").write(folder / "window.txt", {"TT": WINDOW})
    get_handler("PowerSpectrum").write(folder / "windows.txt", dict.fromkeys(("TT", "EE", "BB"), WINDOW))
    return folder


def filter_map(*extra):
    usual = ["--maps", "out/cleaned.fits", "--model", "window.txt", "--fwhm", "300", "--lmax", str(LMAX)]
    main(["clean", "wiener", *usual, "--out", "out/w.fits", *extra])


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("cleaned", []),
        ("polarised", ["--maps", "out/polarised.fits", "--model", "windows.txt", "--fields", "TQU"]),
    ],
)
def test_a_cleaned_map_is_filtered(cleaned_map, capsys, name, extra):
    filter_map(*extra)
    for before, after in zip(
        *(sht.map2alm(read(each).values, LMAX) for each in (f"{name}.fits", "w.fits")), strict=True
    ):
        gain = sht.alm2cl(after, before)[2:] / sht.alm2cl(before)[2:]
        assert gain == pytest.approx(WINDOW[2:], abs=1e-3)
    assert not read("w.fits").signal_preserving
    assert capsys.readouterr().out.split() == [
        str(cleaned_map / "out" / file) for file in ("w.fits", "w_provenance.yaml")
    ]


def test_the_record_of_a_filter_says_what_was_done(cleaned_map):
    filter_map("--lmax", "30")
    record = yaml.safe_load((cleaned_map / "out/w_provenance.yaml").read_text())
    assert [record[key] for key in ("method", "signal_preserving", "fwhm_arcmin", "lmax", "fields")] == [
        "wiener",
        False,
        300.0,
        30,
        "T",
    ]
    for key, path in (("map", "out/cleaned.fits"), ("model", "window.txt")):
        assert record[key] == {"file": path, "md5": md5_of(cleaned_map / path)}
    assert (read("w.fits").fwhm_arcmin, read("w.fits").lmax) == (300.0, 30)
    assert sht.alm2cl(sht.map2alm(read("w.fits").values[0], LMAX))[31:] == pytest.approx(0, abs=1e-6)


def test_what_the_header_of_a_cleaned_map_leaves_open_the_order_says(cleaned_map):
    silent = SkyMap(read().values, "uK_CMB", pixwin=True)
    write_cleaned(cleaned_map / "out/cleaned.fits", silent)
    filter_map()
    assert (read("w.fits").fwhm_arcmin, read("w.fits").lmax, read("w.fits").pixwin) == (300.0, LMAX, True)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--fwhm", "20"], "--fwhm 20.0: out/cleaned.fits has 300.0, and a filter keeps it: --fwhm 300.0"),
        (["--lmax", "41"], "out/cleaned.fits: ends at l = 40: lower --lmax 41"),
        (["--lmax", "1"], "--lmax: should be greater than or equal to 2"),
        (["--fields", "TQU"], "--fields TQU: out/cleaned.fits has T, and a filter keeps it: --fields T"),
        (["--maps", "out/polarised.fits"], "--fields T: out/polarised.fits has TQU"),
        (["--maps", "out/polarised.fits", "--fields", "TQU"], "window.txt: no window of EE"),
        (["--model", "short.txt"], "short.txt: ends at l = 19: lower --lmax 40"),
        (["--model", "beam.txt"], "beam.txt: no window of TT"),
        (["--maps", "gone.fits"], "--maps gone.fits: no such file"),
        (["--maps", "kelvin.fits"], "kelvin.fits: the unit MJy/sr needs the frequency of a band"),
        (["--pixwin"], "--pixwin: not for wiener"),
        (["--mask", "mask.fits"], "--mask: not for wiener"),
        (["--bands", "100"], "--bands: not for wiener"),
        (["--set", "x=1"], "--set: not for wiener"),
        (["--component", "noise=noise_{freq}.fits"], "--component: not for wiener"),
        (["--instrument", "planck"], "--instrument: not for wiener"),
    ],
)
def test_orders_that_a_filter_cannot_carry_out_are_one_line(cleaned_map, capsys, extra, message):
    get_handler("PowerSpectrum").write(cleaned_map / "short.txt", {"TT": WINDOW[:20]})
    get_handler("PowerSpectrum").write(cleaned_map / "beam.txt", {"B": WINDOW})
    get_handler("HealpyMap").write(cleaned_map / "kelvin.fits", SkyMap(read().values, "MJy/sr", 300.0, LMAX))
    with pytest.raises(SystemExit):
        filter_map(*extra)
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1
    assert not (cleaned_map / "out/w.fits").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda f: (f / "out/cleaned_provenance.yaml").unlink(),
            "nothing says how it was made: no cleaned_prov",
        ),
        (
            lambda f: write_cleaned(f / "out/cleaned.fits", read(), method="hilc"),
            "estimate nilc_regularised, and",
        ),
        (
            lambda f: get_handler("HealpyMap").write(f / "out/cleaned.fits", read("polarised.fits")),
            "is not the map",
        ),
        (lambda f: (f / "settings.yaml").unlink(), "window.txt: no settings.yaml beside it"),
        (
            lambda f: get_handler("Config").write(
                f / "settings.yaml", {"instrument": INSTRUMENT | {"depth_uk_arcmin": [9.0] * len(BANDS)}}
            ),
            "learned with another instrument than out/cleaned.fits is of: depth_uk_arcmin of band 30 was 9.0",
        ),
    ],
)
def test_a_window_is_for_maps_of_the_method_that_it_was_learned_with(cleaned_map, capsys, spoil, message):
    spoil(cleaned_map)
    with pytest.raises(SystemExit):
        filter_map("--fields", "TQU" if "is not" in message else "T")
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1


def as_others(path, change=None, **cards):
    """Rewrite a file of ours with other cards (None takes one out) and other values."""
    with fits.open(path) as hdus:
        columns = [hdus[1].data[name].ravel() for name in hdus[1].columns.names]
        table = fits.BinTableHDU.from_columns(
            [
                fits.Column(name, "E", unit="uK_CMB", array=row)
                for name, row in zip(
                    hdus[1].columns.names, change(columns) if change else columns, strict=True
                )
            ]
        )
        known = ("ORDERING", "NSIDE", "COORDSYS", "POLCCONV", "PIXWIN", "BEAMFWHM", "LMAX")
        kept = {key: hdus[1].header.get(key) for key in known} | cards
    table.header.update({key: value for key, value in kept.items() if value is not None})
    table.writeto(path, overwrite=True)


def test_what_is_assumed_is_one_line_and_in_the_record(folder, sky, capsys):
    write_plain(folder, observed(sky))
    clean()
    plain = read()
    for band in ("100", "857"):
        as_others(folder / f"obs_{band}.fits", PIXWIN=None, COORDSYS=None)
    capsys.readouterr()
    clean()
    line = "coord G (no COORDSYS): 100, 857; no pixel window (no PIXWIN): 100, 857"
    assert capsys.readouterr().err == f"assumed: {line}\n"
    assert read().values == pytest.approx(plain.values, abs=1e-3)
    record = yaml.safe_load((folder / "out/cleaned_provenance.yaml").read_text())
    assert record["assumed"] == [line]
    assert [len(entry.get("assumed", ())) for entry in record["maps"]] == [0, 2, 0, 0, 0, 2]
    assert record["results"]["cleaned.fits"] == md5_of(folder / "out/cleaned.fits")


def test_bands_that_contradict_each_other_are_refused_unless_told(folder, sky, capsys):
    write_plain(folder, observed(sky), n_stokes=3)
    clean("--fields", "TQU")
    cosmo = read()
    for band in BANDS:
        card = None if band == "143" else "IAU"
        as_others(folder / f"obs_{band}.fits", lambda rows: [*rows[:2], -rows[2]], POLCCONV=card)
    with pytest.raises(SystemExit):
        clean("--fields", "TQU")
    said = capsys.readouterr().err
    assert "POLCCONV is IAU in" in said
    assert "not said in" in said
    assert "--polconv IAU" in said
    clean("--fields", "TQU", "--polconv", "IAU")
    assert read().values == pytest.approx(cosmo.values, abs=1e-3)


def test_equatorial_maps_and_their_mask_are_cleaned_as_the_galactic_ones(folder, sky):
    write_plain(folder, observed(sky))
    hole = hp.query_disc(32, hp.ang2vec(1.0, 2.0), 0.3)
    mask = np.ones(12 * 32**2)
    mask[hole] = 0
    get_handler("HealpyMap").write(folder / "mask.fits", SkyMap(mask[None], "1"))
    clean("--mask", "mask.fits")
    galactic, kept = read(), read("cleaned_mask.fits").values[0] > 0
    to_equatorial = hp.Rotator(coord="GC")
    for band, alm in zip(BANDS, observed(sky), strict=True):
        turned = SkyMap(sht.alm2map(to_equatorial.rotate_alm(alm[0])[None], 16), "uK_CMB", FWHM[band], LMAX)
        get_handler("HealpyMap").write(folder / f"obs_{band}.fits", turned)
        as_others(folder / f"obs_{band}.fits", COORDSYS="C")
    centre = to_equatorial(hp.ang2vec(1.0, 2.0))
    mask = np.ones(12 * 32**2)
    mask[hp.query_disc(32, centre, 0.3)] = 0
    get_handler("HealpyMap").write(folder / "mask.fits", SkyMap(mask[None], "1"))
    as_others(folder / "mask.fits", COORDSYS="C")
    clean("--mask", "mask.fits", "--coord", "C")
    far = kept & (read("cleaned_mask.fits").values[0] > 0)
    assert far.mean() > 0.95 * kept.mean()
    assert np.std((read().values - galactic.values)[0, far]) < 0.02 * np.std(galactic.values)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("out", "is a folder: name a file in it"),
        ("gone/cleaned.fits", "is not there: make it first"),
        ("obs_30.fits/cleaned.fits", "is a file"),
        ("obs_143.fits", "is not overwritten"),
        ("soft.fits", "is not overwritten"),
        ("hard.fits", "is not overwritten"),
        ("mine.fits", "mine_mask.fits is read as"),
    ],
)
def test_what_cannot_be_written_is_told_before_any_work(folder, sky, capsys, out, message):
    write_plain(folder, observed(sky))
    (folder / "soft.fits").symlink_to("obs_143.fits")
    (folder / "hard.fits").hardlink_to(folder / "obs_143.fits")
    get_handler("HealpyMap").write(folder / "mine_mask.fits", SkyMap(np.ones((1, 12 * 16**2)), "1"))
    before = {path: md5_of(path) for path in folder.glob("*.fits")}
    with pytest.raises(SystemExit):
        clean("--mask", "mine_mask.fits", "--out", out)
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1
    assert before == {path: md5_of(path) for path in folder.glob("*.fits")}


def test_a_pattern_in_the_name_of_a_folder_is_no_pattern(folder, sky):
    write_plain(folder, observed(sky))
    place = folder / "maps[v2]"
    place.mkdir()
    for band in BANDS:
        (folder / f"obs_{band}.fits").rename(place / f"obs_{band.zfill(4)}_R3.fits")
    clean(maps="maps[v2]/obs_{freq:04d}_*.fits")
    assert error(sky, read())[0] < 0.1


def test_pyilc_runs_on_any_maps(folder, sky, monkeypatch):
    write_plain(folder, observed(sky))
    monkeypatch.setenv("PYILC_PATH", str(checkout(folder / "mine")))
    clean("--set", "peaks=[20, 41]", method="pyilc")
    sharpest = beyond_levels(get_handler("HealpyMap").read(folder / "obs_857.fits"))
    # the stand-in returns the sharpest band; analysis leaves 1e-4
    assert np.std(beyond_levels(read()) - sharpest) < 1e-3 * np.std(sharpest)


def beyond_levels(sky):
    """A map without what it has of l = 0 and 1."""
    return sht.alm2map(sht.almxfl(sht.map2alm(sky.values, LMAX), ELL >= 2), sky.nside)


def spoil(name, change):
    def apply(folder):
        path = folder / name
        sky = get_handler("HealpyMap").read(path)
        with fits.open(path) as hdus:
            values = change(sky.values[0].copy())
            hdus[1].data["I"] = values.reshape(hdus[1].data["I"].shape)
            hdus.writeto(folder / "new.fits")
        (folder / "new.fits").replace(path)

    return apply


def repeat(source, target):
    """Another band in the place of one: all but the header."""
    own, other = get_handler("HealpyMap").read(target), get_handler("HealpyMap").read(source)
    get_handler("HealpyMap").write(target, replace(own, values=1.5 * other.values))


@pytest.mark.parametrize(
    ("spoiled", "extra", "message"),
    [
        (lambda f: (f / "obs_143.fits").unlink(), [], "band 143 is missing: no file obs_143.fits"),
        (None, ["--maps", "obs_143.fits"], "obs_143.fits: lacks {freq}"),
        (lambda f: (f / "obs_143x.fits").touch(), ["--maps", "obs_{freq}*.fits"], "band 143 is there more than once"),
        (None, ["--maps", "obs_14[3]{freq}.fits"], "band 30 is missing"),
        (None, ["--bands", "143,999"], "wide.ecsv has no '999'"),
        (None, ["--lmax", "48"], "ends at l = 40: lower --lmax 48"),
        (None, ["--instrument", "planck", "--bands", "100,143"], "the header says a beam of"),
        (None, ["--instrument", "plank"], "did you mean 'planck'"),
        (None, ["--set", "ilc_bias=2"], "--set ilc_bias: "),
        (None, ["--set", "bias=0.1"], "--set bias: "),
        (None, ["--set", "ilc_bias=2", "--set", "ilc_bias=3"], "--set ilc_bias: has two values"),
        (None, ["--set", "fwhm_arcmin=50"], "--set fwhm_arcmin: is what --fwhm says: leave it out"),
        (None, ["--set", "ilc_bias"], "expected a name, '=' and a value"),
        (None, ["--set", "nulled=[dust, dust]"], "nulled: one of dust, dust is named twice"),
        (None, ["--set", "nulled=["], "--set nulled, line "),
        (None, ["--set", "ilc_bias=.nan"], "--set ilc_bias: "),
        (None, ["--set", "nulled=[dsut]"], "no spectrum of component dsut"),
        (None, ["--set", "ilc_bias=1"], "singular covariance: needlet scale 0 has"),
        (None, ["--model", "m.npy"], "nilc learns nothing from other skies"),
        (None, ["--fields", "TQU"], "no band has Q and U"),
        (spoil("obs_143.fits", lambda v: v * 0), [], "T is 0 in most pixels, as no sky is: leave band 143 out"),
        (spoil("obs_143.fits", lambda v: np.where(np.arange(v.size) == 7, np.nan, v)), [], "holds NaN"),
        (spoil("obs_143.fits", lambda v: v * 0 - 1.6375e30), [], "obs_143.fits: T: all pixels are missing"),
        (spoil("obs_143.fits", lambda v: v * 0 + 3), [], "obs_143.fits: T is 3 in most pixels"),
        (lambda f: ((f / "obs_143.fits").unlink(), (f / "obs_143.fits").mkdir()), [], "band 143 is missing: no file"),
        (lambda f: repeat(f / "obs_100.fits", f / "obs_143.fits"), [], "T of band 143 is T of band 100 times"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_line(folder, sky, capsys, spoiled, extra, message):
    write_plain(folder, observed(sky))
    if spoiled:
        spoiled(folder)
    with pytest.raises(SystemExit):
        clean(*extra)
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1


def test_a_narrow_beam_is_a_warning_within_what_pixels_carry(folder, sky, capsys):
    (folder / "wide.ecsv").write_text(
        (folder / "wide.ecsv").read_text().replace("866.8 300.0", "866.8 100.0"), encoding="utf-8"
    )
    for band, alm in zip(BANDS, observed(sky), strict=True):
        sky_map = SkyMap(sht.alm2map(alm[:1], 16), "uK_CMB")
        get_handler("HealpyMap").write(folder / f"obs_{band}.fits", sky_map)
    clean()
    assert (
        capsys.readouterr().err
        == "warning: beam of band 857 (100 arcmin) is below the pixel (219.9 arcmin)\n"
    )
    with pytest.raises(SystemExit):
        clean("--lmax", "45")
    assert "lower lmax to 40 or raise nside" in capsys.readouterr().err


def test_the_command_imports_no_more_than_it_needs():
    """Seconds of imports would be a good part of the whole call."""
    code = "import sys, cmbml.cli.entry, cmbml.clean.dispatch; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    heavy = {"healpy", "scipy", "matplotlib", "torch", "camb", "pysm3", "astropy"}
    assert heavy & set(done.stdout.split()) == set()
