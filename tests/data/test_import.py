"""Datasets of CMB-ML: found in their archives, taken over, cleaned and scored."""

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import cmbml
from cmbml.cli.entry import main
from cmbml.core.engine.context import run_stage
from cmbml.core.engine.make import Engine
from cmbml.core.engine.switch import apply_profile
from cmbml.core.errors import DataError
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.config import load_config
from cmbml.core.spec.yamlio import dump_yaml, read_yaml
from cmbml.exchange.cmb_ml import index_archives
from cmbml.sky.sht import alm2map, almxfl, draw_alm, gaussian_beam
from tests.conftest import ROOT

BANDS = ("30", "44", "70", "100", "143", "217", "353", "545", "857")
NSIDE = 16


def fits_of(sky: np.ndarray, unit: str = "uK_CMB") -> bytes:
    """A map as CMB-ML writes it: RING, double precision."""
    table = fits.BinTableHDU.from_columns([fits.Column("I_STOKES", "D", unit=unit, array=sky)])
    for key, value in {
        "PIXTYPE": "HEALPIX",
        "ORDERING": "RING",
        "NSIDE": NSIDE,
        "INDXSCHM": "IMPLICIT",
    }.items():
        table.header[key] = value
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(buffer)
    return buffer.getvalue()


def truth(split: str, sim: int) -> np.ndarray:
    ell = np.arange(41.0)
    cl = np.zeros(41)
    cl[2:] = 6e3 / ell[2:] / (ell[2:] + 1)
    return draw_alm(cl, np.random.default_rng([len(split), sim]))[np.newaxis]


