"""Correlated noise learnt from simulations: the scatter of their log-spectra, and what all of them share.

The spectra of a few hundred simulations differ by more than sample variance where the instrument's 1/f noise
differs.  Principal components of log10 C_l keep that scatter; sample variance is taken out of it, as every
draw gets its own.  The average of n simulations has 1/n of their noise in it: only what stands out from that
is a pattern that all share.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, polygamma
from scipy.stats import chi2

from cmbml.sky.sht import Alm, Cl, Map, alm2cl, draw_alm, map2alm

# Chance that noise alone makes an average stand out at any multipole.
FALSE_ALARM = 0.01


@dataclass(frozen=True)
class NoiseModel:
    """Distribution of noise spectra, and the noise all simulations share.

    Attributes
    ----------
    mean_log10
        Mean of log10 C_l in uK^2: ``(lmax + 1,)``.
    components
        Principal components, each times its standard deviation: ``(n_components, lmax + 1)``.
    pattern_alm
        What all simulations share: ``(nalm,)`` in uK.
    """

    mean_log10: Cl
    components: Cl
    pattern_alm: Alm

    def mean_spectrum(self) -> Cl:
        """Mean power of the draws, ``(lmax + 1,)`` in uK^2: of a log-normal spectrum, and of the pattern."""
        variance = np.log(10) ** 2 * np.sum(self.components**2, axis=0)
        return 10**self.mean_log10 * np.exp(variance / 2) + alm2cl(self.pattern_alm)


def masked_spectrum(sky: Map, mask: Map, lmax: int, *, threads: int = 1) -> Cl:
    """Spectrum of a masked noise map, its masked mean removed, per unit of mean squared mask."""
    centred = (sky - np.average(sky, weights=mask)) * mask
    return alm2cl(map2alm(centred, lmax, threads=threads)) / np.mean(mask**2)


def shared_power(average: Cl, spectra: Cl, fsky: float) -> Cl:
    """How much of the average of simulations is a pattern that they share, as a Wiener filter says it.

    Parameters
    ----------
    average
        C_l of the average of the simulations: ``(lmax + 1,)`` in uK^2.
    spectra
        C_l of the simulations with their average removed: ``(n_sims, lmax + 1)``.
    fsky
        Effective sky fraction of both: (2l + 1) fsky modes each.

    Returns
    -------
    Cl
        Factor on the a_lm of the average, ``(lmax + 1,)``: 0 where its power may be the simulations' noise.
    """
    n_sims, n_ell = spectra.shape
    # That of the simulations is n / (n - 1) of what is left without their average, and 1/n of it averages in.
    noise = spectra.mean(axis=0) / (n_sims - 1)
    modes = np.maximum((2 * np.arange(n_ell) + 1) * fsky, 1)
    stands_out = average > noise * chi2.isf(FALSE_ALARM / n_ell, modes) / modes
    return np.where(stands_out, 1 - noise / np.maximum(average, noise), 0.0)


def fit_noise_model(spectra: Cl, pattern_alm: Alm, fsky: float, n_components: int = 10) -> NoiseModel:
    """Learn a noise model.

    Parameters
    ----------
    spectra
        C_l of noise simulations with their average removed, ``(n_sims, lmax + 1)`` in uK^2.
    pattern_alm
        What all simulations share, their average times `shared_power`: ``(nalm,)``.
    fsky
        Effective sky fraction of the spectra, mean(mask^2)^2 / mean(mask^4): (2l + 1) fsky modes each.
    n_components
        At most so many components are kept; those that sample variance alone can make are not.

    Returns
    -------
    NoiseModel
        Free of sample variance and of the bias of the logarithm.

    Raises
    ------
    ValueError
        Where there are fewer than ten simulations.
    """
    n_sims, n_ell = spectra.shape
    if n_sims < 10:
        raise ValueError(f"noise model: {n_sims} simulations are too few; ten are the least")
    half_modes = np.maximum((2 * np.arange(n_ell) + 1) * fsky, 1) / 2
    # Removing the average of n simulations takes 1/n of the power.
    log_spectra = np.log10(np.maximum(spectra, 1e-30) * n_sims / (n_sims - 1))
    bias = (digamma(half_modes) - np.log(half_modes)) / np.log(10)
    sample_sd = np.sqrt(polygamma(1, half_modes)) / np.log(10)
    mean = log_spectra.mean(axis=0)
    components = _components((log_spectra - mean) / sample_sd)[:n_components] * sample_sd
    return NoiseModel(mean - bias, components, pattern_alm)


def _components(standardised: Cl) -> Cl:
    """Components beyond sample variance, which has unit variance here.

    Noise alone makes eigenvalues up to (1 + sqrt(p / n))^2 (Marchenko & Pastur 1967); those above are brought
    back to the variance of their signal (Baik & Silverstein 2006, arXiv:math/0408165).
    """
    n_sims, n_ell = standardised.shape
    _, singular, vectors = np.linalg.svd(standardised, full_matrices=False)
    eigenvalues = singular**2 / (n_sims - 1)
    ratio = n_ell / (n_sims - 1)
    kept = eigenvalues > (1 + np.sqrt(ratio)) ** 2
    shifted = eigenvalues[kept] + 1 - ratio
    signal = (shifted + np.sqrt(shifted**2 - 4 * eigenvalues[kept])) / 2 - 1
    return vectors[kept] * np.sqrt(signal)[:, np.newaxis]


def draw_noise_model(model: NoiseModel, rng: np.random.Generator) -> Alm:
    """Draw a spectrum, then a sky of it with its own sample variance, and add the pattern: ``(nalm,)``."""
    rng_spectrum, rng_sky = rng.spawn(2)
    return draw_alm(_draw_spectrum(model, rng_spectrum), rng_sky) + model.pattern_alm


def draw_half_difference(model: NoiseModel, rng_noise: np.random.Generator, rng: np.random.Generator) -> Alm:
    """Draw half the difference of the halves of a sky: ``(nalm,)``.

    It has the spectrum that `draw_noise_model` draws with `rng_noise`, and no pattern: halves share that.
    """
    rng_spectrum, _ = rng_noise.spawn(2)
    return draw_alm(_draw_spectrum(model, rng_spectrum), rng)


def _draw_spectrum(model: NoiseModel, rng: np.random.Generator) -> Cl:
    scatter = rng.standard_normal(len(model.components)) @ model.components
    return np.asarray(10 ** (model.mean_log10 + scatter))
