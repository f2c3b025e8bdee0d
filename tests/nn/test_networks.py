"""cmbnncs and patch_nn: published sizes and layouts, patches without seams, and their stages in a small run."""

import healpy as hp
import numpy as np
import pytest
import torch

from cmbml.clean.dispatch import clean
from cmbml.clean.request import Order
from cmbml.core.engine.make import Engine
from cmbml.core.errors import CmbmlError, ConfigError, DataError
from cmbml.core.handlers import get_handler
from cmbml.core.plan.fingerprints import Plan
from cmbml.methods.cmbnncs.features import (
    cmb_planes,
    feature_planes,
    robust_scale,
    rows_of,
    target_planes,
)
from cmbml.methods.cmbnncs.network import KERNELS, PUBLISHED_CHANNELS, check_plane
from cmbml.methods.cmbnncs.network import UNet as PlaneUNet
from cmbml.methods.cmbnncs.plane import from_plane, plane_index, to_plane
from cmbml.methods.executors import read_maps
from cmbml.methods.nn.linear_fit import fitted, moments, normalised, statistics_of
from cmbml.methods.patch_nn.network import UNet as PatchUNet
from cmbml.methods.patch_nn.network import check_side
from cmbml.methods.patch_nn.patches import choose_patches, join_patches, patch_table
from cmbml.report.method_pages import training_figures
from cmbml.sky.levels import full_sky_fit
from cmbml.sky.sht import alm2map, almxfl, gaussian_beam
from tests.small_run import UPSTREAM, continued, finished, repository, run


def n_parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("name", "millions"), [("unet5", 6.3), ("unet8", 100.7)])
def test_the_networks_have_their_published_size(name, millions):
    with torch.device("meta"):
        model = PlaneUNet(4, 1, PUBLISHED_CHANNELS[name], KERNELS[name])
    assert n_parameters(model) / 1e6 == pytest.approx(millions, abs=0.05)


def test_the_template_has_its_published_size():
    assert n_parameters(PatchUNet(9, 1, 32, 3)) / 1e6 == pytest.approx(1.93, abs=0.005)


@pytest.mark.parametrize("name", KERNELS)
def test_planes_keep_their_shape(name):
    model = PlaneUNet(2, 3, 2, KERNELS[name]).eval()
    side = 2 ** len(KERNELS[name])
    assert model(torch.zeros(1, 2, 4 * side, 3 * side)).shape == (1, 3, 4 * side, 3 * side)


def test_the_plane_joins_eight_edges_truly_and_nine_falsely():
    """As published: strips from pole to pole join true neighbours; strips beside each other do not."""
    nside = 8
    plane = plane_index(nside)
    assert sorted(plane.ravel()) == list(range(12 * nside**2))

    def neighbours(one, other):
        return np.mean([b in hp.get_all_neighbours(nside, a) for a, b in zip(one, other, strict=True)])

    along = [
        neighbours(
            plane[s * nside : (s + 1) * nside, f * nside - 1], plane[s * nside : (s + 1) * nside, f * nside]
        )
        for s in range(4)
        for f in (1, 2)
    ]
    between = [
        neighbours(
            plane[s * nside - 1, f * nside : (f + 1) * nside], plane[s * nside, f * nside : (f + 1) * nside]
        )
        for s in (1, 2, 3)
        for f in range(3)
    ]
    assert along == [1.0] * 8
    assert between == [0.0] * 9


def test_planes_and_maps_are_the_same_pixels():
    sky = np.random.default_rng(1).standard_normal((2, 12 * 16**2))
    assert to_plane(sky).shape == (2, 64, 48)
    assert (from_plane(to_plane(sky)) == sky).all()


def test_networks_too_deep_for_the_map_are_refused():
    with pytest.raises(ValueError, match="unet8 halves the plane 8 times: nside must be 256 or more, is 64"):
        check_plane("unet8", 64)
    with pytest.raises(ValueError, match="patches of 20 pixels cannot be halved 3 times"):
        check_side(20, 3)


@pytest.mark.parametrize("margin", [0, 2])
def test_patches_join_to_the_whole_sky(margin):
    sky = np.random.default_rng(2).standard_normal((2, 12 * 16**2))
    table = patch_table(16, 4, margin)
    assert table.shape == (192, 4 + 2 * margin, 4 + 2 * margin)
    assert (join_patches(np.swapaxes(sky[:, table], 0, 1), margin) == sky).all()


def test_margins_of_patches_leave_no_seam():
    """A mean over 3 x 3 pixels of a smooth field: the edges of patches are as good as their inside."""
    x, y, z = hp.pix2vec(16, np.arange(12 * 16**2))
    sky = (x + 2 * y * z)[None]

    def change(margin):
        patches = torch.from_numpy(np.swapaxes(sky[:, patch_table(16, 4, margin)], 0, 1))
        kernel = torch.full((1, 1, 3, 3), 1 / 9, dtype=torch.float64)
        smoothed = torch.nn.functional.conv2d(patches, kernel, padding=1).numpy()
        return np.abs(join_patches(smoothed, margin) - sky).max()

    # without margin the zeros beyond the patch come in
    assert change(2) < 0.05 * change(0)


