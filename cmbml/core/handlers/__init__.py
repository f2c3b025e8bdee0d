"""File formats: a handler reads and writes one of them. Only this package opens data files."""

from collections.abc import Iterable
from functools import cache
from importlib import import_module

from cmbml.core.errors import PipelineError
from cmbml.core.handlers.base import AssetHandler

_HANDLERS = {
    "CambPowerSpectrum": "cmbml.core.handlers.spectra",
    "ChainColumn": "cmbml.core.handlers.columns",
    "Config": "cmbml.core.handlers.text",
    "Csv": "cmbml.core.handlers.text",
    "Empty": "cmbml.core.handlers.files",
    "Figure": "cmbml.core.handlers.files",
    "HealpyAlm": "cmbml.core.handlers.healpix",
    "HealpyMap": "cmbml.core.handlers.healpix",
    "Mover": "cmbml.core.handlers.files",
    "NumpyMap": "cmbml.core.handlers.arrays",
    "PowerSpectrum": "cmbml.core.handlers.spectra",
    "PyTorchModel": "cmbml.core.handlers.torch",
    "QTable": "cmbml.core.handlers.table",
    "Text": "cmbml.core.handlers.text",
    "Transmission": "cmbml.core.handlers.columns",
}


def known_handlers() -> Iterable[str]:
    """Names of the built-in handlers."""
    return _HANDLERS


@cache
def get_handler(name: str) -> AssetHandler:
    """Make the handler with a built-in name or a dotted path.

    Raises
    ------
    PipelineError
        Where it cannot be imported or is no handler.
    """
    module, _, attribute = name.rpartition(".")
    try:
        kind = getattr(import_module(module or _HANDLERS[name]), attribute)
    except (ImportError, AttributeError, KeyError) as error:
        raise PipelineError(f"handler '{name}': cannot be imported: {error}") from None
    if not (isinstance(kind, type) and issubclass(kind, AssetHandler)):
        raise PipelineError(f"handler '{name}': is no subclass of cmbml.core.AssetHandler")
    return kind()
