"""JSON schemas of params.yaml, profiles and pipeline files, so that editors complete and check them."""

import json
from pathlib import Path
from typing import Any

from cmbml.core.spec.catalogue import Catalogue
from cmbml.core.spec.config import params_model
from cmbml.core.spec.formats import BUILT_IN
from cmbml.core.spec.pipeline import Pipeline, Stage

FOLDER = "schema"
# Keys that load_config fills where they are missing: from `like`, and from a table of bands.
_FILLED = {"PopulationParams": None, "InstrumentParams": "bands"}
# What a Stage is told from outside of its entry.
_INTERNAL = ("key", "file")
Schema = dict[str, Any]


def write_schemas(root: Path, pipeline: Pipeline) -> list[Path]:
    """Write all schemas into the folder schema/; return their paths."""
    paths = []
    for name, schema in schemas(pipeline).items():
        paths.append(root / FOLDER / f"{name}.json")
        paths[-1].parent.mkdir(exist_ok=True)
        text = json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", **schema}, indent=1)
        paths[-1].write_text(f"{text}\n", encoding="utf-8")
    return paths


def schemas(pipeline: Pipeline) -> dict[str, Schema]:
    """Schemas by name: `params`, `profile` and `pipeline`."""
    return {
        "params": params_schema(pipeline),
        "profile": _overlay(params_schema(pipeline)),
        "pipeline": pipeline_schema(),
    }


def params_schema(pipeline: Pipeline) -> Schema:
    """Schema of params.yaml, with the blocks that the pipeline files add."""
    schema = params_model(pipeline).model_json_schema()
    for name, key in _FILLED.items():
        block = schema["$defs"][name]
        block["required"] = [other for other in block["required"] if key and other != key]
    bands = schema["$defs"]["InstrumentParams"]["properties"]
    bands["bands"] = {
        "anyOf": [bands["bands"], {"type": "null"}],
        "description": bands["bands"]["description"],
    }
    schema["$defs"]["Scatter"]["oneOf"] = [{"required": ["mean", "sd"]}, {"required": ["low", "high"]}]
    return schema


def _overlay(schema: Schema) -> Schema:
    """Schema of what may leave out any key, and a split altogether."""
    for block in (schema, *schema["$defs"].values()):
        block.pop("required", None)
    splits = schema["properties"]["splits"]
    splits["additionalProperties"] = {"anyOf": [splits["additionalProperties"], {"type": "null"}]}
    schema["required"] = ["dataset"]
    return schema


def pipeline_schema() -> Schema:
    """Schema of the files in pipeline/."""
    stage = Stage.model_json_schema(ref_template="#/$defs/{model}")
    for key in _INTERNAL:
        del stage["properties"][key]
    stage["required"] = ["assets_out"]
    blocks = stage.pop("$defs")
    out = blocks["AssetOut"]["properties"]
    out["handler"] |= {"anyOf": [{"enum": list(BUILT_IN)}, {"pattern": r"\."}]}
    out["fields"] = {
        "anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "string"}}],
        "description": out["fields"]["description"],
    }
    catalogue = Catalogue.model_json_schema()
    return {
        "title": "A file of pipeline/",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "parameters": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "blocks of params.yaml that this file adds: dotted path of the schema by name",
            },
            "stages": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Stage"}},
            **catalogue["properties"],
        },
        "$defs": {**blocks, **catalogue["$defs"], "Stage": stage},
    }
