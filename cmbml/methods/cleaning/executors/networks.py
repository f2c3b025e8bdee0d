"""`cmbml clean` with a trained network: its checkpoint says which bands, beams and resolution it takes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cmbml.core.errors import ConfigError, DataError
from cmbml.core.handlers import get_handler
from cmbml.core.provenance import commit
from cmbml.core.raw import md5_of
from cmbml.methods.cleaning.executors.bands import Filled, MapReader
from cmbml.methods.cleaning.executors.order import Order
from cmbml.sky.skymap import SkyMap

# Networks that go from the bands alone to the CMB.
NETWORKS = ("cmbnncs", "patch_nn")


class NetworkCleaning:
    """One call of `cmbml clean` with a network.

    Parameters
    ----------
    order
        What is to be done.
    folder
        What relative paths start from.
    table
        Rows of the instrument's bands, by name.

    Raises
    ------
    ConfigError, DataError
        Where the order cannot be carried out: one line.
    """

    def __init__(self, order: Order, folder: Path, table: dict[str, dict[str, float]]) -> None:
        from cmbml.methods.nn.checkpoint import check_checkpoint  # imports PyTorch

        if order.model is None:
            raise ConfigError(f"{order.method} needs --model: the model_best.pt that its stage has trained")
        self.order, self.folder, self.model = order, folder, order.model
        self.checkpoint: dict[str, Any] = get_handler("PyTorchModel").read(folder / order.model)
        with self._blamed_on_checkpoint():
            check_checkpoint(self.checkpoint)
            self.table = self._same_bands(table)
            self._check_options()

    @contextmanager
    def _blamed_on_checkpoint(self) -> Iterator[None]:
        """Say in one line what a checkpoint lacks, or what in it does not fit."""
        try:
            yield
        except ValueError as error:
            raise DataError(f"{self.model}: {error}") from None
        except KeyError as error:
            raise DataError(
                f"{self.model}: is no checkpoint of {self.order.method}: no {error} in it"
            ) from None

    def _same_bands(self, table: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        """The rows of its bands, in its order."""
        from cmbml.methods.nn.checkpoint import check_checkpoint

        names = self.checkpoint["bands"]["names"]
        rows = {name: table[name] for name in names if name in table}
        here = {key: [row[key] for row in rows.values()] for key in ("freq_ghz", "fwhm_arcmin")}
        check_checkpoint(self.checkpoint, bands={"names": list(rows), **here})
        return rows

    def _check_options(self) -> None:
        order, result = self.order, self.checkpoint["result"]
        for option, given, said in (
            ("--fwhm", order.fwhm_arcmin, result["fwhm_arcmin"]),
            ("--lmax", order.lmax, result["lmax"]),
            ("--fields", order.fields, result["fields"]),
        ):
            if given != said:
                raise ConfigError(f"{option} {given}: this network says the CMB at {said}: {option} {said}")
        unfit = {"--set": order.settings, "--component": order.components, "--pixwin": order.pixwin}
        for option, value in unfit.items():
            if value:
                raise ConfigError(f"{option}: not for networks, which take maps as they were trained on")

    def run(self) -> list[Path]:
        """Clean, and write all files: their paths, the cleaned map first."""
        bands = MapReader(self.order, self.folder, self.table).fill(self.order.maps)
        for band in bands:
            if band.nside != self.checkpoint["result"]["nside"]:
                raise DataError(
                    f"{band.band.path}: has nside {band.nside}, the network was trained at "
                    f"{self.checkpoint['result']['nside']}: train it on maps like these"
                )
        return list(self._write(bands))

    def _clean(self, maps: Any) -> Any:
        from cmbml.methods.nn.ranks import own_device
        from cmbml.methods.nn.training import seeded

        with seeded(0, self.order.threads), self._blamed_on_checkpoint():
            return clean_sky_of(self.order.method)(self.checkpoint, maps, own_device())

    def _write(self, bands: list[Filled]) -> Iterator[Path]:
        order, out = self.order, self.folder / self.order.out
        values = self._clean(np.stack([band.values for band in bands]))
        sky = SkyMap(values, "uK_CMB", order.fwhm_arcmin, order.lmax, signal_preserving=False)
        get_handler("HealpyMap").write(out, sky)
        yield out
        beside = order.beside(self.folder, "provenance.yaml")
        get_handler("Config").write(beside, self._provenance(bands))
        yield beside

    def _provenance(self, bands: list[Filled]) -> dict[str, Any]:
        parts = ("architecture", "bands", "result", "epoch")
        return {
            "method": self.order.method,
            "signal_preserving": False,
            "model": {"file": str(self.model), "md5": md5_of(self.folder / self.model)},
            "trained": {name: self.checkpoint[name] for name in parts},
            "instrument": self.order.instrument,
            "maps": [band.facts() for band in bands],
            "commit": commit(Path(__file__).parent),
        }


def clean_sky_of(method: str) -> Callable[..., Any]:
    """The function of a network that takes a checkpoint, maps and a device."""
    if method == "cmbnncs":
        from cmbml.methods.cmbnncs.cleaning import clean_sky
    else:
        from cmbml.methods.patch_nn.cleaning import clean_sky
    return clean_sky
