"""`cmbml clean` with a linear method: mask, inpainting, weights and provenance."""

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from cmbml.clean.bands import MapReader, Observed, common_of, instrument_of
from cmbml.clean.origins import contents, expect_one_simulation, file_facts
from cmbml.clean.request import Order
from cmbml.clean.response import response_rows, second_cmb, told
from cmbml.core.errors import ConfigError, DataError
from cmbml.core.files.outputs import expect_writable
from cmbml.core.files.outside import find_program
from cmbml.core.handlers import get_handler
from cmbml.core.record.git import commit
from cmbml.core.spec.instruments import table_path
from cmbml.core.spec.numbers import refusal
from cmbml.core.spec.yamlio import parse_yaml
from cmbml.interfaces.pyilc.params import PyilcParams
from cmbml.methods import linear as pure
from cmbml.methods.linear import Channels, Cleaned, Method, Target, settings_of
from cmbml.sky.instrument import PIXEL_LMAX, beam_warnings, described, unlike
from cmbml.sky.passbands import passband_of
from cmbml.sky.sht import Alm, alm2map, almxfl, gaussian_beam, map2alm
from cmbml.sky.skymap import SkyMap

FIELDS = {"T": ("T",), "TQU": ("T", "E", "B")}
# Settings by which users name what options of the command say.
_SAID_ELSEWHERE = {"fwhm_arcmin": "--fwhm", "fwhm": "--fwhm", "fwhm_out": "--fwhm", "lmax": "--lmax"} | {
    name: f"--{name}" for name in ("unit", "mask", "pixwin", "fields", "bands", "threads", "coord", "polconv")
}
PACKAGES = ("cmbml", "numpy", "ducc0")


def _clean_pyilc(
    channels: Channels, settings: PyilcParams, target: Target, _: Alm | None, threads: int
) -> Cleaned:
    from cmbml.interfaces.pyilc.executors import PYILC, as_checkout, run_pyilc

    lmax = target.lmax
    checkout = as_checkout(find_program(Path.cwd(), "pyilc", PYILC))
    maps = alm2map(channels.alms[:, None], nside_for(lmax), threads=threads)
    sky = run_pyilc(
        checkout,
        [SkyMap(row, "uK_CMB", fwhm, lmax) for row, fwhm in zip(maps, channels.fwhm_arcmin, strict=True)],
        settings,
        freq_ghz=channels.freq_ghz,
        fwhm_out=target.fwhm_arcmin,
        lmax=lmax,
        threads=threads,
    )

    def apply(_: Alm) -> Alm:
        raise ConfigError("--component: pyilc does not hand out its weights: use nilc")

    return Cleaned(map2alm(sky.values[0], lmax, threads=threads), apply, [])


METHODS = pure.METHODS | {"pyilc": Method(PyilcParams, _clean_pyilc, {"ilc_bias": 0.001})}


def nside_for(lmax: int) -> int:
    """Resolution that carries a band-limit."""
    return int(2 ** np.ceil(np.log2(lmax / PIXEL_LMAX)))


