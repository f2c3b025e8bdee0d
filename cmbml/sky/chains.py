"""From a row of a Markov chain to a cosmology, and which row a simulation takes."""

from collections.abc import Mapping

import numpy as np

from cmbml.sky.cosmology import Cosmology, check_cosmology

# WMAP's names of the parameters (LAMBDA, chains of the nine-year release) and what they are called here.
WMAP_COLUMNS = {
    "H0": "H0",
    "ombh2": "omegabh2",
    "omch2": "omegach2",
    "tau": "tau",
    "ns": "ns002",
    "As": "a002",
}
WMAP_MASSES = "mnu"  # in the chains with massive neutrinos only
WMAP_PIVOT = 0.002  # 1/Mpc; a002 and ns002 are at this pivot
WMAP_AMPLITUDE_UNIT = 1e-9


def chain_row(n_rows: int, rng: np.random.Generator) -> int:
    """Choose the row of one simulation, from its own generator.

    Rows are drawn with replacement, each simulation on its own: which row a simulation takes does not depend
    on how many others there are.
    """
    if n_rows < 1:
        raise ValueError("cosmology: the chain has no rows")
    return int(rng.integers(n_rows))


def chain_length(lengths: Mapping[str, int]) -> int:
    """Number of rows of a chain, from those of its parameters' files.

    Raises
    ------
    ValueError
        Where they differ.
    """
    if len(set(lengths.values())) != 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"cosmology: the chain is ragged: rows by parameter: {listed}; fetch it again")
    return next(iter(lengths.values()))


def wmap_cosmology(row: Mapping[str, float]) -> Cosmology:
    """Cosmology of one row of a WMAP chain.

    Parameters
    ----------
    row
        Values by WMAP's parameter names (`WMAP_COLUMNS`; 'mnu' in eV where the chain has it, else massless).

    Raises
    ------
    ValueError
        Where a parameter is missing, or is none that a universe can have.
    """
    missing = [name for name in WMAP_COLUMNS.values() if name not in row]
    if missing:
        raise ValueError(f"cosmology: the chain has no {', '.join(missing)}; it needs one file per parameter")
    values = {key: float(row[name]) for key, name in WMAP_COLUMNS.items()}
    values["As"] *= WMAP_AMPLITUDE_UNIT
    cosmology = Cosmology(mnu=float(row.get(WMAP_MASSES, 0.0)), pivot_scalar=WMAP_PIVOT, **values)
    try:
        check_cosmology(cosmology)
    except ValueError as error:
        raise ValueError(f"{error}: is the chain in WMAP's units, a002 in 1e-9?") from None
    return cosmology
