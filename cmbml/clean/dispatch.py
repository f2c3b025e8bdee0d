"""`cmbml clean`: hands the order to what carries out methods of its kind."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cmbml.clean.filtering import Filtering
from cmbml.clean.linear import Cleaning
from cmbml.clean.networks import NETWORKS, NetworkCleaning
from cmbml.clean.request import Order
from cmbml.core.errors import ConfigError, did_you_mean
from cmbml.methods.registry import KINDS


class Done(NamedTuple):
    """What a call of `cmbml clean` has done.

    Attributes
    ----------
    paths
        The paths that were written, the cleaned map first.
    warnings
        What the user should know, one line each.
    assumed
        What was assumed of the maps: one line, or none.
    response
        By how much the CMB was changed: one line, empty where that was not asked for.
    """

    paths: list[Path]
    warnings: Sequence[str]
    assumed: Sequence[str]
    response: str = ""


def clean(order: Order, folder: Path) -> Done:
    """Clean maps.

    Parameters
    ----------
    order
        What is to be done.
    folder
        What relative paths start from.

    Raises
    ------
    CmbmlError
        Where the order cannot be carried out: one line.
    """
    cleaning = _cleaning_of(order.method)(order, folder)
    return Done(cleaning.run(), cleaning.warnings, cleaning.assumed, cleaning.response)


def _cleaning_of(method: str) -> type[Cleaning | Filtering | NetworkCleaning]:
    if method not in KINDS:
        raise ConfigError(f"clean: no method '{method}': {did_you_mean(method, KINDS)}")
    match KINDS[method]:
        case "filter":
            return Filtering
        case "network":
            return NETWORKS[method]
        case "linear" | "program":
            return Cleaning
