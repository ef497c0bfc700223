"""Planned times as a timetable: when what carries a shipment leaves stops, and how long it drives.

Windows are promises; of a plan with `timetable` their starts are when it comes. Pure.
"""

from datetime import timedelta

from tracking.errors import InputError
from tracking.shipments import Plan, Stop
from tracking.times import Moment


def check_timetable(plan: Plan) -> None:
    """Refuse a timetable that has no time for a stop, or comes to one before it left the last.

    Raises:
        InputError: naming the stop's member.
    """
    if not plan.timetable:
        return
    for i, stop in enumerate(plan.stops):
        field, comes_at = f"stops[{i}].window.from", _comes_at(stop)
        if comes_at is None:
            raise InputError(f"{field}: with a timetable each stop has one", field=field)
        if i == 0:
            continue
        before = plan.stops[i - 1]
        came_at, left_at = _comes_at(before), leaves_at(before)
        if came_at is not None and left_at is not None and not came_at < comes_at >= left_at:
            raise InputError(
                f"{field}: by the timetable it is still at stop {i - 1} then", field=field
            )


def leaves_at(stop: Stop) -> Moment | None:
    """When a stop is planned to be left; None: nobody said when it is reached."""
    comes_at = _comes_at(stop)
    return None if comes_at is None else comes_at + timedelta(seconds=stop.service_s)


def leg_planned_s(plan: Plan, since: int, to: int) -> float | None:
    """What the timetable has for the drive from one stop to another.

    None: the plan has none, or it says nothing of this: a pickup was planned anew, or stops are
    reached out of order.
    """
    if not plan.timetable:
        return None
    left_at, comes_at = leaves_at(plan.stops[since]), _comes_at(plan.stops[to])
    if left_at is None or comes_at is None or comes_at <= left_at:
        return None
    return (comes_at - left_at).total_seconds()


def _comes_at(stop: Stop) -> Moment | None:
    return None if stop.window is None else stop.window.start
