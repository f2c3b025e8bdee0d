"""Real maps brought to a dataset's instrument: missing pixels, beam, pixel window, band-limit and grid."""

import numpy as np

from cmbml.sky.inpaint import inpaint
from cmbml.sky.instrument import PIXEL_LMAX
from cmbml.sky.pixwin import pixel_window
from cmbml.sky.sht import Map, alm2map, almxfl, gaussian_beam, map2alm, nside_of, resize_alm
from cmbml.sky.skymap import is_unseen


def bring_to_instrument(
    sky: Map, *, fwhm_in: float, fwhm_out: float, pixwin: bool, lmax: int, nside: int, threads: int = 1
) -> Map:
    """Bring a real temperature map to another beam, band-limit and grid.

    Parameters
    ----------
    sky
        RING, Galactic, ``(npix,)``; missing pixels are UNSEEN and are filled by diffusion.
    fwhm_in, fwhm_out
        Beam of the map and of the result, arcmin.
    pixwin
        Whether the pixel window is in the map; it is taken out.
    lmax, nside
        Band-limit and resolution of the result.
    threads
        Number of threads.

    Returns
    -------
    Map
        ``(npix,)`` in the unit of `sky`.

    Raises
    ------
    ValueError
        Where the result would have the sharper beam, or more multipoles than the map carries.
    """
    own = nside_of(sky)
    if fwhm_in > fwhm_out:
        raise ValueError(
            f"its beam of {fwhm_in:g} arcmin is blunter than the wanted {fwhm_out:g}: widen that"
        )
    if lmax > 3 * own - 1:
        raise ValueError(f"its nside {own} does not carry lmax {lmax}: lower instrument.lmax")
    missing = is_unseen(sky)
    filled = inpaint(sky, missing) if missing.any() else sky
    alm = resize_alm(map2alm(filled[np.newaxis], max(lmax, int(PIXEL_LMAX * own)), threads=threads), lmax)
    window = gaussian_beam(float(np.sqrt(fwhm_out**2 - fwhm_in**2)), lmax)
    if pixwin:
        window = window / pixel_window(own, lmax)
    return np.asarray(alm2map(almxfl(alm, window), nside, threads=threads)[0])
