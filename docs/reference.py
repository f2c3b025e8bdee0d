"""Pages of the reference, written from the code at every build: parameters, pipeline, commands, modules."""

import argparse
import json
import pkgutil
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cmbml
from cmbml.authoring.schemas import schemas
from cmbml.cli.entry import _parser
from cmbml.core.spec.config import Config, load_config

ROOT = Path(__file__).parent.parent
Schema = dict[str, Any]
PARAMETERS = """\
Every key of `params.yaml`, written from the schema that checks it. Where there is a default, the key may be
left out; the last column is what ships in `params.yaml`, for the dataset `mini`.
"""
PIPELINE = """\
Every key of the files in `pipeline/`, written from the schema that checks them.
[Concepts](../concepts.md#pipeline-yaml) explains them.
"""
COMMANDS = """\
What `cmbml COMMAND --help` prints. [README](../../README.md#commands) has them in order.
"""
PACKAGES = {
    "core": "Assets, handlers, executors, the engine",
    "sky": "The sky: arrays in, arrays out",
    "methods": "Methods: arrays in, arrays out, and their stages",
    "analysis": "Scores, spectra, tables, charts",
    "interfaces": "Programs of others, as methods",
    "report": "The report, from finished data",
    "clean": "Maps of any instrument through one method",
    "exchange": "What enters and leaves",
    "authoring": "Help for those who add",
}


