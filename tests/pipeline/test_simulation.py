"""Simulations through their stages: what parameters and files switch on, what splits share, what is refused."""

import shutil
from collections import defaultdict
from copy import deepcopy

import healpy as hp
import numpy as np
import pytest

from cmbml.core.engine.check import check_executors, check_plan
from cmbml.core.engine.context import run_stage
from cmbml.core.engine.dvc import dvc_yaml
from cmbml.core.engine.make import Engine
from cmbml.core.engine.regenerate import regenerate
from cmbml.core.engine.switch import apply_profile
from cmbml.core.errors import CmbmlError, DataError
from cmbml.core.handlers import get_handler
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.plan.pieces import Piece, Portion
from cmbml.core.spec.config import load_config
from cmbml.core.views.dataset import Dataset
from cmbml.sky.executors import cmb, cosmology, draws, extragalactic, noise, observations
from cmbml.sky.sht import alm2cl, alm2map, draw_alm, map2alm
from cmbml.sky.skymap import SkyMap
from tests.conftest import ROOT

BANDS = {
    "100": {"freq_ghz": 100.0, "fwhm_arcmin": 240.0, "depth_uk_arcmin": 400.0},
    "353": {"freq_ghz": 353.0, "fwhm_arcmin": 240.0, "depth_uk_arcmin": 800.0},
}
SMALL = {
    "methods": [],
    "instrument.nside": 16,
    "instrument.lmax": 40,
    "instrument.bands": BANDS,
    "analysis.lmax": 40,
    "cosmology.scatter": False,
    "splits": {"test": {"n_sims": 2, "population": "nominal"}},
}
STAGES = ("cosmology", "theory", "cmb", "draws", "leakage", "observations")


@pytest.fixture
def root(tmp_path):
    """A repository with the pipeline that ships."""
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def configured(root, **overrides):
    values = deepcopy(SMALL) | {key.replace("__", "."): value for key, value in overrides.items()}
    return load_config(root, overrides=values)


def simulated(root, *stages, **overrides):
    config = configured(root, **overrides)
    engine = Engine(Plan(config))
    for key in stages or STAGES:
        run_stage(engine, engine.plan.stages[key])
    return Dataset(config)


def problems(root, **overrides):
    """What `cmbml check` says, in one text."""

    def check():
        plan = Plan(configured(root, **overrides))
        check_plan(plan)
        check_executors(plan)

    with pytest.raises(CmbmlError) as caught:
        check()
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


def raw(root, name, data, **options):
    path = root / "data/raw" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(data, SkyMap):
        get_handler("HealpyMap").write(path, data, **options)
    else:
        path.write_text(data)


def test_stokes_parameters_are_rows_of_one_file(root):
    """Rms of Q and U at 353 GHz against I's: the Galaxy is polarised by some per cent, less in the plane."""
    data = simulated(root, instrument__fields="TQU")
    obs = data["observations"].obs.at(split="test", sim=1, freq="353").read()
    assert obs.values.shape == (3, 3072)
    assert data["cmb"].cmb.at(split="test", sim=1).read().values.shape == (3, 861)
    fluctuations = obs.values.std(axis=1)
    assert (fluctuations[1:] / fluctuations[0] > 0.003).all()
    assert (fluctuations[1:] / fluctuations[0] < 0.3).all()


def test_temperature_is_the_same_with_polarisation(root, tmp_path):
    """T of the CMB differs by CAMB's settings only, 1e-3; T of the noise not at all."""
    one = simulated(root)["observations"].obs.at(split="test", sim=0, freq="100").read().values[0]
    data = simulated(root, instrument__fields="TQU")
    other = data["observations"].obs.at(split="test", sim=0, freq="100").read().values[0]
    assert np.std(one - other) < 3e-3 * np.std(one)


def test_spectra_say_how_they_were_computed(root):
    data = simulated(root, "cosmology", "theory")
    lines = data["theory"].spectra.at(split="test", sim=0).path.read_text().splitlines()
    assert lines[1].startswith("# CAMB ")
    assert "accuracy temperature" in lines[1]


def test_a_fixed_spectrum_is_one_for_the_split_and_the_skies_differ(root):
    split = {"n_sims": 3, "population": "fixed_spectrum"}
    splits = {"test": split, "free": split | {"population": "nominal"}}
    data = simulated(root, splits=splits, cosmology__scatter=True)
    for stage, asset in (("cosmology", "cosmology"), ("theory", "spectra")):
        files = [getattr(data[stage], asset).at(split="test", sim=sim).path.read_bytes() for sim in range(3)]
        assert len(set(files)) == 1
        free = [getattr(data[stage], asset).at(split="free", sim=sim).path.read_bytes() for sim in range(3)]
        assert len(set(free)) == 3
    truths = [data["cmb"].cmb.at(split="test", sim=sim).read().values for sim in range(2)]
    assert not np.allclose(*truths)


