"""From sky components to what every band sees, in harmonic space."""

from cmbml.sky.sht import Alm, Map, almxfl, gaussian_beam, map2alm, resize_alm


def observe_alm(
    cmb_alm: Alm,
    foreground_maps: Map,
    noise_alms: Alm,
    fwhm_arcmin: Map,
    lmax: int,
    *,
    threads: int = 1,
) -> Alm:
    """Add CMB and foregrounds, convolve with the beams and add noise.

    No pixel window is applied: the maps synthesised from the result are samples of a band-limited sky.

    Parameters
    ----------
    cmb_alm
        T or T, E, B of the CMB in uK_CMB: ``(n_stokes, nalm)``.
    foreground_maps
        Unbeamed foregrounds in uK_CMB, RING: ``(n_freq, npix)``, or ``(n_freq, 3, npix)`` with Q and U.
    noise_alms
        Noise of every band: ``(n_freq, nalm)`` or ``(n_freq, 3, nalm)``.
    fwhm_arcmin
        Gaussian beam of every band: ``(n_freq,)``.
    lmax
        Band-limit of the result.
    threads
        Number of threads.

    Returns
    -------
    Alm
        ``(n_freq, nalm)``, or ``(n_freq, 3, nalm)``, in uK_CMB.
    """
    cmb = resize_alm(cmb_alm, lmax)
    observed = resize_alm(noise_alms, lmax).copy()
    for band, fwhm in enumerate(fwhm_arcmin):
        sky = map2alm(foreground_maps[band], lmax, threads=threads)
        observed[band] += almxfl(cmb.reshape(sky.shape) + sky, gaussian_beam(float(fwhm), lmax))
    return observed