def test_patches_are_drawn_where_the_mask_leaves_them_whole():
    table = patch_table(16, 4, 0)
    mask = (np.abs(hp.pix2ang(16, np.arange(12 * 16**2), lonlat=True)[1]) > 30).astype(float)
    chosen = choose_patches(table, mask, 20, np.random.default_rng(3))
    assert len(set(chosen)) == 20
    assert mask[table[chosen]].min() == 1
    with pytest.raises(ValueError, match=r"the mask leaves no patch whole: lower mask.latitude_deg"):
        choose_patches(table, 0 * mask, 20, np.random.default_rng(3))


SIZES = {
    "methods": ["cmbnncs", "patch_nn"],
    "cmbnncs__architecture": "unet5",
    "cmbnncs__channels": 2,
    "cmbnncs__epochs": 2,
    "instrument__nside": 32,
    "patch_nn__epochs": 2,
    "patch_nn__init": 2,
    "patch_nn__depth": 1,
    "patch_nn__margin": 2,
    "patch_nn__patches_per_sim": 5,
    "patch_nn__processes": 2,
}
STAGES = {
    "cmbnncs": ("cmbnncs_scale", "cmbnncs_samples", "cmbnncs_training", "cmbnncs_prediction", "cmbnncs"),
    "patch_nn": (
        "patch_nn_table",
        "patch_nn_statistics",
        "patch_nn_samples",
        "patch_nn_training",
        "patch_nn",
    ),
}


@pytest.fixture(scope="module", params=["T", pytest.param("TQU", marks=pytest.mark.long)])
def data(request, tmp_path_factory):
    fields = request.param
    start = finished(tmp_path_factory.getbasetemp(), fields)
    variant = {"cmbnncs__linear_fit": fields == "TQU"}
    config = continued(start, tmp_path_factory.mktemp("networks"), fields, **SIZES, **variant)
    return run(config, *UPSTREAM, *STAGES["cmbnncs"], *STAGES["patch_nn"])


@pytest.mark.parametrize("method", ["cmbnncs", "patch_nn"])
def test_methods_run_and_learn(data, method):
    cleaned = data[method].cleaned.at(split="test", sim=0).read()
    n_stokes = data.config.params.instrument.n_stokes
    assert cleaned.values.shape == (n_stokes, 12 * 32**2)
    assert (cleaned.unit, cleaned.fwhm_arcmin, cleaned.lmax) == ("uK_CMB", 300.0, 40)
    assert np.isfinite(cleaned.values).all()
    curve = get_handler("Csv").read(data.config.root / f"plots/{method}_training.csv")
    assert curve[-1]["train"] < curve[0]["train"]


@pytest.mark.parametrize("method", ["cmbnncs", "patch_nn"])
def test_the_page_of_a_network_shows_its_training(data, method):
    (chart,) = training_figures(Plan(data.config), data, method)
    assert chart.alt == f"Loss by epoch, stage {method}_training"


def test_targets_and_features_are_what_they_say(data):
    rows = data["cmbnncs_samples"].sample.at(split="train", sim=0).read()
    scale = data["cmbnncs_scale"].scale.at().read()
    alm = data["cmb"].cmb.at(split="train", sim=0).read().values
    levelled = full_sky_fit().measure(alm, 0.0).off_alm(alm, 0.0)
    truth = alm2map(almxfl(levelled, gaussian_beam(300.0, 40)), 32)
    n_stokes = len(truth)
    maps = bands_of(data, sim=0)
    kept = data["mask"].mask.read(nside=32).values[0] > 0
    found = from_plane(cmb_planes(rows[-n_stokes:], maps, scale))
    assert found[:, kept] == pytest.approx(truth[:, kept], abs=1e-3)
    bend, unit = scale["compression"], np.array(scale["features"])[:, None, None]
    seen = from_plane(unit * bend * np.sinh(rows[:-n_stokes] / bend))
    if scale["fit"] is None:
        assert found == pytest.approx(truth, abs=1e-3)
        assert seen == pytest.approx(maps[:, 0], rel=1e-4, abs=1e-2)
    else:
        assert not from_plane(rows[-n_stokes:])[:, ~kept].any()
        assert np.std(seen[:, kept], axis=1) == pytest.approx(np.ones(len(seen)), rel=0.3)


def bands_of(data, sim):
    obs = data["observations"].obs
    freqs = data.config.params.cmbnncs.bands
    return read_maps([obs.at(split="train", sim=sim, freq=freq) for freq in freqs], 32)[0]


