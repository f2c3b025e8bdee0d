"""`cmbml new method NAME`: a package, a pipeline file, parameters and a test, which run as they are."""

import re
from collections.abc import Iterator
from keyword import iskeyword
from pathlib import Path
from string import Template

from cmbml.core.errors import ConfigError
from cmbml.core.spec.pipeline import load_pipeline
from cmbml.core.spec.profile import BASE, PROFILES, read_values
from cmbml.core.spec.repository import PARAMS, PIPELINE
from cmbml.core.spec.yamledit import edited
from cmbml.core.spec.yamlio import parse_yaml, yaml_text

TEMPLATES = Path(__file__).parent / "templates/method"
DEMO = "demo"


def new_method(root: Path, name: str) -> list[Path]:
    """Write a method that runs, and switch it on; return the paths that were written or changed.

    Raises
    ------
    ConfigError
        Where the name cannot be that of a package, or is taken; nothing is written then.
    """
    _check_name(root, name)
    package = root / "cmbml/methods" / name
    files = {
        package / "__init__.py": "__init__.py",
        package / "params.py": "params.py",
        package / f"{name}.py": "name.py",
        package / "executors.py": "executors.py",
        root / PIPELINE / f"{name}.yaml": "pipeline.yaml",
        root / f"tests/methods/test_{name}.py": "test.py",
    }
    block = _filled("params.yaml", name)
    values = {
        path: _switched_on(path, name, block) for path in (root / PARAMS, root / PROFILES / f"{BASE}.yaml")
    }
    values |= {path: _switched_on(path, name) for path in _overlays(root)}
    package.mkdir()
    for path, template in files.items():
        path.write_text(_filled(template, name), encoding="utf-8")
    for path, text in values.items():
        path.write_text(text, encoding="utf-8")
    return [*files, *values]


def _check_name(root: Path, name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or iskeyword(name) or parse_yaml(name, "name") != name:
        raise ConfigError(f"new method: '{name}' is no name of a package: use small letters, digits and _")
    if not (root / "cmbml/methods").is_dir():
        raise ConfigError(f"new method: {root} holds no cmbml/methods/: run it in a clone of the repository")
    if (root / "cmbml/methods" / name).exists() or name in load_pipeline(root / PIPELINE).stages:
        raise ConfigError(f"new method: '{name}' is there already: choose another name")


def _overlays(root: Path) -> Iterator[Path]:
    """The profiles of `make demo` and in use, which have all other parameters from the base."""
    used = read_values(root / PARAMS).get("dataset")
    for path in sorted((root / PROFILES).glob("*.yaml")):
        if path.stem in (DEMO, used) and path.stem != BASE:
            yield path


def _switched_on(path: Path, name: str, block: str = "") -> str:
    """Text of a file of parameters, with the method among the methods, and a block of its own."""
    values = read_values(path)
    methods = [*(values.get("methods") or ()), name]
    more = parse_yaml(block, path.name) or {}
    return edited(yaml_text(path), {**values, "methods": methods, **more}, [block])


def _filled(template: str, name: str) -> str:
    camel = "".join(part.capitalize() for part in name.split("_"))
    text = (TEMPLATES / f"{template}.template").read_text(encoding="utf-8")
    lines = Template(text).substitute(name=name, camel=camel).splitlines(keepends=True)
    # Where the method's own module stands among the imports depends on its name.
    places = [i for i, line in enumerate(lines) if line.startswith("from cmbml.")]
    for place, line in zip(places, sorted(lines[i] for i in places), strict=True):
        lines[place] = line
    return "".join(lines)