def test_populations_are_regions(root):
    splits = {
        name: {"n_sims": 6, "population": name}
        for name in ("dusty", "bright_synchrotron", "other_foregrounds", "high_noise")
    }
    data = simulated(root, "draws", splits=splits)
    rows = {name: [data["draws"].draw.at(split=name, sim=sim).read() for sim in range(6)] for name in splits}
    assert all(row["dust_amplitude"] > 1.1 for row in rows["dusty"])
    assert all(1.5 <= row["sync_amplitude"] <= 2.5 for row in rows["bright_synchrotron"])
    assert all(1.5 <= row["noise_level"] <= 3 for row in rows["high_noise"])
    assert {row["model"] for row in rows["other_foregrounds"]} == {"layered"}
    assert {row["model"] for row in rows["dusty"]} == {"galaxy"}


def test_a_population_may_choose_among_models_and_move_the_cosmology(root):
    data = simulated(
        root,
        "cosmology",
        "draws",
        splits={"test": {"n_sims": 12, "population": "nominal"}},
        cosmology__scatter=True,
        populations__nominal__models=["galaxy", "layered"],
        populations__nominal__cosmology={"H0": {"low": 60.0, "high": 62.0}},
    )
    models = {data["draws"].draw.at(split="test", sim=sim).read()["model"] for sim in range(12)}
    assert models == {"galaxy", "layered"}
    hubble = [data["cosmology"].cosmology.at(split="test", sim=sim).read()["H0"] for sim in range(12)]
    assert all(60 <= value <= 62 for value in hubble)
    assert len(set(hubble)) == 12


PAIRED = {
    "test": {"n_sims": 1, "population": "nominal"},
    "paired": {"n_sims": 1, "population": "dusty", "stream": "test"},
    "other": {"n_sims": 1, "population": "nominal"},
}


def test_paired_splits_share_cmb_and_noise_and_nothing_else(root):
    data = simulated(root, *STAGES, "components", splits=PAIRED, components__write=True)

    def component(split, field):
        return data["components"].component.at(split=split, sim=0, freq="353", field=field).read().values

    for field in ("cmb", "noise"):
        np.testing.assert_array_equal(component("test", field), component("paired", field))
        assert not np.allclose(component("test", field), component("other", field))
    assert np.corrcoef(component("test", "dust")[0], component("paired", "dust")[0])[0, 1] < 0.999
    assert data["leakage"].audit.at().read()["paired"] == ["paired, test"]


def test_components_add_up_to_the_observation(root):
    """Maps are float32: 1e-6 of the brightest pixel."""
    data = simulated(root, *STAGES, "components", components__write=True)
    fields = data["components"].component.fields
    place = {"split": "test", "sim": 1, "freq": "353"}
    total = sum(data["components"].component.at(**place, field=f).read().values for f in fields)
    obs = data["observations"].obs.at(**place).read().values
    np.testing.assert_allclose(total, obs, atol=2e-6 * np.abs(obs).max())
    assert "components" not in Plan(configured(root)).stages, "off by default"


BEYOND = {f"extragalactic__{name}": True for name in ("sources", "cib", "tsz")}


def test_what_lies_beyond_the_galaxy_is_added_and_changes_nothing_else(root):
    """Its components are in the observation; all others have the bytes that they have without it."""
    place = {"split": "test", "sim": 0, "freq": "353"}

    def components(**overrides):
        data = simulated(root, *STAGES, "components", components__write=True, **overrides)
        asset = data["components"].component
        maps = {field: asset.at(**place, field=field).read().values for field in asset.fields}
        return maps, data["observations"].obs.at(**place).read().values

    (without, plain), (within, full) = components(), components(**BEYOND)
    beyond = {name: within.pop(name) for name in ("sources", "cib", "tsz")}
    for name, sky in within.items():
        np.testing.assert_array_equal(sky, without[name], err_msg=name)
    assert all(sky.std() > 0.01 for sky in beyond.values())
    np.testing.assert_allclose(plain + sum(beyond.values()), full, atol=2e-6 * np.abs(full).max())
    assert not any(without[name].any() for name in beyond)


