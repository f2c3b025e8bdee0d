"""What params.yaml may say: every key with its meaning, unit and allowed values.

The blocks of methods are described by the methods themselves (see `cmbml.core.spec.config`).
"""

from collections.abc import Mapping
from math import sqrt
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, computed_field, model_validator
from pydantic.json_schema import SkipJsonSchema

from cmbml.core.spec.names import Apart, Name, apart
from cmbml.core.spec.numbers import (
    Bandwidth,
    Count,
    Depth,
    Finite,
    Frequency,
    Fwhm,
    Lmax,
    Natural,
    NotNegative,
    Nside,
    Positive,
    parsed,
)
from cmbml.core.spec.passbands import Passband


class Block(BaseModel):
    """A frozen block of parameters, of finite numbers, in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SplitParams(Block):
    """One split of the dataset."""

    n_sims: Count = Field(description="number of simulations")
    population: str | None = Field(
        default=None, description="name of the population that the simulations are drawn from"
    )
    source: Literal["simulated", "imported", "observed"] = Field(
        default="simulated",
        description="simulated: drawn here; imported: others' skies and truth; observed: real, without truth",
    )
    stream: str | None = Field(
        default=None,
        description="name of the random stream; splits that share one are paired (default: the split's name)",
    )


class Scatter(Block):
    """Distribution of one drawn number: `mean` and `sd`, or `low` and `high`.

    With mean and sd it is normal, or log-normal for factors, which stay positive; else uniform in a range.
    """

    mean: Finite | None = Field(default=None, description="centre of the distribution")
    sd: NotNegative | None = Field(default=None, description="standard deviation")
    low: Finite | None = Field(default=None, description="lower end of the range")
    high: Finite | None = Field(default=None, description="upper end of the range")

    @property
    def values(self) -> dict[str, float]:
        """The two numbers that were given, by name."""
        return {key: value for key, value in self.model_dump().items() if value is not None}

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if set(self.values) not in ({"mean", "sd"}, {"low", "high"}):
            raise ValueError("needs mean and sd, or low and high")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"the range from {self.low:g} to {self.high:g} is empty: swap its ends")
        return self


class Factor(Scatter):
    """Distribution of a factor, which is above 0."""

    @model_validator(mode="after")
    def _positive(self) -> Self:
        for name in ("mean", "low"):
            if self.values.get(name, 1) <= 0:
                raise ValueError(f"{name}: a factor should be greater than 0 (it is {self.values[name]:g})")
        return self


class CosmologyRegion(Block):
    """How the cosmologies of a population differ from the block `cosmology`."""

    per_split: bool = Field(default=False, description="one cosmology and one spectrum for a whole split")
    scatter: bool | None = Field(default=None, description="in place of cosmology.scatter")
    H0: Scatter | None = Field(default=None, description="Hubble constant, km/s/Mpc")
    ombh2: Scatter | None = Field(default=None, description="physical density of baryons")
    omch2: Scatter | None = Field(default=None, description="physical density of cold dark matter")
    mnu: Scatter | None = Field(default=None, description="sum of the neutrino masses, eV")
    tau: Scatter | None = Field(default=None, description="optical depth of reionisation")
    As: Scatter | None = Field(default=None, description="amplitude of primordial fluctuations")
    ns: Scatter | None = Field(default=None, description="tilt of primordial fluctuations")

    @property
    def drawn(self) -> dict[str, Scatter]:
        """Parameters with a distribution of their own."""
        return {name: value for name, value in self if isinstance(value, Scatter)}


def _presets_apart(model: str) -> str:
    apart(model.split("+"))
    return model


ForegroundModel = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9]*(\+[a-z]+[0-9]+)*$"), AfterValidator(_presets_apart)
]


class PopulationParams(Block):
    """A named region of the space of skies; `like` names another whose values hold where none is given."""

    like: str | None = Field(default=None, description="population that the missing values come from")
    cosmology: CosmologyRegion = Field(
        default=CosmologyRegion(), description="how its cosmologies differ from the block cosmology"
    )
    models: Annotated[tuple[ForegroundModel, ...], Field(min_length=1), Apart] | None = Field(
        default=None,
        description="foreground models, one of which each simulation draws (default: foregrounds.model)",
    )
    dust_amplitude: Factor = Field(description="factor on thermal dust")
    sync_amplitude: Factor = Field(description="factor on synchrotron")
    freefree_amplitude: Factor = Field(description="factor on free-free")
    ame_amplitude: Factor = Field(description="factor on spinning dust")
    dust_beta: Scatter = Field(description="offset of the dust spectral index")
    dust_temp: Scatter = Field(description="offset of the dust temperature, K")
    sync_beta: Scatter = Field(description="offset of the synchrotron spectral index")
    ame_peak: Scatter = Field(description="offset of the spinning-dust peak, GHz")
    small_scale: Factor = Field(description="factor on the log-normal small scales")
    noise_level: Factor = Field(description="factor on the noise depth")
    gain: dict[Name, Factor] = Field(
        default_factory=dict,
        description="factor on the map of a band, by band: an error of its calibration (default: none)",
    )


class CosmologyParams(Block):
    """Where the cosmological parameters of a simulation come from."""

    source: Literal["planck2018", "wmap9", "wmap9_lcdm", "wmap9_lcdm_mnu"] = Field(
        description="published constraint, or one of the WMAP9 chains below data/raw/chains"
    )
    scatter: bool = Field(description="draw every simulation's parameters; false: the published means")

    @model_validator(mode="after")
    def _has_means(self) -> Self:
        if not self.scatter and self.source.startswith("wmap9_"):
            raise ValueError(f"scatter: {self.source} is a chain, which has no means: set true, or wmap9")
        return self


class CmbParams(Block):
    """How a CMB sky is drawn from its spectra."""

    kind: Literal["gaussian", "lensed"] = Field(
        description="gaussian: drawn from lensed spectra; lensed: an unlensed sky, remapped once"
    )


class ForegroundParams(Block):
    """The model of the Galaxy."""

    model: ForegroundModel = Field(
        description="galaxy, layered or polarised: procedural; pysm3: its presets; or such as d10+s5"
    )
    presets: Annotated[tuple[str, ...], Apart] = Field(
        min_length=1, description="PySM 3 presets, used by model pysm3"
    )


class ExtragalacticParams(Block):
    """What lies beyond the Galaxy, drawn for each sky."""

    sources: bool = Field(default=False, description="radio sources, fainter than source_cut_jy")
    source_cut_jy: Positive = Field(
        default=0.35,
        description="flux at 143 GHz, Jy, from which on sources are left out, and listed in source_mask",
    )
    cib: bool = Field(default=False, description="cosmic infrared background, a Gaussian field")
    tsz: bool = Field(default=False, description="thermal Sunyaev-Zeldovich effect, a Gaussian field")

    @property
    def switched_on(self) -> tuple[str, ...]:
        """Names of the components that are drawn."""
        return tuple(name for name, value in self if value is True)


class Band(Block):
    """One frequency band."""

    freq_ghz: Frequency = Field(description="centre frequency, GHz")
    fwhm_arcmin: Fwhm = Field(description="FWHM of the Gaussian beam, arcmin")
    depth_uk_arcmin: Depth = Field(description="white-noise depth in temperature, uK_CMB arcmin")
    depth_p_uk_arcmin: Depth | None = Field(
        default=None,
        description="the same in polarisation (default: sqrt(2) times that); null: the band has no Q and U",
    )
    bandwidth_ghz: Bandwidth | None = Field(
        default=None, description="full width of a top hat, GHz; without it and a passband: the centre alone"
    )
    passband: SkipJsonSchema[Passband | None] = Field(
        default=None, exclude=True, description="response by frequency, of the table's file"
    )

    @computed_field  # type: ignore[prop-decorator]
    @property
    def response(self) -> str:
        """What tells its spectral response from another's: records hold it in place of the rows."""
        if self.passband is not None:
            return self.passband.digest
        return "centre" if self.bandwidth_ghz is None else f"top hat of {self.bandwidth_ghz:g} GHz"

    @property
    def polarised(self) -> bool:
        """Whether it has Q and U."""
        return self.depth_p_uk_arcmin is not None

    @model_validator(mode="before")
    @classmethod
    def _usual_polarisation(cls, values: Any) -> Any:
        """Fill a depth in polarisation that is not given; one that is null stays."""
        if not isinstance(values, dict) or "depth_p_uk_arcmin" in values:
            return values
        try:
            depth = parsed(Depth, values.get("depth_uk_arcmin"))
        except ValueError:
            return values
        return {**values, "depth_p_uk_arcmin": sqrt(2) * depth}

    @model_validator(mode="after")
    def _one_response(self) -> Self:
        if self.bandwidth_ghz is not None:
            if self.passband is not None:
                raise ValueError("has a bandwidth and a passband: leave out one")
            if self.bandwidth_ghz >= 2 * self.freq_ghz:
                raise ValueError(
                    f"bandwidth_ghz: a top hat must be narrower than twice its centre {self.freq_ghz:g}"
                )
        return self


