"""`cmbml clean wiener`: one cleaned map through a learned window."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cmbml.clean.origins import contents, file_facts, origin_of
from cmbml.clean.request import Order
from cmbml.core.errors import ConfigError, DataError
from cmbml.core.files.outputs import expect_writable
from cmbml.core.handlers import get_handler
from cmbml.core.record.git import commit
from cmbml.methods.wiener.wiener import SPECTRA
from cmbml.sky.instrument import unlike
from cmbml.sky.sht import Cl, alm2map, almxfl, map2alm
from cmbml.sky.skymap import SkyMap


class Filtering:
    """One call of `cmbml clean wiener`.

    A filter changes neither beam nor fields: what the order says of them must be so already.

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
        if order.model is None:
            raise ConfigError(
                "wiener needs --model: the window.txt that its stage learned where the CMB is known"
            )
        self.order, self.folder, self.model = order, folder, order.model
        self._refuse_unused()
        expect_writable(
            [folder / order.out, order.beside(folder, "provenance.yaml")],
            [folder / order.maps, folder / order.model],
        )
        self.sky = self._read()
        self.assumed = ["; ".join(self.sky.assumed)] if self.sky.assumed else []
        self._check_sky()
        self._check_origin()
        self.windows = self._read_windows()

    def _refuse_unused(self) -> None:
        order = self.order
        unused = {
            "--instrument": order.instrument,
            "--bands": order.bands,
            "--mask": order.mask,
            "--pixwin": order.pixwin,
            "--set": order.settings,
            "--component": order.components,
            "--check-response": order.check_response,
        }
        for option, value in unused.items():
            if value:
                raise ConfigError(f"{option}: not for wiener, which filters one cleaned map: leave it out")

    def _read(self) -> SkyMap:
        path = self.folder / self.order.maps
        if not path.is_file():
            raise DataError(f"--maps {self.order.maps}: no such file: give one cleaned map")
        sky: SkyMap = get_handler("HealpyMap").read(path, **self.order.reading)
        try:
            return sky.to("uK_CMB")
        except ValueError as error:
            raise DataError(f"{self.order.maps}: {error}") from None

    def _check_sky(self) -> None:
        """Compare the order with what the map is; what its header leaves open, the order says."""
        order, sky, fields = self.order, self.sky, "TQU"[: len(self.sky.values)]
        for option, given, said in (
            ("--fwhm", order.fwhm_arcmin, sky.fwhm_arcmin),
            ("--fields", order.fields, fields),
        ):
            if said not in (None, given):
                raise ConfigError(
                    f"{option} {given}: {order.maps} has {said}, and a filter keeps it: {option} {said}"
                )
        end = 3 * sky.nside - 1 if sky.lmax is None else sky.lmax
        if order.lmax > end:
            raise DataError(f"{order.maps}: ends at l = {end}: lower --lmax {order.lmax}")

    def _check_origin(self) -> None:
        """The window belongs to what one method leaves in its maps: the map must be of that method."""
        path = self.model.with_name("settings.yaml")
        if not (self.folder / path).is_file():
            raise DataError(
                f"{self.model}: no settings.yaml beside it, which says what it was learned from: take both"
            )
        learned = get_handler("Config").read(self.folder / path)
        origin = origin_of(self.folder / self.order.maps)
        if difference := unlike(learned.get("instrument"), origin.instrument):
            raise ConfigError(
                f"--model {self.model}: learned with another instrument than {self.order.maps} is of: "
                f"{difference}: learn it anew"
            )
        here = {"estimate": origin.method, "fwhm_arcmin": self.order.fwhm_arcmin}
        for key, value in here.items():
            if learned.get(key) != value:
                raise ConfigError(
                    f"--model {self.model}: learned with {key} {learned.get(key)}, "
                    f"and {self.order.maps} has {value}: learn it anew"
                )

    def _read_windows(self) -> list[Cl]:
        """W(l) of every field up to the band-limit."""
        spectra = get_handler("PowerSpectrum").read(self.folder / self.model)
        names, lmax = SPECTRA[: len(self.sky.values)], self.order.lmax
        missing = [name for name in names if name not in spectra]
        if missing:
            raise DataError(
                f"{self.model}: no window of {missing[0]}: give the window.txt of maps with the same fields"
            )
        windows = [spectra[name][: lmax + 1] for name in names]
        if len(windows[0]) <= lmax:
            raise DataError(f"{self.model}: ends at l = {len(windows[0]) - 1}: lower --lmax {lmax}")
        return windows

    def run(self) -> list[Path]:
        """Filter, and write all files: their paths, the filtered map first."""
        lmax, threads = self.order.lmax, self.order.threads
        alms = map2alm(self.sky.values, lmax, threads=threads)
        rows = [almxfl(alm, window) for alm, window in zip(alms, self.windows, strict=True)]
        values = alm2map(np.stack(rows), self.sky.nside, threads=threads)
        fwhm = self.order.fwhm_arcmin
        filtered = replace(self.sky, values=values, fwhm_arcmin=fwhm, lmax=lmax, signal_preserving=False)
        out, provenance = self.folder / self.order.out, self.order.beside(self.folder, "provenance.yaml")
        get_handler("HealpyMap").write(out, filtered)
        get_handler("Config").write(provenance, self._provenance(filtered) | {"results": contents([out])})
        return [out, provenance]

    def _provenance(self, filtered: SkyMap) -> dict[str, Any]:
        order = self.order
        return {
            "method": order.method,
            "signal_preserving": filtered.signal_preserving,
            "fwhm_arcmin": filtered.fwhm_arcmin,
            "lmax": filtered.lmax,
            "fields": order.fields,
            "pixel_window_in_map": filtered.pixwin,
            **file_facts(self.folder, {"map": Path(order.maps), "model": self.model}),
            "assumed": list(self.assumed),
            "commit": commit(Path(__file__).parent),
        }