def test_bright_sources_are_listed_and_masked(root):
    """Where there are sources, and only then, there is a stage that says what their mask would cut."""
    data = simulated(root, "source_mask", extragalactic__sources=True, extragalactic__source_cut_jy=5.0)
    listed = data["source_mask"].sources.at(split="test", sim=0).read()
    assert listed["flux_143"].to_value("Jy").min() >= 5.0
    mask = data["source_mask"].mask.at(split="test", sim=0, freq="100").read()
    assert mask.unit == "1"
    assert 0.5 < mask.values.mean() < 1
    vectors = hp.ang2vec(listed["longitude"].value, listed["latitude"].value, lonlat=True)
    assert not mask.values[0][hp.vec2pix(16, *vectors.T)].any()
    assert "source_mask" not in Plan(configured(root)).stages


def test_no_purpose_of_random_numbers_is_shared_by_two_splits(root, monkeypatch):
    """Every key that a run asks for, by split: pairs share those of CMB and noise, and no others do."""
    asked = defaultdict(set)

    def recording(module):
        make = module.generator

        def record(*key):
            asked[key].add(current[0])
            return make(*key)

        monkeypatch.setattr(module, "generator", record)

    for module in (cmb, cosmology, draws, extragalactic, noise, observations):
        recording(module)
    current = [""]
    config = configured(root, splits=PAIRED, cosmology__scatter=True, **BEYOND)
    engine = Engine(Plan(config))
    for key in ("cosmology", "theory", "cmb", "draws", "observations"):
        for portion in engine.plan.portions(engine.plan.stages[key]):
            current[0] = portion.split
            run_stage(engine, engine.plan.stages[key], [portion])
    shared = {key[3] for key, splits in asked.items() if len(splits) > 1}
    assert shared == {"cosmology", "cmb", "noise", "noise_level"}
    assert {frozenset(splits) for splits in asked.values() if len(splits) > 1} == {
        frozenset({"test", "paired"})
    }
    assert {key[3] for key in asked} == shared | {"foregrounds", "model", "galaxy", "sources", "cib", "tsz"}


def test_the_same_foregrounds_in_two_splits_are_a_leak(root):
    """PySM's templates without any scatter: the sky that methods train on is the one that they meet again."""
    none = {key: {"mean": mean, "sd": 0.0} for key, mean in draws_of_nothing().items()}
    overrides = {f"populations__nominal__{key}": value for key, value in none.items()}
    splits = {name: {"n_sims": 1, "population": "nominal"} for name in ("train", "test")}
    with pytest.raises(DataError, match=r"foregrounds of another split, the first: t.*: give their"):
        simulated(root, "draws", "leakage", splits=splits, foregrounds__model="d0", **overrides)


def draws_of_nothing():
    amplitudes = ("dust", "sync", "freefree", "ame")
    values = {f"{name}_amplitude": 1.0 for name in amplitudes} | {"small_scale": 1.0}
    return values | dict.fromkeys(("dust_beta", "dust_temp", "sync_beta", "ame_peak"), 0.0)


def test_any_map_is_made_anew_bit_by_bit_from_the_draws_alone(root, tmp_path):
    data = simulated(root)
    before = data["observations"].obs.at(split="test", sim=1, freq="353").path.read_bytes()
    shutil.rmtree(root / "data/mini/observations")
    shutil.rmtree(root / "data/mini/cmb")
    files = data.regenerate("observations", split="test", sim=1, into=tmp_path / "again")
    assert [path.name for path in files] == ["obs_100.fits", "obs_353.fits"]
    assert files[1].read_bytes() == before
    assert not (root / "data/mini/observations").exists()
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == ["obs_100.fits", "obs_353.fits"]


def test_a_dataset_of_other_draws_is_not_made_anew(root, tmp_path):
    simulated(root)
    config = configured(root, populations__nominal__dust_beta={"mean": 0.2, "sd": 0.0})
    with pytest.raises(
        DataError, match=r"draws/test/sim0001: the dataset was made otherwise \(changed: params"
    ):
        regenerate(config, "observations", "test", 1, tmp_path / "again")
    with pytest.raises(CmbmlError, match="no such simulation"):
        regenerate(config, "observations", "test", 7, tmp_path / "again")


CHAIN = "chains/wmap_lcdm_wmap9_chains_v5"
VALUES = {
    "H0": 70.0, "omegabh2": 0.0226, "omegach2": 0.114, "tau": 0.089, "ns002": 0.97, "a002": 2.41
}  # fmt: skip


