"""What the stages of all methods share: the observed bands as a_lm, and learning their covariance."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from cmbml.core import Asset, AssetRef, BaseStageExecutor, Split, StageConfig
from cmbml.sky.executors.bands import passbands_of
from cmbml.sky.instrument import described
from cmbml.sky.levels import Levels, common_levels, full_sky_fit
from cmbml.sky.passbands import Bandpass
from cmbml.sky.sht import Alm, Map, alm2map, almxfl, gaussian_beam, lmax_of, map2alm
from cmbml.sky.skymap import SkyAlm, SkyMap

Inexact = TypeVar("Inexact", bound=np.inexact)
Covariance = NDArray[np.inexact]
Learned = TypeVar("Learned", bound=NDArray[np.inexact])
Described = Mapping[str, object]
"""Plain values by name, to be compared with those where something learned is used."""


@dataclass(frozen=True)
class Bands:
    """One field, T or E or B, of the observed bands of one simulation.

    Attributes
    ----------
    alms
        The field in each band at its own beam, ``(n_freq, nalm)``, uK_CMB, without zero levels.
    fwhm_arcmin
        Beam of each band, from its header; None where it does not say.
    passbands
        What each band makes of a spectrum.
    channels
        Which of the instrument's bands these are: of E and B, those that have Q and U.
    common
        What of the levels is the CMB's, to be put back.
    """

    alms: Alm
    fwhm_arcmin: list[float | None]
    passbands: list[Bandpass]
    channels: NDArray[np.intp]
    common: Levels

    def nuisance(self, cmb: Alm) -> Alm:
        """Foregrounds and noise: bands minus CMB, ``(nalm,)`` without zero levels, at the beam of each."""
        beams = [gaussian_beam(fwhm or 0.0, lmax_of(cmb)) for fwhm in self.fwhm_arcmin]
        return np.stack([alm - almxfl(cmb, beam) for alm, beam in zip(self.alms, beams, strict=True)])


class BandReader:
    """Reads the bands of the instrument that the stage's parameters describe.

    Parameters
    ----------
    obs
        The input asset, one map for each band: T, or T, Q and U.
    cfg
        The stage's parameters; instrument.bands, nside and lmax must be declared.
    threads
        Number of threads.
    """

    def __init__(self, obs: Asset[SkyMap], cfg: StageConfig, threads: int) -> None:
        self.obs = obs
        self.threads = threads
        self.instrument = described(cfg.instrument.bands)
        self.passbands = [*passbands_of(cfg.instrument.bands).values()]
        self.freqs = tuple(cfg.instrument.bands)
        self.freq_ghz = [band.freq_ghz for band in cfg.instrument.bands.values()]
        self.fwhm_arcmin = [band.fwhm_arcmin for band in cfg.instrument.bands.values()]
        self.nside = cfg.instrument.nside
        self.lmax = cfg.instrument.lmax

    def described(self) -> Described:
        """What must be the same where something learned from these bands is used: plain values."""
        return {"instrument": self.instrument, "lmax": self.lmax}

    def read(self, split: str, sim: int, **tags: str) -> list[Bands]:
        """Read and analyse the bands of one simulation, and take their levels off: T, or T, E and B."""
        files = [self.obs.at(split=split, sim=sim, freq=freq, **tags) for freq in self.freqs]
        maps = [file.read(nside=self.nside) for file in files]
        levelled = [without_levels(sky) for sky in maps]
        common = common_levels([levels for _, levels in levelled], self.freq_ghz)
        alms = [map2alm(sky.values, self.lmax, threads=self.threads) for sky, _ in levelled]
        return [self._field(row, alms, maps, common) for row in range(max(map(len, alms)))]

    def _field(self, row: int, alms: Sequence[Alm], maps: Sequence[SkyMap], common: Levels) -> Bands:
        """One field of the bands that have it."""
        channels = [band for band, alm in enumerate(alms) if row < len(alm)]
        return Bands(
            np.stack([alms[band][row] for band in channels]),
            [maps[band].fwhm_arcmin for band in channels],
            [self.passbands[band] for band in channels],
            np.array(channels),
            common,
        )

    def cleaned(self, fields: Iterable[Alm], bands: Sequence[Bands], fwhm_arcmin: float) -> SkyMap:
        """Put the CMB's levels back and synthesise a cleaned map.

        Parameters
        ----------
        fields
            What was made of the fields: a_lm, ``(nalm,)`` each.
        bands
            What it was made of.
        fwhm_arcmin
            Its beam.
        """
        alms = bands[0].common.onto_alm(np.stack(list(fields)), fwhm_arcmin)
        sky = alm2map(alms, self.nside, threads=self.threads)
        return SkyMap(sky, "uK_CMB", fwhm_arcmin, self.lmax)


@dataclass(frozen=True)
class CleanedField:
    """One cleaned field.

    Attributes
    ----------
    alm
        a_lm at the beam of the result, ``(nalm,)``, uK_CMB.
    apply
        The same weights on other a_lm of the same bands, ``(n_freq, nalm)`` to ``(nalm,)``.
    """

    alm: Alm
    apply: Callable[[Alm], Alm]


class LinearExecutor(BaseStageExecutor, Generic[Learned]):
    """Cleans every simulation field by field, with the learned covariance where the stage reads one.

    Halves, where there are some, go through the weights of the whole.
    """

    def __init__(self, cfg: StageConfig, stage_str: str) -> None:
        super().__init__(cfg, stage_str=stage_str)
        self.in_covariance: Asset[Iterable[Learned]] | None = self.assets_in.get("covariance")
        self.bands = BandReader(self.assets_in["obs"], cfg, self.threads)
        self.halves = (
            BandReader(self.assets_in["halves"], cfg, self.threads) if "halves" in self.assets_in else None
        )
        self.fwhm_out = cfg.analysis.fwhm_arcmin

    def setup(self) -> None:
        """Read what was learned."""
        self.learned = self.in_covariance.read() if self.in_covariance else None

    def process_sim(self, split: Split, sim: int) -> None:
        """Clean one simulation."""
        bands = self.bands.read(split.name, sim)
        fields = self.clean_fields(bands)
        cleaned: Asset[SkyMap] = self.assets_out["cleaned"]
        cleaned.write(self.bands.cleaned([field.alm for field in fields], bands, self.fwhm_out))
        if self.halves is not None:
            self.clean_parts(self.halves, fields, self.assets_out["halves"], split, sim)

    def clean_fields(self, fields: Sequence[Bands]) -> list[CleanedField]:
        """Clean the fields of one simulation, each with the learned covariance of its bands."""
        if self.learned is None:
            return [self.clean(bands, None) for bands in fields]
        n_bands = len(self.bands.freqs)
        pairs = zip(fields, self.learned, strict=True)
        return [self.clean(bands, self.part(learned, bands.channels, n_bands)) for bands, learned in pairs]

    def part(self, learned: Learned, channels: NDArray[np.intp], n_bands: int) -> Learned:
        """The covariance of some bands, of that of all: a stage that learns none has none."""
        return learned

    def clean_parts(
        self, parts: BandReader, fields: Sequence[CleanedField], out: Asset[SkyMap], split: Split, sim: int
    ) -> None:
        """Send parts of one simulation, such as its components, through the weights of the whole."""
        for name in out.fields:
            bands = parts.read(split.name, sim, field=name)
            alms = [field.apply(part.alms) for field, part in zip(fields, bands, strict=True)]
            with self.name_tracker.set_context("field", name):
                out.write(self.bands.cleaned(alms, bands, self.fwhm_out))

    @abstractmethod
    def clean(self, bands: Bands, learned: Learned | None) -> CleanedField:
        """Clean one field."""


class CovarianceExecutor(BaseStageExecutor):
    """Learns the covariance of foregrounds and noise where the CMB is known: on the declared splits only."""

    def __init__(self, cfg: StageConfig, stage_str: str) -> None:
        super().__init__(cfg, stage_str=stage_str)
        self.out_covariance: Asset[Covariance] = self.assets_out["covariance"]
        self.out_settings: Asset[Described] = self.assets_out["settings"]
        self.in_cmb: Asset[SkyAlm] = self.assets_in["cmb"]
        self.bands = BandReader(self.assets_in["obs"], cfg, self.threads)

    @abstractmethod
    def learned_with(self) -> Described:
        """Settings that must be the same where the covariance is used: plain values."""

    @abstractmethod
    def covariance(self, bands: Bands, cmb: Alm) -> Covariance:
        """Covariance of the foregrounds and noise of one field of one sky, whose CMB is ``(nalm,)``.

        It is that of all bands; rows of those that lack the field are zero.
        """

    def execute(self) -> None:
        """Average over all simulations, and note what the average was made with."""
        self.out_covariance.write(mean(self._covariances()))
        self.out_settings.write({**self.bands.described(), **self.learned_with()})

    def _covariances(self) -> Iterator[Covariance]:
        for split in self.splits:
            for sim in split.iter_sims():
                cmb = read_cmb(self.in_cmb.at(split=split.name, sim=sim))
                fields = zip(self.bands.read(split.name, sim), cmb, strict=True)
                yield np.stack([self.covariance(bands, truth) for bands, truth in fields])


def read_maps(files: Iterable[AssetRef[SkyMap]], nside: int) -> tuple[Map, list[Levels]]:
    """Read maps of bands and take their levels off.

    Returns
    -------
    tuple
        RING maps, ``(n_bands, n_stokes, npix)``, uK_CMB, and the levels.
    """
    levelled = [without_levels(file.read(nside=nside)) for file in files]
    return np.stack([sky.values for sky, _ in levelled]), [levels for _, levels in levelled]


def without_levels(sky: SkyMap) -> tuple[SkyMap, Levels]:
    """Take the levels off the map of a band."""
    fwhm = sky.fwhm_arcmin or 0.0
    levels = full_sky_fit().measure_map(sky.values, fwhm)
    return replace(sky, values=levels.off_map(sky.values, fwhm)), levels


def read_cmb(file: AssetRef[SkyAlm]) -> Alm:
    """Read the CMB of a simulation and take its levels off as off the bands: a_lm without beam, uK_CMB."""
    cmb = file.read().values
    return full_sky_fit().measure(cmb, 0.0).off_alm(cmb, 0.0)


def mean(arrays: Iterable[NDArray[Inexact]]) -> NDArray[Inexact]:
    """Mean of arrays of one shape that are made one after the other, so that few are held at once.

    Raises
    ------
    ValueError
        Where there are none.
    """
    total: Any = None
    count = 0
    for count, array in enumerate(arrays, start=1):  # noqa: B007
        total = array if total is None else total + array
    if total is None:
        raise ValueError("the mean of no arrays: nothing was given")
    return np.asarray(total / count)