def test_a_linear_fit_leaves_cmbnncs_less_to_say():
    rng = np.random.default_rng(11)
    cmb, dust, noise = (rng.standard_normal((1, 12 * 16**2)) for _ in range(3))
    maps = np.stack([cmb + dust, cmb + 3 * dust + 0.1 * noise])
    fit = statistics_of(moments(maps[:, 0], cmb), 1)
    kept = np.arange(cmb.size) >= 1000
    plain = {"features": [1.0, 1.0], "compression": None, "target": 0.5, "fit": None}
    fitting = plain | {"fit": fit}
    assert from_plane(target_planes(cmb, maps, kept, plain)) == pytest.approx(2 * cmb)
    left = from_plane(target_planes(cmb, maps, kept, fitting))
    assert not left[:, :1000].any()
    # -1.5 and 0.5 take the dust away and leave 0.05 of the noise
    assert np.std(left[:, 1000:]) == pytest.approx(2 * 0.05, rel=0.1)
    assert from_plane(cmb_planes(to_plane(left), maps, fitting))[:, kept] == pytest.approx(cmb[:, kept])
    independent = rows_of(maps, fit).reshape(2, -1)
    assert np.cov(independent, ddof=0) == pytest.approx(np.eye(2), abs=1e-6)
    assert feature_planes(maps, fitting) == pytest.approx(rows_of(maps, fit), abs=1e-5)


def test_features_of_most_pixels_are_about_one_and_bright_ones_are_bent(data):
    band = data["observations"].obs.at(split="train", sim=0, freq="217").read().values[None]
    scale = {"features": robust_scale(rows_of(band, None)), "compression": None, "fit": None}
    plain = feature_planes(band, scale)
    assert 0.5 < np.sqrt(np.mean(np.sort(plain[0].ravel() ** 2)[: plain[0].size // 2])) * 2 < 2
    bent = feature_planes(band, scale | {"compression": 2.0})
    assert np.abs(bent[0]).max() < 0.3 * np.abs(plain[0]).max()
    faint = np.abs(plain[0]) < 0.1
    assert bent[0][faint] == pytest.approx(plain[0][faint], rel=1e-3)


def test_statistics_are_the_same_in_one_process(data):
    executor = Engine(Plan(data.config)).make_executor("patch_nn_statistics", None)
    written = []
    executor.writer = lambda handler, path, content, options: written.append(content)
    executor.processes = 1
    executor.execute()
    assert written == [data["patch_nn_statistics"].statistics.at().read()]


def order_of(data, method, folder, **changes):
    root, fields = data.config.root, data.config.params.instrument.fields
    maps = data["observations"].obs.at(split="test", sim=0, freq="30").path.parent
    usual = {
        "method": method,
        "maps": f"{maps}/obs_{{freq}}.fits",
        "instrument": "mini",
        "fwhm_arcmin": 300.0,
        "lmax": 40,
        "out": folder / "mine.fits",
        "model": root / data[f"{method}_training"].model.at(epoch="best").path,
        "fields": fields,
    }
    return Order(**usual | changes)


@pytest.mark.parametrize("method", ["cmbnncs", "patch_nn"])
def test_maps_of_ones_own_go_through_the_checkpoint(data, method, tmp_path):
    (path, provenance), *said = clean(order_of(data, method, tmp_path), tmp_path)
    assert not any(said)
    mine, stage = get_handler("HealpyMap").read(path), data[method].cleaned.at(split="test", sim=0).read()
    assert mine.values == pytest.approx(stage.values, abs=1e-3)
    for sky in (mine, stage):
        assert (sky.fwhm_arcmin, sky.lmax, sky.signal_preserving) == (300.0, 40, False)
    facts = get_handler("Config").read(provenance)
    assert (facts["method"], len(facts["maps"])) == (method, 9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": None}, "cmbnncs needs --model: the model_best.pt that its stage has trained"),
        ({"fwhm_arcmin": 60.0}, "--fwhm 60.0: this network says the CMB at 300.0: --fwhm 300.0"),
        ({"lmax": 30}, "--lmax 30: this network says the CMB at 40"),
        ({"settings": {"channels": "4"}}, "--set: not for cmbnncs, which takes maps"),
        ({"instrument": "planck"}, "trained with another instrument: "),
        ({"bands": ["100", "143"]}, r"trained with another instrument: bands were 30, 44"),
    ],
)
def test_orders_that_a_network_cannot_carry_out_are_one_line(data, tmp_path, changes, message):
    with pytest.raises(CmbmlError, match=message) as caught:
        clean(order_of(data, "cmbnncs", tmp_path, **changes), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_method_is_one_line(data, tmp_path):
    other = data["patch_nn_training"].model.at(epoch="best").path
    with pytest.raises(CmbmlError, match=r"model_best.pt: is no checkpoint of cmbnncs: no 'channels' in it"):
        clean(order_of(data, "cmbnncs", tmp_path, model=other), tmp_path)


@pytest.mark.parametrize(
    ("method", "stage", "parts", "message"),
    [
        ("cmbnncs", "cmbnncs_prediction", {"architecture": {"name": "unet8"}}, "name was unet8, is unet5"),
        (
            "cmbnncs",
            "cmbnncs_prediction",
            {"bands": {"names": ["30"]}},
            r"another instrument: bands were 30, are",
        ),
        ("patch_nn", "patch_nn", {"normalisation": {}}, "another normalisation: mean was None"),
        ("patch_nn", "patch_nn", {"weights": {}}, "the weights are of another architecture"),
    ],
)
def test_checkpoints_of_something_else_are_refused(data, method, stage, parts, message):
    path = data[f"{method}_training"].model.at(epoch="best").path
    content, handler = path.read_bytes(), get_handler("PyTorchModel")
    handler.write(path, handler.read(path) | parts)
    try:
        with pytest.raises(DataError, match=f"model_best.pt: .*{message}"):
            Engine(Plan(data.config)).make_executor(stage, None).setup()
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.95])
def test_a_truncated_checkpoint_is_refused(data, part):
    path = data["patch_nn_training"].model.at(epoch="best").path
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    try:
        with pytest.raises(DataError, match=r"model_best.pt: not a whole file of tensors and plain values"):
            Engine(Plan(data.config)).make_executor("patch_nn", None).setup()
    finally:
        path.write_bytes(content)


def test_a_checkpoint_that_would_run_code_is_refused(data, tmp_path):
    import pickle

    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "run"), "w"))

    path = data["patch_nn_training"].model.at(epoch="best").path
    content = path.read_bytes()
    for write in (lambda: torch.save(Hostile(), path), lambda: path.write_bytes(pickle.dumps(Hostile()))):
        write()
        try:
            with pytest.raises(
                DataError, match=r"model_best.pt: not a whole file of tensors and plain values"
            ):
                Engine(Plan(data.config)).make_executor("patch_nn", None).setup()
        finally:
            path.write_bytes(content)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("stage", "changes", "message"),
    [
        (
            "cmbnncs_training",
            {"cmbnncs__architecture": "unet8"},
            r"cmbnncs.architecture: unet8 halves the plane",
        ),
        ("cmbnncs_scale", {"cmbnncs__bands": ["101"]}, r"cmbnncs.bands: no band '101': did you mean '100'"),
        ("patch_nn_table", {"patch_nn__margin": 1, "patch_nn__depth": 3}, r"patch_nn: patches of 10 pixels"),
    ],
)
def test_sizes_that_do_not_fit_are_one_line(tmp_path, stage, changes, message):
    config = repository(tmp_path, **SIZES | changes)
    with pytest.raises(ConfigError, match=rf"params.yaml: {message}"):
        Engine(Plan(config)).make_executor(stage, None)


