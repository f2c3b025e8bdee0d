"""The harmonic ILC as a block of parameters describes it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cmbml.methods.hilc.hilc import HilcOptions, HilcResult, hilc
from cmbml.methods.hilc.params import HilcParams, PlainHilcParams
from cmbml.sky.sht import Alm


def configured_hilc(
    alms: Alm,
    settings: PlainHilcParams,
    *,
    fwhm_arcmin: Sequence[float | None],
    fwhm_out: float,
    lmax: int,
    learned: NDArray[np.floating] | None = None,
) -> HilcResult:
    """Clean one field.

    Parameters
    ----------
    alms, fwhm_arcmin, fwhm_out, lmax
        As for `cmbml.methods.hilc.hilc.hilc`.
    settings
        The block of parameters.
    learned
        Covariance learned on train skies; None for that of the data alone.

    Returns
    -------
    HilcResult
        a_lm at the output beam, and weights.

    Raises
    ------
    ValueError
        As `hilc`.
    """
    options = HilcOptions()
    if learned is not None and isinstance(settings, HilcParams):
        options = HilcOptions(prior=learned, shrinkage=settings.shrinkage)
    return hilc(
        alms,
        fwhm_arcmin=fwhm_arcmin,
        fwhm_out=fwhm_out,
        lmax=lmax,
        bin_width=settings.bin_width,
        options=options,
    )