class InstrumentParams(Block):
    """The telescope: resolution of its maps and its bands."""

    nside: Nside = Field(description="HEALPix resolution of the maps, a power of two")
    lmax: Lmax = Field(description="band-limit of the maps, at most 3 nside - 1")
    fields: Literal["T", "TQU"] = Field(
        description="Stokes fields of the maps: T alone, or T, Q, U in one file a band"
    )
    bandpass: Literal["own", "delta"] = Field(
        default="own", description="own: what the bands say; delta: their centres, whatever they say"
    )
    table: str | None = Field(
        default=None,
        description="in place of bands: planck, litebird, so, cmbml, mini, or the path of a folder or table",
    )
    bands: Annotated[dict[Name, Band], Apart] = Field(
        min_length=1, description="bands by name, in order of frequency"
    )

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

    @model_validator(mode="before")
    @classmethod
    def _at_centres(cls, values: Any) -> Any:
        """With bandpass: delta, bands have no response of their own, for whoever reads them."""
        if not isinstance(values, dict) or values.get("bandpass") != "delta":
            return values
        if not isinstance(bands := values.get("bands"), dict):
            return values
        response = {"passband", "bandwidth_ghz"}
        left_out = {
            name: {key: value for key, value in band.items() if key not in response}
            if isinstance(band, dict)
            else band
            for name, band in bands.items()
        }
        return {**values, "bands": left_out}

    @model_validator(mode="after")
    def _supported(self) -> Self:
        if self.lmax >= 3 * self.nside:
            raise ValueError(
                f"lmax {self.lmax} is above what nside {self.nside} supports: at most {3 * self.nside - 1}"
            )
        if sorted(self.freq_ghz) != self.freq_ghz or len(set(self.freq_ghz)) < len(self.freq_ghz):
            raise ValueError("bands must be in order of frequency, each frequency once")
        return self