def test_statistics_whiten_the_bands_and_fit_the_cmb():
    rng = np.random.default_rng(7)
    cmb, dust, noise = (rng.standard_normal((1, 4000)) for _ in range(3))
    bands = np.concatenate([cmb + 100 * dust + 5, cmb + 300 * dust, cmb + 100 * dust + 0.1 * noise])
    found = statistics_of(moments(bands, cmb), 1)
    patches = bands.reshape(3, 40, 100)
    covariance = np.cov(normalised(patches, found).reshape(3, -1), ddof=0)
    assert covariance == pytest.approx(np.eye(3), abs=1e-6)
    # 1.5 times the first band and -0.5 times the second: all CMB, no dust
    assert fitted(patches, found)[0].ravel() == pytest.approx(cmb[0], abs=1e-6)
    assert np.array(found["weights"]) == pytest.approx(np.array([[1.5, -0.5, 0.0]]), abs=1e-6)


def test_what_the_fit_leaves_is_the_unit_of_the_target():
    rng = np.random.default_rng(8)
    cmb, noise = rng.standard_normal((2, 1, 4000))
    found = statistics_of(moments(3 * cmb + 0.3 * noise, cmb), 1)
    # weight 3 / 9.09 leaves 0.09 / 9.09 of the variance
    assert found["left"] == pytest.approx([np.sqrt(0.09 / 9.09)], rel=0.05)


def test_patch_nn_starts_from_the_linear_fit(data):
    """Samples that it trains on are what that leaves: small beside the CMB, in units of their deviation."""
    executor = Engine(Plan(data.config)).make_executor("patch_nn_training", None)
    executor.statistics = data["patch_nn_statistics"].statistics.at().read()
    targets = torch.stack([sample.target for sample in executor.samples("train")])
    assert 0.5 < targets.std() < 2
    assert executor.statistics["left"][0] < 0.3 * 100
