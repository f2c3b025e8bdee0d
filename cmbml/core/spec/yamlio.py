"""The one reader and writer of yaml: safe, and by the rules by which DVC reads the same files.

Those are YAML 1.2 as ruamel.yaml has it, in which 010 is ten and no, on and 12:30:00 are text.  PyYAML, whose
own rules are 1.1, is what loads in a moment.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, ClassVar

import yaml
from yaml.constructor import SafeConstructor

from cmbml.core.errors import ConfigError

_TAG = "tag:yaml.org,2002:"
_NUMERIC = list("-+0123456789.")
_BASES = {"0b": 2, "0o": 8, "0x": 16}
# What may follow the tag !!bool.
_TRUE, _FALSE = ("true", "yes", "y", "on"), ("false", "no", "n", "off")
_FLOAT = (
    r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_TIMESTAMP = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?"
    r"(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?"
)
# Kinds of plain words: what they look like, and their first characters.
_WORDS = {
    "bool": ("true|True|TRUE|false|False|FALSE", list("tTfF")),
    "float": (_FLOAT, _NUMERIC),
    "int": ("[-+]?0b[01_]+|[-+]?0o[0-7_]+|[-+]?[0-9_]+|[-+]?0x[0-9a-fA-F_]+", _NUMERIC),
    "merge": ("<<", ["<"]),
    "null": ("~|null|Null|NULL|", ["~", "n", "N", ""]),
    "timestamp": (_TIMESTAMP, list("0123456789")),
    "value": ("=", ["="]),
}


class _Rules(SafeConstructor):
    """What the words and tags of a file stand for; a key that stands twice is an error."""

    def construct_document(self, node: Any) -> Any:
        # All at once: only then is a value that holds itself an error here, and not later.
        self.deep_construct = True
        return super().construct_document(node)

    def flatten_mapping(self, node: Any) -> None:
        # The mapping of a merge key comes here twice: by then not all of its keys are its own.
        if not hasattr(node, "is_flat"):
            node.is_flat = True
            self._refuse_twins(node)
        super().flatten_mapping(node)

    def _refuse_twins(self, node: Any) -> None:
        seen = set()
        for key_node, _ in node.value:
            merges = key_node.tag == f"{_TAG}merge"
            key = key_node.value if merges else self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise _problem(key_node, "a list or mapping cannot be a key")
            if key in seen:
                raise _problem(key_node, f"'{key}' stands twice")
            seen.add(key)

    def construct_yaml_bool(self, node: Any) -> bool:
        said = str(self.construct_scalar(node)).lower()
        if said not in (*_TRUE, *_FALSE):
            raise _problem(node, f"'{node.value}' is neither true nor false")
        return said in _TRUE

    def construct_yaml_int(self, node: Any) -> int:
        text = str(self.construct_scalar(node)).replace("_", "")
        digits = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
        base = _BASES.get(digits[:2], 10)
        try:
            number = int(digits[2:] if base != 10 else digits, base)
        except ValueError:
            raise _problem(node, f"'{node.value}' is no whole number") from None
        return -number if text.startswith("-") else number

    def construct_yaml_float(self, node: Any) -> float:
        text = str(self.construct_scalar(node)).replace("_", "").lower()
        try:
            return float(re.sub(r"^([-+]?)\.(?=inf|nan)", r"\1", text))
        except ValueError:
            raise _problem(node, f"'{node.value}' is no number") from None

    def construct_yaml_timestamp(self, node: Any) -> Any:
        try:
            return super().construct_yaml_timestamp(node)
        except (ValueError, AttributeError):
            raise _problem(node, f"'{node.value}' is no date") from None

    def construct_undefined(self, node: Any) -> Any:
        if node.tag in (f"{_TAG}merge", f"{_TAG}value"):
            raise _problem(node, f"'{node.value}' means something else in yaml: put it in quotes")
        raise _problem(node, f"unknown tag '{node.tag}': leave it out")


def _problem(node: Any, text: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=node.start_mark)


class _Loader(_Rules, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads with the parser in C where there is one: it spares every process a quarter of a second."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


class _Dumper(yaml.SafeDumper):
    """Writes text in quotes wherever YAML 1.1 or 1.2 would take it for something else."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        first: list(known) for first, known in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }


for _kind, (_pattern, _first) in _WORDS.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(f"^(?:{_pattern})$"), _first)
for _kind in ("bool", "int", "float", "timestamp"):
    _Rules.add_constructor(f"{_TAG}{_kind}", getattr(_Rules, f"construct_yaml_{_kind}"))
for _tag in (None, f"{_TAG}omap", f"{_TAG}pairs"):
    _Rules.add_constructor(_tag, _Rules.construct_undefined)  # type: ignore[type-var]


def read_yaml(path: Path) -> Any:
    """Read a yaml file.

    Raises
    ------
    ConfigError
        Where the file is missing or is not yaml.
    """
    return parse_yaml(yaml_text(path), path.name)


def yaml_text(path: Path) -> str:
    """Text of a yaml file, with its own line breaks.

    Raises
    ------
    ConfigError
        Where the file is missing or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name}: not readable as yaml: {error}") from None


def parse_yaml(text: str, name: str) -> Any:
    """Read yaml from a text.

    Parameters
    ----------
    text
        The text.
    name
        What it is called in messages.

    Raises
    ------
    ConfigError
        Where it is not yaml.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ConfigError(f"{name}, line {line}: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not readable as yaml: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigError(f"{name}: not readable as yaml: too deep") from None


def dump_yaml(value: Any, *, flow: bool = False) -> str:
    """Write plain values as yaml text, keys in their own order; `flow` in brackets, on one line."""
    width = 2**20 if flow else 110
    text = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width, default_flow_style=flow
    )
    return str(text)
