"""What pyilc is told and what it says: its configuration, the order of its maps, its output, its last words.

pyilc (https://github.com/jcolinhill/pyilc, McCarthy & Hill 2024, arXiv:2307.01043) is run from a user's own
checkout as ``python pyilc/main.py CONFIG.yml``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

OUTPUT_NAME = "needletILCmap_component_CMB.fits"


@dataclass(frozen=True)
class Channel:
    """One band as pyilc sees it.

    Attributes
    ----------
    map_file
        Path of its map, FITS.
    freq_ghz
        Centre of the band, GHz.
    fwhm_arcmin
        FWHM of its Gaussian beam, arcmin.
    """

    map_file: str
    freq_ghz: float
    fwhm_arcmin: float


def by_beam(channels: Sequence[Channel]) -> list[Channel]:
    """Channels from the widest beam to the narrowest: pyilc drops channels from the front of this list."""
    return sorted(channels, key=lambda channel: (-channel.fwhm_arcmin, channel.freq_ghz))


def nilc_config(
    channels: Sequence[Channel],
    *,
    output_folder: str,
    nside: int,
    lmax: int,
    peaks: Sequence[int],
    ilc_bias: float,
    fwhm_out: float,
) -> dict[str, Any]:
    """Configuration of one run with cosine needlets, to be written as YAML.

    Parameters
    ----------
    channels
        Bands in any order.
    output_folder
        Folder of this run alone: pyilc takes any file that it finds there for its own.
    nside
        Resolution of the output.
    lmax
        Band-limit.
    peaks
        Multipoles where the needlets peak, as for `cmbml.methods.needlets.cosine_bands`.
    ilc_bias
        Tolerated loss of CMB power by chance correlations, a fraction.
    fwhm_out
        FWHM of the common beam of the output, arcmin.

    Returns
    -------
    dict
        Keys and values of pyilc's input file.

    Raises
    ------
    ValueError
        Where there is one needlet scale only: pyilc needs two.
    """
    if len(peaks) < 2:
        raise ValueError(f"pyilc needs two needlet scales at least, peaks are {list(peaks)}: add one")
    ordered = by_beam(channels)
    return {
        "output_dir": f"{output_folder}/",
        "output_prefix": "",
        "output_suffix": "",
        "save_weights": "no",
        "save_as": "fits",
        "ELLMAX": lmax,
        "N_side": nside,
        "perform_ILC_at_beam": fwhm_out,
        "wavelet_type": "CosineNeedlets",
        "N_scales": len(peaks),
        "ellmin": peaks[0],
        "ellpeaks": list(peaks[1:]),
        "taper_width": 0,
        "ILC_bias_tol": ilc_bias,
        "ILC_preserved_comp": "CMB",
        "N_deproj": 0,
        "N_SED_params": 0,
        "N_maps_xcorr": 0,
        "N_freqs": len(ordered),
        "bandpass_type": "DeltaBandpasses",
        "freqs_delta_ghz": [channel.freq_ghz for channel in ordered],
        "freq_map_files": [channel.map_file for channel in ordered],
        "beam_type": "Gaussians",
        "beam_FWHM_arcmin": [channel.fwhm_arcmin for channel in ordered],
    }


def last_lines(output: str, count: int = 5) -> list[str]:
    """The last `count` lines with text of what a program printed: where Python says what went wrong."""
    return [line.rstrip() for line in output.splitlines() if line.strip()][-count:]


def failure(output: str, code: int) -> str:
    """One line about a run that failed, ending with pyilc's own last lines."""
    said = " | ".join(line.strip() for line in last_lines(output)) or "it printed nothing"
    return f"pyilc ended with code {code}: {said}"
