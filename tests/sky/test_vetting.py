"""Bands before they are cleaned: dead and repeated ones are refused, absurd ones told, real skies are let pass."""

import re

import healpy as hp
import numpy as np
import pytest

from cmbml.core.spec.config import load_config
from cmbml.core.spec.instruments import SHIPPED, read_bands
from cmbml.sky import sht
from cmbml.sky.distributions import distribution
from cmbml.sky.foregrounds import FOREGROUND_KEYS, draw_foregrounds
from cmbml.sky.galaxy.family import FAMILIES
from cmbml.sky.galaxy.model import galaxy_alm
from cmbml.sky.levels import full_sky_fit
from cmbml.sky.mask import galactic_mask
from cmbml.sky.vetting import doubts, level_doubts, look_at, refuse_repeats
from tests.conftest import ROOT
from tests.sky.maps import pysm_maps

NSIDE, LMAX = 32, 64
SUN = (
    3362
    * np.array(hp.ang2vec(264.0, 48.0, lonlat=True))
    @ np.array(hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2)))
)
INSTRUMENTS = {path.parent.name: read_bands(path) for path in sorted(SHIPPED.glob("*/*.ecsv"))}
PLANCK = INSTRUMENTS["planck"]


def cmb(seed):
    ell = np.arange(LMAX + 1)
    power = np.where(ell < 2, 0.0, 2e3 * np.pi / np.maximum(ell * (ell + 1), 1))
    return sht.draw_alm(power, np.random.default_rng([seed, 0]))


def observed(bands, population, family, seed):
    """Maps of a sky by band, ``(1, npix)``."""
    rng = np.random.default_rng([seed, 1])
    spreads = {key: distribution(**getattr(population, key).values) for key in FOREGROUND_KEYS}
    freqs = [band["freq_ghz"] for band in bands.values()]
    draw = draw_foregrounds(spreads, rng)
    galaxy = galaxy_alm(freqs, draw, rng, LMAX, family=FAMILIES[family], n_stokes=1, threads=2)
    skies = {}
    for (name, band), alm in zip(bands.items(), galaxy, strict=True):
        beam = sht.gaussian_beam(band["fwhm_arcmin"], LMAX)
        level = (band["depth_uk_arcmin"] * sht.ARCMIN) ** 2
        noise = sht.draw_alm(np.full(LMAX + 1, level), rng)
        skies[name] = sht.alm2map(sht.almxfl(np.ravel(alm) + cmb(seed), beam)[None] + noise, NSIDE)
    return skies


POPULATIONS = load_config(ROOT).params.populations


@pytest.fixture(scope="module")
def skies():
    return observed(PLANCK, POPULATIONS["nominal"], "galaxy", 1)


def said(skies, bands=PLANCK):
    """All doubts about maps, unless they are refused."""
    looks = [look_at(name, bands[name]["freq_ghz"], sky, np.isnan(sky)) for name, sky in skies.items()]
    refuse_repeats(looks)
    levels = [full_sky_fit().measure_map(np.nan_to_num(sky), 0.0) for sky in skies.values()]
    return [*doubts(looks), *level_doubts(looks, levels)]


def test_an_ordinary_sky_is_let_pass_with_holes_too(skies):
    assert said(skies) == []
    holes = {name: sky.copy() for name, sky in skies.items()}
    for start, sky in enumerate(holes.values()):
        sky[0, start * 500 : start * 500 + 400] = np.nan
    assert said(holes) == []
    # of a small patch nothing is said
    few = {name: np.where(np.arange(sky.size) < 900, sky, np.nan) for name, sky in skies.items()}
    assert said(few) == []


def test_a_dead_band_is_refused(skies):
    with pytest.raises(ValueError, match=r"T is 3 in most pixels, .*: leave band 143 out"):
        said(skies | {"143": np.full_like(skies["143"], 3.0)})
    half = np.where(np.arange(skies["143"].size) < 7000, 0.0, skies["143"])
    with pytest.raises(ValueError, match=r"T is 0 in most pixels"):
        said(skies | {"143": half})
    polarised = np.vstack([skies["143"], np.full((2, SUN.size), -1.0)])
    with pytest.raises(ValueError, match=r"Q is -1 in most pixels"):
        look_at("143", 143.0, polarised, np.zeros(polarised.shape, dtype=bool))


