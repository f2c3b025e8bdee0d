"""Profiles: nothing is written unless all is valid, and nothing of the user's is lost."""

import shutil
import sys

import pytest

from cmbml.cli.entry import main
from cmbml.core.engine.context import run_stage
from cmbml.core.engine.make import Engine
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.config import load_config
from cmbml.core.spec.profile import Profiles
from cmbml.core.spec.yamlio import parse_yaml, read_yaml
from tests.conftest import ROOT, forget_toy_modules, git

PROFILES = sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))
PARAMS = """
from pydantic import BaseModel, ConfigDict


class Excess(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    freq_ghz: float
    depth: int
    more: int = 0
"""


@pytest.fixture
def repository(toy, monkeypatch):
    """A toy repository with two profiles, and a block of the user's own for one of its stages."""
    (toy.root / "profiles").mkdir()
    shutil.copy(toy.root / "params.yaml", toy.root / "profiles/mini.yaml")
    toy.write("profiles/small.yaml", "dataset: small\nsplits: {train: {n_sims: 1}, valid: null}\n")
    (toy.root / "toy_mine").mkdir()
    toy.write("toy_mine/__init__.py", "")
    toy.write("toy_mine/params.py", PARAMS)
    toy.edit("pipeline/toy.yaml", "stages:\n", "parameters:\n  excess: toy_mine.params.Excess\nstages:\n")
    toy.append("params.yaml", "\nexcess: {freq_ghz: 545.0, depth: 3}\n")
    monkeypatch.chdir(toy.root)
    yield toy
    for name in [name for name in sys.modules if name.startswith("toy_mine")]:
        del sys.modules[name]


@pytest.fixture
def committed(repository):
    git(repository.root, "init", "-q")
    git(repository.root, "add", ".")
    git(repository.root, "commit", "-q", "-m", "mine")
    return repository


def test_blocks_that_no_profile_has_stay(repository):
    main(["profile", "small"])
    values = read_yaml(repository.root / "params.yaml")
    assert (values["dataset"], list(values["splits"])) == ("small", ["train", "test", "shifted"])
    assert values["excess"] == {"freq_ghz": 545.0, "depth": 3}
    main(["profile", "mini"])
    text = (repository.root / "params.yaml").read_text()
    assert text.startswith((repository.root / "profiles/mini.yaml").read_text())
    assert text.endswith("\nexcess: {freq_ghz: 545.0, depth: 3}\n")
    assert "data/toy/number/valid" in (repository.root / "dvc.yaml").read_text()


def test_comments_and_style_survive_a_profile(repository):
    repository.edit("params.yaml", "\nmethods:", "\n# why these\nmethods:")
    repository.edit(
        "params.yaml", "  lmax: 160\n  band_width", "  # as in\n  lmax: 160   # the paper\n  band_width"
    )
    repository.edit("params.yaml", "{n_sims: 3, population: dusty}", "{n_sims: 3, population: dusty}  # far")
    before = (repository.root / "params.yaml").read_text()
    main(["profile", "small"])
    text = (repository.root / "params.yaml").read_text()
    assert text.count("#") == before.count("#")
    assert "  # as in\n  lmax: 160   # the paper\n" in text
    assert "  train: {n_sims: 1, population: nominal}\n  test: {n_sims: 3" in text
    main(["profile", "mini"])
    assert (repository.root / "params.yaml").read_text() == before


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_leads_back_to_what_ships(tmp_path, name):
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    for wanted in (name, "mini"):
        text = Profiles(tmp_path).text(wanted)
        assert parse_yaml(text, name) == Profiles(tmp_path).values(wanted)
        path.write_text(text, encoding="utf-8")
    assert path.read_bytes() == (ROOT / "params.yaml").read_bytes()


