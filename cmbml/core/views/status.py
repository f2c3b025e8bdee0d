"""What is not complete, and why."""

from collections import Counter
from collections.abc import Iterable, Iterator

from cmbml.core.engine.make import Engine
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.plan.pieces import Portion
from cmbml.core.record.cost import costs_of
from cmbml.core.record.facts import Facts, no_garbage
from cmbml.core.spec.pipeline import Stage


def status_lines(plan: Plan, stages: Iterable[Stage] | None = None, *, verify: bool = False) -> Iterator[str]:
    """Say for every portion what would be made, and why; nothing of those that are complete.

    Parameters
    ----------
    plan
        What is wanted.
    stages
        Only of these; by default, of all.
    verify
        Read every file, whatever its size and date say, and look for files that nobody made.
    """
    engine = Engine(plan)
    waiting = 0
    for stage in plan.stages.values() if stages is None else stages:
        for portion in plan.portions(stage):
            if verify:
                yield from _strangers(engine.facts(portion))
            elif engine.facts(portion).complete():
                continue
            with no_garbage():
                reasons = Counter(_reasons(engine, portion, verify=verify))
            waiting += reasons.total()
            yield from (f"{portion}: {count} to make: {reason}" for reason, count in reasons.items())
            if not reasons and not engine.facts(portion).closed():
                yield f"{portion}: to be closed: simulations were removed, or a run was interrupted"
    yield f"{waiting} to make" if waiting else "everything is complete"


def _strangers(facts: Facts) -> Iterator[str]:
    if found := facts.foreign():
        yield f"{facts.portion}: {len(found)} files that it did not make, as {found[0]}: move them away"


def _reasons(engine: Engine, portion: Portion, *, verify: bool) -> Iterator[str]:
    facts = engine.facts(portion)
    pieces = engine.plan.pieces(portion)
    flaws = facts.flaws(pieces)
    for piece in pieces:
        if reason := flaws.get(piece):
            yield reason
        elif verify and (damaged := facts.damaged(piece)):
            yield f"{damaged[0]} is not what was made"


def cost_lines(plan: Plan, stages: Iterable[Stage] | None = None) -> Iterator[str]:
    """Say for every stage what a piece of it cost here, and what those that are to be made would."""
    engine = Engine(plan)
    # What was made with other code or parameters is the next best guide.
    costs = costs_of(plan, ever=True) | costs_of(plan)
    total, unknown = 0.0, []
    yield f"{'stage':<18} {'s each':>8} {'MB':>6} {'to make':>8} {'s':>8}"
    for stage in plan.stages.values() if stages is None else stages:
        key = stage.key
        waiting = sum(len(list(_reasons(engine, portion, verify=False))) for portion in plan.portions(stage))
        cost = costs.get(key)
        if cost is None:
            unknown += [key] if waiting else []
            yield f"{key:<18} {'?':>8} {'?':>6} {waiting:>8} {'?' if waiting else '0':>8}"
            continue
        each = cost.wall_s / cost.n_pieces
        total += each * waiting
        yield f"{key:<18} {each:>8.3f} {cost.peak_mb:>6.0f} {waiting:>8} {each * waiting:>8.1f}"
    rest = f", and what {', '.join(unknown)} cost, never measured here" if unknown else ""
    yield f"with one worker: {total:.0f} s{rest}"
