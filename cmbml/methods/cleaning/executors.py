"""`cmbml clean`: maps of any instrument through a method, with mask, inpainting and provenance."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError

from cmbml.core.bandfiles import BandFile, find_bands, read_band
from cmbml.core.errors import ConfigError, DataError, did_you_mean
from cmbml.core.handlers import get_handler
from cmbml.core.instruments import read_bands, table_path
from cmbml.core.provenance import commit
from cmbml.core.raw import md5_of
from cmbml.methods.cleaning import methods as pure
from cmbml.methods.cleaning.methods import Channels, Cleaned, Method, settings_of
from cmbml.methods.pyilc.params import PyilcParams
from cmbml.sky.inpaint import inpaint
from cmbml.sky.instrument import PIXEL_LMAX, beam_warnings
from cmbml.sky.pixwin import pixel_window, polarisation_window
from cmbml.sky.sht import Alm, alm2map, almxfl, gaussian_beam, map2alm
from cmbml.sky.skymap import MISSING, SkyMap

WIENER = "wiener"
FIELDS = {"T": ("T",), "TQU": ("T", "E", "B")}
PACKAGES = ("cmbml", "numpy", "ducc0")


@dataclass(frozen=True)
class Order:
    """What is to be cleaned, and how.

    Attributes
    ----------
    method
        Name of the method.
    maps
        Path of the bands' maps, with {freq} for the band and wildcards where wanted.
    instrument
        Name of an instrument that ships, or path of a table.
    fwhm_arcmin, lmax
        Beam and band-limit of the result.
    out
        Path of the cleaned map; the other files lie beside it.
    model
        What the method's stage has learned; its settings.yaml must lie beside it.
    bands
        Names of the bands to use; empty for all of the instrument.
    mask
        Map of weights: where it is below one half, no pixel is used.
    settings
        Values that replace the method's own, by name.
    unit
        Unit of maps whose headers name none.
    pixwin
        Whether the pixel window is in the maps, as in those of an instrument that points.
    fields
        T, or TQU for T, E and B.
    components
        Maps that go through the same weights: path with {freq}, by name.
    threads
        Number of threads.
    """

    method: str
    maps: str
    instrument: str
    fwhm_arcmin: float
    lmax: int
    out: Path
    model: Path | None = None
    bands: Sequence[str] = ()
    mask: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    unit: str | None = None
    pixwin: bool = False
    fields: str = "T"
    components: Mapping[str, str] = field(default_factory=dict)
    threads: int = 2


@dataclass(frozen=True)
class Observed:
    """A band as harmonic coefficients: T, or T, E and B, and the pixels that were filled."""

    band: BandFile
    alm: Alm
    nside: int
    holes: NDArray[np.bool_]

    def facts(self) -> dict[str, Any]:
        """What the provenance says of it."""
        return {
            "band": self.band.name,
            "file": str(self.band.path),
            "md5": md5_of(self.band.path),
            "nside": self.nside,
            "fwhm_arcmin": self.band.fwhm_arcmin,
            "freq_ghz": self.band.freq_ghz,
            "inpainted_pixels": int(self.holes.sum()),
        }


def _clean_pyilc(channels: Channels, settings: PyilcParams, lmax: int, _: Any, threads: int) -> Cleaned:
    from cmbml.methods.pyilc.executors import find_checkout, run_pyilc

    checkout = find_checkout(settings.checkout)
    maps = alm2map(channels.alms[:, None], nside_for(lmax), threads=threads)
    sky = run_pyilc(
        checkout,
        [SkyMap(row, "uK_CMB", fwhm, lmax) for row, fwhm in zip(maps, channels.fwhm_arcmin, strict=True)],
        settings,
        freq_ghz=channels.freq_ghz,
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


def clean(order: Order, folder: Path) -> tuple[list[Path], list[str]]:
    """Clean maps; return the paths that were written, the cleaned map first, and warnings.

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
    if order.method == WIENER:
        return [_filter(order, folder)], []
    cleaning = Cleaning(order, folder)
    return cleaning.run(), cleaning.warnings


def _filter(order: Order, folder: Path) -> Path:
    """Filter one cleaned map with the window that the stage has learned."""
    if order.model is None:
        raise ConfigError(
            "wiener needs --model: the window.txt that its stage learned where the CMB is known"
        )
    sky = get_handler("HealpyMap").read(folder / order.maps, unit=order.unit)
    windows = list(get_handler("PowerSpectrum").read(folder / order.model).values())
    try:
        alms = map2alm(sky.to("uK_CMB").values, order.lmax, threads=order.threads)
        rows = [almxfl(alm, window) for alm, window in zip(alms, windows, strict=True)]
        filtered = alm2map(np.stack(rows), sky.nside, threads=order.threads)
    except (ValueError, IndexError) as error:
        raise DataError(f"{order.model}: does not fit {order.maps} at lmax {order.lmax}: {error}") from None
    result = SkyMap(filtered, "uK_CMB", order.fwhm_arcmin, order.lmax, signal_preserving=False)
    get_handler("HealpyMap").write(folder / order.out, result)
    return folder / order.out


