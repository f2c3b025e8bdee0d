"""The one reader and writer of yaml: safe, and strict about keys that stand twice."""

from pathlib import Path
from typing import Any

import yaml

from cmbml.core.errors import ConfigError

# The parser in C, which PyYAML ships for most machines, spares every process a quarter of a second.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _StrictLoader(_SafeLoader):
    """A safe loader that refuses a key that stands twice, where PyYAML keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                problem = f"'{key}' stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return dict(super().construct_mapping(node, deep=deep))


def read_yaml(path: Path) -> Any:
    """Read a yaml file.

    Raises
    ------
    ConfigError
        Where the file is missing or is not yaml.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ConfigError(f"{path.name}, line {line}: {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name}: not readable as yaml: {' '.join(str(error).split())}") from None


def dump_yaml(value: Any) -> str:
    """Write plain values as yaml text, keys in their own order."""
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110))
