"""gsc_unet: the CMB passes whatever the network says, and its stages run as one method."""

import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import healpy as hp
import numpy as np
import pytest
import torch

from cmbml.clean.dispatch import clean
from cmbml.clean.origins import expect_one_simulation
from cmbml.clean.request import Order
from cmbml.core.engine.check import check_executors, check_plan
from cmbml.core.engine.make import Engine
from cmbml.core.errors import CmbmlError, ConfigError, DataError, ProblemsError
from cmbml.core.files.checksums import md5_of
from cmbml.core.handlers import get_handler
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.config import load_config
from cmbml.methods.gsc_unet.covariance import (
    combine,
    domains_deg,
    local_covariances,
    pair_products,
)
from cmbml.methods.gsc_unet.differences import differences, scale_maps
from cmbml.methods.gsc_unet.network import GscUnet, calibration
from cmbml.methods.gsc_unet.statistics import regression
from cmbml.methods.nn.faces import to_faces
from cmbml.sky.levels import full_sky_fit
from cmbml.sky.sht import alm2map, almxfl, draw_alm, gaussian_beam
from cmbml.sky.skymap import SkyMap
from tests.conftest import ROOT
from tests.methods.small_sky import FWHM, LMAX, SED, draw_sky, observe
from tests.small_run import SIZES, UPSTREAM, continued, finished, repository, run

TOY = {
    "methods": ["nilc_regularised", "hilc", "gsc_unet"],
    "gsc_unet.peaks": [20, 41],
    "gsc_unet.nside": 4,
    "gsc_unet.width": 8,
    "gsc_unet.epochs": 2,
    "gsc_unet.domain_deg": 40.0,
}
STAGES = (
    "nilc_covariance",
    "nilc_regularised",
    "hilc_covariance",
    "hilc",
    "gsc_unet_samples",
    "gsc_unet_training",
    "gsc_unet",
)


def toy(folder, **overrides):
    return repository(folder, **{key.replace(".", "__"): v for key, v in TOY.items()} | overrides)


def test_differences_hold_no_cmb_but_foregrounds():
    rng = np.random.default_rng(1)
    sky = draw_sky(rng)
    # rounding
    assert np.abs(differences(sky["cmb"], FWHM)).max() < 1e-12 * np.abs(sky["cmb"]).max()
    seen = differences(sky["foreground"], FWHM)
    for band in range(3):
        beam = gaussian_beam(max(FWHM[band : band + 2]), LMAX)
        plain = sky["foreground"][0] / (SED[0] * gaussian_beam(FWHM[0], LMAX))[0]
        expected = (SED[band + 1] - SED[band]) * almxfl(plain, beam)
        assert seen[band][:5] == pytest.approx(expected[:5], rel=0.2, abs=1e-3 * np.abs(expected).max())


def test_the_sharper_band_may_come_first():
    alm = draw_alm(np.ones(LMAX + 1), np.random.default_rng(2))
    sharp_first = observe(alm, [1, 1], (180.0, 300.0))
    assert np.abs(differences(sharp_first, (180.0, 300.0))).max() < 1e-12
    more = differences(observe(alm, [1, 3], (180.0, 300.0)), (180.0, 300.0))[0]
    assert more == pytest.approx(2 * almxfl(alm, gaussian_beam(300.0, LMAX)))


def test_one_band_has_no_differences():
    with pytest.raises(ValueError, match=r"differences need two bands or more: add one to instrument.bands"):
        differences(np.ones((1, 3), dtype=complex), [60.0])


def test_scales_add_up():
    alms = np.stack([draw_alm(np.ones(41), np.random.default_rng(3))])[:, None]
    maps = scale_maps(alms, (20, 41), 16)
    assert maps.shape == (2, 1, 12 * 16**2)
    assert maps.sum(axis=0)[0] == pytest.approx(alm2map(alms[0, 0], 16))


def coarse(sky):
    """Mean over the pixels of nside 4, as faces: those with the same NESTED parent."""
    return to_faces(hp.reorder(hp.reorder(sky, r2n=True).reshape(192, -1).mean(axis=1), n2r=True))


