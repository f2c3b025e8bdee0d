"""Whether the data are those of a commit, a dvc.lock or a folder, and where they part first."""

import shutil

import numpy as np
import pytest

from cmbml.core.engine.dvc import dvc_yaml
from cmbml.core.files.checksums import md5_of
from cmbml.core.record.facts import read_manifest
from cmbml.core.views.compare import compare, compare_to_head
from cmbml.core.views.difference import relative_difference
from tests.conftest import git
from tests.engine.conftest import CountedRepository, committed_in
from tests.engine.test_trace import add_table


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A toy dataset, recorded and committed."""
    return committed_in(tmp_path_factory.mktemp("made"))


@pytest.fixture
def made(toy, tmp_path, template):
    """A copy of it."""
    return CountedRepository(toy, tmp_path, template)


def states(found):
    """The worst state of every stage."""
    return {key: min(each.state for each in verdicts) for key, verdicts in found.stages.items()}


def test_the_same_data_are_equal_on_every_way_in(made, tmp_path):
    shutil.copytree(made.root / "data", tmp_path / "copy")
    shutil.copytree(made.root, tmp_path / "clone")
    for against in ("HEAD", made.root / "dvc.lock", tmp_path / "copy", tmp_path / "clone"):
        done = made.toy.cmbml("compare", str(against))
        assert done.stdout.splitlines()[-1] == f"data: equal to {against}, 12 folders"
    assert made.toy.cmbml("compare").stdout.splitlines()[0] == "number               equal, 4 folders"
    assert compare_to_head(made.plan()) == "data: equal to HEAD, 12 folders"


@pytest.mark.long
def test_a_run_ends_with_the_line(made):
    assert made.cmbml("repro").splitlines()[-1] == "data: equal to HEAD, 12 folders"
    made.toy.edit("toy_math.py", "2 * x", "3 * x")
    assert made.cmbml("repro").splitlines()[-1] == (
        "data: 2 stages differ from HEAD, first double: code toy_math"
    )


def test_one_unit_in_the_last_place_is_found_and_named(made, monkeypatch):
    """The stage that departs first is named, though all behind it differ as well."""
    made.toy.edit("toy_math.py", "2 * x", "2 * x * (1 + 2**-52)")
    made.finish(monkeypatch)
    done = made.toy.cmbml("compare", ok=False)
    assert done.returncode == 1
    number, double, total, last = done.stdout.splitlines()
    assert number == "number               equal, 4 folders"
    assert double.startswith("double               different, 4 of 4 folders: ")
    assert "first data/toy/double/" in double
    assert "e-16 of its largest number" in double
    assert total.startswith("total ")
    assert last == "data: 2 stages differ from HEAD, first double: code toy_math"


def test_a_parameter_a_seed_and_more_simulations_are_reasons(made, monkeypatch):
    made.toy.edit("params.yaml", "n_bootstrap: 2000", "n_bootstrap: 2001")
    made.finish(monkeypatch)
    assert compare(made.plan(), "HEAD").line() == (
        "data: 2 stages differ from HEAD, first double: parameter analysis.n_bootstrap"
    )
    seed = made.plan().config.params.seed
    made.toy.edit("params.yaml", f"seed: {seed}", "seed: 5")
    made.finish(monkeypatch)
    assert compare(made.plan(), "HEAD").line().endswith("first number: parameter seed")


def test_what_was_read_from_equal_folders_is_no_reason_and_a_science_asset_is(made, tmp_path, monkeypatch):
    """A stage that was made by other code with the same bytes does not explain what differs behind it."""
    add_table(made)
    made.finish(monkeypatch)
    shutil.copytree(made.root, tmp_path / "before")
    made.toy.edit("toy.py", "rng.standard_normal()", "1.0 * rng.standard_normal()")
    made.toy.edit("toy_math.py", "2 * x", "3 * x")
    made.finish(monkeypatch)
    found = compare(made.plan(), str(tmp_path / "before"))
    assert states(found)["number"] == "equal"
    assert found.first.reasons == ["code toy_math"]
    made.toy.write("data/raw/table.txt", "4 5 6")
    made.finish(monkeypatch)
    assert compare(made.plan(), str(tmp_path / "before")).first.reasons == ["code toy_math", "input table"]


def test_without_a_tolerance_the_same_numbers_in_other_bytes_are_different(made, tmp_path):
    shutil.copytree(made.root, tmp_path / "other")
    path = tmp_path / "other/data/toy/double/test/sim0001/double.yaml"
    text = path.read_text()
    path.unlink()
    path.write_text(f"{text}# nothing else\n")
    assert states(compare(made.plan(), str(tmp_path / "other")))["double"] == "different"


def test_a_file_that_was_edited_is_named(made):
    path = made.root / "data/toy/double/test/sim0001/double.yaml"
    text = path.read_text()
    path.unlink()
    path.write_text(text.replace("value: ", "value: 1"))
    found = compare(made.plan(), "HEAD")
    assert states(found) == {"number": "equal", "double": "different", "total": "equal"}
    assert found.first.reasons == ["data/toy/double/test/sim0001/double.yaml is not what was made"]
    path.unlink()
    assert states(compare(made.plan(), "HEAD"))["double"] == "different"


def rewrite_facts(root, change):
    """Let manifests of a stage say something else of how its files were made."""
    for manifest in root.glob("data/toy/double/*/_manifest.jsonl"):
        manifest.chmod(0o644)
        text = manifest.read_text()
        manifest.unlink()
        manifest.write_text(change(text))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"baseline": "', '"baseline": "other-', "another baseline ("),
        ('"versions": {}', '"versions": {"numpy": "2.4.9"}', "package numpy none and 2.4.9"),
        ('"sim"', '"sim"', "nothing that is known"),
    ],
)
def test_what_is_known_of_the_machine_is_a_reason(made, tmp_path, old, new, reason):
    """Same code and parameters, other bytes: the facts say what else was not the same."""
    other = tmp_path / "other"
    shutil.copytree(made.root, other)
    file = "double/test/sim0001/double.yaml"
    path = other / "data/toy" / file
    was = md5_of(path)
    text = path.read_text()
    path.unlink()
    path.write_text(text.replace("value: ", "value: 1"))
    is_as_made = md5_of(path)
    rewrite_facts(other, lambda line: line.replace(old, new).replace(was, is_as_made))
    found = compare(made.plan(), str(other))
    assert states(found) == {"number": "equal", "double": "different", "total": "equal"}
    assert found.first.reasons[0].startswith(reason)


def test_facts_say_which_packages_in_full(made):

    manifest = read_manifest(made.root / "data/toy/number/test/_manifest.jsonl", "data/toy/number/test")
    for fact in manifest.facts.values():
        assert fact.versions["numpy"] == np.__version__


def test_within_the_declared_tolerance_is_no_difference(made, monkeypatch):
    """The stage that is farther apart than it may be is different; the declaration is no part of fingerprints."""
    for name in ("double", "total"):
        made.toy.edit(
            "pipeline/toy.yaml",
            f"      {name}: {{handler: Config,",
            f"      {name}: {{tolerance: 1e-12, handler: Config,",
        )
    assert made.cmbml("status") == "everything is complete\n"
    made.toy.write("dvc.yaml", dvc_yaml(made.plan()))
    made.toy.edit("toy_math.py", "2 * x", "2 * x * (1 + 2**-50)")
    made.finish(monkeypatch)
    done = made.toy.cmbml("compare")
    assert done.stdout.splitlines()[-1] == "data: within tolerance of HEAD, 12 folders"
    assert states(compare(made.plan(), "HEAD"))["double"] == "within"
    made.toy.edit("toy_math.py", "2**-50", "2**-30")
    made.finish(monkeypatch)
    assert made.toy.cmbml("compare", ok=False).returncode == 1


def test_without_the_files_of_the_other_side_the_lock_says_what_changed(made, monkeypatch):
    shutil.rmtree(made.root / ".dvc/cache/files")
    assert compare(made.plan(), "HEAD").is_same
    made.toy.edit("toy_math.py", "2 * x", "3 * x")
    made.toy.edit("params.yaml", "n_bootstrap: 2000", "n_bootstrap: 2001")
    made.finish(monkeypatch)
    found = compare(made.plan(), "HEAD")
    assert found.first.place.stage == "double"
    assert found.first.reasons == ["code toy_math.py", "parameter analysis.n_bootstrap"]


def test_a_stage_that_only_one_side_has_differs(made):
    shutil.rmtree(made.root / "data/toy/total/test")
    found = compare(made.plan(), "HEAD")
    assert states(found) == {"number": "equal", "double": "equal", "total": "different"}
    assert found.first.reasons == ["not in the repository"]


def test_mistakes_are_one_line_and_end_with_2(made, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("a: b: c\n- d")
    git(made.root, "commit", "-q", "--allow-empty", "-m", "empty")
    git(made.root, "rm", "-q", "--cached", "dvc.lock")
    git(made.root, "commit", "-q", "-m", "no lock")
    for against in (
        "nowhere",
        "HEAD",
        str(tmp_path / "empty"),
        str(tmp_path / "text"),
        "params.yaml",
        "--help-me",
    ):
        done = made.toy.cmbml("compare", against, ok=False)
        assert done.returncode == 2, against
        assert done.stderr.count("\n") == 1
    shutil.rmtree(made.root / "data")
    done = made.toy.cmbml("compare", "HEAD~1", ok=False)
    assert (done.returncode, done.stderr) == (
        2,
        "cmbml: dataset toy is not here: run `make run`, or `cmbml pull`\n",
    )


def test_without_git_there_is_no_line(made):
    shutil.rmtree(made.root / ".git")
    assert compare_to_head(made.plan()) == ""
    assert made.toy.cmbml("compare", ok=False).returncode == 2


def test_differences_are_relative_to_the_largest_number_beside_them():
    table = np.array([1.0, 1e-9])
    assert relative_difference(table, np.array([1.0, 2e-9])) == pytest.approx(1e-9)
    assert relative_difference({"a": 1e-9, "b": [{"c": 4}]}, {"a": 2e-9, "b": [{"c": 4}]}) == 0.5
    assert relative_difference(np.stack([table, 1e-6 * table]), np.stack([table, 2e-6 * table])) == 0.5
    assert relative_difference([np.nan, 1.0], [np.nan, 1.0]) == 0
    assert relative_difference(np.uint8([1]), np.uint8([3])) == pytest.approx(2 / 3)
    for one, two in (
        ("a", "b"),
        ({"a": 1}, {"b": 1}),
        ([1.0], [1.0, 2.0]),
        ([np.nan], [1.0]),
        (None, 1.0),
        (1.0, None),
    ):
        assert relative_difference(one, two) == np.inf
