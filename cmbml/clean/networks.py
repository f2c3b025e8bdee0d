"""`cmbml clean` with a trained network: its checkpoint says which bands, beams and resolution it takes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from cmbml.clean.bands import MapReader, Seen, common_of, instrument_of
from cmbml.clean.origins import contents, expect_made_from, file_facts
from cmbml.clean.request import Order
from cmbml.core.errors import ConfigError, DataError
from cmbml.core.files.checksums import md5_of
from cmbml.core.files.outputs import expect_writable
from cmbml.core.handlers import get_handler
from cmbml.core.record.git import commit
from cmbml.core.spec.instruments import table_path
from cmbml.core.spec.numbers import refusal
from cmbml.core.spec.params import Band
from cmbml.sky.instrument import described
from cmbml.sky.sht import Map, alm2map, map2alm
from cmbml.sky.skymap import SkyMap


class NetworkCleaning:
    """One call of `cmbml clean` with a network.

    Parameters
    ----------
    order
        What is to be done.
    folder
        What relative paths start from.

    Raises
    ------
    ConfigError, DataError
        Where the order cannot be carried out: one line.
    """

    warnings: Sequence[str] = ()
    assumed: Sequence[str] = ()

    response = ""

    def __init__(self, order: Order, folder: Path) -> None:
        from cmbml.methods.nn.checkpoint import Trained, check_checkpoint  # imports PyTorch

        table = instrument_of(order, folder)
        if order.model is None:
            raise ConfigError(f"{order.method} needs --model: the model_best.pt that its stage has trained")
        self.order, self.folder, self.model = order, folder, order.model
        self.checkpoint: Any = get_handler("PyTorchModel").read(folder / order.model)
        with self._blamed_on_checkpoint():
            check_checkpoint(self.checkpoint)
            _expect_form(self.checkpoint, order.method, Trained, cleaning_of(order.method).Checkpoint)
            self.table = self._same_bands(table)
            self._check_options()
        self.maps = MapReader(order, folder, self.table)
        self.paths = [band.path for band in self.maps.find(order.maps)]
        expect_writable(self._outputs(), [*self.paths, *self._files()])

    def _outputs(self) -> list[Path]:
        return [self.folder / self.order.out, self._path("uncertainty.fits"), self._path("provenance.yaml")]

    def _files(self) -> list[Path]:
        """Files that are read beside the maps."""
        order = self.order
        named = [path for path in (order.model, order.mask) if path is not None]
        return [*(self.folder / path for path in named), table_path(self.folder, order.instrument)]

    @contextmanager
    def _blamed_on_checkpoint(self) -> Iterator[None]:
        """Say in one line what a checkpoint lacks, or what in it does not fit."""
        try:
            yield
        except ValueError as error:
            raise DataError(f"{self.model}: {error}") from None
        except RuntimeError as error:  # PyTorch's word for sizes that do not go together
            reason = f"its sizes do not fit: {error}"
            raise DataError(f"{self.model}: is no checkpoint of {self.order.method}: {reason}") from None

    def _same_bands(self, table: dict[str, Band]) -> dict[str, Band]:
        """Its bands, in its order."""
        from cmbml.methods.nn.checkpoint import check_checkpoint

        names = self.checkpoint["bands"]["names"]
        rows = {name: table[name] for name in names if name in table}
        check_checkpoint(self.checkpoint, bands=described(rows))
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
        for option, value in self._unfit().items():
            if value:
                raise ConfigError(f"{option}: not for {order.method}, which takes maps as it was trained on")

    def _unfit(self) -> dict[str, Any]:
        """Options of `cmbml clean` that it has no use for."""
        order = self.order
        return {
            "--set": order.settings,
            "--component": order.components,
            "--pixwin": order.pixwin,
            "--check-response": order.check_response,
        }

    def run(self) -> list[Path]:
        """Clean, and write all files: their paths, the cleaned map first."""
        bands, skies = self._clean()
        paths = [
            self.folder / self.order.out if name == "cleaned" else self._path(f"{name}.fits")
            for name in skies
        ]
        self.assumed = self.maps.assumed(bands)
        self.warnings = self.maps.doubts(bands)
        for path, sky in zip(paths, skies.values(), strict=True):
            get_handler("HealpyMap").write(path, sky)
        provenance = self.order.beside(self.folder, "provenance.yaml")
        record = self._provenance(bands, skies["cleaned"]) | {"results": contents(paths)}
        get_handler("Config").write(provenance, record)
        return [*paths, provenance]

    def _path(self, name: str) -> Path:
        return self.order.beside(self.folder, name)

    def _clean(self) -> tuple[Sequence[Seen], dict[str, SkyMap]]:
        """The bands that were read, and the maps to write by name, ``cleaned`` first."""
        from cmbml.methods.nn.ranks import own_device
        from cmbml.methods.nn.training import seeded

        order, nside = self.order, self.checkpoint["result"]["nside"]
        bands = self.maps.fill(order.maps)
        for band in bands:
            if band.nside != nside:
                raise DataError(
                    f"{band.band.path}: has nside {band.nside}, the network was trained at "
                    f"{nside}: train it on maps like these"
                )
        maps = np.stack([band.values for band in bands])
        with seeded(0, order.threads), self._blamed_on_checkpoint():
            said = clean_sky_of(order.method)(self.checkpoint, maps, own_device())
        values = common_of(bands).onto_map(said, order.fwhm_arcmin)
        sky = SkyMap(values, "uK_CMB", order.fwhm_arcmin, order.lmax, signal_preserving=False)
        return bands, {"cleaned": sky}

    def _provenance(self, bands: Sequence[Seen], cleaned: SkyMap) -> dict[str, Any]:
        parts = ("architecture", "bands", "result", "epoch")
        return {
            "method": self.order.method,
            "signal_preserving": cleaned.signal_preserving,
            **file_facts(self.folder, {"model": self.model, "mask": self.order.mask}),
            "trained": {name: self.checkpoint[name] for name in parts},
            "fwhm_arcmin": cleaned.fwhm_arcmin,
            "lmax": cleaned.lmax,
            "fields": self.order.fields,
            "instrument": self.order.instrument,
            "bands": described(self.table),
            "maps": [band.facts() for band in bands],
            "assumed": list(self.assumed),
            "commit": commit(Path(__file__).parent),
        }


class GscUnetCleaning(NetworkCleaning):
    """One call of `cmbml clean gsc_unet`, which needs what `nilc_regularised` and `hilc` have cleaned."""

    def __init__(self, order: Order, folder: Path) -> None:
        super().__init__(order, folder)
        maps = frozenset(md5_of(path) for path in self.paths)
        base, other = (folder / order.settings[name] for name in _ESTIMATES)
        if md5_of(base) == md5_of(other):
            raise ConfigError("--set other: is the same map as base: give what hilc has cleaned")
        for name, method in _ESTIMATES.items():
            expect_made_from(f"--set {name}", folder / order.settings[name], method, maps)

    def _files(self) -> list[Path]:
        return [*super()._files(), *(self.folder / self.order.settings[name] for name in _ESTIMATES)]

    def _unfit(self) -> dict[str, Any]:
        missing = [name for name in _ESTIMATES if name not in self.order.settings]
        if missing:
            raise ConfigError(
                f"gsc_unet needs --set {missing[0]}=FILE: base is what `cmbml clean` made of the same maps "
                "with nilc_regularised, other with hilc"
            )
        more = [name for name in self.order.settings if name not in _ESTIMATES]
        for name in _ESTIMATES:
            if not (self.folder / self.order.settings[name]).is_file():
                raise DataError(f"--set {name}={self.order.settings[name]}: no such file: clean it first")
        return {
            "--component": self.order.components,
            "--check-response": self.order.check_response,
            **{f"--set {name}": True for name in more},
        }

    def _clean(self) -> tuple[Sequence[Seen], dict[str, SkyMap]]:
        from cmbml.methods.gsc_unet.cleaning import described, open_cleaner
        from cmbml.methods.nn.ranks import own_device
        from cmbml.methods.nn.training import seeded

        statistics = get_handler("PyTorchModel").read(self.folder / self.model.with_name("normalisation.pt"))
        with self._blamed_on_checkpoint():
            cleaner = open_cleaner(self.checkpoint, statistics, self.order.threads)
        bands = self.maps.observe(self.order.maps)
        base, other = self._estimate("base"), self._estimate("other")
        alms = np.stack([band.alm for band in bands], axis=1)
        fwhm = [band.band.fwhm_arcmin for band in bands]
        with seeded(0, self.order.threads):
            cleaned, sigma = cleaner.clean(alms, fwhm, base.values, other.values, own_device())
        return bands, {
            "cleaned": described(cleaned, base, other),
            "uncertainty": described(sigma, base, other),
        }

    def _provenance(self, bands: Sequence[Seen], cleaned: SkyMap) -> dict[str, Any]:
        estimates: dict[str, Path | None] = {name: Path(self.order.settings[name]) for name in _ESTIMATES}
        return {**super()._provenance(bands, cleaned), **file_facts(self.folder, estimates)}

    def _estimate(self, name: str) -> SkyMap:
        """A map that was cleaned before, at the resolution of the network."""
        order, nside = self.order, self.checkpoint["result"]["nside"]
        path = self.folder / order.settings[name]
        sky: SkyMap = get_handler("HealpyMap").read(path, way="command")
        facts = (sky.fwhm_arcmin, sky.lmax, len(sky.values))
        wanted = (order.fwhm_arcmin, order.lmax, len(order.fields))
        if facts != wanted:
            raise DataError(
                f"{path}: has beam, lmax and number of fields {facts}, the network takes {wanted}: "
                "clean to that"
            )
        if sky.nside == nside:
            return sky
        return replace(sky, values=alm2map(map2alm(sky.values, order.lmax, threads=order.threads), nside))


# Cleaned maps that gsc_unet takes, and the method of each.
_ESTIMATES = {"base": "nilc_regularised", "other": "hilc"}
# Methods that are networks, and what carries out an order for each.
NETWORKS = {"gsc_unet": GscUnetCleaning, "cmbnncs": NetworkCleaning, "patch_nn": NetworkCleaning}


def clean_sky_of(method: str) -> Callable[..., Map]:
    """The function of a network that takes a checkpoint, maps and a device."""
    clean_sky: Callable[..., Map] = cleaning_of(method).clean_sky
    return clean_sky


def cleaning_of(method: str) -> ModuleType:
    """The module in which a network cleans; it names the form of its checkpoint."""
    return import_module(f"cmbml.methods.{method}.cleaning")


def _expect_form(checkpoint: object, method: str, *forms: type[Any]) -> None:
    """Refuse a checkpoint whose parts are not of the types that some forms name.

    Raises
    ------
    ValueError
        Where one is missing or of another type; it names what is missing before what is another.
    """
    for form in forms:
        try:
            TypeAdapter(form).validate_python(checkpoint, strict=True)
        except ValidationError as error:
            gone = [found["loc"][-1] for found in error.errors() if found["type"] == "missing"]
            part = ".".join(map(str, error.errors()[0]["loc"]))
            reason = f"no '{gone[0]}' in it" if gone else f"{part}: {refusal(error)}"
            raise ValueError(f"is no checkpoint of {method}: {reason}") from None
