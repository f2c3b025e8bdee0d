"""An estimate against the truth, multipole band by band."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cmbml.analysis.spectra.master import Master, pseudo_spectra
from cmbml.sky.sht import Alm, Cl

EMPTY = 1e-3
"""Share of the truth's power below which an estimate has none: rounding, and the grid's own leakage."""


@dataclass(frozen=True)
class Comparison:
    """Band powers D_b of one spectrum in uK^2, each ``(n_bands,)``; only powers have transfer and coherence.

    Attributes
    ----------
    ell
        Centres of the bands.
    truth, estimate
        Auto-spectra.
    cross
        Spectrum of estimate times truth.
    residual
        Auto-spectrum of estimate - truth.
    halves
        Cross-spectrum of the cleaned halves, which has no bias by their noise; None where there are none.
    """

    ell: Cl
    truth: Cl
    estimate: Cl
    cross: Cl
    residual: Cl
    halves: Cl | None = None

    @property
    def error(self) -> Cl:
        """Excess of the estimate's power, uK^2: what a spectrum measured on it would be wrong by."""
        return self.estimate - self.truth

    @property
    def transfer(self) -> Cl:
        """Transfer function, cross over truth: 1 where the method keeps the CMB whole.

        NaN in a band where decoupling has left the truth without power.
        """
        return np.divide(self.cross, self.truth, out=np.full(self.truth.shape, np.nan), where=self.truth > 0)

    @property
    def coherence(self) -> Cl:
        """Correlation of estimate and truth: 1 where there is no residual but a gain.

        0 in a band that the estimate has emptied, NaN where decoupling has left the truth without power.
        """
        out = np.where(self.truth > 0, 0.0, np.nan)
        there = self.estimate > EMPTY * np.abs(self.truth)
        power = np.abs(self.estimate * self.truth)
        return np.divide(self.cross, np.sqrt(power), out=out, where=there & (self.truth > 0))


def compare(estimate: Alm, truth: Alm, master: Master, halves: Sequence[Alm] = ()) -> dict[str, Comparison]:
    """Compare an estimate with the truth under the mask of `master`.

    Parameters
    ----------
    estimate, truth
        a_lm of the masked fields, by `cmbml.analysis.spectra.master.masked_alm`: ``(n, nalm)``.
    master
        Decoupling of the same mask.
    halves
        a_lm of the two cleaned halves, as of the estimate, where there are some.

    Returns
    -------
    dict[str, Comparison]
        ``{"TT": ...}``, or those of `cmbml.analysis.spectra.master.SPECTRA`.
    """
    pairs = {
        "truth": pseudo_spectra(truth),
        "estimate": pseudo_spectra(estimate),
        "cross": pseudo_spectra(estimate, truth),
        "residual": pseudo_spectra(estimate - truth),
        **({"halves": pseudo_spectra(*halves)} if halves else {}),
    }
    decoupled = {kind: master.decouple(pseudo) for kind, pseudo in pairs.items()}
    return {
        name: Comparison(master.bands.centres, **{kind: powers[name] for kind, powers in decoupled.items()})
        for name in decoupled["truth"]
    }