def write_chain(root, n_rows=50, **changes):
    for name, value in VALUES.items():
        rows = changes.get(name, n_rows)
        text = "".join(f"{i + 1:12d} {value * (1 + 1e-3 * i):20.10e}\n" for i in range(rows))
        raw(root, f"{CHAIN}/{name}", text)


def test_chains_are_read_by_row(root):
    write_chain(root)
    data = simulated(root, "cosmology", cosmology={"source": "wmap9_lcdm", "scatter": True})
    drawn = data["cosmology"].cosmology.at(split="test", sim=0).read()
    row = round((drawn["H0"] / 70.0 - 1) * 1e3)
    assert drawn["As"] == pytest.approx(2.41e-9 * (1 + 1e-3 * row), rel=1e-9)
    assert drawn["pivot_scalar"] == 0.002
    assert drawn["mnu"] == 0


def test_broken_chains_are_named(root):
    write_chain(root, tau=49)
    with pytest.raises(DataError, match=r"chain is ragged: rows by parameter: .*tau 49"):
        simulated(root, "cosmology", cosmology={"source": "wmap9_lcdm", "scatter": True})
    (root / "data/raw" / CHAIN / "a002").unlink()
    text = problems(root, cosmology={"source": "wmap9_lcdm", "scatter": True})
    assert f"science asset data/raw/{CHAIN}/a002 is missing: fetch it" in text
    write_chain(root)
    with (root / "data/raw" / CHAIN / "H0").open("a") as file:
        file.write("51 half a li")
    with pytest.raises(DataError, match="cut short or ragged"):
        simulated(root, "cosmology", cosmology={"source": "wmap9_lcdm", "scatter": True})
    assert "has no means" in problems(root, cosmology={"source": "wmap9_lcdm", "scatter": False})


def test_an_unphysical_cosmology_is_reported_with_its_simulation_and_values(root):
    with pytest.raises(
        DataError, match=r"theory/test/sim0000: CAMB refuses .*tau=0\.9.*repeat with"
    ) as caught:
        simulated(root, populations__nominal__cosmology={"tau": {"mean": 0.9, "sd": 0.0}})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"foregrounds__model": "d99"}, "PySM has no preset 'd99'; known are "),
        ({"foregrounds__model": "c1"}, "c1 is a CMB, not a foreground"),
        ({"populations__nominal__models": ["galaxy", "d77"]}, "PySM has no preset 'd77'"),
        ({"populations__nominal__dust_beta": {"low": 0.2, "high": 0.1}}, "range from 0.2 to 0.1 is empty"),
        ({"populations__nominal__dust_beta": {"low": 0.2}}, "needs mean and sd, or low and high"),
        ({"populations__dusty__like": "nowhere"}, "populations.dusty.like: 'nowhere' is no other population"),
        ({"instrument__lmax": 48}, "lmax 48 is above what nside 16 supports: at most 47"),
        ({"instrument__bands__100__bandwidth_ghz": 200.0}, "must be narrower than twice its centre 100"),
        ({"instrument__bandpass": "top_hat"}, "instrument.bandpass: Input should be 'own' or 'delta'"),
        ({"noise__kind": "variance"}, "science asset data/raw/noise/variance_100.fits is missing"),
        ({"mask__kind": "map"}, "science asset data/raw/mask/mask.fits is missing"),
        ({"instrument__table": "planck"}, "has a table and bands: leave out one"),
        ({"instrument__table": "plank", "instrument__bands": None}, "did you mean 'planck'?"),
    ],
)
def test_bad_parameters_get_one_line(root, overrides, message):
    assert message in problems(root, **overrides)


def passband(*rows):
    freqs, response = zip(*rows, strict=True)
    return {"convention": "power", "freq_ghz": list(freqs), "response": list(response)}


def test_a_passband_that_misses_its_band_is_refused_at_the_start(root):
    missed = passband((90.0, 1.0), (100.0, 1.0), (110.0, 1.0))
    message = problems(root, instrument__bands__353__passband=missed)
    assert "instrument: band 353: bandpass of 353 GHz: the table transmits 90 to 110 GHz" in message


