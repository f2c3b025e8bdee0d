"""Files in the formats of Planck's archive, at low resolution."""

from pathlib import Path

import healpy as hp
import numpy as np
from astropy.io import fits

BAD = -1.6375e30


def write_planck(path: Path, sky: np.ndarray, unit: str, *, extra: int = 0) -> None:
    """Write a map as PR3 has them: NESTED, one binary table, Planck's names of columns, missing pixels as BAD.

    Parameters
    ----------
    sky
        Temperature, RING; UNSEEN where missing.
    extra
        Number of other columns beside it: hits, variances.
    """
    nested = hp.reorder(np.where(sky == hp.UNSEEN, BAD, sky), r2n=True).astype(np.float32)
    names = ["I_STOKES", "Q_STOKES", "U_STOKES", "HITS", "II_COV", "IQ_COV"][: extra + 1]
    units = [unit, unit, unit, "", f"({unit})^2", f"({unit})^2"]
    columns = [
        fits.Column(name, "E", unit=of, array=nested * (1 if i == 0 else 0))
        for i, (name, of) in enumerate(zip(names, units, strict=False))
    ]
    table = fits.BinTableHDU.from_columns(columns, name="FREQ-MAP")
    for key, value in {
        "PIXTYPE": "HEALPIX", "ORDERING": "NESTED", "COORDSYS": "GALACTIC", "NSIDE": hp.npix2nside(len(sky)),
        "FIRSTPIX": 0, "LASTPIX": len(sky) - 1, "INDXSCHM": "IMPLICIT", "BAD_DATA": BAD, "POLCCONV": "COSMO",
    }.items():  # fmt: skip
        table.header[key] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, overwrite=True)
