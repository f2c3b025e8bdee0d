"""What is not complete, and why."""

from collections import Counter
from collections.abc import Iterator

from cmbml.core.engine import Engine
from cmbml.core.plan import Plan, Portion


def status_lines(plan: Plan, *, verify: bool = False) -> Iterator[str]:
    """Say for every portion what would be made, and why; nothing of those that are complete.

    Parameters
    ----------
    plan
        What is wanted.
    verify
        Read every file and compare its content with what was made, not only its size.
    """
    engine = Engine(plan)
    waiting = 0
    for stage in plan.stages.values():
        for portion in plan.portions(stage):
            reasons = Counter(_reasons(engine, portion, verify=verify))
            waiting += reasons.total()
            yield from (f"{portion}: {count} to make: {reason}" for reason, count in reasons.items())
            if not reasons and not engine.ledger(portion).closed():
                yield f"{portion}: to be closed: simulations were removed, or a run was interrupted"
    yield f"{waiting} to make" if waiting else "everything is complete"


def _reasons(engine: Engine, portion: Portion, *, verify: bool) -> Iterator[str]:
    ledger = engine.ledger(portion)
    entries = ledger.entries
    for unit in engine.plan.units(portion):
        if reason := ledger.stale(unit, entries):
            yield reason
        elif verify and (damaged := ledger.damaged(unit)):
            yield f"{damaged[0]} is damaged: its content is not what was made: remove it"