def test_a_gain_is_a_factor_on_all_that_a_band_sees(root):
    """It changes nothing else, and is another in every sky."""
    key = "populations__nominal__gain"

    def skies(**values):
        obs = simulated(root, **values)["observations"].obs
        return {
            (sim, freq): obs.at(split="test", sim=sim, freq=freq).read().values
            for sim in range(2)
            for freq in BANDS
        }

    usual, drawn = skies(), skies(**{key: {"353": {"mean": 1.0, "sd": 0.05}}})
    gains = []
    for sim in range(2):
        gains.append(np.mean(drawn[sim, "353"] / usual[sim, "353"]))
        np.testing.assert_allclose(drawn[sim, "353"], gains[-1] * usual[sim, "353"], rtol=1e-5)
        np.testing.assert_array_equal(drawn[sim, "100"], usual[sim, "100"])
    assert 0 < abs(gains[0] - 1) < 0.2
    assert gains[0] != gains[1]
    message = "populations.nominal.gain: '545' is none of 100, 353"
    assert message in problems(root, **{key: {"545": {"mean": 1.0, "sd": 0.05}}})


def test_skies_are_seen_through_passbands(root):
    """One of 1 per cent leaves maps within 1e-3 of those at the centre, and 30 per cent do not; delta is none."""

    def sky(**values):
        return simulated(root, **values)["observations"].obs.at(split="test", sim=0, freq="353").read().values

    key = "instrument__bands__353__passband"
    narrow = {key: passband(*((353.0 * (1 + x), 1.0) for x in (-0.005, 0.0, 0.005)))}
    wide = {key: passband(*((353.0 * (1 + x), 1.0) for x in np.linspace(-0.15, 0.15, 31)))}
    centre = sky()
    assert 0 < np.std(sky(**narrow) - centre) < 1e-3 * np.std(centre)
    assert np.std(sky(**wide) - centre) > 1e-2 * np.std(centre)
    np.testing.assert_array_equal(sky(**wide, instrument__bandpass="delta"), centre)


@pytest.mark.long
def test_a_band_without_q_and_u_has_them_nowhere(root):
    """T of all bands, Q and U of those that have them; E and B are cleaned from the latter alone."""
    some = {name: {"fwhm_arcmin": 240.0, "freq_ghz": float(name)} for name in ("100", "217", "353")}
    bands = {name: band | {"depth_uk_arcmin": 3 * band["freq_ghz"]} for name, band in some.items()}
    lacking = {**bands, "353": bands["353"] | {"depth_p_uk_arcmin": None}}
    polarised = {name: bands[name] for name in ("100", "217")}
    stages = (*STAGES, "hilc_covariance", "nilc_covariance", "hilc", "nilc_regularised", "noise_floor")

    def made(bands):
        return simulated(
            root,
            *stages,
            splits={"train": {"n_sims": 3, "population": "nominal"}},
            methods=["hilc", "nilc_regularised"],
            instrument__fields="TQU",
            instrument__bands=bands,
            nilc_regularised__peaks=[20, 41],
            nilc_regularised__domain_deg=60.0,
            nilc_regularised__ilc_bias=0.5,
            hilc__bin_width=10,
        )

    def observed(data, names):
        refs = [data["observations"].obs.at(split="train", sim=0, freq=name) for name in names]
        return [ref.read().values for ref in refs]

    whole = observed(made(bands), bands)
    few = {
        method: made(polarised)[method].cleaned.at(split="train", sim=0).read().values
        for method in stages[-3:]
    }
    data = made(lacking)
    sky = observed(data, lacking)
    assert [len(rows) for rows in sky] == [3, 3, 1]
    for rows, before in zip(sky, whole, strict=True):
        np.testing.assert_array_equal(rows, before[: len(rows)])
    learned = data["hilc_covariance"].covariance.read()
    assert np.all(learned[0, :, 2, 2] > 0)
    assert not learned[1:, :, 2].any()
    for method, without in few.items():
        cleaned = data[method].cleaned.at(split="train", sim=0).read().values
        np.testing.assert_allclose(cleaned[1:], without[1:], atol=1e-4 * without[1:].std())
        assert np.std(cleaned[0] - without[0]) > 1e-3 * np.std(without[0])


TEMPLATES = {"freefree": "pysm_2/ff_t_new.fits"}


def test_the_content_of_templates_is_part_of_the_fingerprint(root, tmp_path, monkeypatch):
    folder = tmp_path / "templates"
    (folder / "pysm_2").mkdir(parents=True)
    monkeypatch.setenv("PYSM_LOCAL_DATA", str(folder))
    assert "no template pysm_2/ff_t_new.fits on this machine; fetch it" in problems(
        root, foregrounds__model="f1"
    )

    def wanted():
        plan = Plan(configured(root, foregrounds__model="f1"))
        portion = Portion("observations", None, "test")
        assert plan.places(portion)["templates"] == ["pysm_2/ff_t_new.fits"]
        return plan.fingerprint(Piece(portion, 0))

    (folder / "pysm_2/ff_t_new.fits").write_text("one")
    first = wanted()
    (folder / "pysm_2/ff_t_new.fits").write_text("two!")
    assert wanted() != first


