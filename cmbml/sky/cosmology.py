"""Cosmological parameters, their published distributions, and theory spectra by CAMB."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import camb
import numpy as np

from cmbml.sky.sht import Cl


@dataclass(frozen=True)
class Cosmology:
    """Parameters of a flat LCDM model with massive neutrinos.

    Attributes
    ----------
    H0
        Hubble constant, km/s/Mpc.
    ombh2, omch2
        Physical densities of baryons and of cold dark matter.
    mnu
        Sum of the neutrino masses, eV.
    tau
        Optical depth of reionisation.
    As, ns
        Amplitude and tilt of the primordial scalar spectrum at `pivot_scalar`.
    pivot_scalar
        Pivot of `As` and `ns`, 1/Mpc.
    """

    H0: float
    ombh2: float
    omch2: float
    mnu: float
    tau: float
    As: float
    ns: float
    pivot_scalar: float


@dataclass(frozen=True)
class GaussianCosmology:
    """Published means and standard deviations; correlations are not published with them and are left out."""

    mean: Cosmology
    sd: Mapping[str, float]
    reference: str


PLANCK2018 = GaussianCosmology(
    Cosmology(
        H0=67.36, ombh2=0.02237, omch2=0.1200, mnu=0.06, tau=0.0544, As=2.100e-9, ns=0.9649, pivot_scalar=0.05
    ),
    {"H0": 0.54, "ombh2": 0.00015, "omch2": 0.0012, "tau": 0.0073, "As": 0.030e-9, "ns": 0.0042},
    "Planck 2018 results VI, arXiv:1807.06209, table 2, TT,TE,EE+lowE+lensing",
)
WMAP9 = GaussianCosmology(
    Cosmology(
        H0=70.0, ombh2=0.02264, omch2=0.1138, mnu=0.0, tau=0.089, As=2.41e-9, ns=0.972, pivot_scalar=0.002
    ),
    {"H0": 2.2, "ombh2": 0.00050, "omch2": 0.0045, "tau": 0.014, "As": 0.10e-9, "ns": 0.013},
    "Hinshaw et al. 2013, arXiv:1212.5226, table 3, WMAP nine years alone",
)
GAUSSIANS = {"planck2018": PLANCK2018, "wmap9": WMAP9}

# What any analysis of the CMB can hold, and far beyond: outside, a number is in another unit.
RANGES = {
    "H0": (10.0, 200.0),
    "ombh2": (1e-4, 0.2),
    "omch2": (1e-3, 1.0),
    "mnu": (0.0, 10.0),
    "tau": (0.0, 1.0),
    "As": (1e-10, 1e-8),
    "ns": (0.5, 1.5),
    "pivot_scalar": (1e-4, 1.0),
}

# CAMB's settings.  "temperature" keeps TT within 1e-3 up to l = 500 and takes a third of the time: lensing
# hardly matters there.  "polarisation" keeps TT within 1e-3, TE within 1e-3 of sqrt(TT EE), EE and PP within
# 2e-3 and BB within 5e-3 of a run with doubled accuracy up to l = 500 (BB within 8e-3 and PP within 2e-2 at
# l = 1280): BB at every l is made by E modes at l of about 1000, hence the large band-limit.
ACCURACY: dict[str, dict[str, float]] = {
    "temperature": {"margin": 200, "least_lmax": 350, "max_eta_k": 2000, "lens_potential_accuracy": 0},
    "polarisation": {"margin": 700, "least_lmax": 1500, "max_eta_k": 18000, "lens_potential_accuracy": 1},
}
TEMPERATURE_LMAX = 500
EV_PER_OMNUH2 = 93.14  # neutrino mass per physical density (Mangano et al. 2005, arXiv:hep-ph/0506164)


def _gaussian(name: str) -> GaussianCosmology:
    if name not in GAUSSIANS:
        raise ValueError(f"cosmology: unknown name {name!r}; known are {', '.join(GAUSSIANS)}")
    return GAUSSIANS[name]


def fixed(name: str) -> Cosmology:
    """Published means of "planck2018" or "wmap9"."""
    return _gaussian(name).mean


def draw_gaussian(name: str, rng: np.random.Generator) -> Cosmology:
    """Draw independent Gaussian parameters around the means of "planck2018" or "wmap9"."""
    published = _gaussian(name)
    deviates = dict(zip(sorted(published.sd), rng.standard_normal(len(published.sd)), strict=True))
    drawn = {
        key: getattr(published.mean, key) + sd * float(deviates[key]) for key, sd in published.sd.items()
    }
    return replace(published.mean, **drawn)


def _camb_params(cosmology: Cosmology, settings: Mapping[str, float], lmax: int) -> camb.CAMBparams:
    values = asdict(cosmology)
    primordial = {key: values.pop(key) for key in ("As", "ns", "pivot_scalar")}
    params = camb.CAMBparams()
    params.set_cosmology(**values)
    params.InitPower.set_params(**primordial)
    params.set_for_lmax(
        max(lmax + int(settings["margin"]), int(settings["least_lmax"])),
        max_eta_k=settings["max_eta_k"],
        lens_potential_accuracy=settings["lens_potential_accuracy"],
    )
    return params


def expect_plausible(name: str, value: float) -> None:
    """Refuse a value that no analysis can hold.

    Parameters
    ----------
    name
        Parameter of `Cosmology`.
    value
        Its value.

    Raises
    ------
    ValueError
        Where it is NaN, or not within `RANGES`.
    """
    low, high = RANGES[name]
    if not low <= value <= high:
        raise ValueError(f"cosmology: {name} should be between {low:g} and {high:g} (it is {value:g})")


def check_cosmology(cosmology: Cosmology) -> None:
    """Refuse impossible universes that CAMB returns numbers for.

    Raises
    ------
    ValueError
        Where a parameter is not within `RANGES`, or there is more matter than fits in a flat universe.
    """
    for name, value in asdict(cosmology).items():
        expect_plausible(name, value)
    matter = cosmology.ombh2 + cosmology.omch2 + cosmology.mnu / EV_PER_OMNUH2
    if matter > (cosmology.H0 / 100) ** 2:
        raise ValueError(f"cosmology: matter exceeds the critical density of a flat universe: {cosmology}")


def check_region(name: str, spreads: Mapping[str, Mapping[str, float]]) -> None:
    """Refuse a region of impossible universes, before any is drawn.

    Parameters
    ----------
    name
        "planck2018" or "wmap9", whose means hold for parameters without a distribution of their own.
    spreads
        By parameter of `Cosmology`, mean and sd, or low and high.

    Raises
    ------
    ValueError
        Where a mean or an end of a range is not within `RANGES`, or the middle has more matter than fits in
        a flat universe.
    """
    middle = {}
    for parameter, spread in spreads.items():
        places = [value for key, value in spread.items() if key != "sd"]
        for value in places:
            expect_plausible(parameter, value)
        middle[parameter] = sum(places) / len(places)
    check_cosmology(replace(fixed(name), **middle))


def _accuracy(lmax: int, n_stokes: int) -> str:
    return "temperature" if n_stokes == 1 and lmax <= TEMPERATURE_LMAX else "polarisation"


def provenance(lmax: int, n_stokes: int) -> str:
    """One line that says how `theory_spectra` computes: CAMB's version and settings."""
    name = _accuracy(lmax, n_stokes)
    settings = ", ".join(f"{key} {value:g}" for key, value in ACCURACY[name].items())
    return f"CAMB {camb.__version__}; accuracy {name}: {settings}; C_l in uK^2"


