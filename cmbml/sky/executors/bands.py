"""Bands as parameters describe them, for stages that see a sky through them."""

from collections.abc import Mapping

from cmbml.core.errors import ConfigError
from cmbml.core.spec.params import Band
from cmbml.sky.passbands import Bandpass, passband_of


def passbands_of(bands: Mapping[str, Band]) -> dict[str, Bandpass]:
    """Passbands by name, in the order of the bands.

    Raises
    ------
    ConfigError
        Where a table is no passband of its band.
    """
    return {name: _passband(name, band) for name, band in bands.items()}


def _passband(name: str, band: Band) -> Bandpass:
    try:
        return passband_of(band)
    except ValueError as error:
        raise ConfigError(f"instrument: band {name}: {error}") from None