def noise_only(root, *stages, **overrides):
    quiet = {f"populations__nominal__{name}_amplitude": {"mean": 1e-9, "sd": 0.0} for name in
             ("dust", "sync", "freefree", "ame")}  # fmt: skip
    data = simulated(
        root, "cosmology", "theory", "cmb", "draws", *stages, "components",
        splits={"test": {"n_sims": 20, "population": "nominal"}}, components__write=True, **quiet, **overrides,
    )  # fmt: skip
    component = data["components"].component
    return np.stack(
        [component.at(split="test", sim=s, freq="100", field="noise").read().values for s in range(20)]
    )


def white_level(depth_uk_arcmin, lmax=40):
    """Variance of a pixel of white noise cut at lmax."""
    return (depth_uk_arcmin * np.pi / 10800) ** 2 * ((lmax + 1) ** 2) / (4 * np.pi)


def test_noise_after_hits_has_the_bands_mean_variance(root):
    """20 maps of 1681 modes: the mean variance to 1 per cent, given 4; deeper near the ecliptic poles."""
    maps = noise_only(root, noise__kind="hits")
    variance = np.mean(maps**2, axis=(0, 1))
    assert variance.mean() == pytest.approx(white_level(400.0), rel=0.04)
    pole = hp.Rotator(coord=["E", "G"])(np.array([0.0, 0.0, 1.0]))
    latitude = np.abs(pole @ np.stack(hp.pix2vec(16, np.arange(3072))))
    assert variance[latitude > 0.95].mean() < 0.6 * variance[latitude < 0.5].mean()


def test_noise_after_a_variance_map_has_its_variance(root):
    """A variance four times larger in the north, in K_CMB^2; regions of 1000 pixels to 6 per cent."""
    z = hp.pix2vec(16, np.arange(3072))[2]
    variance = np.where(z > 0, 4.0, 1.0)
    for freq in BANDS:
        raw(root, f"noise/variance_{freq}.fits", SkyMap(variance[None] * 1e-10, "K_CMB^2"))
    maps = noise_only(root, noise__kind="variance")
    measured = np.mean(maps**2, axis=(0, 1))
    depth = np.sqrt(100.0) * hp.nside2resol(16, arcmin=True)
    assert measured[z < -0.3].mean() == pytest.approx(white_level(depth), rel=0.06)
    assert measured[z > 0.3].mean() == pytest.approx(4 * white_level(depth), rel=0.06)


@pytest.mark.long
def test_noise_learnt_from_simulations_has_their_spectrum_and_average(root):
    """30 simulations of red noise and a common pattern; the mean spectrum to 15 per cent in wide bands.

    The mean of 20 maps holds the pattern, of rms 11, and a fifth of noise of rms 40.
    """
    rng = np.random.default_rng(0)
    ell = np.arange(41)
    target = 10.0 * (1 + (10 / np.maximum(ell, 1)) ** 2)
    pattern = 20 * hp.pix2vec(16, np.arange(3072))[0]
    text = (root / "pipeline/raw.yaml").read_text()
    (root / "pipeline/raw.yaml").write_text(text.replace("fields: 100", "fields: 30"))
    for freq in BANDS:
        for i in range(30):
            sky = alm2map(draw_alm(target, rng), 16) + pattern
            raw(root, f"noise/sims/noise_{freq}_{i:04d}.fits", SkyMap(sky[None] * 1e-6, "K_CMB"))
    maps = noise_only(root, "noise_model", noise__kind="model")[:, 0]
    assert np.corrcoef(maps.mean(axis=0), pattern)[0, 1] > 0.6
    spectra = np.mean([alm2cl(map2alm(sky - pattern, 40)) for sky in maps], axis=0)
    for low, high in ((4, 10), (10, 20), (20, 40)):
        assert np.mean(spectra[low:high] / target[low:high]) == pytest.approx(1, abs=0.15)
    per_sim = np.array([np.mean(alm2cl(map2alm(sky - pattern, 40))[20:40]) for sky in maps])
    assert per_sim.std() > 0.01 * per_sim.mean(), "every draw has its own sample variance"


