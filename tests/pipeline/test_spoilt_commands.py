"""Whole commands on inputs and options that hypothesis spoils: they end well, or with 2 and one line."""

import copy
import io
import shutil
import tarfile

import healpy as hp
import numpy as np
import pytest
import torch
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbml.methods.nn.checkpoint import make_checkpoint
from cmbml.methods.patch_nn.network import UNet
from tests.commands import call
from tests.conftest import ROOT
from tests.small_run import repository, run
from tests.spoiling import NASTY, Content, damaged, spoilt

NSIDE, LMAX = 8, 16
BANDS = {"low": (30.0, 600.0), "mid": (100.0, 500.0), "high": (353.0, 400.0)}
TABLE = (
    "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: band, datatype: string}\n"
    "# - {name: freq, unit: GHz, datatype: float64}\n# - {name: fwhm, unit: arcmin, datatype: float64}\n"
    "# - {name: depth, unit: uK_CMB arcmin, datatype: float64}\nband freq fwhm depth\n"
    + "".join(f"{name} {freq} {fwhm} 1.0\n" for name, (freq, fwhm) in BANDS.items())
)
SAID = ("warning: ", "assumed: ")


def fits_of(seed, **cards):
    """Bytes of a map."""
    sky = np.random.default_rng(seed).normal(0, 50, 12 * NSIDE**2)
    table = fits.BinTableHDU.from_columns([fits.Column("TEMPERATURE", "E", unit="uK_CMB", array=sky)])
    table.header.update({"PIXTYPE": "HEALPIX", "ORDERING": "RING", "COORDSYS": "G", "NSIDE": NSIDE, **cards})
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(buffer)
    return buffer.getvalue()


def tar_of(maps):
    """An archive of CMB-ML."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name, content in maps.items():
            member = tarfile.TarInfo(f"Simulation/Test/sim0000/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


SKIES = {f"obs_{name}.fits": fits_of(seed) for seed, name in enumerate(BANDS)}
FILES = {
    **SKIES,
    "pred_0.fits": fits_of(7, BEAMFWHM=600.0, LMAX=LMAX),
    "mask.fits": fits_of(8),
    "wide.ecsv": TABLE.encode(),
    "box/Test_sim0000.tar.gz": tar_of(
        {"cmb_map_fid.fits": SKIES["obs_low.fits"], "obs_30_map.fits": SKIES["obs_mid.fits"]}
    ),
}
NUMBERS = {
    "mean": [0.0] * 3,
    "whitening": np.eye(3).tolist(),
    "weights": [[1.0, 0.0, 0.0]],
    "offset": [0.0],
    "left": [1.0],
}
CHECKPOINT = make_checkpoint(
    UNet(3, 1, 4, 1).state_dict(),
    architecture={"name": "unet", "init": 4, "depth": 1},
    bands={
        "names": list(BANDS),
        "freq_ghz": [f for f, _ in BANDS.values()],
        "fwhm_arcmin": [b for _, b in BANDS.values()],
    },
    normalisation=NUMBERS,
    layout={"nside_patches": 1, "margin": 0, "batch": 12},
    result={"fields": "T", "nside": NSIDE, "lmax": LMAX, "fwhm_arcmin": 600.0},
    epoch=1,
)
PLAIN = (
    st.none()
    | st.integers(-3, 9)
    | st.text(max_size=3)
    | st.just([])
    | st.just({})
    | st.just([1.0])
    | st.just(torch.zeros(2))
)


def saved(state):
    """Bytes of a checkpoint."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@st.composite
def checkpoints(draw):
    """Bytes of a checkpoint in which something is missing or something else."""
    state = copy.deepcopy(CHECKPOINT)
    place, key = state, draw(st.sampled_from(list(state)))
    while isinstance(place[key], dict) and draw(st.integers(0, 3)):
        place = place[key]
        key = draw(st.sampled_from(list(place)))
    if draw(st.integers(0, 4)):
        place[key] = draw(PLAIN)
    else:
        del place[key]
    return saved(state)


