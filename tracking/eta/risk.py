"""Which stops will hardly be reached within their window. Pure."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from tracking.estimates import StopEstimate
from tracking.eta.spread import Spread
from tracking.shipments import Plan, Record

# How likely it must be late to be at risk, and to be so no longer: half would flap.
_ENTER, _LEAVE = 0.6, 0.4


class Risk(NamedTuple):
    """A stop that is at risk from now on, or no longer; `late` is how likely it will be late."""

    stop: int
    at_risk: bool
    late: float


def risks(
    plan: Plan, record: Record, before: Collection[int], stops: Sequence[StopEstimate], now_s: float
) -> list[Risk]:
    """What has changed since `before`, the stops that were at risk.

    Who came in time is safe. Whose window has passed is late, which is told by others: it is at
    risk no more and no less than it was.
    """
    found = []
    for stop in before:
        end_s = _end_s(plan, stop)
        arrived_at = record.stops[stop].arrived_at if stop < len(record.stops) else None
        if end_s is None or (arrived_at is not None and arrived_at.timestamp() <= end_s):
            found.append(Risk(stop, at_risk=False, late=0.0))
    for told in stops:
        end_s = _end_s(plan, told.stop)
        if end_s is None or end_s < now_s:
            continue
        spread = Spread(*(moment.timestamp() for moment in (told.p10, told.p50, told.p90)))
        late, behind = spread.after(end_s), told.arrive.timestamp() > end_s
        if told.stop not in before and behind and late >= _ENTER:
            found.append(Risk(told.stop, at_risk=True, late=late))
        elif told.stop in before and not behind and late <= _LEAVE:
            found.append(Risk(told.stop, at_risk=False, late=late))
    return found


def _end_s(plan: Plan, stop: int) -> float | None:
    if stop >= len(plan.stops):
        return None
    window = plan.stops[stop].window
    return None if window is None or window.end is None else window.end.timestamp()
