"""The heart: `(state, fix) -> (state, facts)`, pure, in event time.

No clock and no I/O: time comes in with the fix. The same fold serves live processing, late
repair, preview, backfill and tests. `fold` is the definition; `tracking.fold.columnar` is a
faster way to the same answer for the many fixes that change nothing but counters.
"""

from collections.abc import Iterable
from dataclasses import replace

from tracking.fold.model import Fact, Fix, Rules, Verdict
from tracking.fold.stages import STAGES, Step
from tracking.fold.state import DeviceState
from tracking.quality import Quality

__all__ = ["DeviceState", "Fact", "Fix", "Quality", "Rules", "Verdict", "fold", "fold_one"]


def fold(
    state: DeviceState, fixes: Iterable[Fix], rules: Rules
) -> tuple[DeviceState, list[Verdict]]:
    """Fold `fixes`, which must come in (time, seq) order and lie behind the state's head.

    Returns the state after the last of them and one verdict each. `state` is not changed.
    """
    after = replace(state)
    return after, [fold_one(after, fix, rules) for fix in fixes]


def fold_one(state: DeviceState, fix: Fix, rules: Rules) -> Verdict:
    """`fold` of a single fix into a state the caller owns and lets change."""
    step = Step(fix, Quality(fix.quality))
    for stage in STAGES:
        stage(state, step, rules)
    return Verdict(step.quality, step.facts)