def test_products_are_averages_over_coarse_pixels():
    rng = np.random.default_rng(4)
    maps = rng.standard_normal((2, 3, 12 * 16**2))
    found = pair_products(maps, 4)
    assert found.shape == (3, 2, 12, 4, 4)
    for pair, (i, j) in enumerate([(0, 0), (0, 1), (1, 1)]):
        for group, fields in enumerate(([0], [1, 2])):
            expected = np.mean([coarse(maps[i, f] * maps[j, f]) for f in fields], axis=0)
            assert found[pair, group] == pytest.approx(expected)


def test_q_and_u_share_weights_whatever_the_coordinates():
    rng = np.random.default_rng(5)
    maps = rng.standard_normal((2, 3, 12 * 16**2))
    angle = rng.uniform(0, 2 * np.pi, 12 * 16**2)
    turned = maps.copy()
    turned[:, 1] = np.cos(angle) * maps[:, 1] - np.sin(angle) * maps[:, 2]
    turned[:, 2] = np.sin(angle) * maps[:, 1] + np.cos(angle) * maps[:, 2]
    assert pair_products(turned, 4) == pytest.approx(pair_products(maps, 4))


def test_domains_are_wider_on_coarser_scales_and_lose_nothing():
    products = np.zeros((1, 1, 2, 12, 8, 8))
    products[..., 5, 4, 4] = 1.0
    found = local_covariances(products, domains_deg((20, 80), 10.0))[0, 0]
    assert found.min() >= 0
    # the kernel of every pixel sums to one, so what all of them give is as large as their widths are alike
    assert found.sum(axis=(1, 2, 3)) == pytest.approx(1.0, abs=0.05)
    assert found[0].max() < 0.5 * found[1].max()


def test_weights_are_smooth_between_coarse_pixels():
    weights = np.ones((1, 2, 12, 4, 4))
    weights[0, 1] = to_faces(hp.pix2vec(4, np.arange(192))[2])
    maps = np.ones((2, 1, 12 * 16**2))
    z = hp.pix2vec(16, np.arange(12 * 16**2))[2]
    found = combine(weights, maps)[0] - 1
    # linear interpolation over 15 degrees
    assert found[np.abs(z) < 0.9] == pytest.approx(z[np.abs(z) < 0.9], abs=0.05)
    assert np.abs(np.diff(found)).max() < 0.35


def sky_products(amplitude, slope, rng, noise=1.0):
    """Products of two maps and a residual in every coarse pixel: a foreground, and noise."""
    fore = amplitude * rng.standard_normal(12 * 32**2)
    maps = np.stack([10 * fore, slope * fore, 0.5 * slope * fore])
    maps += np.array([[1.0], [noise], [1.0]]) * rng.standard_normal(maps.shape)
    return pair_products(maps[:, None], 4)


def statistics_of(skies):
    mean = torch.as_tensor(np.mean(skies, axis=0))
    return regression(mean, 1)


def test_regression_is_least_squares():
    rng = np.random.default_rng(6)
    learned = statistics_of([sky_products(1.0, 2.0, rng) for _ in range(8)])
    weights = learned["regression"][:, 0, 0].mean(dim=(-3, -2, -1)).numpy()
    covariance = np.array([[101.0, 20.0], [20.0, 5.0]])
    # 192 pixels of 64 draws, 8 skies
    assert weights == pytest.approx(np.linalg.solve(covariance, [10.0, 2.0]), abs=0.01)
    assert learned["scatter"].mean().item() == pytest.approx(np.sqrt(2.0), rel=0.02)


def test_regression_knows_that_scales_overlap():
    """Two scales that share a foreground and noise: least squares of both together, not of each alone."""
    rng = np.random.default_rng(16)
    skies, rows, wrong = [], [], []
    for _ in range(6):
        parts = rng.standard_normal((4, 12 * 32**2))
        inputs = np.stack([parts[0] + 0.5 * parts[1], parts[1] + 0.5 * parts[0] + 0.3 * parts[2]])
        residual = np.stack([parts[0] + parts[3], parts[1]])
        skies.append(pair_products(np.stack([inputs, residual], axis=1).reshape(4, 1, -1), 4))
        rows.append(inputs)
        wrong.append(residual.sum(axis=0))
    mean = torch.as_tensor(np.mean(skies, axis=0))
    weights = regression(mean, 2)["regression"][0, 0].mean(dim=(-3, -2, -1)).numpy()
    rows = np.concatenate(rows, axis=1)
    assert weights == pytest.approx(np.linalg.solve(rows @ rows.T, rows @ np.concatenate(wrong)), abs=0.02)


