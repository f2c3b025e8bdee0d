"""What params.yaml may say: every key with its meaning, unit and allowed values.

The blocks of methods are described by the methods themselves (see `cmbml.core.config`).
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

# The keys of these mappings become folder and file names.
Name = Annotated[str, BeforeValidator(str), Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class Block(BaseModel):
    """A frozen block of parameters in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SplitParams(Block):
    """One split of the dataset."""

    n_sims: int = Field(ge=1, description="number of simulations")
    population: str = Field(description="name of the population that the simulations are drawn from")
    stream: str | None = Field(
        default=None,
        description="name of the random stream; splits that share one are paired (default: the split's name)",
    )


class Scatter(Block):
    """Distribution of one drawn number: normal, or log-normal for amplitudes."""

    mean: float = Field(description="centre of the distribution")
    sd: float = Field(ge=0, description="standard deviation (relative, for amplitudes)")


class PopulationParams(Block):
    """A named region of the space of skies."""

    dust_amplitude: Scatter = Field(description="factor on thermal dust")
    sync_amplitude: Scatter = Field(description="factor on synchrotron")
    freefree_amplitude: Scatter = Field(description="factor on free-free")
    ame_amplitude: Scatter = Field(description="factor on spinning dust")
    dust_beta: Scatter = Field(description="offset of the dust spectral index")
    dust_temp: Scatter = Field(description="offset of the dust temperature, K")
    sync_beta: Scatter = Field(description="offset of the synchrotron spectral index")
    ame_peak: Scatter = Field(description="offset of the spinning-dust peak, GHz")
    small_scale: Scatter = Field(description="factor on the log-normal small scales")
    noise_level: Scatter = Field(description="factor on the noise depth")


class CosmologyParams(Block):
    """Where the cosmological parameters of a simulation come from."""

    source: Literal["planck2018", "wmap9"] = Field(description="published constraint to draw from")
    scatter: bool = Field(description="draw every simulation's parameters; false: the published means")


class CmbParams(Block):
    """How a CMB sky is drawn from its spectra."""

    kind: Literal["gaussian", "lensed"] = Field(
        description="gaussian: drawn from lensed spectra; lensed: an unlensed sky, remapped once"
    )


class ForegroundParams(Block):
    """The model of the Galaxy."""

    model: Literal["galaxy", "pysm3"] = Field(description="the embedded procedural galaxy, or PySM 3")
    presets: tuple[str, ...] = Field(min_length=1, description="PySM 3 presets, used by model pysm3")


class Band(Block):
    """One frequency band."""

    freq_ghz: float = Field(gt=0, description="centre frequency, GHz")
    fwhm_arcmin: float = Field(gt=0, description="FWHM of the Gaussian beam, arcmin")
    depth_uk_arcmin: float = Field(ge=0, description="white-noise depth in temperature, uK_CMB arcmin")


class InstrumentParams(Block):
    """The telescope: resolution of its maps and its bands."""

    nside: int = Field(ge=1, description="HEALPix resolution of the maps, a power of two")
    lmax: int = Field(ge=2, description="band-limit of the maps, at most 3 nside - 1")
    fields: Literal["T", "TQU"] = Field(
        description="Stokes fields of the maps: T alone, or T, Q, U in one file a band"
    )
    bands: dict[Name, Band] = Field(min_length=1, description="bands by name, in order of frequency")

    @property
    def n_stokes(self) -> int:
        """Number of Stokes fields: 1 or 3."""
        return len(self.fields)

    @property
    def freqs(self) -> tuple[str, ...]:
        """Names of the bands."""
        return tuple(self.bands)

    @property
    def freq_ghz(self) -> list[float]:
        """Centre frequencies in the order of the bands, GHz."""
        return [band.freq_ghz for band in self.bands.values()]

    @property
    def fwhm_arcmin(self) -> list[float]:
        """Beams in the order of the bands, arcmin."""
        return [band.fwhm_arcmin for band in self.bands.values()]

    @property
    def depth_uk_arcmin(self) -> list[float]:
        """White-noise depths in the order of the bands, uK_CMB arcmin."""
        return [band.depth_uk_arcmin for band in self.bands.values()]

    @model_validator(mode="after")
    def _supported(self) -> Self:
        if self.nside & (self.nside - 1):
            raise ValueError(f"nside {self.nside} is not a power of two")
        if self.lmax >= 3 * self.nside:
            raise ValueError(
                f"lmax {self.lmax} is above what nside {self.nside} supports: at most {3 * self.nside - 1}"
            )
        if sorted(self.freq_ghz) != self.freq_ghz or len(set(self.freq_ghz)) < len(self.freq_ghz):
            raise ValueError("bands must be in order of frequency, each frequency once")
        return self


class NoiseParams(Block):
    """The model of the detector noise."""

    kind: Literal["white"] = Field(description="white: uniform and uncorrelated")


class MaskParams(Block):
    """The mask inside which scores are taken."""

    latitude_deg: float = Field(ge=0, lt=90, description="half-width of the masked Galactic strip, deg")


class AnalysisParams(Block):
    """The common ground on which truth and estimates are compared."""

    fwhm_arcmin: float = Field(gt=0, description="common Gaussian beam, arcmin")
    lmax: int = Field(ge=2, description="common band-limit")
    band_width: int = Field(ge=1, description="width of the bands of power spectra, in multipoles")
    n_bootstrap: int = Field(ge=100, description="resamples of a bootstrap interval")


class Params(Block):
    """Top level of params.yaml; the blocks of methods are added by the pipeline files."""

    dataset: Name = Field(description="name of the dataset: its folder below data/")
    seed: int = Field(ge=0, description="root of all random numbers")
    splits: dict[Name, SplitParams] = Field(min_length=1, description="the splits by name")
    populations: dict[Name, PopulationParams] = Field(description="the populations by name")
    methods: tuple[Name, ...] = Field(description="methods that are switched on")
    cosmology: CosmologyParams
    cmb: CmbParams
    foregrounds: ForegroundParams
    instrument: InstrumentParams
    noise: NoiseParams
    mask: MaskParams
    analysis: AnalysisParams

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, split in self.splits.items():
            if split.population not in self.populations:
                known = ", ".join(self.populations)
                raise ValueError(f"splits.{name}.population: '{split.population}' is none of {known}")
        if len(set(self.methods)) < len(self.methods):
            raise ValueError("methods: one is named twice")
        if self.analysis.lmax > self.instrument.lmax:
            raise ValueError(
                f"analysis.lmax {self.analysis.lmax} is above instrument.lmax {self.instrument.lmax}"
            )
        return self