COMMANDS = {
    "network": ("clean patch_nn --maps obs_{freq}.fits --instrument wide.ecsv --fwhm 600 --lmax 16 --out out/c.fits --model model.pt", ("model.pt",)),
    "clean": ("clean nilc --set peaks=[8,17] --set ilc_bias=0.5 --maps obs_{freq}.fits --instrument wide.ecsv --fwhm 600 --lmax 16 --out out/c.fits --mask mask.fits", (*SKIES, "mask.fits", "wide.ecsv")),
    "inspect": ("inspect obs_low.fits mask.fits", ("obs_low.fits", "mask.fits")),
    "score": ("score --maps pred_{sim}.fits --split test --name mine", ("pred_0.fits",)),
    "import": ("import cmb-ml box --name theirs", ("box/Test_sim0000.tar.gz",)),
}  # fmt: skip
OPTIONS = {
    "clean": ("--unit", "--coord", "--polconv", "--hdu", "--column", "--field", "--missing", "--bands", "--set", "--component", "--threads", "--mask-coord", "--fwhm", "--lmax", "--instrument", "--maps", "--mask"),
    "inspect": ("--unit", "--coord", "--hdu", "--column", "--field", "--missing", "--out"),
    "score": ("--fwhm", "--lmax", "--unit", "--hdu", "--column", "--name", "--split", "--maps"),
    "import": ("--name",),
}  # fmt: skip
WORDS = [word for word in NASTY if "\0" not in word]
WORDS += [
    "G",
    "C",
    "mK_CMB",
    "I",
    "0",
    "1",
    "low",
    "low,mid",
    "x=y",
    "ilc_bias=nan",
    "ilc_bias=1e-3",
    "out",
    "box",
    "a/b.png",
    "{freq}",
    "/",
]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A small repository whose truths are finished."""
    folder = tmp_path_factory.mktemp("spoilt_commands")
    sims = {"test": {"n_sims": 1, "population": "nominal"}}
    sizes = {
        "instrument__nside": NSIDE,
        "instrument__lmax": LMAX,
        "analysis__lmax": LMAX,
        "analysis__fwhm_arcmin": 600.0,
    }
    config = repository(folder, methods=[], splits=sims, **sizes)
    (folder / "dvc.yaml").touch()
    shutil.copy(ROOT / "luigi.cfg", folder)
    (folder / "out").mkdir()
    (folder / "box").mkdir()
    run(config, "cosmology", "theory", "cmb", "mask", "mask_coupling")
    return folder


@st.composite
def spoilt_command(draw):
    """A command, and what its files hold."""
    name = draw(st.sampled_from([*["clean"] * 3, *["network"] * 2, *["score"] * 2, "inspect", "import"]))
    words, read = COMMANDS[name]
    files = FILES | {"model.pt": saved(CHECKPOINT)}
    for file in draw(st.lists(st.sampled_from(read), max_size=2)):
        if file.endswith("ecsv"):
            content = spoilt([TABLE])
        elif file == "model.pt":
            content = checkpoints()
        else:
            content = damaged(st.sampled_from([FILES[file], SKIES["obs_low.fits"]]))
        files[file] = draw(content)
    if name in OPTIONS and draw(st.booleans()):
        words += f" {draw(st.sampled_from(OPTIONS[name]))}\t{draw(st.sampled_from(WORDS))}"
    first, _, option = words.partition("\t")
    shown = {file: Content(content) for file, content in files.items()}
    return [*first.split(" "), *([option] if option else [])], shown


def ended_in_one_line(folder, arguments, files):
    for name, content in files.items():
        (folder / name).write_bytes(content)
    done = call(folder, *arguments)
    refusals = [line for line in done.stderr.splitlines() if not line.startswith(SAID)]
    assert (done.returncode, len(refusals)) in ((0, 0), (2, 1)), done.stderr
    if done.returncode == 0 and arguments[0] == "clean":
        cleaned = hp.read_map(folder / "out/c.fits")
        assert np.isfinite(cleaned).all()
        assert hp.get_nside(cleaned) == NSIDE


@pytest.mark.parametrize(
    "examples",
    [pytest.param(6, marks=pytest.mark.long), pytest.param(200, marks=pytest.mark.soak)],
)
def test_commands_end_well_or_in_one_line(here, examples):
    @settings(max_examples=examples)
    @given(spoilt_command())
    def property_(command):
        ended_in_one_line(here, *command)

    property_()