def network(skies):
    torch.manual_seed(1)
    model = GscUnet(1, 1, 2, 4, 8, 1)
    model.normalise(statistics_of(skies) | {"deviation": torch.ones(5, 1, 1, 12, 4, 4)})
    return model


def inputs(products):
    """Rows of maps alone, and all rows, as a batch of one."""
    return torch.as_tensor(products[[0, 1, 3]])[None], torch.as_tensor(products)[None]


def test_the_network_starts_with_the_regression():
    rng = np.random.default_rng(7)
    skies = [sky_products(1.0, 2.0, rng) for _ in range(3)]
    model = network(skies)
    model.farthest.fill_(1e9)
    said = model(inputs(skies[0])[0])
    assert said.shape == (1, 3, 1, 1, 12, 4, 4)
    assert said[0, :-1].detach().numpy() == pytest.approx(model.regression.numpy(), rel=1e-4, abs=1e-7)
    assert not said[0, -1].any()


def test_what_is_left_is_the_mean_square_of_the_error():
    rng = np.random.default_rng(8)
    maps = rng.standard_normal((2, 3, 1, 12 * 16**2))
    model = GscUnet(1, 2, 2, 4, 8, 1)
    said = torch.zeros(1, 3, 1, 2, 12, 4, 4, dtype=torch.float64)
    said[:, 0, :, 0], said[:, 1, :, 0], said[:, 1, :, 1] = 0.3, -2.0, 1.0
    wrong = maps[0, 2] - 0.3 * maps[0, 0] + 2.0 * maps[0, 1] + maps[1, 2] - maps[1, 1]
    left = model.left(said, torch.as_tensor(pair_products(maps.reshape(6, 1, -1), 4))[None])
    # the ridge adds a millionth
    assert left[0, 0].numpy() == pytest.approx(coarse(wrong[0] ** 2), rel=1e-5)


def test_training_reads_the_spectrum_off_the_sky():
    """Skies of two spectra: one set of weights for both leaves foreground, the network's leave little."""
    rng = np.random.default_rng(9)
    skies = [sky_products(3.0, slope, rng, noise=6.0) for slope in (1.0, 3.0) * 6]
    model = network(skies)
    model.farthest.fill_(1e9)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)

    def left():
        found = [model.left(model(inputs(sky)[0]), inputs(sky)[1]).mean() for sky in skies]
        return torch.stack(found).mean().item()

    before = left()
    for sky in skies * 15:
        seen, products = inputs(sky)
        optimizer.zero_grad()
        model.loss(model(seen), products).backward()
        optimizer.step()
    # noise alone would leave 1.0 to 1.1; the regression leaves a sixth of the foreground's variance
    assert before > 1.6
    assert left() < 0.75 * before


def test_a_sky_unlike_all_others_keeps_the_base():
    rng = np.random.default_rng(10)
    skies = [sky_products(1.0, 2.0, rng) for _ in range(3)]
    model = network(skies)
    usual = model.read(model.triangle(inputs(skies[0])[0]))
    model.mean.copy_(usual[0])
    strange = inputs(sky_products(1e4, -50.0, rng))[0]
    kept = model(inputs(skies[0])[0])[0, :-1].detach()
    assert kept.abs().max() == pytest.approx(model.regression.abs().max().item(), rel=0.01)
    shares = model.trust(model.departure(model.read(model.triangle(strange))))
    assert shares.max() < 0.2


def test_calibration_covers_68_percent():
    drawn = torch.Generator().manual_seed(2)
    sigma = torch.rand(100_000, generator=drawn) + 0.1
    wrong = 3 * sigma * torch.randn(100_000, generator=drawn)
    assert calibration(wrong.abs() / sigma) == pytest.approx(3.0, rel=0.01)


@pytest.fixture(scope="module", params=["T", pytest.param("TQU", marks=pytest.mark.long)])
def data(request, tmp_path_factory):
    fields = request.param
    start = finished(tmp_path_factory.getbasetemp(), fields)
    settings = {key.replace(".", "__"): value for key, value in TOY.items()}
    config = continued(start, tmp_path_factory.mktemp("gsc"), fields, **settings)
    # By this a file's repository is found.
    (config.root / "dvc.yaml").touch()
    return run(config, *UPSTREAM, *STAGES)


