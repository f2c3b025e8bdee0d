"""File formats: a handler reads and writes one of them. Only this package opens data files."""

from functools import cache
from importlib import import_module
from typing import Any

from cmbml.core.errors import PipelineError
from cmbml.core.handlers.base import AssetHandler
from cmbml.core.spec.formats import BUILT_IN


@cache
def get_handler(name: str) -> AssetHandler[Any]:
    """Make the handler with a built-in name or a dotted path.

    Raises
    ------
    PipelineError
        Where it cannot be imported or is no handler.
    """
    module, _, attribute = name.rpartition(".")
    try:
        kind = getattr(import_module(module or BUILT_IN[name]), attribute)
    except (ImportError, AttributeError, KeyError) as error:
        raise PipelineError(f"handler '{name}': cannot be imported: {error}") from None
    if not (isinstance(kind, type) and issubclass(kind, AssetHandler)):
        raise PipelineError(f"handler '{name}': is no subclass of cmbml.core.AssetHandler")
    return kind()
