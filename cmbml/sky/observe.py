"""From sky components to what every band sees, in harmonic space."""

from collections.abc import Sequence

from cmbml.sky.sht import Alm, almxfl, gaussian_beam, resize_alm


def combine_alm(
    cmb_alm: Alm, foreground_alms: Alm, noise_alms: Alm, fwhm_arcmin: Sequence[float], lmax: int
) -> Alm:
    """Add CMB and foregrounds, convolve with the beams and add noise; no transform is needed.

    No pixel window is applied: the maps synthesised from the result are samples of a band-limited sky.

    Parameters
    ----------
    cmb_alm
        T or T, E, B of the CMB in uK_CMB: ``(n_stokes, nalm)``.
    foreground_alms
        Unbeamed foregrounds of every band in uK_CMB: ``(n_freq, nalm)``, or ``(n_freq, 3, nalm)``.
    noise_alms
        Noise of every band: as the foregrounds.
    fwhm_arcmin
        Gaussian beam of every band: ``(n_freq,)``.
    lmax
        Band-limit of the result.

    Returns
    -------
    Alm
        ``(n_freq, nalm)``, or ``(n_freq, 3, nalm)``, in uK_CMB.
    """
    cmb = resize_alm(cmb_alm, lmax)
    foregrounds = resize_alm(foreground_alms, lmax)
    observed = resize_alm(noise_alms, lmax).copy()
    for band, fwhm in enumerate(fwhm_arcmin):
        sky = cmb.reshape(foregrounds[band].shape) + foregrounds[band]
        observed[band] += almxfl(sky, gaussian_beam(float(fwhm), lmax))
    return observed
