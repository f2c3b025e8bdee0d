"""Random numbers by purpose, never by order or count."""

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.random import Generator


def generator(seed: int, stream: str, sim: int, component: str, channel: str = "") -> "Generator":
    """Make the generator of one purpose.

    Parameters
    ----------
    seed
        Root of the dataset.
    stream
        Random stream of the split.
    sim
        Index of the simulation.
    component
        What is drawn, for instance ``noise``.
    channel
        Which one of several, for instance a band.

    Returns
    -------
    numpy.random.Generator
        Depends on these five values and on nothing else; 256 bits of their hash leave no collisions.
    """
    import numpy as np

    purpose = json.dumps([seed, stream, sim, component, channel])
    digest = hashlib.sha256(purpose.encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32).astype(np.uint64))
