"""The heart: `(state, fix) -> (state, facts)`, pure, in event time.

No clock and no I/O: time comes in with the fix. The same fold serves live processing, late
repair, preview, backfill and tests. `fold` is the definition; `tracking.fold.columnar` is a
faster way to the same answer for the many fixes that change nothing but counters.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from tracking.fold.around import Around, Look
from tracking.fold.model import Fact, Fix, Rules, Verdict
from tracking.fold.stages import STAGES, Step
from tracking.fold.state import DeviceState
from tracking.quality import Quality

__all__ = [
    "Around",
    "DeviceState",
    "Fact",
    "Fix",
    "Quality",
    "Rules",
    "Verdict",
    "fold",
    "fold_one",
]


def fold(
    state: DeviceState,
    fixes: Iterable[Fix],
    rules: Rules,
    around: Callable[[Fix], Around] | None = None,
) -> tuple[DeviceState, list[Verdict]]:
    """Fold `fixes`, which must come in (time, seq) order and lie behind the state's head.

    `around` tells the fences a fix of this device meets; None where there are none.
    Returns the state after the last of them and one verdict each. `state` is not changed.
    """
    presences = {machine: replace(watch) for machine, watch in state.presences.items()}
    after = replace(state, presences=presences)
    return after, [
        fold_one(after, fix, rules, None if around is None else around(fix)) for fix in fixes
    ]


def fold_one(
    state: DeviceState,
    fix: Fix,
    rules: Rules,
    around: Around | None = None,
    trace: list[Look] | None = None,
) -> Verdict:
    """`fold` of a single fix into a state the caller owns and lets change.

    With `trace`, what the fences' machines saw is appended to it.
    """
    step = Step(fix, Quality(fix.quality), around=around, trace=trace)
    for stage in STAGES:
        stage(state, step, rules)
    return Verdict(step.quality, step.facts)
