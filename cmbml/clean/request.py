"""What the user asks of `cmbml clean`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


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

    def beside(self, folder: Path, name: str) -> Path:
        """Path of another file that is written with the cleaned map."""
        out = folder / self.out
        return out.with_name(f"{out.name.partition('.')[0]}_{name}")