class NoiseParams(Block):
    """The model of the detector noise."""

    kind: Literal["white", "hits", "hit_maps", "variance", "model"] = Field(
        description="white: the same everywhere; hits: after a scanning satellite's hits; hit_maps: after "
        "data/raw/noise/hits_BAND.fits; variance: after data/raw/noise/variance_BAND.fits; model: learnt "
        "from noise simulations"
    )
    knee_l: NotNegative = Field(default=0.0, description="multipole below which noise is correlated; 0: none")
    knee_slope: Positive = Field(default=1.0, description="steepness of the spectrum below the knee")
    n_components: Natural = Field(default=10, description="principal components of the learnt model")
    stripe_knee: NotNegative = Field(
        default=0.0,
        description="stripes along the scan: cycles of the offsets of rings, for each turn of the spin axis, "
        "below which they exceed white noise; 0: none",
    )
    stripe_slope: Positive = Field(default=1.0, description="steepness of their spectrum")
    halves: bool = Field(
        default=False, description="write and clean two halves of every band, with independent noise"
    )


class LevelParams(Block):
    """Zero levels of the bands beside the Galaxy's own, as real maps have them."""

    add: bool = Field(
        default=False,
        description="add the monopoles of infrared background and zodiacal light to every band, and a dipole",
    )
    dipole_uk: NotNegative = Field(
        default=3.0,
        description="of the dipole, along the Sun's motion and drawn for each band, the standard deviation, "
        "uK_CMB",
    )