@pytest.mark.parametrize("mark", [0.0, -999.0, 1e20])
def test_marks_of_missing_pixels_that_nobody_named_are_refused(skies, mark):
    sky = skies["143"].copy()
    sky[0, 3000:3100] = mark
    with pytest.raises(ValueError, match=rf"T is exactly {re.escape(f'{mark:g}')} in 100 pixels"):
        said(skies | {"143": sky})
    # whole numbers, of which many are zero, are a sky
    assert said(skies | {"143": np.rint(skies["143"])}) == []


@pytest.mark.parametrize("latitude", [10, 20, 40])
def test_a_sky_without_the_galactic_plane_is_let_pass(skies, latitude):
    plane = galactic_mask(NSIDE, latitude) == 0
    assert said({name: np.where(plane, np.nan, sky) for name, sky in skies.items()}) == []


@pytest.mark.parametrize(
    "again", [lambda x: x, lambda x: np.float32(-2.5) * x.astype(np.float32), lambda x: x + 40]
)
def test_a_band_that_is_there_twice_is_refused(skies, again):
    with pytest.raises(ValueError, match=r"T of band 217 is T of band 100 times a number"):
        said(skies | {"217": again(skies["100"])})


def test_fields_are_compared_across_bands_too(skies):
    both = np.vstack([skies["143"], skies["100"], skies["217"]])
    looks = [
        look_at(name, 100.0, both * size, np.zeros(both.shape, dtype=bool))
        for name, size in (("a", 1), ("b", 2))
    ]
    with pytest.raises(ValueError, match="T of band b is T of band a times"):
        refuse_repeats(looks)
    with pytest.raises(ValueError, match="U of band b is Q of band b times"):
        refuse_repeats([look_at("b", 100.0, both[[0, 1, 1]], np.zeros(both.shape, dtype=bool))])


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1e3, 1e6])
@pytest.mark.parametrize("band", list(PLANCK))
def test_power_that_no_sky_has_is_told(skies, band, size):
    assert said(skies | {band: skies[band] * size})


def test_all_bands_in_another_unit_are_one_line(skies):
    (line,) = said({name: 1e-3 * sky for name, sky in skies.items() if name not in ("545", "857")})
    assert line.startswith("rms at 7 degrees of band 30: ")
    assert line.endswith("uK_CMB is less than that of the CMB, 45: look at the unit")


@pytest.mark.parametrize(
    "pair", [("30", "353"), ("44", "143"), ("100", "217"), ("217", "353"), ("545", "857")]
)
def test_swapped_bands_are_told(skies, pair):
    one, other = pair
    assert any("swapped" in line for line in said(skies | {one: skies[other], other: skies[one]}))


def test_levels_that_no_sky_has_are_told(skies):
    (line,) = said({name: sky + SUN for name, sky in skies.items()})
    assert line.startswith("dipole of band 30: 33")
    assert "353" not in line.partition(" uK_CMB")[0]
    (line,) = said({name: sky + 2.7255e6 for name, sky in skies.items() if name not in ("545", "857")})
    assert line.startswith("monopole of band 30: 2.7")


def test_planck_s_infrared_background_is_no_doubt(skies):
    # Planck 2018 III, table 12
    background = dict(
        zip(("100", "143", "217", "353", "545", "857"), (12, 21, 68, 452, 6031, 2.8e5), strict=True)
    )
    assert said({name: sky + background.get(name, 0.0) for name, sky in skies.items()}) == []


def test_the_sky_of_pysm_is_let_pass(sky64):
    freqs = [band["freq_ghz"] for band in PLANCK.values()]
    maps = pysm_maps(("d1", "s1", "f1", "a1"), freqs) + sht.alm2map(cmb(2)[None], 64)
    assert said(dict(zip(PLANCK, maps[:, None], strict=True))) == []


def test_wmap_is_let_pass(shared):
    bands = {"V": {"freq_ghz": 60.8}, "W": {"freq_ghz": 93.5}}
    skies = {
        name: 1e3
        * np.array(
            hp.read_map(
                shared / "wmap" / f"wmap_band_iqumap_r9_7yr_{name}_v4_udgraded32.fits", field=(0, 1, 2)
            )
        )
        for name in bands
    }
    assert said(skies, bands) == []


@pytest.mark.long
@pytest.mark.parametrize("family", list(FAMILIES))
@pytest.mark.parametrize("instrument", list(INSTRUMENTS))
def test_no_sky_of_any_population_is_doubted(instrument, family):
    bands = INSTRUMENTS[instrument]
    for seed, (name, population) in enumerate(POPULATIONS.items()):
        for sky in range(2):
            assert said(observed(bands, population, family, 2 * seed + sky), bands) == [], name
