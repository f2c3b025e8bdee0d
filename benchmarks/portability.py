"""Whether every numerical function in use gives the same bytes on emulated processors.

Run as ``python benchmarks/portability.py [GROUP...]``; it needs qemu-x86_64 (Debian package qemu-user), and
an hour for all groups.  Fails where a function departs from this machine.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from cmbml.baseline import NAME, hold

ROOT = Path(__file__).resolve().parent.parent
PROCESSORS = ("Haswell", "EPYC-Rome")


def probe(groups: list[str], *emulator: str) -> dict[str, str]:
    """Hash of every function, by its name."""
    command = [*emulator, sys.executable, "-W", "ignore", "-m", "tests.numerics", *groups]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    found = json.loads(done.stdout)["hashes"]
    return {f"{group}: {name}": value for group, those in found.items() for name, value in those.items()}


def main() -> None:
    """Compare, and name what departs."""
    emulator = shutil.which("qemu-x86_64")
    if emulator is None or hold().name != NAME:
        sys.exit("needs qemu-x86_64 (Debian package qemu-user) and a processor with AVX2 and FMA")
    groups = sys.argv[1:]
    here = probe(groups)
    departs = False
    for processor in PROCESSORS:
        there = probe(groups, emulator, "-cpu", processor)
        other = [name for name, value in here.items() if there[name] != value]
        departs |= bool(other)
        print(f"{processor}: {len(here) - len(other)} of {len(here)} equal", *other, sep="\n    ")
    if departs:
        sys.exit("not the same bytes everywhere")


if __name__ == "__main__":
    main()