class Cleaning:
    """One call of `cmbml clean` with a method that adds up the bands with weights.

    Parameters
    ----------
    order
        What is to be done.
    folder
        What relative paths start from.

    Attributes
    ----------
    warnings
        What the user should know, one line each.
    assumed
        What was assumed of the maps: one line, or none.
    response
        By how much the CMB was changed: one line, empty where that was not asked for.

    Raises
    ------
    ConfigError, DataError
        Where the order cannot be carried out: one line.
    """

    def __init__(self, order: Order, folder: Path) -> None:
        self.order = order
        self.folder = folder
        self.warnings: list[str] = []
        self.assumed: list[str] = []
        self.response = ""
        self.preserving = True
        self.method = METHODS[order.method]
        self.table = instrument_of(order, folder)
        self.maps = MapReader(order, folder, self.table)
        expect_writable(self._outputs(), self._inputs())
        self.learned_with = self._learned_with()
        self.settings = self._settings()

    def _outputs(self) -> list[Path]:
        names = ("mask.fits", "weights.csv", "response.csv", "beam.txt", "provenance.yaml")
        parts = [f"{name}.fits" for name in self.order.components]
        return [self.folder / self.order.out, *(self._path(name) for name in (*names, *parts))]

    def _inputs(self) -> list[Path]:
        """Files that are read, which must be there and belong together."""
        order, folder = self.order, self.folder
        maps = [band.path for band in self.maps.find(order.maps)]
        parts = []
        for name, pattern in order.components.items():
            found = [band.path for band in self.maps.find(pattern)]
            expect_one_simulation(f"--component {name}", found[0], maps[0])
            parts += found
        files = [folder / path for path in (order.model, order.mask) if path is not None]
        beside_model = [file.with_name("settings.yaml") for file in files[: order.model is not None]]
        return [*maps, *parts, *files, *beside_model, table_path(folder, order.instrument)]

    def _learned_with(self) -> dict[str, Any]:
        """Settings that the model was made with; empty where the method learns nothing."""
        name, model = self.order.method, self.order.model
        if not self.method.learned:
            if model is not None:
                raise ConfigError(f"--model: {name} learns nothing from other skies: leave it out")
            return {}
        if model is None:
            raise ConfigError(
                f"{name} needs --model: the covariance.npy that its stage learned on train skies"
            )
        return dict(get_handler("Config").read(self.folder / model.parent / "settings.yaml"))

    def _settings(self) -> BaseModel:
        for name, option in _SAID_ELSEWHERE.items():
            if name in self.order.settings:
                raise ConfigError(f"--set {name}: is what {option} says: leave it out")
        chosen = {name: parse_yaml(text, f"--set {name}") for name, text in self.order.settings.items()}
        fwhm, lmax = self.order.fwhm_arcmin, self.order.lmax
        try:
            settings = settings_of(self.method, lmax=lmax, learned=self.learned_with, chosen=chosen)
        except ValidationError as error:
            name = ".".join(map(str, error.errors()[0]["loc"]))
            if name not in chosen and self.learned_with:
                raise ConfigError(
                    f"--model {self.order.model}: the settings.yaml beside it is not of {self.order.method}: "
                    f"{name}: {refusal(error)}"
                ) from None
            raise ConfigError(f"--set {name}: {refusal(error)}") from None
        here = settings.model_dump(mode="json") | {
            "fwhm_out": fwhm,
            "lmax": lmax,
        }
        learned = dict(self.learned_with)
        if learned and (difference := unlike(learned.pop("instrument", None), described(self.table))):
            raise ConfigError(f"--model: learned with another instrument: {difference}: learn it anew")
        for key, value in learned.items():
            if here.get(key) != value:
                raise ConfigError(
                    f"--model: learned with {key} {value}, and here it is {here.get(key)}: learn it anew"
                )
        return settings

    def run(self) -> list[Path]:
        """Clean, and write all files: their paths, the cleaned map first."""
        observed = self.maps.observe(self.order.maps)
        self.warnings += self.maps.doubts(observed)
        self._check_beams(observed)
        try:
            cleaned = list(self._clean(observed))
        except ValueError as error:
            raise DataError(f"{self.order.method}: {error}") from None
        self.assumed = self.maps.assumed(observed)
        paths = [*self._write(observed, cleaned), *self._check_response(observed, cleaned)]
        get_handler("Config").write(self._path("provenance.yaml"), self._provenance(observed, paths))
        return [*paths, self._path("provenance.yaml")]

    def _check_beams(self, observed: list[Observed]) -> None:
        for entry in observed:
            beam = {entry.band.name: entry.band.fwhm_arcmin}
            try:
                self.warnings += beam_warnings(beam, entry.nside, self.order.lmax)
            except ValueError as error:
                raise DataError(f"{entry.band.path}: {error}") from None

    def _having(self, observed: list[Observed], number: int) -> NDArray[np.intp]:
        """Which bands have a field."""
        return np.array([k for k, entry in enumerate(observed) if len(entry.alm) > number], dtype=np.intp)

    def _channels(self, observed: list[Observed], number: int, added: Alm | None = None) -> Channels:
        """One field of all bands that have it, and a second CMB, ``(n_fields, nalm)``, at their beams."""
        having = [observed[k] for k in self._having(observed, number)]
        alms = np.array([entry.alm[number] for entry in having])
        if added is not None:
            beams = [gaussian_beam(entry.band.fwhm_arcmin, self.order.lmax) for entry in having]
            alms = alms + [almxfl(added[number], beam) for beam in beams]
        return Channels(
            alms,
            [entry.band.name for entry in having],
            [entry.band.freq_ghz for entry in having],
            [entry.band.fwhm_arcmin for entry in having],
            [passband_of(entry.band.band) for entry in having],
        )

    def _clean(self, observed: list[Observed], added: Alm | None = None) -> Iterator[Cleaned]:
        target = Target(self.order.fwhm_arcmin, self.order.lmax)
        learned: Any = [None] * len(FIELDS[self.order.fields])
        if self.order.model is not None:
            learned = get_handler("NumpyMap").read(self.folder / self.order.model)
        for number in range(len(FIELDS[self.order.fields])):
            channels = self._channels(observed, number, added)
            if not len(channels.alms):
                raise ValueError("no band has Q and U: clean --fields T")
            if number >= len(learned):
                raise ValueError(
                    f"--model holds {len(learned)} fields: clean --fields T, or learn it on T, Q, U"
                )
            known = learned[number]
            if self.method.part is not None:
                known = self.method.part(known, self._having(observed, number), len(observed))
            yield self.method.clean(channels, self.settings, target, known, self.order.threads)

    def _check_response(self, observed: list[Observed], cleaned: list[Cleaned]) -> Iterator[Path]:
        """Clean the same bands with a second CMB in them, and write what became of it."""
        order = self.order
        if not order.check_response:
            return
        fields = FIELDS[order.fields]
        added = second_cmb(order.lmax, len(fields), order.threads)
        out = gaussian_beam(order.fwhm_arcmin, order.lmax)
        both = zip(fields, self._clean(observed, added), cleaned, added, strict=True)
        rows = [
            row
            for field, with_it, without, alm in both
            for row in response_rows(field, with_it.alm - without.alm, almxfl(alm, out))
        ]
        self.response, self.preserving = told(rows)
        get_handler("Csv").write(self._path("response.csv"), rows)
        yield self._path("response.csv")

    def _path(self, name: str) -> Path:
        return self.order.beside(self.folder, name)

    def _sky(self, alms: Sequence[Alm], observed: Sequence[Observed]) -> SkyMap:
        """Put the CMB's levels back, and synthesise."""
        whole = common_of(observed).onto_alm(np.stack(alms), self.order.fwhm_arcmin)
        sky = alm2map(whole, nside_for(self.order.lmax), threads=self.order.threads)
        return SkyMap(sky, "uK_CMB", self.order.fwhm_arcmin, self.order.lmax)

    def _write(self, observed: list[Observed], cleaned: list[Cleaned]) -> Iterator[Path]:
        path = self.folder / self.order.out
        get_handler("HealpyMap").write(path, self._sky([one.alm for one in cleaned], observed))
        yield path
        for name, pattern in self.order.components.items():
            parts = self.maps.observe(pattern)
            alms = [one.apply(self._channels(parts, k).alms) for k, one in enumerate(cleaned)]
            get_handler("HealpyMap").write(self._path(f"{name}.fits"), self._sky(alms, parts))
            yield self._path(f"{name}.fits")
        if any(entry.holes.any() for entry in observed):
            get_handler("HealpyMap").write(self._path("mask.fits"), self._coverage(observed))
            yield self._path("mask.fits")
        fields = FIELDS[self.order.fields]
        rows = [{"field": f, **row} for f, one in zip(fields, cleaned, strict=True) for row in one.weights]
        if rows:
            get_handler("Csv").write(self._path("weights.csv"), rows)
            yield self._path("weights.csv")
        beam = gaussian_beam(self.order.fwhm_arcmin, self.order.lmax)
        get_handler("PowerSpectrum").write(self._path("beam.txt"), {"B": beam})
        yield self._path("beam.txt")

    def _coverage(self, observed: list[Observed]) -> SkyMap:
        """1 where every band was measured and the mask keeps."""
        from cmbml.sky.mask import threshold_mask  # imports healpy and scipy

        kept = [
            threshold_mask((~entry.holes).astype(float), nside_for(self.order.lmax), 1.0)
            for entry in observed
            if entry.holes.any()
        ]
        return SkyMap(np.prod(kept, axis=0)[None], "1")

    def _provenance(self, observed: list[Observed], written: list[Path]) -> dict[str, Any]:
        order = self.order
        return {
            "method": order.method,
            "settings": self.settings.model_dump(mode="json"),
            "signal_preserving": self.preserving,
            "fwhm_arcmin": order.fwhm_arcmin,
            "lmax": order.lmax,
            "fields": order.fields,
            "pixel_window_removed": any(entry.pixwin for entry in observed),
            "instrument": order.instrument,
            "bands": described(self.table),
            "maps": [entry.facts() for entry in observed],
            "levels_put_back": common_of(observed).facts(),
            **file_facts(self.folder, {"model": order.model, "mask": order.mask}),
            "assumed": self.assumed,
            **({"response": self.response} if self.response else {}),
            "results": contents(written),
            "packages": {name: version(name) for name in PACKAGES},
            "commit": commit(Path(__file__).parent),
        }