class MaskParams(Block):
    """The mask inside which scores are taken."""

    kind: Literal["latitude", "fsky", "map"] = Field(
        default="latitude",
        description="latitude: a Galactic strip; fsky: the share of the sky farthest from the plane; map: "
        "data/raw/mask/mask.fits",
    )
    latitude_deg: float = Field(ge=0, lt=90, description="half-width of the masked Galactic strip, deg")
    fsky: float = Field(default=0.7, gt=0, le=1, description="share of the sky that is kept")
    column: Natural | str | None = Field(
        default=None, description="column of the map, by name or number; null: the one that is called a mask"
    )
    threshold: Positive = Field(default=0.9, description="least value of the map that is kept")
    apodisation: Literal["none", "C1", "C2", "gaussian"] = Field(
        default="none", description="taper towards the border"
    )
    apodisation_arcmin: Fwhm = Field(default=120.0, description="width of the taper, arcmin")


class ComponentParams(Block):
    """Maps of the single components, for studies of residuals."""

    write: bool = Field(default=False, description="write CMB, foregrounds and noise of every band")


class AnalysisParams(Block):
    """The common ground on which truth and estimates are compared."""

    fwhm_arcmin: Fwhm = Field(description="common Gaussian beam, arcmin")
    lmax: Lmax = Field(description="common band-limit")
    band_width: Count = Field(description="width of the bands of power spectra, in multipoles")
    n_bootstrap: int = Field(ge=100, description="resamples of the bootstrap intervals in the report")


def _filled(name: str, populations: Mapping[str, Any], seen: tuple[str, ...]) -> Any:
    """Values of a population with those of the ones that it is like."""
    own = populations[name]
    other = own.get("like") if isinstance(own, dict) else None
    if other is None:
        return own
    if other not in populations or other in (*seen, name):
        raise ValueError(f"populations.{name}.like: '{other}' is no other population: name one")
    return {**_filled(other, populations, (*seen, name)), **own}


class Params(Block):
    """Top level of params.yaml; the blocks of methods are added by the pipeline files."""

    dataset: Name = Field(description="name of the dataset: its folder below data/")
    seed: Natural = Field(description="root of all random numbers")
    splits: Annotated[dict[Name, SplitParams], Apart] = Field(min_length=1, description="the splits by name")
    populations: Annotated[dict[Name, PopulationParams], Apart] = Field(description="the populations by name")
    methods: Annotated[tuple[Name, ...], Apart] = Field(description="methods that are switched on")
    cosmology: CosmologyParams
    cmb: CmbParams
    foregrounds: ForegroundParams
    extragalactic: ExtragalacticParams = ExtragalacticParams()
    instrument: InstrumentParams
    noise: NoiseParams
    levels: LevelParams = LevelParams()
    mask: MaskParams
    components: ComponentParams = ComponentParams()
    analysis: AnalysisParams

    def foreground_models(self) -> dict[str, tuple[str, ...]]:
        """By split, the models of which each simulation has one; none where it is not simulated."""
        return {name: self._models(split) for name, split in self.splits.items()}

    def _models(self, split: SplitParams) -> tuple[str, ...]:
        if split.source != "simulated" or split.population is None:
            return ()
        return self.populations[split.population].models or (self.foregrounds.model,)

    @model_validator(mode="before")
    @classmethod
    def _inherit(cls, values: Any) -> Any:
        """Fill populations from those that they are like."""
        populations = values.get("populations") if isinstance(values, dict) else None
        if not isinstance(populations, dict):
            return values
        return {**values, "populations": {name: _filled(name, populations, ()) for name in populations}}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, split in self.splits.items():
            if split.source == "simulated" and split.population not in self.populations:
                known = ", ".join(self.populations)
                raise ValueError(f"splits.{name}.population: '{split.population}' is none of {known}")
            drawn = self.populations.get(split.population or "")
            for band in drawn.gain if drawn is not None else ():
                if band not in self.instrument.bands:
                    known = ", ".join(self.instrument.bands)
                    raise ValueError(f"populations.{split.population}.gain: '{band}' is none of {known}")
        if self.noise.kind == "model" and self.instrument.fields == "TQU":
            raise ValueError("noise.kind: model is learnt for temperature: choose another, or fields: T")
        others = [name for name, split in self.splits.items() if split.source != "simulated"]
        if self.noise.halves and others:
            raise ValueError(
                f"noise.halves: skies of others have none, as in split {others[0]}: set it false"
            )
        if self.analysis.lmax > self.instrument.lmax:
            raise ValueError(
                f"analysis.lmax {self.analysis.lmax} is above instrument.lmax {self.instrument.lmax}"
            )
        return self
