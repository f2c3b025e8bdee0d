"""Bands of multipoles."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cmbml.sky.sht import Cl


@dataclass(frozen=True)
class Bands:
    """Adjoining bands of multipoles, within each of which D_l = l(l+1) C_l / 2 pi is taken as constant.

    Attributes
    ----------
    edges
        First multipole of every band and, last, one past the end; increasing, from 1 at least.

    Raises
    ------
    ValueError
        Where the edges do not increase, or begin below 1 (D_l is zero at l = 0).
    """

    edges: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.edges) < 2 or self.edges[0] < 1 or any(b <= a for a, b in pairwise(self.edges)):
            raise ValueError(f"the edges of bands increase from 1 at least, got {self.edges}")

    @classmethod
    def linear(cls, lmin: int, lmax: int, width: int) -> "Bands":
        """Bands of equal width from `lmin`; what is left at the end below half a width joins the last one."""
        edges = list(range(lmin, lmax + 1, width))
        if 2 * (lmax + 1 - edges[-1]) < width and len(edges) > 1:
            edges.pop()
        return cls((*edges, lmax + 1))

    @property
    def lmax(self) -> int:
        """Highest multipole of the last band."""
        return self.edges[-1] - 1

    def __len__(self) -> int:
        return len(self.edges) - 1

    @cached_property
    def _index(self) -> NDArray[np.intp]:
        """Band of every multipole, -1 below the first one: ``(lmax + 1,)``."""
        return np.digitize(np.arange(self.lmax + 1), self.edges) - 1

    @cached_property
    def _scale(self) -> Cl:
        ell = np.arange(self.lmax + 1)
        return ell * (ell + 1) / (2 * np.pi)

    @cached_property
    def modes(self) -> NDArray[np.float64]:
        """Number of modes (2l + 1) in every band: ``(n_bands,)``."""
        edges = np.asarray(self.edges, dtype=np.float64)
        return np.diff(edges**2)

    @cached_property
    def centres(self) -> NDArray[np.float64]:
        """Mean multipole of every band, weighted by modes: ``(n_bands,)``."""
        ell = np.arange(self.lmax + 1)
        return self._averaging @ ell.astype(np.float64)

    @cached_property
    def _averaging(self) -> NDArray[np.float64]:
        ell = np.arange(self.lmax + 1)
        inside = self._index == np.arange(len(self))[:, None]
        return inside * (2 * ell + 1) / self.modes[:, None]

    @cached_property
    def binning(self) -> NDArray[np.float64]:
        """Operator from C_l to the mean D_l of bands: ``(n_bands, lmax + 1)``.

        Hivon et al. 2002, ApJ 567, 2 (astro-ph/0105302), equation 20, but with modes as weights.
        """
        return self._averaging * self._scale

    @cached_property
    def unbinning(self) -> NDArray[np.float64]:
        """Operator from D_l of bands to C_l: ``(lmax + 1, n_bands)``; Hivon et al. 2002, equation 21."""
        inside = self._index[:, None] == np.arange(len(self))
        return np.divide(inside, self._scale[:, None], out=np.zeros(inside.shape), where=inside)

    def average(self, cl: Cl) -> NDArray[np.float64]:
        """Mean D_l in every band of C_l, ``(..., lmax + 1)`` or longer: ``(..., n_bands)``."""
        return np.asarray(cl)[..., : self.lmax + 1] @ self.binning.T
