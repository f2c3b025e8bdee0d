"""What making results costs, in time and memory: kept on this machine, in no versioned file."""

import json
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cmbml.core.files.jsonlines import read_lines
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.plan.pieces import Piece, Portion
from cmbml.core.spec.repository import LOCAL

_RESET_PEAK = "5"  # what Linux wants to hear, in proc(5)


@dataclass
class Cost:
    """What the pieces of one stage that were made as they now are have cost.

    Attributes
    ----------
    n_pieces
        Number of pieces that were measured.
    wall_s, cpu_s
        Time by the clock, and of all cores, for all of them together.
    peak_mb
        Largest memory of a process that made any of them.
    """

    n_pieces: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_mb: float = 0.0


@contextmanager
def measured(plan: Plan, portion: Portion) -> Iterator[list[Piece]]:
    """Measure the making of pieces, which the caller adds to the list as they are done."""
    made: list[Piece] = []
    _forget_peak()
    wall, cpu, children = time.perf_counter(), _cpu(), _children_kb()
    try:
        yield made
    finally:
        if made:
            cost = {
                "wall_s": time.perf_counter() - wall,
                "cpu_s": _cpu() - cpu,
                "peak_mb": _peak_mb(children),
            }
            line = {
                "stage": portion.stage,
                "recipe": plan.recipe(portion).digest,
                "n_pieces": len(made),
                **cost,
            }
            path = _file(plan)
            path.parent.mkdir(parents=True, exist_ok=True)
            # One write of one line: those of other processes stay whole.
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def costs_of(plan: Plan, *, ever: bool = False) -> dict[str, Cost]:
    """What was measured, by stage, of pieces made with the present code and parameters, or `ever`."""
    recipes = {
        (stage.key, plan.recipe(portion).digest)
        for stage in plan.stages.values()
        for portion in plan.portions(stage)
    }
    found: dict[str, Cost] = {}
    for line in read_lines(_file(plan)):
        match line:
            case {
                "stage": str(stage),
                "recipe": str(recipe),
                "n_pieces": int(n_pieces),
                "wall_s": float(wall_s),
                "cpu_s": float(cpu_s),
                "peak_mb": float(peak_mb),
            } if ever or (stage, recipe) in recipes:
                one = found.setdefault(stage, Cost())
                one.n_pieces += n_pieces
                one.wall_s += wall_s
                one.cpu_s += cpu_s
                one.peak_mb = max(one.peak_mb, peak_mb)
    return found


def _file(plan: Plan) -> Path:
    return plan.config.root / LOCAL / "cost" / f"{plan.config.dataset}.jsonl"


def _cpu() -> float:
    """Seconds of processor time of this process and of children that have ended."""
    return sum(os.times()[:4])


def _forget_peak() -> None:
    """Let the peak of memory start anew, where the system can: one process may make many stages."""
    try:
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return


def _children_kb() -> int:
    """Largest memory of any child that has ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def _peak_mb(children_before: int) -> float:
    """Largest memory of this process since `_forget_peak`, or of a larger child than any before, MB."""
    children = _children_kb()
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    else:
        own = int(status.partition("VmHWM:")[2].split()[0])
    return max(own, children if children > children_before else 0) * 1024 / 1e6
