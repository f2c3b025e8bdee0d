"""The one list of the methods that ship: checks, `cmbml clean`, its help, completion and documents read it.

It imports nothing heavy, so that the command line stays quick.
"""

from typing import Literal, NamedTuple

Kind = Literal["linear", "filter", "network", "program"]


class Method(NamedTuple):
    """What is said of a method wherever methods are listed.

    Attributes
    ----------
    name
        Its stage in the pipeline, and its name on the command line.
    kind
        linear: weights of the bands; filter: of a map that was cleaned; network; program: of others.
    summary
        What it does, in one phrase.
    """

    name: str
    kind: Kind
    summary: str


METHODS = (
    Method("nilc", "linear", "needlet ILC: the weights come from the maps alone"),
    Method("nilc_regularised", "linear", "the same, steadied by the mean covariance of the training skies"),
    Method("hilc", "linear", "harmonic ILC with the mean covariance of the training skies"),
    Method("hilc_plain", "linear", "harmonic ILC: the weights come from the maps alone"),
    Method("pyilc", "program", "the needlet ILC of pyilc, from your own checkout of it"),
    Method("wiener", "filter", "Wiener filter of a map that was cleaned before"),
    Method("gsc_unet", "network", "U-Net that corrects nilc_regularised and keeps the CMB as it is"),
    Method("cmbnncs", "network", "U-Net of cmbNNCS on the unfolded sphere"),
    Method("patch_nn", "network", "a small network on patches: the template for one of your own"),
)
NAMES = tuple(method.name for method in METHODS)
KINDS = {method.name: method.kind for method in METHODS}
