"""The needlet ILC as a block of parameters describes it."""

from collections.abc import Sequence

from cmbml.methods.nilc.covariance import domain_size
from cmbml.methods.nilc.nilc import NeedletPrior, NilcOptions, NilcResult, mixing_matrix, nilc
from cmbml.methods.nilc.params import NilcParams, RegularisedNilcParams
from cmbml.methods.nilc.scales import needlet_scales
from cmbml.methods.nilc.seds import mixing_columns
from cmbml.sky.passbands import Band
from cmbml.sky.sht import Alm


def configured_nilc(
    alms: Alm,
    settings: NilcParams,
    *,
    fwhm_arcmin: Sequence[float | None],
    fwhm_out: float,
    passbands: Sequence[Band],
    lmax: int,
    learned: Alm | None = None,
    threads: int = 1,
) -> NilcResult:
    """Clean one field.

    Parameters
    ----------
    alms, fwhm_arcmin, fwhm_out, lmax, threads
        As for `cmbml.methods.nilc.nilc.nilc`.
    settings
        The block of parameters.
    passbands
        What each band makes of a spectrum, ``(n_freq,)``.
    learned
        Covariance learned on train skies, for the regularised variant.

    Returns
    -------
    NilcResult
        a_lm at the output beam, and weights.

    Raises
    ------
    ValueError
        As `nilc`, and where a nulled component is unknown.
    """
    prior = None
    if learned is not None and isinstance(settings, RegularisedNilcParams):
        prior = NeedletPrior(learned, settings.domain_deg, settings.shrinkage)
    nulled = mixing_columns(settings.nulled, passbands) if settings.nulled else None
    return nilc(
        alms,
        fwhm_arcmin=fwhm_arcmin,
        fwhm_out=fwhm_out,
        lmax=lmax,
        peaks=settings.peaks,
        ilc_bias=settings.ilc_bias,
        options=NilcOptions(settings.needlets, nulled, prior),
        threads=threads,
    )


def check_nilc(
    settings: NilcParams,
    *,
    fwhm_arcmin: Sequence[float],
    fwhm_out: float,
    passbands: Sequence[Band],
    lmax: int,
) -> None:
    """Refuse settings that no map can be cleaned with, before there is a map.

    Parameters
    ----------
    settings
        The block of parameters.
    fwhm_arcmin
        Beam of each band, arcmin.
    passbands
        As for `configured_nilc`.
    fwhm_out, lmax
        Beam, arcmin, and band-limit of the result.

    Raises
    ------
    ValueError
        Where a nulled component is unknown, the peaks do not suit the band-limit, or a scale has no band, too
        few for what is nulled, or fewer modes than bands.
    """
    nulled = mixing_columns(settings.nulled, passbands)
    scales = needlet_scales(
        lmax,
        peaks=settings.peaks,
        needlets=settings.needlets,
        fwhm_arcmin=fwhm_arcmin,
        fwhm_out=fwhm_out,
    )
    for scale in scales:
        domain_size(scale, mixing_matrix(scale, nulled).shape[1], settings.ilc_bias)
