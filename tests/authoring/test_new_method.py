import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cmbml.authoring.new_method import new_method
from cmbml.core.errors import ConfigError
from cmbml.core.spec.profile import Profiles
from cmbml.core.spec.yamlio import read_yaml
from tests.authoring.test_completion import complete
from tests.conftest import ROOT, copy_repository

NAME = "dull_ilc"


@pytest.fixture
def clone(tmp_path):
    """The files of the repository that belong to it, without what runs have made."""
    folder = tmp_path / "clone"
    copy_repository(folder)
    return folder


def call(folder, *command):
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": str(folder),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_it_writes_all_that_a_method_is(clone):
    said = call(clone, "cmbml", "new", "method", NAME).split()
    for name in (
        f"cmbml/methods/{NAME}/executors.py",
        f"pipeline/{NAME}.yaml",
        "dvc.yaml",
        "schema/params.json",
    ):
        assert name in said
    params = read_yaml(clone / "params.yaml")
    assert params["methods"][-1] == NAME
    assert params[NAME] == {"widest_arcmin": 130.0}
    assert read_yaml(clone / "profiles/demo.yaml")["methods"][-1] == NAME
    assert (clone / "profiles/mini.yaml").read_bytes() == (clone / "params.yaml").read_bytes()
    assert call(clone, "cmbml", "check").endswith("no problem found\n")
    call(clone, "ruff", "check", ".")
    call(clone, "ruff", "format", "--check", "cmbml", "tests")
    # That every stage of dvc.yaml and every schema is current is tested in the clone as here.
    call(
        clone,
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"tests/methods/test_{NAME}.py",
        "tests/authoring/test_schemas.py",
    )


@pytest.mark.long
def test_it_runs_and_is_scored_as_it_is(clone):
    call(clone, "cmbml", "new", "method", NAME)
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    subprocess.run(
        [sys.executable, "-c", code], cwd=clone, check=True, env={**os.environ, "PYTHONPATH": str(clone)}
    )
    call(clone, "mypy", "-p", f"cmbml.methods.{NAME}")
    call(clone, "cmbml", "profile", "demo", "--into", ".cmbml/demo")
    demo = clone / ".cmbml/demo"
    done = subprocess.run(
        [sys.executable, "-m", "cmbml", "run"],
        cwd=demo,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(clone)},
    )
    assert done.returncode == 0, done.stderr
    scores = read_yaml(demo / "data/demo/scores/scores.json")["test"]
    # One weight for all scales and the whole sky is no good method, but far better than a band as it is.
    assert scores["noise_floor"]["rmse"]["mean"] < scores[NAME]["rmse"]["mean"] < 30.0
    assert scores[NAME]["coherence"]["mean"] > 0.9


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Simple", "'Simple' is no name of a package"),
        ("class", "'class' is no name of a package"),
        ("true", "'true' is no name of a package"),
        ("nilc", "'nilc' is there already"),
        ("nilc_covariance", "'nilc_covariance' is there already"),
    ],
)
def test_names_that_cannot_be_are_refused(name, told):
    with pytest.raises(ConfigError, match=told):
        new_method(ROOT, name)


@pytest.fixture
def bare(tmp_path):
    """What `new_method` reads and writes, and nothing of a run."""
    for folder in ("profiles", "pipeline"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for folder in ("cmbml/methods", "tests/methods"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize("profile", sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml")))
def test_it_is_switched_on_after_any_profile(bare, profile):
    path = bare / "params.yaml"
    path.write_text(Profiles(bare).text(profile), encoding="utf-8")
    before, wanted = path.read_text(encoding="utf-8"), read_yaml(path)
    new_method(bare, NAME)
    text = path.read_text(encoding="utf-8")
    methods = [*wanted["methods"], NAME]
    assert read_yaml(path) == {**wanted, "methods": methods, NAME: {"widest_arcmin": 130.0}}
    assert set(before.splitlines()) - set(text.splitlines()) == {f"methods: [{', '.join(methods[:-1])}]"}
    assert complete(bare, "cmbml", "run", "comparison", "--method", '""') == set(methods)
    assert complete(bare, "cmbml", "run", "nilc", "--split", '""') == set(wanted["splits"])
    # A second time, it is still there.
    assert Profiles(bare).values(profile)["methods"] == methods


@pytest.mark.parametrize(
    ("methods", "after"),
    [
        ("methods: [nilc]  # one", f"methods: [nilc, {NAME}] # one"),
        ("methods:\n  - nilc  # one", f"methods:\n  - nilc  # one\n  - {NAME}"),
        ("methods:\n- nilc", f"methods:\n- nilc\n- {NAME}"),
        ("methods: [\n  nilc,\n  ]", f"methods: [nilc, {NAME}]"),
        ("methods: []", f"methods: [{NAME}]"),
        ("methods:", f"methods: [{NAME}]"),
    ],
)
def test_methods_are_added_in_whatever_style_they_are_written(bare, methods, after):
    path = bare / "params.yaml"
    path.write_text(re.sub(r"methods: .*", methods, path.read_text(encoding="utf-8")), encoding="utf-8")
    new_method(bare, NAME)
    assert f"\n{after}\n" in path.read_text(encoding="utf-8")


def test_nothing_is_written_where_a_file_cannot_be_read(bare):
    (bare / "profiles/demo.yaml").write_text("methods: [", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"demo\.yaml"):
        new_method(bare, NAME)
    assert not (bare / f"cmbml/methods/{NAME}").exists()
    assert (bare / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()