def test_the_method_runs_and_says_its_error(data):
    n_stokes = data.config.params.instrument.n_stokes
    cleaned = data["gsc_unet"].cleaned.at(split="test", sim=0).read()
    assert (cleaned.values.shape[0], cleaned.fwhm_arcmin, cleaned.lmax) == (n_stokes, 300.0, 40)
    alm = data["cmb"].cmb.at(split="test", sim=0).read().values
    truth = alm2map(almxfl(alm, gaussian_beam(300.0, 40)), 16)
    assert np.std(cleaned.values[0] - truth[0]) < 0.6 * np.std(truth[0])
    sigma = data["gsc_unet"].uncertainty.at(split="test", sim=0).read().values
    assert sigma.min() > 0
    assert data["gsc_unet_training"].model.at(epoch=1).read()["epoch"] == 1
    curve = get_handler("Csv").read(data.config.root / "plots/gsc_unet_training.csv")
    assert [row["epoch"] for row in curve] == [1, 2]


def test_its_error_is_calibrated_on_valid_where_the_mask_keeps(data):
    kept = data["mask"].mask.read().values[0] > 0
    within = []
    for sim in data.splits["valid"].iter_sims():
        at = {"split": "valid", "sim": sim}
        alm = data["cmb"].cmb.at(**at).read().values
        truth = alm2map(almxfl(alm, gaussian_beam(300.0, 40)), 16)
        base, cleaned = (data[key].cleaned.at(**at).read().values for key in ("nilc_regularised", "gsc_unet"))
        # levels of the base are left as they are, and no part of the error
        wrong = full_sky_fit().measure_map(base - truth, 300.0).off_map(cleaned - truth, 300.0)
        within.append((np.abs(wrong) < data["gsc_unet"].uncertainty.at(**at).read().values)[:, kept])
    # maps are float32: pixels at the border may fall on either side
    assert np.mean(within) == pytest.approx(0.6827, abs=2 / np.size(within))


def test_training_leaves_no_scratch_behind(data):
    assert not any((data.config.root / ".cmbml/scratch").iterdir())


def add_cmb(data, split, sim):
    """Add a second CMB to the bands of a simulation; its a_lm."""
    params = data.config.params.instrument
    rng = np.random.default_rng(9)
    extra = np.stack([draw_alm(1e3 / (np.arange(41) + 2.0) ** 2, rng) for _ in range(params.n_stokes)])
    for freq, band in params.bands.items():
        ref = data["observations"].obs.at(split=split, sim=sim, freq=freq)
        sky = ref.read()
        more = alm2map(almxfl(extra, gaussian_beam(band.fwhm_arcmin, 40)), 16)
        changed = SkyMap(sky.values + more, sky.unit, sky.fwhm_arcmin, sky.lmax)
        get_handler(ref.handler_name).write(ref.path, changed)
    return extra


@pytest.mark.parametrize("trained", [True, False], ids=["trained", "any weights"])
def test_the_response_to_the_cmb_is_one(data, trained):
    """Measured by a second CMB in the input; for weights that were drawn at random, too."""
    engine = Engine(Plan(data.config))
    base, other, network = (engine.make_executor(k, None) for k in ("nilc_regularised", "hilc", "gsc_unet"))
    written = {}
    for linear in (base, other):
        linear.writer = lambda handler, path, sky, options: handler.write(path, sky)
    network.writer = lambda handler, path, sky, options: written.update({path.name: sky.values})
    for executor in (base, other, network):
        executor.setup()
    if not trained:
        torch.manual_seed(3)
        for weights in network.cleaner.model.parameters():
            torch.nn.init.normal_(weights, std=0.2)
    files = {p: p.read_bytes() for p in (data.config.root / "data/stages").rglob("test/sim0000/*.fits")}

    def clean():
        for executor in (base, other, network):
            with executor.name_tracker.set_contexts({"split": "test", "sim": 0}):
                executor.process_sim(data.splits["test"], 0)
        linear = data["nilc_regularised"].cleaned.at(split="test", sim=0).read().values
        return written["cleaned.fits"], linear - written["cleaned.fits"]

    before, subtracted = clean()
    try:
        extra = add_cmb(data, "test", 0)
        after, still_subtracted = clean()
    finally:
        for path, content in files.items():
            path.write_bytes(content)
    expected = alm2map(almxfl(extra, gaussian_beam(300.0, 40)), 16)
    # The network's part does not change at all but for rounding: bands of nside 16 are analysed to some 1e-4.
    assert np.std(still_subtracted - subtracted) < 2e-3 * np.std(expected)
    assert np.std(subtracted) > 5 * np.std(still_subtracted - subtracted)
    for got, wanted in zip(after - before, expected, strict=True):
        # that of the linear method, whose weights hardly depend on the CMB
        assert (got @ wanted) / (wanted @ wanted) == pytest.approx(1.0, abs=5e-3)


