"""A manifest comes with data that may be of others: it must not name what is removed outside of its folder."""

import json

import pytest

from cmbml.core.engine.context import run_stage
from cmbml.core.engine.make import Engine
from cmbml.core.plan.fingerprints import Plan

FOLDER = "data/toy/number/test"
MANIFEST = f"{FOLDER}/_manifest.jsonl"


def make_number(toy):
    engine = Engine(Plan(toy.config()))
    run_stage(engine, engine.plan.stages["number"])


def name_in_manifest(toy, *names):
    """Add an entry of a simulation that nobody wants, with these files."""
    lines = (toy.root / MANIFEST).read_text().splitlines()
    inner = [
        name.removeprefix(f"{FOLDER}/") if name.startswith(f"{FOLDER}/") else f"/{name}" for name in names
    ]
    entry = json.loads(lines[1]) | {"sim": 99, "files": {name: [1, "x"] for name in inner}}
    toy.write(MANIFEST, "\n".join([*lines, json.dumps(entry)]) + "\n")


@pytest.fixture
def made(toy):
    """A finished stage, with what a user keeps beside it."""
    make_number(toy)
    (toy.root / "data/toy/mine").mkdir()
    for name in ("thesis.tex", "data/toy/mine/notes.txt", "../precious.txt", "metrics.json"):
        toy.write(name, "years of work")
    return toy


@pytest.mark.parametrize(
    "name",
    [
        "thesis.tex",
        "./thesis.tex",
        "../precious.txt",
        "data/toy/mine/notes.txt",
        "data/toy/number/train/sim0000/number.yaml",
        f"{FOLDER}/../../mine/notes.txt",
        f"{FOLDER}/../../../../thesis.tex",
        f"{FOLDER}x/../../mine/notes.txt",
        f"{FOLDER}/linked/notes.txt",
        f"{FOLDER}/sim0009/number.yaml",
        "metrics.json",
        "data/toy/mine",
        FOLDER,
        f"{FOLDER}/sim0000",
        "",
        "a\0b",
    ],
)
def test_a_manifest_removes_nothing_outside_of_its_folder(made, name):
    (made.root / FOLDER / "linked").symlink_to("../../mine")
    (made.root / FOLDER / "sim0009").symlink_to("sim0001")
    outside = made.root / "../precious.txt"
    before = made.files(".")
    name_in_manifest(made, name)
    make_number(made)
    assert outside.read_text() == "years of work"
    after = made.files(".")
    assert after.keys() >= before.keys(), before.keys() - after.keys()
    # The entry itself is gone.
    assert b'"sim": 99' not in after[MANIFEST]


def test_a_manifest_removes_no_absolute_path(made):
    inside, outside = made.root / "thesis.tex", made.root.parent / "precious.txt"
    name_in_manifest(made, str(inside), str(outside))
    make_number(made)
    assert inside.exists()
    assert outside.exists()


def test_what_it_names_in_its_own_folder_is_removed_also_a_link(made):
    old, link = made.root / FOLDER / "sim0099/number.yaml", made.root / FOLDER / "sim0098"
    old.parent.mkdir()
    old.write_text("old")
    link.symlink_to("../../mine/notes.txt")
    name_in_manifest(made, f"{FOLDER}/sim0099/number.yaml", f"{FOLDER}/sim0098")
    make_number(made)
    assert not old.parent.exists()
    assert not link.is_symlink()
    assert (made.root / "data/toy/mine/notes.txt").exists()
