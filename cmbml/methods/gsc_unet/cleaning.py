"""One sky through the network: from its bands and two linear estimates to a cleaned map and its error."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from typing_extensions import TypedDict

from cmbml.methods.gsc_unet.covariance import (
    combine,
    domains_deg,
    field_groups,
    local_covariances,
    pair_products,
    spread,
)
from cmbml.methods.gsc_unet.differences import differences, scale_maps
from cmbml.methods.gsc_unet.network import GscUnet
from cmbml.methods.nn.checkpoint import Result, check_checkpoint, load_weights
from cmbml.methods.nn.training import predict
from cmbml.sky.sht import Alm, Map, alm2map, map2alm
from cmbml.sky.skymap import SkyMap

NAME = "gsc_unet"
Statistics = Mapping[str, torch.Tensor]


class Architecture(TypedDict):
    """The network and what it sees of a sky, as its checkpoint names them."""

    name: str
    width: int
    levels: int
    nside: int
    domain_deg: float
    peaks: list[int]


class Checkpoint(TypedDict):
    """What cleaning takes from a checkpoint."""

    architecture: Architecture
    result: Result
    calibration: float


@dataclass(frozen=True)
class CmbFree:
    """The CMB-free maps of a sky on every needlet scale, and their covariances.

    They are the differences of neighbouring bands, the brightest first, and at the end the difference of two
    linear estimates, the base and another.

    Attributes
    ----------
    peaks
        Peaks of the needlet scales.
    nside
        Resolution of the covariances.
    domain_deg
        FWHM of the domain of the finest scale's covariances, degrees.
    nside_maps, lmax
        Resolution and band-limit of the maps.
    threads
        Number of threads.
    """

    peaks: tuple[int, ...]
    nside: int
    domain_deg: float
    nside_maps: int
    lmax: int
    threads: int = 1

    @property
    def domains_deg(self) -> list[float]:
        """FWHM of the domain of every scale, degrees."""
        return domains_deg(self.peaks, self.domain_deg)

    def maps(self, alms: Alm, fwhm_arcmin: Sequence[float], base: Map, other: Map) -> Map:
        """Take a sky apart.

        Parameters
        ----------
        alms
            T or T, E, B of the bands, each at its own beam: ``(n_stokes, n_freq, nalm)``, uK_CMB.
        fwhm_arcmin
            FWHM of the Gaussian beam of each band, ``(n_freq,)``, arcmin.
        base, other
            Linear estimates of the CMB with the same beam, RING, ``(n_stokes, npix)``, uK_CMB.

        Returns
        -------
        Map
            RING, ``(n_scales, n_freq, n_stokes, npix)``, uK_CMB.
        """
        seen = np.stack([differences(field, fwhm_arcmin) for field in alms], axis=1)
        apart = map2alm(base - other, self.lmax, threads=self.threads)
        return self.on_scales(np.concatenate([seen[::-1], apart[None]]))

    def on_scales(self, alms: Alm) -> Map:
        """``(n, n_stokes, nalm)`` to ``(n_scales, n, n_stokes, npix)``."""
        maps = scale_maps(alms, self.peaks, self.nside_maps, threads=self.threads)
        return maps.reshape(len(self.peaks), len(alms), *maps.shape[1:])

    def covariances(self, maps: Map) -> Map:
        """What the network reads, ``(n_pairs * n_scales, n_groups, 12, nside, nside)``, uK_CMB^2."""
        products = np.stack([pair_products(scale, self.nside) for scale in maps], axis=2)
        local = local_covariances(products, self.domains_deg).swapaxes(1, 2)
        return local.reshape(-1, *local.shape[2:])

    def said(self, model: GscUnet, covariances: Map, maps: Map, device: torch.device) -> tuple[Map, Map]:
        """Residual up to the band-limit, and uncalibrated sigma, RING, ``(n_stokes, npix)`` each, uK_CMB."""
        (said,) = predict(model, torch.as_tensor(covariances)[None], batch=1, device=device)
        weights = said[:-1].movedim((2, 0), (0, 2)).numpy()
        residual = np.sum([combine(w, scale) for w, scale in zip(weights, maps, strict=True)], axis=0)
        alms = map2alm(residual, self.lmax, threads=self.threads)
        sigma = model.cpu().variance(said[None])[0].sqrt().numpy()
        groups = enumerate(field_groups(maps.shape[2]))
        per_field = [sigma[group] for group, fields in groups for _ in range(fields.start, fields.stop)]
        limited = alm2map(alms, self.nside_maps, threads=self.threads)
        return limited, spread(np.stack(per_field), self.nside_maps)


@dataclass(frozen=True)
class Cleaner:
    """A trained network, ready to clean.

    Attributes
    ----------
    model
        The network.
    free
        What it sees of a sky.
    fwhm_arcmin
        Beam of the base that it was trained on, and of what it cleans.
    calibration
        What its sigma is multiplied with.
    """

    model: GscUnet
    free: CmbFree
    fwhm_arcmin: float
    calibration: float

    def clean(
        self, alms: Alm, fwhm_arcmin: Sequence[float], base: Map, other: Map, device: torch.device
    ) -> tuple[Map, Map]:
        """The cleaned sky and its standard deviation, RING, ``(n_stokes, npix)`` each, uK_CMB.

        Parameters as for `CmbFree.maps`; `device` is where the network computes.
        """
        maps = self.free.maps(alms, fwhm_arcmin, base, other)
        residual, sigma = self.free.said(self.model, self.free.covariances(maps), maps, device)
        return base - residual, self.calibration * sigma


def described(values: Map, base: SkyMap, other: SkyMap) -> SkyMap:
    """Name unit, beam and band-limit of what `Cleaner.clean` returns: those of the base.

    The CMB is whole in it only where it is whole in both estimates: the difference of others holds CMB, which
    the network may take away.
    """
    kept = base.signal_preserving and other.signal_preserving
    return replace(base, values=values, signal_preserving=kept)


def open_cleaner(checkpoint: Checkpoint, statistics: Statistics, threads: int, **expected: object) -> Cleaner:
    """Make what cleans from a checkpoint.

    Parameters
    ----------
    checkpoint
        What `gsc_unet_training` has written as ``model``.
    statistics
        What it has written as ``normalisation``.
    threads
        Number of threads.
    expected
        What parts of the checkpoint must be (see `cmbml.methods.nn.checkpoint.check_checkpoint`).

    Raises
    ------
    ValueError
        Where it belongs to something else, or to other statistics.
    """
    check_checkpoint(checkpoint, **expected, normalisation=digest(statistics))
    made, result = checkpoint["architecture"], checkpoint["result"]
    if made.get("name") != NAME:
        raise ValueError(f"is no checkpoint of {NAME}: its network is {made.get('name')}")
    model = load_weights(network(statistics, made["width"], made["levels"]), checkpoint).eval()
    free = CmbFree(
        tuple(made["peaks"]), made["nside"], made["domain_deg"], result["nside"], result["lmax"], threads
    )
    return Cleaner(model, free, result["fwhm_arcmin"], checkpoint["calibration"])


def network(statistics: Statistics, width: int, levels: int) -> GscUnet:
    """A network that starts with the regression of `statistics` (see `GscUnet`)."""
    n_maps, n_groups, n_scales, _, nside, _ = statistics["regression"].shape
    model = GscUnet(n_groups, n_scales, n_maps, nside, width, levels)
    model.normalise(statistics)
    return model


def digest(statistics: Statistics) -> dict[str, str]:
    """Hashes that tell statistics from others."""
    return {
        name: hashlib.sha256(value.numpy().tobytes()).hexdigest()[:16]
        for name, value in sorted(statistics.items())
    }