def test_what_ships_passes_the_check(tmp_path):
    plan = Plan(toy(tmp_path))
    check_plan(plan)
    check_executors(plan)


def test_one_train_sky_is_refused_before_anything_runs(tmp_path):
    one = {name: {"n_sims": 1, "population": "nominal"} for name in ("train", "valid", "test")}
    with pytest.raises(
        ProblemsError, match=r"gsc_unet learns how skies differ: set splits.train.n_sims to 2"
    ):
        check_executors(Plan(toy(tmp_path, splits=one)))


def test_epochs_that_are_never_reached_are_refused(tmp_path):
    config = toy(tmp_path, gsc_unet__epochs=1)
    text = (tmp_path / "pipeline/gsc_unet.yaml").read_text().replace("epochs: [1, best]", "epochs: [5, best]")
    (tmp_path / "pipeline/gsc_unet.yaml").write_text(text)
    config = load_config(tmp_path, overrides=SIZES | TOY)
    with pytest.raises(
        ConfigError,
        match=r"gsc_unet.yaml: stages.gsc_unet_training.epochs: epoch 5 is never reached: training has 2",
    ):
        Engine(Plan(config)).make_executor("gsc_unet_training", None)


def test_a_split_without_simulations_is_refused(tmp_path):
    config = toy(tmp_path, splits={"train": {"n_sims": 1, "population": "nominal"}})
    with pytest.raises(CmbmlError, match=r"gsc_unet_\w+.splits: no split 'valid'"):
        Engine(Plan(config)).make_executor("gsc_unet_training", None).samples("valid")


def changed_checkpoint(data, **parts):
    path = data["gsc_unet_training"].model.at(epoch="best").path
    content = path.read_bytes()
    get_handler("PyTorchModel").write(path, get_handler("PyTorchModel").read(path) | parts)
    return path, content


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"architecture": {"name": "unet8"}}, "another architecture: name was unet8, is gsc_unet"),
        ({"bands": {"names": ["30"]}}, r"another instrument: bands were 30, are"),
        ({"result": {"lmax": 10}}, "another result: fields was None, is T"),
        ({"normalisation": {"mean": "0"}}, "another normalisation: deviation was None"),
        ({"format": 0}, "is no checkpoint of format 1"),
        ({"weights": {}}, "the weights are of another architecture"),
    ],
)
def test_a_checkpoint_of_something_else_is_one_line(data, parts, message):
    path, content = changed_checkpoint(data, **parts)
    executor = Engine(Plan(data.config)).make_executor("gsc_unet", None)
    try:
        with pytest.raises(DataError, match=f"model_best.pt: .*{message}") as caught:
            executor.setup()
    finally:
        path.write_bytes(content)
    assert "\n" not in str(caught.value)


def test_a_sky_that_is_no_number_is_named(data, tmp_path):
    sample = data["gsc_unet_samples"].sample.at(split="train", sim=1).path
    content = sample.read_bytes()
    executor = Engine(Plan(data.config)).make_executor("gsc_unet_training", None)
    try:
        rows = np.load(sample)
        np.save(sample, np.where(np.arange(rows.shape[-1]) == 3, np.nan, rows).astype(np.float32))
        with pytest.raises(DataError, match=r"train/sim0001: its sample has values that are not finite"):
            executor.execute()
    finally:
        sample.write_bytes(content)


