"""Names by which the pipeline files call the handlers that ship, and the module behind each."""

from collections.abc import Mapping
from types import MappingProxyType

BUILT_IN: Mapping[str, str] = MappingProxyType({
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
})  # fmt: skip