def put(
    folder: Path,
    split: str,
    sim: int,
    *,
    top: str = "",
    bands: tuple[str, ...] = BANDS,
    name: str = "",
    twice: bool = False,
    unit: str = "uK_CMB",
) -> Path:
    """An archive of one simulation: the truth in any unit, and bands with noise, the last one twice if wanted."""
    rng = np.random.default_rng(sim)
    path = folder / (name or f"{split}_sim{sim:04d}.tar.gz")
    path.parent.mkdir(parents=True, exist_ok=True)
    alm = truth(split, sim)
    place = top or f"Simulation/{split}/sim{sim:04d}/"
    contents = {"cmb_map_fid.fits": alm2map(alm, NSIDE)[0]}
    for band in bands:
        smooth = alm2map(almxfl(alm, gaussian_beam(20.0, 40)), NSIDE)[0]
        contents[f"obs_{band}_map.fits"] = smooth + rng.normal(0, 5, smooth.size)
    if twice:
        contents[f"obs_{bands[-1]}_map.fits"] = contents[f"obs_{bands[-2]}_map.fits"]
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for file, sky in contents.items():
            data = fits_of(sky, unit if file == "cmb_map_fid.fits" else "uK_CMB")
            info = tarfile.TarInfo(place + file)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A repository into which a small CMB-ML dataset is imported."""
    root, archives = tmp_path / "here", tmp_path / "box"
    shutil.copytree(ROOT / "pipeline", root / "pipeline")
    shutil.copytree(ROOT / "profiles", root / "profiles")
    for name in ("params.yaml", "luigi.cfg"):
        shutil.copy(ROOT / name, root)
    (root / "dvc.yaml").touch()
    for split, count in (("Train", 2), ("Valid", 1), ("Test", 1)):
        for sim in range(count):
            put(archives, split, sim)
    monkeypatch.chdir(root)
    main(["import", "cmb-ml", str(archives), "--name", "theirs"])
    apply_profile(root, "theirs", root)
    return root


def test_skies_and_truth_are_taken_over(repository):
    config = load_config(repository)
    assert {name: split.n_sims for name, split in config.splits.items()} == {
        "train": 2,
        "valid": 1,
        "test": 1,
    }
    plan = Plan(config)
    assert not {"cosmology", "draws", "observations", "noise_floor"} & set(plan.stages)
    engine = Engine(plan)
    for key in ("imported_observations", "imported_cmb"):
        run_stage(engine, plan.stages[key])
    data = cmbml.open(repository)
    with tarfile.open(repository.parent / "box/Train_sim0001.tar.gz") as tar:
        member = tar.extractfile("Simulation/Train/sim0001/obs_100_map.fits")
        theirs = np.asarray(fits.open(member)[1].data["I_STOKES"])
    ours = data["observations"].obs.at(split="train", sim=1, freq="100").read()
    assert (ours.values[0] == theirs.astype(np.float32)).all()
    assert (ours.unit, ours.fwhm_arcmin) == ("uK_CMB", 43.0)
    alm = data["cmb"].cmb.at(split="test", sim=0).read()
    # three iterations of the quadrature; kept in single precision
    assert np.allclose(alm.values, truth("Test", 0), atol=2e-3 * np.abs(truth("Test", 0)).max())


def test_what_was_added_to_the_profile_stays(repository):
    path = repository / "profiles/theirs.yaml"
    path.write_text(path.read_text() + "# of the classic kind\nmethods: [nilc, hilc]  # two\n")
    before = path.read_text()
    assert before.startswith("# A dataset of CMB-ML, imported: ")
    main(["import", "cmb-ml", str(repository.parent / "box"), "--name", "theirs"])
    assert path.read_text() == before
    put(repository.parent / "box", "Test", 1)
    main(["import", "cmb-ml", str(repository.parent / "box"), "--name", "theirs"])
    assert path.read_text() == before.replace("  test:\n    n_sims: 1", "  test:\n    n_sims: 2")
    assert path.read_text() != before


def test_an_archive_that_changed_is_told(repository):
    path = put(repository.parent / "box", "Train", 1, bands=BANDS)
    path.write_bytes(path.read_bytes() + b"\0")
    engine = Engine(Plan(load_config(repository)))
    with pytest.raises(
        DataError, match=r"Train_sim0001\.tar\.gz: md5 .*, at the import it was .*: get it again"
    ):
        run_stage(engine, engine.plan.stages["imported_observations"])
    twice = put(repository.parent / "box", "Train", 1, twice=True)
    main(["import", "cmb-ml", str(twice.parent), "--name", "theirs"])
    engine = Engine(Plan(load_config(repository)))
    with pytest.raises(DataError, match="train simulation 1: T of band 857 is T of band 545 times a number"):
        run_stage(engine, engine.plan.stages["imported_observations"])
    strange = put(repository.parent / "box", "Train", 1, unit="uK_RJ")
    main(["import", "cmb-ml", str(strange.parent), "--name", "theirs"])
    engine = Engine(Plan(load_config(repository)))
    with pytest.raises(DataError, match="train simulation 1: the unit uK_RJ needs the frequency of a band"):
        run_stage(engine, engine.plan.stages["imported_cmb"])
    path.unlink()
    with pytest.raises(DataError, match="not there: mount its disk"):
        run_stage(engine, engine.plan.stages["imported_observations"])


@pytest.mark.long
def test_an_imported_dataset_is_cleaned_and_scored(repository):
    path = repository / "params.yaml"
    classic = {**read_yaml(path), "methods": ["nilc", "hilc", "nilc_regularised", "wiener"]}
    path.write_text(dump_yaml(classic), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "cmbml", "run"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    scores = cmbml.open(repository)["scores"].scores.path.read_text(encoding="utf-8")
    assert '"test"' in scores
    assert '"hilc"' in scores
    assert "noise_floor" not in scores


@pytest.mark.parametrize(
    ("name", "top"),
    [
        ("Train_sim0000.tar", "sim0000/"),
        ("box/Train/sim0000.tar.gz", "./"),
        ("x.tar", "Simulation/Train/sim0000/"),
    ],
)
def test_split_and_number_may_stand_in_folders_or_names(tmp_path, name, top):
    put(tmp_path, "Train", 0, name=name, top=top)
    (found,) = index_archives(tmp_path)
    assert (found.split, found.sim, found.bands) == ("train", 0, BANDS)


def test_what_is_missing_is_told(tmp_path):
    with pytest.raises(DataError, match="holds no tar archive"):
        index_archives(tmp_path)
    put(tmp_path / "a", "Train", 1)
    with pytest.raises(DataError, match="split train has 1 archives, but simulation 0 is none"):
        index_archives(tmp_path / "a")
    put(tmp_path / "b", "Train", 0)
    put(tmp_path / "b", "Train", 0, name="again_Train_sim0000.tar")
    with pytest.raises(DataError, match="are both train simulation 0"):
        index_archives(tmp_path / "b")
    put(tmp_path / "c", "Train", 0)
    put(tmp_path / "c", "Train", 1, bands=("30",))
    with pytest.raises(DataError, match="has bands"):
        index_archives(tmp_path / "c")
    put(tmp_path / "d", "Train", 0, bands=())
    with pytest.raises(DataError, match=r"expected obs_FREQ_map\.fits and one cmb_map_fid\.fits"):
        index_archives(tmp_path / "d")
    put(tmp_path / "e", "Train", 0, name="x.tar", top="y/")
    with pytest.raises(DataError, match="neither its name nor its folders say split and simulation"):
        index_archives(tmp_path / "e")
