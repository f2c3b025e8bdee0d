"""gsc_unet: the CMB passes whatever the network says, and its stages run as one method."""

from contextlib import suppress

import numpy as np
import pytest
import torch

from cmbml.core.check import check_executors, check_plan
from cmbml.core.engine import Engine
from cmbml.core.errors import CmbmlError, ConfigError, DataError
from cmbml.core.handlers import get_handler
from cmbml.core.plan import Plan
from cmbml.methods.gsc_unet.differences import differences, scale_maps
from cmbml.methods.gsc_unet.network import GscUnet, calibration, slopes
from cmbml.methods.gsc_unet.regression import local_regression, smooth_deviation
from cmbml.methods.nn.faces import to_faces
from cmbml.sky.sht import alm2map, almxfl, draw_alm, gaussian_beam
from cmbml.sky.skymap import SkyMap
from tests.methods.small_sky import FWHM, LMAX, SED, draw_sky, observe
from tests.methods.test_stages import UPSTREAM, repository, run

TOY = {
    "methods": ["nilc_regularised", "gsc_unet"],
    "gsc_unet.peaks": [20, 41],
    "gsc_unet.widths": [4, 4, 4],
    "gsc_unet.epochs": 2,
    "gsc_unet.domain_deg": 60.0,
}
STAGES = ("nilc_covariance", "nilc_regularised", "gsc_unet_samples", "gsc_unet_training", "gsc_unet")


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


def test_local_regression_finds_weights_that_change_over_the_sky():
    rng = np.random.default_rng(4)
    truth = np.stack([np.ones((12, 16, 16)), np.zeros((12, 16, 16))])
    truth[0, 4:8] = 2.0
    skies = []
    for _ in range(20):
        inputs = rng.standard_normal((2, 12, 16, 16))
        skies.append((inputs, (truth * inputs).sum(axis=0)))
    weights = local_regression(skies, domain_deg=5.0)
    # far from the change, the ridge alone; near it, a mixture
    assert weights[0, 0, 12:, 12:] == pytest.approx(1.0, abs=0.01)
    assert weights[0, 5, 6:10, 6:10] == pytest.approx(2.0, abs=0.01)
    assert np.abs(weights[1]).max() < 0.2


def test_smoothed_deviations_stay_positive_and_keep_their_level():
    rng = np.random.default_rng(5)
    bright = to_faces(1 + 1e4 * (np.abs(np.linspace(-1, 1, 12 * 16**2)) < 0.1))
    few = bright * rng.uniform(0.7, 1.3, bright.shape)
    smoothed = smooth_deviation(few[None], 8.0)[0]
    assert smoothed.min() > 0
    assert np.median(smoothed / bright) == pytest.approx(1.0, abs=0.1)


def test_the_network_starts_with_the_regression():
    torch.manual_seed(1)
    model = GscUnet(1, 4, 2, 8, (4, 4, 4))
    regression = torch.randn(1, 4, 12, 8, 8)
    model.normalise({"regression": regression})
    seen = torch.randn(3, 4, 1, 12, 8, 8)
    said = model(seen)
    assert said.shape == (3, 2, 1, 12, 8, 8)
    assert said[:, 0, 0].detach() == pytest.approx((regression[0] * seen[:, :, 0]).sum(dim=1), abs=1e-5)


def test_slopes_are_the_spectra_of_foregrounds():
    """Differences of one foreground, whose spectrum is another on every second face."""
    sky = torch.rand(1, 1, 1, 12, 8, 8) + 0.5
    steeper = 1.0 + (torch.arange(12) % 2)[:, None, None].expand(12, 8, 8)
    first = torch.cat([sky, 2 * steeper * sky, 3 * sky], dim=1)
    both = torch.cat([first, 10 * first], dim=1)
    found = slopes(both, 2, 2)
    assert found.shape == (1, 1, 4, 12, 2, 2)
    assert found[0, 0, 0, :, 0, 0] == pytest.approx(2 * steeper[:, 0, 0])
    assert found[0, 0, 3, :, 1, 1] == pytest.approx(1.5 / steeper[:, 0, 0])


def test_calibration_covers_68_percent():
    drawn = torch.Generator().manual_seed(2)
    sigma = torch.rand(100_000, generator=drawn) + 0.1
    wrong = 3 * sigma * torch.randn(100_000, generator=drawn)
    assert calibration(wrong, sigma) == pytest.approx(3.0, rel=0.01)


@pytest.fixture(scope="module", params=["T", "TQU"])
def data(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"gsc_{request.param}")
    return run(toy(folder, instrument__fields=request.param), *UPSTREAM, *STAGES)


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
    base, network = (engine.make_executor(key, None) for key in ("nilc_regularised", "gsc_unet"))
    written = {}
    base.writer = lambda handler, path, sky, options: handler.write(path, sky)
    network.writer = lambda handler, path, sky, options: written.update({path.name: sky.values})
    for executor in (base, network):
        executor.setup()
    if not trained:
        torch.manual_seed(3)
        for weights in network.model.parameters():
            torch.nn.init.normal_(weights, std=0.2)
    files = {p: p.read_bytes() for p in (data.config.root / "data/stages").rglob("test/sim0000/*.fits")}

    def clean():
        for executor in (base, network):
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
    assert np.std(subtracted) > 10 * np.std(still_subtracted - subtracted)
    for got, wanted in zip(after - before, expected, strict=True):
        # that of the linear method, whose weights hardly depend on the CMB
        assert (got @ wanted) / (wanted @ wanted) == pytest.approx(1.0, abs=5e-3)


def test_what_ships_passes_the_check(tmp_path):
    plan = Plan(toy(tmp_path))
    check_plan(plan)
    check_executors(plan)


def test_epochs_that_are_never_reached_are_refused(tmp_path):
    config = toy(tmp_path, gsc_unet__epochs=1)
    text = (tmp_path / "pipeline/gsc_unet.yaml").read_text().replace("epochs: [1, best]", "epochs: [5, best]")
    (tmp_path / "pipeline/gsc_unet.yaml").write_text(text)
    from cmbml.core.config import load_config
    from tests.methods.test_stages import SIZES

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
        ({"bands": {"lmax": 10}}, r"another bands: freq_ghz was None, is \[28.4"),
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
