"""One numerical baseline for every processor: x86-64 with AVX2 and FMA.

Numerical libraries choose their code by the processor at hand.  Other code sums in another order, and the
last bits of a result then depend on the machine.  This holds every library to code that all processors since
Haswell (2013) and Zen (2017) have.  It must run before any of the libraries is loaded, so the package does it
first of all.  What each setting holds, and what it costs, is in docs/reproducibility.md.
"""

import os
import platform
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

NAME = "x86-64-v3"

SETTINGS = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",
    "DUCC0_MAX_PSABI_LEVEL": "3",
    "MKL_CBWR": "COMPATIBLE",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}
_LIBRARIES = ("numpy", "scipy", "ducc0", "torch")


class Held(NamedTuple):
    """What the results of this process stand on.

    Attributes
    ----------
    name
        The baseline, or the machine (``x86_64``, ``aarch64``) where nothing holds the libraries.
    too_late
        The library that was loaded before it could be held, or nothing.
    """

    name: str
    too_late: str = ""


@cache
def hold() -> Held:
    """Hold the numerical libraries to the baseline; variables that the user has set stay as they are."""
    if not _has_baseline():
        return Held(platform.machine())
    loaded = [name for name in _LIBRARIES if name in sys.modules]
    in_time = not loaded or _is_set()
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if in_time and _is_set():
        return Held(NAME)
    return Held(platform.machine(), "" if in_time else loaded[0])


def _is_set() -> bool:
    return all(os.environ.get(name) == value for name, value in SETTINGS.items())


def _has_baseline() -> bool:
    try:
        processor = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return {"avx2", "fma"} <= set(processor.split())