def interrupted(data, scratch, monkeypatch, last):
    """Train until the state of an epoch is written, then fail as a kill would; what was written."""
    from cmbml.methods.nn.executors import training

    executor = Engine(Plan(data.config)).make_executor("gsc_unet_training", None)
    executor.scratch = scratch
    written = {}
    executor.writer = lambda handler, path, content, options: written.update({path.name: content})

    def line(stage, state, epochs):
        if state["epoch"] == last:
            raise KeyboardInterrupt
        return stage

    monkeypatch.setattr(training, "progress_line", line)
    with suppress(KeyboardInterrupt):
        executor.execute()
    return written


def test_a_stage_that_was_interrupted_carries_on_to_the_same_weights(data, tmp_path, monkeypatch):
    whole = interrupted(data, tmp_path / "whole", monkeypatch, last=None)
    assert "model_best.pt" not in interrupted(data, tmp_path / "part", monkeypatch, last=1)
    resumed = interrupted(data, tmp_path / "part", monkeypatch, last=1)
    assert whole.keys() == resumed.keys() >= {"model_best.pt", "model_1.pt"}
    for name in ("model_best.pt", "model_1.pt"):
        for key, value in whole[name]["weights"].items():
            assert torch.equal(value, resumed[name]["weights"][key])
    assert whole["gsc_unet_training.csv"] == resumed["gsc_unet_training.csv"]


def test_maps_of_ones_own_are_cleaned_as_the_stage_does(data, tmp_path):
    root, fields = data.config.root, data.config.params.instrument.fields
    obs = data["observations"].obs.at(split="test", sim=0, freq="30").path.parent
    estimates = {
        name: str(root / data[stage].cleaned.at(split="test", sim=0).path)
        for name, stage in (("base", "nilc_regularised"), ("other", "hilc"))
    }
    usual = {
        "method": "gsc_unet",
        "maps": f"{root / obs}/obs_{{freq}}.fits",
        "instrument": "mini",
        "fwhm_arcmin": 300.0,
        "lmax": 40,
        "out": tmp_path / "mine.fits",
        "model": root / data["gsc_unet_training"].model.at(epoch="best").path,
        "fields": fields,
        "settings": estimates,
    }
    paths, *_ = clean(Order(**usual), tmp_path)
    assert [path.name for path in paths] == ["mine.fits", "mine_uncertainty.fits", "mine_provenance.yaml"]
    for path, asset in zip(paths, (data["gsc_unet"].cleaned, data["gsc_unet"].uncertainty), strict=False):
        mine, stage = get_handler("HealpyMap").read(path), asset.at(split="test", sim=0).read()
        assert mine.values == pytest.approx(stage.values, abs=1e-3)
    assert get_handler("Config").read(paths[-1])["signal_preserving"] is True
    with pytest.raises(ConfigError, match=r"gsc_unet needs --set base=FILE: base is what `cmbml clean` made"):
        clean(Order(**usual | {"settings": {}}), tmp_path)
    with pytest.raises(ConfigError, match=r"--set width: not for gsc_unet"):
        clean(Order(**usual | {"settings": estimates | {"width": "8"}}), tmp_path)
    with pytest.raises(ConfigError, match=r"--set other: is the same map as base"):
        clean(Order(**usual | {"settings": estimates | {"other": estimates["base"]}}), tmp_path)
    record = get_handler("Config").read(paths[-1])
    assert {name: record[name]["md5"] for name in estimates} == {
        n: md5_of(Path(p)) for n, p in estimates.items()
    }
    for name, path in estimates.items():
        filtered = tmp_path / "filtered.fits"
        estimate = get_handler("HealpyMap").read(Path(path))
        get_handler("HealpyMap").write(filtered, replace(estimate, signal_preserving=False))
        with pytest.raises(DataError, match=r"filtered.fits: nothing says how it was made"):
            clean(Order(**usual | {"settings": estimates | {name: str(filtered)}}), tmp_path)
        made = {
            "method": METHODS[name],
            "bands": record["bands"],
            "maps": record["maps"],
            "results": {filtered.name: md5_of(filtered)},
        }
        get_handler("Config").write(tmp_path / "filtered_provenance.yaml", made)
        paths, *_ = clean(Order(**usual | {"settings": estimates | {name: str(filtered)}}), tmp_path)
        assert not get_handler("HealpyMap").read(paths[0]).signal_preserving, f"{name} lacks CMB"
        assert get_handler("Config").read(paths[-1])["signal_preserving"] is False
        (tmp_path / "filtered_provenance.yaml").unlink()