def write(folder: Path) -> None:
    """Write all pages anew."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "modules").mkdir(parents=True)
    for name, text in pages(load_config(ROOT)):
        (folder / name).write_text(text, encoding="utf-8")


def pages(config: Config) -> Iterator[tuple[str, str]]:
    """Name and text of every page."""
    known = schemas(config.pipeline)
    yield "parameters.md", parameters_page(known["params"], config)
    yield "pipeline.md", pipeline_page(known["pipeline"])
    yield "commands.md", commands_page(_parser())
    for package, title in PACKAGES.items():
        yield f"modules/{package}.rst", modules_page(package, title)


def parameters_page(schema: Schema, config: Config) -> str:
    """Every key of params.yaml: meaning with unit, type and allowed values, value as shipped."""
    shipped = config.written
    parts = ["# Parameters\n", PARAMETERS]
    top = [(key, value) for key, value in schema["properties"].items() if _block(value, schema) is None]
    parts.append(_table(top, schema, shipped))
    for key, value in schema["properties"].items():
        block = _block(value, schema)
        if block is None:
            continue
        owner = config.pipeline.parameters.get(key)
        parts += [f"## {key}\n", *_block_section(block, schema, shipped.get(key) or {}, owner)]
    return "\n".join(parts)


def _block_section(block: Schema, schema: Schema, shipped: Any, owner: str | None) -> Iterator[str]:
    if block.get("description"):
        yield f"{_prose(block['description'])}\n"
    if owner:
        yield f"Added by a pipeline file; described by `{owner}`.\n"
    yield _table(block["properties"].items(), schema, shipped)
    for key, value in block["properties"].items():
        inner = _block(value, schema)
        if inner and inner["title"] != "Scatter":
            yield f"Each of `{key}`:\n" if _mapped(value, schema) else f"Below `{key}`:\n"
            yield _table(inner["properties"].items(), schema, {})


def _block(value: Schema, schema: Schema) -> Schema | None:
    """The block behind a key; of a mapping by name, that of its values."""
    found = _referred(value, schema) or _mapped(value, schema)
    return found if found and "properties" in found else None


def _referred(value: Schema, schema: Schema) -> Schema | None:
    name = value.get("$ref", "").rpartition("/")[2]
    return schema["$defs"].get(name)


def _mapped(value: Schema, schema: Schema) -> Schema | None:
    options = [value, *value.get("anyOf", [])]
    inners = (option.get("additionalProperties") for option in options)
    inner = next((inner for inner in inners if isinstance(inner, dict)), None)
    return _referred(inner, schema) if inner else None


def _table(keys: Iterable[tuple[str, Schema]], schema: Schema, shipped: Any) -> str:
    rows = ["| key | meaning | allowed | default | ships as |", "|---|---|---|---|---|"]
    for key, value in keys:
        has_default = value.get("default") is not None and not isinstance(value["default"], dict)
        default = _code(value["default"]) if has_default else ""
        here = shipped.get(key) if isinstance(shipped, dict) else None
        ships = "" if here is None or isinstance(here, dict) else _code(here)
        meaning = _prose(value.get("description", ""))
        rows.append(f"| `{key}` | {meaning} | {allowed(value, schema)} | {default} | {ships} |")
    return "\n".join(rows) + "\n"


def allowed(value: Schema, schema: Schema) -> str:
    """Type and range of a key, in words."""
    if "anyOf" in value:
        return " or ".join(filter(None, (allowed(option, schema) for option in value["anyOf"])))
    if "enum" in value or "const" in value:
        return ", ".join(_code(option) for option in value.get("enum", [value.get("const")]))
    referred = _referred(value, schema)
    if referred:
        return "a distribution" if referred.get("title") == "Scatter" else f"a block ({referred['title']})"
    words = [_TYPES.get(value.get("type", ""), ""), *_bounds(value)]
    if value.get("type") == "array":
        words += [f"of: {inner}"] if (inner := allowed(value.get("items", {}), schema)) else []
    return " ".join(filter(None, words))


_TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "array": "list",
    "object": "mapping",
}
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def _bounds(value: Schema) -> Iterator[str]:
    for key, sign in _BOUNDS.items():
        if key in value:
            yield f"{sign} {value[key]:g}"
    if value.get("pattern"):
        yield f"like `{value['pattern']}`".replace("|", "\\|")


def pipeline_page(schema: Schema) -> str:
    """Every key of the files in pipeline/."""
    titles = {
        "Stage": "A stage",
        "AssetOut": "An output",
        "AssetIn": "An input",
        "MapReads": "What an input says of maps of others (`reads`)",
        "Program": "A program (`programs`)",
        "Plot": "A plot of an output",
        "Source": "An archive (`sources`)",
        "ScienceAsset": "A science asset (`science_assets`)",
    }
    parts = ["# Pipeline files\n", PIPELINE]
    for name, title in titles.items():
        parts += [f"## {title}\n", _table(schema["$defs"][name]["properties"].items(), schema, {})]
    return "\n".join(parts)


def commands_page(parser: argparse.ArgumentParser) -> str:
    """What `cmbml COMMAND --help` says."""
    parts = ["# Commands\n", COMMANDS]
    for name, command in parser._subparsers._group_actions[0].choices.items():  # noqa: SLF001
        parts += [f"## cmbml {name}\n", f"```text\n{command.format_help().rstrip()}\n```\n"]
    return "\n".join(parts)


def modules_page(package: str, title: str) -> str:
    """All modules of a package, from their docstrings."""
    path = Path(cmbml.__file__).parent / package
    names = [
        module.name
        for module in pkgutil.walk_packages([str(path)], prefix=f"cmbml.{package}.")
        if not module.name.rpartition(".")[2].startswith("_")
    ]
    sections = [_heading(name, "-") + f".. automodule:: {name}\n" for name in names]
    # Of the package itself its own words: what it hands on stands under the modules.
    own = f".. automodule:: cmbml.{package}\n   :no-members:\n"
    return "\n".join([_heading(f"cmbml.{package}", "="), f"{title}.\n", own, *sections])


def _heading(name: str, line: str) -> str:
    return f"{name}\n{line * len(name)}\n\n"


def _prose(text: str) -> str:
    return re.sub(r"([|{*_])", r"\\\1", " ".join(text.split()))


def _code(value: Any) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`".replace("|", "\\|")