def test_keys_of_known_blocks_and_populations_stay_but_no_splits_or_bands(repository):
    repository.append("profiles/mini.yaml", "\nexcess: {freq_ghz: 100.0, depth: 1}\n")
    repository.edit("params.yaml", "depth: 3}", "depth: 3, more: 5}")
    repository.edit("params.yaml", "  dusty:\n", "  mine: {like: nominal}\n  dusty:\n")
    repository.edit("params.yaml", "  valid:", "  extra: {n_sims: 2, population: mine}\n  valid:")
    repository.edit(
        "params.yaml",
        '    "44":',
        '    "27": {freq_ghz: 27, fwhm_arcmin: 200.0, depth_uk_arcmin: 1}\n    "44":',
    )
    main(["profile", "small"])
    values = read_yaml(repository.root / "params.yaml")
    assert values["excess"] == {"freq_ghz": 100.0, "depth": 1, "more": 5}
    assert values["populations"]["mine"] == {"like": "nominal"}
    assert "extra" not in values["splits"]
    assert "27" not in values["instrument"]["bands"]


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        (
            "params.yaml",
            "\nexcess: {freq_ghz: 545.0, depth: 3}\n",
            "",
            "params.yaml: excess: missing: add it",
        ),
        ("params.yaml", ", depth: 3", "", "params.yaml: excess.depth: missing: add it"),
        ("params.yaml", "excess:", "exces:", "params.yaml: exces: unknown key: did you mean 'excess'?"),
        ("profiles/small.yaml", "n_sims: 1", "n_sims: -1", "profiles/small.yaml: splits.train.n_sims: "),
        (
            "profiles/small.yaml",
            "dataset: small",
            "dataset: small\nmethods: [nlic]",
            "profiles/small.yaml: methods: ",
        ),
        ("profiles/mini.yaml", "kind: white", "kind: wite", "profiles/mini.yaml: noise.kind: "),
        ("pipeline/toy.yaml", "dir_name: total", "dirname: total", "unknown key 'dirname'"),
        ("pipeline/toy.yaml", "toy.TotalExecutor", "nowhere.Executor", "no module 'nowhere'"),
    ],
)
@pytest.mark.parametrize("into", [[], ["--into", "elsewhere"]])
def test_nothing_is_written_unless_all_is_valid(repository, capsys, file, old, new, told, into):
    repository.edit(file, old, new)
    before = repository.files(".")
    with pytest.raises(SystemExit):
        main(["profile", "small", *into])
    assert told in capsys.readouterr().err
    after = repository.files(".")
    local = ("__pycache__", ".cmbml/")
    kept = {name: text for name, text in after.items() if not any(part in name for part in local)}
    assert kept == {name: text for name, text in before.items() if "__pycache__" not in name}


def test_the_remedy_for_a_missing_block_works(repository):
    repository.edit("params.yaml", "\nexcess: {freq_ghz: 545.0, depth: 3}\n", "")
    repository.append("params.yaml", "\nexcess: {freq_ghz: 1.0, depth: 1}\n")
    main(["profile", "small", "--into", "elsewhere"])
    main(["profile", "small"])
    assert load_config(repository.root).params.excess.depth == 1


def test_what_git_does_not_have_is_not_overwritten(committed, capsys):
    committed.edit("params.yaml", "seed: ", "seed: 1")
    before = (committed.root / "params.yaml").read_bytes()
    with pytest.raises(SystemExit):
        main(["profile", "small"])
    assert capsys.readouterr().err == (
        "cmbml: params.yaml has changes that git does not have: commit them, or --force\n"
    )
    assert (committed.root / "params.yaml").read_bytes() == before
    git(committed.root, "commit", "-q", "-a", "-m", "another seed")
    main(["profile", "small"])
    committed.edit("params.yaml", "seed: ", "seed: 1")
    main(["profile", "mini", "--force"])
    assert not (committed.root / "params.yaml.bak").exists()


def test_what_profiles_write_may_be_overwritten(committed):
    for name in ("small", "mini", "small", "small"):
        main(["profile", name])
    committed.append("params.yaml", "# a word\n")
    main(["profile", "mini"])


def test_without_git_a_copy_is_kept(repository, capsys):
    repository.edit("params.yaml", "seed: ", "seed: 1")
    before = (repository.root / "params.yaml").read_bytes()
    main(["profile", "small"])
    assert "params.yaml.bak: the former params.yaml" in capsys.readouterr().out
    assert (repository.root / "params.yaml.bak").read_bytes() == before


def test_a_repository_elsewhere_has_all_that_it_needs(repository, monkeypatch, capsys):
    repository.write("toy_beside.py", "ONE = 1\n")
    repository.edit("toy.py", "import time\n", "import time\n\nimport toy_beside\n")
    repository.edit("toy.py", "PAUSE = 0.0", "PAUSE = 0.0 * toy_beside.ONE")
    repository.write("unrelated.py", "")
    main(["profile", "small", "--into", "elsewhere"])
    elsewhere = repository.root / "elsewhere"
    found = {path.name for path in elsewhere.iterdir()}
    assert found >= {"params.yaml", "dvc.yaml", "pipeline", "luigi.cfg", "toy.py", "toy_math.py", "toy_mine"}
    assert not found & {"unrelated.py", "cmbml", "profiles"}
    # Only what lies there is found from there.
    sys.path.remove(str(repository.root))
    monkeypatch.syspath_prepend(str(elsewhere))
    forget_toy_modules()
    for name in [name for name in sys.modules if name.startswith("toy_")]:
        del sys.modules[name]
    monkeypatch.chdir(elsewhere)
    main(["dvc", "--check"])
    engine = Engine(Plan(load_config()))
    for stage in engine.plan.stages.values():
        run_stage(engine, stage)
    assert (elsewhere / "data/small/total/train/total.yaml").is_file()
    assert sys.modules["toy_mine.params"].__file__ == str(elsewhere / "toy_mine/params.py")


def test_what_was_changed_elsewhere_is_kept(repository, capsys):
    main(["profile", "small", "--into", "elsewhere"])
    repository.edit("elsewhere/params.yaml", "seed: ", "seed: 1")
    before = (repository.root / "elsewhere/params.yaml").read_bytes()
    main(["profile", "small", "--into", "elsewhere"])
    assert (repository.root / "elsewhere/params.yaml.bak").read_bytes() == before
    assert "params.yaml.bak: the former" in capsys.readouterr().out