@pytest.mark.long
def test_noise_after_maps_of_hits_is_deep_where_there_are_many(root):
    """Four times the hits in the north; a cap without any is as noisy as the noisiest and does not count."""
    x, _, z = hp.pix2vec(16, np.arange(3072))
    hits = np.where(z > 0, 4.0, 1.0)
    hits[x > 0.95] = 0
    for freq in BANDS:
        raw(root, f"noise/hits_{freq}.fits", SkyMap(hits[None], "1"))
    maps = noise_only(root, noise__kind="hit_maps")
    measured = np.mean(maps**2, axis=(0, 1))
    noisiest = white_level(400.0) / np.mean(1 / hits[hits > 0])
    assert measured[(x < 0.8) & (z < -0.3)].mean() == pytest.approx(noisiest, rel=0.06)
    assert measured[(x < 0.8) & (z > 0.3)].mean() == pytest.approx(noisiest / 4, rel=0.08)
    assert measured[x > 0.97].mean() == pytest.approx(noisiest, rel=0.4)


@pytest.mark.parametrize(
    ("kind", "unit", "fields", "message"),
    [
        ("variance", "K_CMB", "T", "variance_100.fits: TUNIT of a variance is 'K_CMB', which is not known"),
        ("variance", "K_CMB^2", "TQU", "the map of band 100 has no QQ and UU: add them, or fields: T"),
        ("hit_maps", None, "T", "hits_100.fits"),
    ],
)
def test_maps_of_noise_are_looked_at_before_any_run(root, kind, unit, fields, message):
    name = "hits" if kind == "hit_maps" else kind
    for freq in BANDS:
        raw(root, f"noise/{name}_{freq}.fits", SkyMap(np.ones((1, 3072)), unit) if unit else "no map")
    assert message in problems(root, noise__kind=kind, instrument__fields=fields)


FOUR = {
    str(int(freq)): {"freq_ghz": freq, "fwhm_arcmin": 240.0, "depth_uk_arcmin": depth}
    for freq, depth in ((44.0, 600.0), (100.0, 400.0), (143.0, 400.0), (353.0, 800.0))
}
CLEANING = {
    "instrument__bands": FOUR,
    "methods": ["hilc_plain", "nilc"],
    "nilc": {"peaks": [10, 20, 41], "ilc_bias": 0.05},
    "analysis__fwhm_arcmin": 240.0,
    "analysis__band_width": 8,
}
SCORED = ("mask", "mask_coupling", "perfect_estimate", "noise_floor", "comparison")


def test_halves_have_independent_noise_and_are_cleaned_with_the_weights_of_the_whole(root):
    """Variance of the halves' noise twice that of the whole, their correlation 0, within 5 errors."""
    alone = simulated(root, **CLEANING)["observations"].obs.at(split="test", sim=1, freq="353")
    before = alone.path.read_bytes()
    cleaning = CLEANING | {"noise__halves": True, "components__write": True}
    data = simulated(root, *STAGES, "components", "hilc_plain", "nilc", *SCORED, **cleaning)
    place = {"split": "test", "sim": 1}
    obs = data["observations"].obs.at(**place, freq="353")
    assert obs.path.read_bytes() == before
    pair = [data["observations"].halves.at(**place, freq="353", field=f"half{i}").read() for i in (1, 2)]
    np.testing.assert_allclose((pair[0].values + pair[1].values) / 2, obs.read().values, rtol=1e-6, atol=1e-3)
    noise = data["components"].component.at(**place, freq="353", field="noise").read().values
    first, second = (map2alm((half.values - obs.read().values + noise)[0], 40) for half in pair)
    modes = 2 * np.arange(41) + 1
    auto, cross = (np.average(alm2cl(first, other), weights=modes) for other in (first, second))
    white = (800.0 * np.pi / 10800) ** 2
    error = np.sqrt(2 / 41**2)
    assert auto == pytest.approx(2 * white, rel=5 * error)
    assert abs(cross) < 5 * error * 2 * white
    for method in ("hilc_plain", "nilc", "noise_floor"):
        whole = data[method].cleaned.at(**place).read().values
        cleaned = [data[method].halves.at(**place, field=f"half{i}").read().values for i in (1, 2)]
        assert np.std(cleaned[0] - cleaned[1]) > 0.1
        np.testing.assert_allclose(np.mean(cleaned, axis=0), whole, atol=1e-3)
    rows = data["comparison"].bands.at(**place, method="noise_floor").read()
    # What the cross-spectrum lacks is the noise power of the whole; both are known to some per cent here.
    bias = [row["estimate"] - row["halves"] for row in rows]
    assert np.sum(bias) == pytest.approx(np.sum([row["residual"] for row in rows]), rel=0.3)
    assert "halves" not in data["comparison"].bands.at(**place, method="perfect_estimate").read()[0]


