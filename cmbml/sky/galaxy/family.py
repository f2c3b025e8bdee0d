"""Families of procedural galaxies: what all simulations of one family share.

`GALAXY` is calibrated on PySM 3's d1, s1, f1 and a1.  `LAYERED` is another Milky Way, for skies that no
method was tuned on: two layers of dust whose temperatures and indices differ, so that dust decorrelates
between frequencies; synchrotron whose spectrum curves; shallower and stronger small scales; stronger arms.
`POLARISED` is for polarisation: two layers of dust and synchrotron each see a magnetic field of their own, so
that the angles of dust turn with frequency; more than 20 degrees off the plane, at l of 40 to 120, its E, B
and TE have the ratios that Planck measured (Planck 2018 results XI, arXiv:1801.04945, and IV,
arXiv:1807.06208).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cmbml.sky.galaxy.polarisation import OwnField
from cmbml.sky.galaxy.structure import Disc

DISCS = {
    "dust": Disc(
        plane=367.0,
        height=0.15,
        length=3.58,
        hole=3.12,
        arms=0.77,
        bubble=0.223,
        flare=0.04,
        bulge=118.0,
        floor=1.0,
        loops=18.0,
        clouds=837.0,
    ),
    "sync": Disc(
        plane=5630000.0,
        height=0.822,
        length=4.02,
        hole=0.516,
        arms=0.45,
        bubble=0.05,
        flare=0.026,
        bulge=93000000.0,
        floor=4300000.0,
        loops=10800000.0,
        clouds=1070000.0,
    ),
    "freefree": Disc(
        plane=260.0,
        height=0.085,
        length=2.2,
        hole=2.43,
        arms=1.4,
        bubble=0.235,
        flare=0.02,
        bulge=525.0,
        floor=3.38,
        loops=5.85,
        clouds=757.0,
    ),
    "ame": Disc(
        plane=144.0,
        height=0.15,
        length=2.81,
        hole=3.22,
        arms=0.675,
        bubble=0.157,
        flare=0.046,
        bulge=928.0,
        floor=3.66,
        loops=24.7,
        clouds=297.0,
    ),
}


@dataclass(frozen=True)
class Layer:
    """Dust along a part of the line of sight.

    Attributes
    ----------
    share
        Part of the brightness at the reference frequency.
    beta, temperature
        Mean spectral index, and temperature in the plane in K.
    """

    share: float
    beta: float
    temperature: float


@dataclass(frozen=True)
class Family:
    """A kind of Milky Way.

    Attributes
    ----------
    discs
        Large-scale structure by component.
    layers
        Dust along the line of sight.
    slope
        Of the spectrum of the log-normal fields.
    turnover
        Multipole where these flatten, by component.
    sigma
        Standard deviation of the logarithm, by component.
    with_dust
        Correlation of a component's logarithm with dust's.
    sync_curvature
        c of a synchrotron spectrum (nu / 23 GHz)^(beta + c ln(nu / 23 GHz)) above 23 GHz: its local index
        changes by 2 c per e-fold of frequency.
    ame_peak
        Peak frequency of spinning dust in the plane, GHz.
    magnetic
        Magnetic fields of 'dust', 'far_dust' and 'sync'; None where all see the same one.
    """

    discs: Mapping[str, Disc] = field(default_factory=lambda: DISCS)
    layers: tuple[Layer, ...] = (Layer(share=1.0, beta=1.54, temperature=18.7),)
    slope: float = -2.9
    turnover: Mapping[str, float] = field(
        default_factory=lambda: {"dust": 6.0, "sync": 2.0, "freefree": 15.0, "ame": 8.0}
    )
    sigma: Mapping[str, float] = field(
        default_factory=lambda: {"dust": 0.65, "sync": 0.22, "freefree": 1.3, "ame": 0.6}
    )
    with_dust: Mapping[str, float] = field(default_factory=lambda: {"freefree": 0.6, "ame": 0.9})
    sync_curvature: float = 0.0
    ame_peak: float = 31.0
    magnetic: Mapping[str, OwnField] | None = None


GALAXY = Family()
LAYERED = Family(
    discs={name: replace(disc, arms=1.6 * disc.arms, loops=0.4 * disc.loops) for name, disc in DISCS.items()},
    layers=(Layer(share=0.65, beta=1.45, temperature=21.5), Layer(share=0.35, beta=1.75, temperature=15.5)),
    slope=-2.6,
    sigma={"dust": 0.8, "sync": 0.35, "freefree": 1.3, "ame": 0.8},
    with_dust={"freefree": 0.3, "ame": 0.6},
    sync_curvature=-0.06,
    ame_peak=27.0,
)
_DUST_FIELD = OwnField(fraction=0.11, turbulence=0.5, shared=1.0, filaments=0.06, following=0.45)
POLARISED = Family(
    layers=(Layer(share=0.55, beta=1.40, temperature=21.5), Layer(share=0.45, beta=1.72, temperature=15.5)),
    sigma={"dust": 0.8, "sync": 0.22, "freefree": 1.3, "ame": 0.6},
    magnetic={
        "dust": _DUST_FIELD,
        "far_dust": replace(_DUST_FIELD, shared=0.2),
        "sync": OwnField(fraction=0.27, turbulence=0.4, shared=0.85, filaments=0.105, following=0.0),
    },
)
FAMILIES = {"galaxy": GALAXY, "layered": LAYERED, "polarised": POLARISED}
