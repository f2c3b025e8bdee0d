import json
from copy import deepcopy

import jsonschema
import pytest

from cmbml.authoring.schemas import schemas
from cmbml.core.spec.yamlio import read_yaml
from tests.conftest import ROOT

FILES = {
    "params": [ROOT / "params.yaml", ROOT / "profiles/mini.yaml"],
    "profile": sorted(ROOT.glob("profiles/*.yaml")),
    "pipeline": sorted(ROOT.glob("pipeline/*.yaml")),
}
CASES = [(kind, path) for kind, paths in FILES.items() for path in paths]


def shipped(kind):
    return json.loads((ROOT / f"schema/{kind}.json").read_text(encoding="utf-8"))


def faults(kind, values):
    found = jsonschema.Draft7Validator(shipped(kind)).iter_errors(values)
    return [".".join(map(str, error.path)) for error in found]


@pytest.mark.parametrize("kind", FILES)
def test_schemas_are_current(kind, real_config):
    """Else: run `cmbml schema`."""
    shown = shipped(kind)
    assert shown.pop("$schema").endswith("draft-07/schema#")
    assert shown == schemas(real_config.pipeline)[kind]


@pytest.mark.parametrize(("kind", "path"), CASES, ids=lambda value: getattr(value, "name", value))
def test_what_ships_follows_its_schema(kind, path):
    jsonschema.Draft7Validator.check_schema(shipped(kind))
    assert faults(kind, read_yaml(path)) == []


@pytest.mark.parametrize(("kind", "path"), CASES, ids=lambda value: getattr(value, "name", value))
def test_every_file_names_a_schema_that_is_there(kind, path):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    said, _, target = first.partition("$schema=")
    # By such a line editors complete and check the file.
    assert said == "# yaml-language-server: "
    assert (path.parent / target).is_file()


@pytest.mark.parametrize(
    ("kind", "place", "value", "at"),
    [
        ("params", ("instrument", "nsied"), 64, "instrument"),
        ("params", ("instrument", "fields"), "QU", "instrument.fields"),
        ("params", ("nilc", "ilc_bias"), -1, "nilc.ilc_bias"),
        ("params", ("populations", "nominal", "dust_beta"), {"mean": 1.0}, "populations.nominal.dust_beta"),
        ("pipeline", ("stages", "nilc", "thread"), 2, "stages.nilc"),
        ("pipeline", ("stages", "nilc", "splits"), "some", "stages.nilc.splits"),
    ],
)
def test_mistakes_are_marked_where_they_are(kind, place, value, at):
    path = ROOT / ("params.yaml" if kind == "params" else "pipeline/nilc.yaml")
    values = deepcopy(read_yaml(path))
    node = values
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    assert faults(kind, values) == [at]


def keys_of(schema):
    for name, block in {"": schema, **schema["$defs"]}.items():
        for key, value in block.get("properties", {}).items():
            yield f"{name}.{key}", value


@pytest.mark.parametrize("kind", ["params", "pipeline"])
def test_every_key_is_described(kind):
    """A block of its own (``$ref``) is described there; archives of raw.yaml are described in docs/data.md."""
    blocks = shipped(kind)["$defs"]
    missing = [
        name
        for name, value in keys_of(shipped(kind))
        if "description" not in value
        and "description" not in blocks.get(str(value.get("$ref", "")).rpartition("/")[2], {})
        and not name.startswith(("Source.", "ScienceAsset."))
    ]
    assert set(missing) <= {".stages", ".sources", ".science_assets"}