def test_levels_of_the_bands_are_recorded_and_change_no_cleaned_map_beyond_the_dipole(root):
    def cleaned(**overrides):
        data = simulated(root, *STAGES, "hilc_plain", "nilc", **CLEANING, **overrides)
        place = {"split": "test", "sim": 0}
        maps = [data[method].cleaned.at(**place).read().values for method in ("hilc_plain", "nilc")]
        return data, maps

    _, before = cleaned()
    data, after = cleaned(levels__add=True)
    levels = data["observations"].levels.at(split="test", sim=0).read()
    assert levels["353"]["monopole_uk"] == pytest.approx(471.3, abs=0.1)
    assert len({one["dipole_uk"] for one in levels.values()}) == 4
    for one, other in zip(before, after, strict=True):
        beyond = hp.remove_dipole((other - one)[0].astype(float))
        assert np.std(beyond) < 1e-3


def test_skies_of_others_have_no_halves(root):
    splits = {"test": {"n_sims": 1, "population": "nominal"}, "planck": {"n_sims": 1, "source": "observed"}}
    text = problems(root, splits=splits, noise__halves=True)
    assert "noise.halves: skies of others have none, as in split planck: set it false" in text


def test_a_variance_map_without_a_squared_unit_is_refused(root):
    for freq in BANDS:
        raw(root, f"noise/variance_{freq}.fits", SkyMap(np.ones((1, 3072)), "K_CMB"))
    with pytest.raises(
        DataError, match=r"variance_100.fits: TUNIT of a variance is 'K_CMB', which is not known"
    ):
        simulated(root, noise__kind="variance")


def test_masks_of_all_kinds(root):
    weights = (np.arange(12 * 32**2) > 4000).astype(float)
    raw(root, "mask/mask.fits", SkyMap(weights[None], "1"))

    def made(**overrides):
        return simulated(root, "mask", **overrides)["mask"].mask.at().read().values[0]

    assert made(mask__kind="fsky", mask__fsky=0.6).mean() == pytest.approx(0.6, abs=0.02)
    assert made(mask__kind="map").mean() == pytest.approx(weights.mean(), abs=0.02)
    hard, soft = (made(mask__apodisation=kind, mask__apodisation_arcmin=900.0) for kind in ("none", "C1"))
    assert soft.mean() < hard.mean()
    assert (soft <= hard).all()
    assert ((soft > 0) & (soft < 1)).any()


@pytest.mark.parametrize(
    ("name", "spread", "message"),
    [
        ("As", {"mean": 2.1, "sd": 0.03}, "As should be between 1e-10 and 1e-08 (it is 2.1)"),
        ("H0", {"low": 0.6, "high": 0.8}, "H0 should be between 10 and 200 (it is 0."),
        ("tau", {"low": 0.05, "high": 5.0}, "tau should be between 0 and 1 (it is 5)"),
        ("H0", {"mean": 30.0, "sd": 1.0}, "matter exceeds the critical density"),
    ],
)
def test_the_check_refuses_regions_of_impossible_cosmologies(name, spread, message):
    plan = Plan(load_config(ROOT, overrides={"populations.dusty.cosmology": {name: spread}}))
    with pytest.raises(CmbmlError) as caught:
        check_executors(plan, [plan.stages["cosmology"]])
    assert str(caught.value).startswith(f"params.yaml: populations.dusty: cosmology: {message}")


@pytest.mark.parametrize("name", sorted(file.stem for file in (ROOT / "profiles").glob("*.yaml")))
def test_profiles_lack_at_most_their_downloads(tmp_path, name, monkeypatch):
    """A profile can be switched to before its templates and chains are here, and the check names them."""
    monkeypatch.setenv("PYSM_LOCAL_DATA", str(tmp_path))
    apply_profile(ROOT, name, tmp_path)
    plan = Plan(load_config(tmp_path))
    assert plan.config.dataset == name
    assert len(dvc_yaml(plan)) > 1000
    try:
        check_plan(plan)
        check_executors(plan)
    except CmbmlError as error:
        lines = str(error).splitlines()
    else:
        lines = []
    assert all("fetch it" in line for line in lines), lines
    assert bool(lines) == (name == "planck" or name.startswith("cmbml-"))
