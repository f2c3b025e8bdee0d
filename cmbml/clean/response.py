"""How much of the CMB a method keeps: a second CMB, added to the bands, goes through it too."""

from itertools import pairwise

import numpy as np

from cmbml.sky.rng import generator
from cmbml.sky.sht import Alm, Cl, alm2cl

EDGES = (2, 4, 7, 11, 26, 51, 101, 201, 401, 801, 1601, 3201, 6401)
"""First multipoles of the bands of the table."""

WHOLE = 0.01
"""Least change of a band's CMB by which a method no longer keeps it."""


def second_cmb(lmax: int, n_fields: int, threads: int) -> Alm:
    """Draw a sky of Planck's cosmology, always the same: T or T, E, B, ``(n_fields, nalm)``, uK_CMB."""
    from cmbml.sky.cmb import draw_cmb
    from cmbml.sky.cosmology import fixed, theory_spectra  # imports camb

    spectra = theory_spectra(fixed("planck2018"), lmax, n_stokes=n_fields, threads=threads)
    rngs = [generator(0, "response", 0, "cmb", name) for name in ("T", "E, B")]
    return draw_cmb(spectra, lmax, *rngs, n_stokes=n_fields)


def response_rows(field: str, kept: Alm, added: Alm) -> list[dict[str, float | str]]:
    """Response of one field by multipole.

    Parameters
    ----------
    field
        T, E or B.
    kept
        What the second CMB has changed in the result: ``(nalm,)``.
    added
        The second CMB at the beam of the result: ``(nalm,)``.

    Returns
    -------
    list
        A row for every band of multipoles: ``response``, the share of the second CMB that came out, 1 where
        it is whole; and ``changed``, the rms of its change over its own.
    """
    spectra = [alm2cl(kept, added), alm2cl(kept - added), alm2cl(added)]
    lmax = len(spectra[0]) - 1
    edges = [*(edge for edge in EDGES if edge <= lmax), lmax + 1]
    rows: list[dict[str, float | str]] = []
    for first, end in pairwise(edges):
        cross, change, power = (_power(cl, first, end) for cl in spectra)
        rows.append(
            {
                "field": field,
                "l_min": first,
                "l_max": end - 1,
                "response": cross / power,
                "changed": float(np.sqrt(change / power)),
            }
        )
    return rows


def _power(cl: Cl, first: int, end: int) -> float:
    """Sum over the modes of l from `first` up to, and without, `end`."""
    return float((2 * np.arange(first, end) + 1) @ cl[first:end])


def told(rows: list[dict[str, float | str]]) -> tuple[str, bool]:
    """Say in one line by how much the CMB was changed, and whether it is whole."""
    worst = max(rows, key=lambda row: abs(float(row["response"]) - 1))
    share, place = float(worst["response"]), f"{worst['field']} at l {worst['l_min']}-{worst['l_max']}"
    if abs(share - 1) < WHOLE:
        return f"the CMB is kept within {100 * abs(share - 1):.2g} % at every l", True
    return f"the CMB is changed: {share:.3g} of it is left in {place}", False