def theory_spectra(cosmology: Cosmology, lmax: int, *, n_stokes: int = 3, threads: int = 1) -> dict[str, Cl]:
    """Compute CMB spectra with CAMB.

    Parameters
    ----------
    cosmology
        Parameters of the model.
    lmax
        Last multipole of the result.
    n_stokes
        1 where only temperature will be used: up to l = 500 CAMB then runs three times faster and
        polarisation and lensing spectra are good to a few per cent only, and left out.
    threads
        CAMB's number of OpenMP threads.

    Returns
    -------
    dict
        C_l (not D_l), ``(lmax + 1,)`` from l = 0 (l = 0, 1 are zero), in uK^2: lensed 'TT', 'EE', 'BB', 'TE';
        'TT_unlensed', 'EE_unlensed', 'BB_unlensed', 'TE_unlensed'; and of the lensing potential 'PP' (no
        unit), 'TP', 'EP' (uK).  For `n_stokes` 1 and `lmax` up to 500 only 'TT' and 'TT_unlensed'.

    Raises
    ------
    ValueError
        Where CAMB refuses the parameters.
    """
    check_cosmology(cosmology)
    accuracy = _accuracy(lmax, n_stokes)
    camb.config.ThreadNum = threads
    try:
        params = _camb_params(cosmology, ACCURACY[accuracy], lmax)
        # Given the parameters again, CAMB would compute everything a second time.
        tables = camb.get_results(params).get_cmb_power_spectra(
            lmax=lmax,
            CMB_unit="muK",
            raw_cl=True,
            spectra=("total", "unlensed_total", "lens_potential"),
        )
    except (camb.baseconfig.CAMBError, ValueError) as error:
        raise ValueError(f"CAMB refuses {cosmology}: {' '.join(str(error).split())}") from error
    spectra = _named(tables)
    return {key: spectra[key] for key in ("TT", "TT_unlensed")} if accuracy == "temperature" else spectra


def _named(tables: Mapping[str, Cl]) -> dict[str, Cl]:
    """Columns of CAMB's tables by name."""
    spectra = {}
    for column, key in enumerate(("TT", "EE", "BB", "TE")):
        spectra[key] = np.ascontiguousarray(tables["total"][:, column])
        spectra[f"{key}_unlensed"] = np.ascontiguousarray(tables["unlensed_total"][:, column])
    for column, key in enumerate(("PP", "TP", "EP")):
        spectra[key] = np.ascontiguousarray(tables["lens_potential"][:, column])
    return spectra