class Cleaning:
    """One call of `cmbml clean`.

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

    Raises
    ------
    ConfigError, DataError
        Where the order cannot be carried out: one line.
    """

    def __init__(self, order: Order, folder: Path) -> None:
        self.order = order
        self.folder = folder
        self.warnings: list[str] = []
        if order.method not in METHODS:
            hint = did_you_mean(order.method, [*METHODS, WIENER])
            raise ConfigError(f"clean: no method '{order.method}': {hint}")
        if order.lmax < 2 or order.fwhm_arcmin <= 0:
            raise ConfigError("clean: --lmax must be 2 or more, and --fwhm above 0")
        self.method = METHODS[order.method]
        self.table = self._table()
        self.learned_with = self._learned_with()
        self.settings = self._settings()

    def _table(self) -> dict[str, dict[str, float]]:
        table = read_bands(table_path(self.folder, self.order.instrument))
        for name in self.order.bands:
            if name not in table:
                raise ConfigError(
                    f"--bands: {self.order.instrument} has no '{name}': {did_you_mean(name, table)}"
                )
        return {name: row for name, row in table.items() if name in (self.order.bands or table)}

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

    def _settings(self) -> Any:
        chosen = {name: yaml.safe_load(text) for name, text in self.order.settings.items()}
        fwhm, lmax = self.order.fwhm_arcmin, self.order.lmax
        # fwhm_arcmin of the settings is that of the result, of the model that of its bands
        learned = {key: value for key, value in self.learned_with.items() if key != "fwhm_arcmin"}
        try:
            settings = settings_of(self.method, fwhm_arcmin=fwhm, lmax=lmax, learned=learned, chosen=chosen)
        except ValidationError as error:
            detail = error.errors()[0]
            raise ConfigError(f"--set {'.'.join(map(str, detail['loc']))}: {detail['msg']}") from None
        here = settings.model_dump(mode="json") | {
            "fwhm_out": fwhm,
            "lmax": lmax,
            **{key: [row[key] for row in self.table.values()] for key in ("freq_ghz", "fwhm_arcmin")},
        }
        for key, value in self.learned_with.items():
            if here[key] != value:
                raise ConfigError(
                    f"--model: learned with {key} {value}, and here it is {here[key]}: learn it anew"
                )
        return settings

    def run(self) -> list[Path]:
        """Clean, and write all files: their paths, the cleaned map first."""
        observed = self._observe(self.order.maps)
        self._check_beams(observed)
        try:
            cleaned = list(self._clean(observed))
        except ValueError as error:
            raise DataError(f"{self.order.method}: {error}") from None
        return list(self._write(observed, cleaned))

    def _observe(self, pattern: str) -> list[Observed]:
        """Read and analyse all bands: as many at a time as there are threads, since maps may be large."""
        bands = find_bands(pattern, self.table, self.folder)
        threads = self.order.threads
        observed: list[Observed] = []
        with ThreadPoolExecutor(threads) as pool:
            for first in range(0, len(bands), threads):
                some = [(band, self._read(band)) for band in bands[first : first + threads]]
                observed += pool.map(lambda read: self._analyse(*read), some)
        return observed

    def _read(self, band: BandFile) -> SkyMap:
        lmax = self.order.lmax
        sky = read_band(band, 0 if self.order.fields == "T" else "TQU", self.order.unit)
        support = min(3 * sky.nside - 1, sky.lmax or lmax)
        if lmax > support:
            raise DataError(
                f"{band.path}: ends at l = {support}: lower --lmax {lmax}, or leave band {band.name} out"
            )
        return sky

    def _analyse(self, band: BandFile, sky: SkyMap) -> Observed:
        """Fill the holes of one band, and analyse it on one thread."""
        lmax = self.order.lmax
        holes = (sky.values < MISSING) | self._masked(sky.nside)
        try:
            filled = np.array([inpaint(row, hole) for row, hole in zip(sky.values, holes, strict=True)])
        except ValueError as error:
            raise DataError(f"{band.path}: {error}") from None
        alm = map2alm(filled, lmax)
        if self.order.pixwin or sky.pixwin:
            windows = [
                pixel_window(sky.nside, lmax),
                *[polarisation_window(sky.nside, lmax)] * (len(alm) - 1),
            ]
            alm = np.array([almxfl(row, 1 / window) for row, window in zip(alm, windows, strict=True)])
        return Observed(band, alm, sky.nside, holes.any(axis=0))

    @cached_property
    def _mask(self) -> NDArray[Any] | None:
        if self.order.mask is None:
            return None
        path = self.folder / self.order.mask
        weights = get_handler("HealpyMap").read(path, field=0, unit="1", allow_unseen=True).values[0]
        return np.where(weights < MISSING, 0.0, weights)

    def _masked(self, nside: int) -> Any:
        """Pixels of a resolution that the mask leaves out."""
        if self._mask is None:
            return False
        from cmbml.sky.mask import threshold_mask

        return threshold_mask(self._mask, nside, 0.5) == 0

    def _check_beams(self, observed: list[Observed]) -> None:
        for entry in observed:
            beam = {entry.band.name: entry.band.fwhm_arcmin}
            try:
                self.warnings += beam_warnings(beam, entry.nside, self.order.lmax)
            except ValueError as error:
                raise DataError(f"{entry.band.path}: {error}") from None

    def _channels(self, observed: list[Observed], number: int) -> Channels:
        """One field of all bands that have it."""
        having = [entry for entry in observed if len(entry.alm) > number]
        return Channels(
            np.array([entry.alm[number] for entry in having]),
            [entry.band.name for entry in having],
            [entry.band.freq_ghz for entry in having],
            [entry.band.fwhm_arcmin for entry in having],
        )

    def _clean(self, observed: list[Observed]) -> Iterator[Cleaned]:
        learned: Any = [None] * len(FIELDS[self.order.fields])
        if self.order.model is not None:
            learned = get_handler("NumpyMap").read(self.folder / self.order.model)
        for number in range(len(FIELDS[self.order.fields])):
            channels = self._channels(observed, number)
            if not len(channels.alms):
                raise ValueError("no band has Q and U: clean --fields T")
            if number >= len(learned):
                raise ValueError(
                    f"--model holds {len(learned)} fields: clean --fields T, or learn it on T, Q, U"
                )
            yield self.method.clean(
                channels, self.settings, self.order.lmax, learned[number], self.order.threads
            )

    def _path(self, name: str) -> Path:
        out = self.folder / self.order.out
        return out.with_name(f"{out.name.partition('.')[0]}_{name}")

    def _sky(self, alms: Sequence[Alm]) -> SkyMap:
        sky = alm2map(np.stack(alms), nside_for(self.order.lmax), threads=self.order.threads)
        return SkyMap(sky, "uK_CMB", self.order.fwhm_arcmin, self.order.lmax)

    def _write(self, observed: list[Observed], cleaned: list[Cleaned]) -> Iterator[Path]:
        path = self.folder / self.order.out
        get_handler("HealpyMap").write(path, self._sky([one.alm for one in cleaned]))
        yield path
        for name, pattern in self.order.components.items():
            parts = self._observe(pattern)
            alms = [one.apply(self._channels(parts, k).alms) for k, one in enumerate(cleaned)]
            get_handler("HealpyMap").write(self._path(f"{name}.fits"), self._sky(alms))
            yield self._path(f"{name}.fits")
        if any(entry.holes.any() for entry in observed):
            get_handler("HealpyMap").write(self._path("mask.fits"), self._coverage(observed))
            yield self._path("mask.fits")
        fields = FIELDS[self.order.fields]
        rows = [{"field": f} | row for f, one in zip(fields, cleaned, strict=True) for row in one.weights]
        if rows:
            get_handler("Csv").write(self._path("weights.csv"), rows)
            yield self._path("weights.csv")
        beam = gaussian_beam(self.order.fwhm_arcmin, self.order.lmax)
        get_handler("PowerSpectrum").write(self._path("beam.txt"), {"B": beam})
        yield self._path("beam.txt")
        get_handler("Config").write(self._path("provenance.yaml"), self._provenance(observed))
        yield self._path("provenance.yaml")

    def _coverage(self, observed: list[Observed]) -> SkyMap:
        """1 where every band was measured and the mask keeps."""
        from cmbml.sky.mask import threshold_mask

        kept = [
            threshold_mask((~entry.holes).astype(float), nside_for(self.order.lmax), 1.0)
            for entry in observed
            if entry.holes.any()
        ]
        return SkyMap(np.prod(kept, axis=0)[None], "1")

    def _provenance(self, observed: list[Observed]) -> dict[str, Any]:
        order = self.order
        files = {"model": order.model, "mask": order.mask}
        return {
            "method": order.method,
            "settings": self.settings.model_dump(mode="json"),
            "signal_preserving": True,
            "fwhm_arcmin": order.fwhm_arcmin,
            "lmax": order.lmax,
            "fields": order.fields,
            "pixel_window_removed": order.pixwin,
            "instrument": order.instrument,
            "maps": [entry.facts() for entry in observed],
            **{
                name: {"file": str(path), "md5": md5_of(self.folder / path)}
                for name, path in files.items()
                if path is not None
            },
            "packages": {name: version(name) for name in PACKAGES},
            "commit": commit(Path(__file__).parent),
        }
