"""What the user asks of `cmbml clean`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cmbml.core.handlers.cards import Told


def provenance_of(out: Path) -> Path:
    """The record of a cleaned map, which lies beside it."""
    return beside(out, "provenance.yaml")


def beside(out: Path, name: str) -> Path:
    """Path of another file that belongs to a map."""
    return out.with_name(f"{out.name.removesuffix('.gz').removesuffix('.fits')}_{name}")


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
    pixwin
        Whether the pixel window is in the maps, as in those of an instrument that points.
    fields
        T, or TQU for T, E and B.
    components
        Maps that go through the same weights: path with {freq}, by name.
    check_response
        Whether a second CMB is sent through the method, to see how much of it is kept.
    threads
        Number of threads.
    told, told_of_mask
        What the headers of the maps, and of the mask, leave open: options as the command line names them.
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
    pixwin: bool = False
    fields: str = "T"
    components: Mapping[str, str] = field(default_factory=dict)
    check_response: bool = False
    threads: int = 2
    told: Told = field(default_factory=Told)
    told_of_mask: Told = field(default_factory=Told)

    @property
    def reading(self) -> Told:
        """How the maps are read."""
        return {"way": "command", **self.told, "pixwin": self.pixwin or None}

    @property
    def reading_of_mask(self) -> Told:
        """How the mask is read: it lies as the maps do, unless header or option say otherwise."""
        shared: Told = {"coord": self.told.get("coord"), "missing": self.told.get("missing")}
        return {**shared, **self.told_of_mask, "way": "mask"}

    def beside(self, folder: Path, name: str) -> Path:
        """Path of another file that is written with the cleaned map."""
        return beside(folder / self.out, name)