def test_components_of_another_simulation_are_refused(data):
    obs = data["observations"].obs
    one, other = (data.config.root / obs.at(split="train", sim=sim, freq="30").path for sim in (0, 1))
    expect_one_simulation("--component noise", one, one)
    with pytest.raises(
        ConfigError, match=r"--component noise: .* is of simulation 1 of train, the maps are of"
    ):
        expect_one_simulation("--component noise", other, one)


METHODS = {"base": "nilc_regularised", "other": "hilc"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"base": ("hilc", 0), "other": ("nilc_regularised", 0)}, "--set base: .* was made by hilc"),
        ({"base": ("nilc_regularised", 1), "other": ("hilc", 1)}, "--set base: .* was made from other maps"),
        ({"other": ("hilc", 1)}, "--set other: .* was made from other maps"),
    ],
)
def test_estimates_that_do_not_belong_to_the_maps_are_refused(data, tmp_path, wrong, message):
    places = {name: (method, 0) for name, method in METHODS.items()} | wrong
    settings = {
        name: str(data.config.root / data[stage].cleaned.at(split="train", sim=sim).path)
        for name, (stage, sim) in places.items()
    }
    order = Order(
        "gsc_unet",
        f"{data['observations'].obs.at(split='train', sim=0, freq='30').path.parent}/obs_{{freq}}.fits",
        "mini",
        fwhm_arcmin=300.0,
        lmax=40,
        out=tmp_path / "mine.fits",
        model=data.config.root / data["gsc_unet_training"].model.at(epoch="best").path,
        fields=data.config.params.instrument.fields,
        settings=settings,
    )
    with pytest.raises(ConfigError, match=message):
        clean(order, tmp_path)
    assert not list(tmp_path.iterdir())


def shipped(data, folder, **overrides):
    """A repository whose shipped network is the one that was trained in `data`."""
    config = toy(folder, methods=["nilc_regularised", "hilc", "gsc_unet_shipped"], **overrides)
    raw = folder / "data/raw/pretrained/gsc_unet"
    raw.mkdir(parents=True)
    shutil.copy(data["gsc_unet_training"].model.at(epoch="best").path, raw / "model.pt")
    shutil.copy(data["gsc_unet_training"].normalisation.path, raw / "normalisation.pt")
    return config


def test_a_network_that_ships_cleans_as_it_did_where_it_was_trained(data, tmp_path):
    config = shipped(data, tmp_path, instrument__fields=data.config.params.instrument.fields)
    executor = Engine(Plan(config)).make_executor("gsc_unet_shipped", None)
    shutil.copytree(data.config.root / "data/stages", tmp_path / "data/stages")
    written = {}
    executor.writer = lambda handler, path, sky, options: written.update({path.name: sky.values})
    with executor.name_tracker.set_contexts({"split": "test", "sim": 0}):
        executor.process_sim(data.splits["test"], 0)
    expected = data["gsc_unet"].cleaned.at(split="test", sim=0).read().values
    assert written["cleaned.fits"] == pytest.approx(expected, abs=1e-3)


def test_another_instrument_is_told_so_before_anything_runs(data, tmp_path):
    config = shipped(
        data, tmp_path, instrument__fields=data.config.params.instrument.fields, instrument__lmax=45
    )
    with pytest.raises(
        ProblemsError, match=r"model.pt: .* another result: lmax was 40, is 45: .*take gsc_unet_s"
    ):
        check_executors(Plan(config))


def test_the_network_that_ships_fits_mini():
    config = load_config(ROOT)
    executor = Engine(Plan(config)).make_executor("gsc_unet_shipped", None)
    assert executor.cleaner.fwhm_arcmin == config.params.analysis.fwhm_arcmin
    files = sorted((ROOT / "data/raw/pretrained/gsc_unet").iterdir())
    assert [file.name for file in files] == ["card.md", "model.pt", "normalisation.pt"]
    assert sum(file.stat().st_size for file in files) < 3e6
