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
    """A published constraint as a Gaussian distribution of what was measured.

    Attributes
    ----------
    mean
        Published means.
    measured
        Mean and standard deviation by name: parameters of `Cosmology`, or in the place of H0 and As the
        combinations that the peaks of the CMB's spectra fix: `theta_star_100`, 100 times the angle of the
        sound horizon in radians, and `As_damped`, As exp(-2 tau).
    correlation
        Lower triangle of the correlation matrix, row by row in the order of `measured`; none where it is
        left out.
    reference
        Where it is published.
    """

    mean: Cosmology
    measured: Mapping[str, tuple[float, float]]
    correlation: tuple[tuple[float, ...], ...] = ()
    reference: str = ""


PLANCK2018 = GaussianCosmology(
    Cosmology(
        H0=67.36, ombh2=0.02237, omch2=0.1200, mnu=0.06, tau=0.0544, As=2.100e-9, ns=0.9649, pivot_scalar=0.05
    ),
    {
        "theta_star_100": (1.04110, 0.00031),
        "As_damped": (1.883e-9, 0.011e-9),
        "ombh2": (0.02237, 0.00015),
        "omch2": (0.1200, 0.0012),
        "ns": (0.9649, 0.0042),
        "tau": (0.0544, 0.0073),
    },
    # From the covariance of the chain base_plikHM_TTTEEE_lowl_lowE_lensing as CosmoMC holds it; its theta_MC
    # stands for theta_star, from which it differs by a fiftieth of its error.
    (
        (1.0,),
        (-0.067, 1.0),
        (0.388, -0.115, 1.0),
        (-0.343, 0.400, -0.526, 1.0),
        (0.319, -0.319, 0.393, -0.670, 1.0),
        (0.189, -0.274, 0.278, -0.396, 0.346, 1.0),
    ),
    "Planck 2018 results VI, arXiv:1807.06209, table 2, TT,TE,EE+lowE+lensing",
)
WMAP9 = GaussianCosmology(
    Cosmology(
        H0=70.0, ombh2=0.02264, omch2=0.1138, mnu=0.0, tau=0.089, As=2.41e-9, ns=0.972, pivot_scalar=0.002
    ),
    {
        "As": (2.41e-9, 0.10e-9),
        "H0": (70.0, 2.2),
        "ns": (0.972, 0.013),
        "ombh2": (0.02264, 0.00050),
        "omch2": (0.1138, 0.0045),
        "tau": (0.089, 0.014),
    },
    reference="Hinshaw et al. 2013, arXiv:1212.5226, table 3, WMAP nine years alone",
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


def draw_measured(name: str, rng: np.random.Generator) -> dict[str, float]:
    """Draw what "planck2018" or "wmap9" measured, with its correlations where they are known."""
    published = _gaussian(name)
    deviates = rng.standard_normal(len(published.measured))
    if published.correlation:
        lower = np.zeros((len(deviates), len(deviates)))
        lower[np.tril_indices(len(deviates))] = np.concatenate(published.correlation)
        deviates = np.linalg.cholesky(lower) @ deviates  # which reads the lower triangle only
    means, deviations = np.array(list(published.measured.values())).T
    return dict(zip(published.measured, (means + deviations * deviates).tolist(), strict=True))


def draw_gaussian(name: str, rng: np.random.Generator) -> Cosmology:
    """Draw the parameters of one universe from the published constraint "planck2018" or "wmap9"."""
    drawn = draw_measured(name, rng)
    if "As_damped" in drawn:
        drawn["As"] = drawn.pop("As_damped") * float(np.exp(2 * drawn["tau"]))
    theta = drawn.pop("theta_star_100", None)
    cosmology = replace(_gaussian(name).mean, **drawn)
    return cosmology if theta is None else replace(cosmology, H0=_hubble_constant(cosmology, theta / 100))


def _background(cosmology: Cosmology, **expansion: float | None) -> camb.CAMBparams:
    """Parameters of CAMB that hold no spectra, with the rate of expansion given one way or another."""
    camb.config.ThreadNum = 1
    params = camb.CAMBparams()
    densities = {key: getattr(cosmology, key) for key in ("ombh2", "omch2", "mnu", "tau")}
    params.set_cosmology(**densities, **expansion)
    return params


def _hubble_constant(cosmology: Cosmology, theta_star: float) -> float:
    """H0 in km/s/Mpc that gives the sound horizon the angle `theta_star` in radians; 0.03 s by CAMB."""
    return float(_background(cosmology, H0=None, thetastar=theta_star).H0)


def theta_star_100(cosmology: Cosmology) -> float:
    """100 times the angle of the sound horizon at last scattering, radians."""
    background = camb.get_background(_background(cosmology, H0=cosmology.H0))
    return float(background.get_derived_params()["thetastar"])


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
