"""One look at a shipment: its estimate, what is told of it, and when to look again. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from h3.api import numpy_int as h3

from tracking.estimates import Estimate, Reason, StopEstimate
from tracking.eta.engine import Engine
from tracking.eta.itinerary import Ahead, Given, Here, Itinerary, Site, itinerary
from tracking.eta.nearby import Place
from tracking.eta.reasons import Now, Why, first, why
from tracking.eta.risk import Risk, risks
from tracking.eta.telling import moment, told, told_leaving
from tracking.shipments import Happening, Plan, Record, of_stop
from tracking.times import iso, to_us

# Forecasts are kept when they are told, and this often in between.
_KEEP_EVERY_S = 300.0
_KEPT = 10
# Who stays within stands still, as far as receivers can tell.
_AROUND_M = 100.0
# A near stop is looked at often; one twenty times as far ahead twenty times as seldom.
_NEAR_S, _FAR_S, _LOOKS_AHEAD = 10.0, 120.0, 20.0


class Seen(NamedTuple):
    """A fix of what carries a shipment, and what is known around it.

    Attributes:
        device, carrier: the name of the device that took it, and its number.
        sites: where the stops are; None: nowhere.
        ways: those known to the stops they lead to.
        off_route: whether it has left its route; None: it has none.
        version: of the plan; `model` that of the engine.
    """

    here: Here
    device: str
    carrier: int
    sites: Sequence[Site | None]
    ways: Mapping[int, Given]
    off_route: bool | None
    version: int
    model: int


class Look(NamedTuple):
    """What came of a look.

    Attributes:
        keep: the stops whose forecasts are to be kept; none: they were kept a moment ago.
        next_s: when to look again.
    """

    estimate: Estimate
    happenings: list[Happening]
    keep: Sequence[Ahead]
    next_s: float


def look(plan: Plan, record: Record, before: Estimate | None, seen: Seen, engine: Engine) -> Look:
    """Forecast a shipment by what is new: a fix, or what was derived or changed since.

    `before` is the estimate after the last look. The events are dated at the fix, so a look that
    is repeated tells the same ones.
    """
    now_s = seen.here.time_s
    near, near_since = _near(before, seen)
    here = seen.here._replace(still_s=now_s - near_since.timestamp())
    found = itinerary(plan, record, seen.sites, here, engine=engine, ways=seen.ways)
    cause = None if before is None else _cause(before, seen)
    now = Now(plan, record, now_s, cause, seen.model, found.waited_s)
    stops, tellings = _told(before, found, now)
    at_risk = _at_risk(before, plan)
    changes = risks(plan, record, at_risk, stops, now_s)
    for change in changes:
        (at_risk.add if change.at_risk else at_risk.discard)(change.stop)
    keep = tellings or before is None or _kept_long_ago(before, now_s)
    estimate = msgspec.structs.replace(
        _estimate(before, seen, found, stops, tellings),
        near=near,
        near_since=near_since,
        leave_at=_leave_at(before, record, found, now_s),
        at_risk=tuple(stop for stop in sorted(at_risk) if record.stops[stop].arrived_at is None),
    )
    if keep:
        estimate = msgspec.structs.replace(estimate, stored_at=estimate.as_of)
    happenings = [_changed(plan, seen, telling) for telling in tellings]
    happenings += [_risk(plan, seen, stops, change) for change in changes]
    return Look(estimate, happenings, found.ahead[:_KEPT] if keep else [], _next_s(found, now_s))


class _Telling(NamedTuple):
    """A stop whose arrival is told anew."""

    was: StopEstimate | None
    now: StopEstimate
    why: Why


def _told(
    before: Estimate | None, found: Itinerary, now: Now
) -> tuple[list[StopEstimate], list[_Telling]]:
    """The estimates of the stops ahead, and which of them people are to be told."""
    known = {} if before is None else {one.stop: one for one in before.stops}
    stops: list[StopEstimate] = []
    tellings: list[_Telling] = []
    for one in found.ahead:
        was = known.get(one.stop)
        at_once = now.cause is not None or (was is not None and was.basis.path != one.path)
        is_ = told(
            was, one, now.time_s, model=now.model, at_once=at_once, waited_s=found.waited_s
        )  # fmt: skip
        stops.append(is_)
        if was is None:
            tellings.append(_Telling(None, is_, first(one)))
        elif is_.arrive != was.arrive:
            moved_s = (is_.arrive - was.arrive).total_seconds()
            tellings.append(_Telling(was, is_, why(was.basis, one, moved_s, now)))
    return stops, tellings


def _cause(before: Estimate, seen: Seen) -> Reason | None:
    """What is known to have happened since the last look."""
    if before.plan != seen.version:
        return "plan_changed"
    if before.carrier != seen.carrier:
        return "carrier_changed"
    if before.off_route != bool(seen.off_route):
        return "left_route" if seen.off_route else "back_on_route"
    return None


def _kept_long_ago(before: Estimate, now_s: float) -> bool:
    kept_at = before.stored_at
    return kept_at is None or now_s - kept_at.timestamp() >= _KEEP_EVERY_S


def _at_risk(before: Estimate | None, plan: Plan) -> set[int]:
    """Stops that were at risk; another plan may have fewer."""
    return {stop for stop in (before.at_risk if before else ()) if stop < len(plan.stops)}


def _leave_at(
    before: Estimate | None, record: Record, found: Itinerary, now_s: float
) -> datetime | None:
    if found.leave is None:
        return None
    # Of this stay, not of one before it.
    same = before is not None and record.since <= before.as_of
    was_at = before.leave_at if before and same else None
    return told_leaving(was_at, found.leave.p50_s, now_s, found.waited_s)


def _near(before: Estimate | None, seen: Seen) -> tuple[Place, datetime]:
    """Around which place it has been, and since when."""
    if before is not None and before.carrier == seen.carrier:
        away_m = h3.great_circle_distance(before.near[::-1], seen.here.place[::-1], unit="m")
        if away_m <= _AROUND_M:
            return before.near, before.near_since
    return seen.here.place, moment(seen.here.time_s)


def _estimate(
    before: Estimate | None,
    seen: Seen,
    found: Itinerary,
    stops: Sequence[StopEstimate],
    tellings: Sequence[_Telling],
) -> Estimate:
    as_of = moment(seen.here.time_s)
    if tellings:
        (reason, because), told_at = tellings[0].why, as_of
    elif before is not None:
        reason, because, told_at = before.reason, before.because, before.told_at
    else:
        reason, because, told_at = "first", "nothing is ahead of it", as_of
    following = found.ahead[0] if found.ahead else None
    return Estimate(
        as_of=as_of,
        stops=tuple(stops),
        reason=reason,
        because=because,
        told_at=told_at,
        path="detour" if following is None else following.path,
        remaining_m=0.0 if following is None else round(following.leg_m, 1),
        carrier=seen.carrier,
        plan=seen.version,
        near=seen.here.place,
        near_since=as_of,
        stored_at=None if before is None else before.stored_at,
        off_route=bool(seen.off_route),
        model=seen.model,
    )


def _next_s(found: Itinerary, now_s: float) -> float:
    moments_s = [one.arrive.p50_s for one in found.ahead[:1]]
    if found.leave is not None:
        moments_s.append(found.leave.p50_s)
    left_s = min(moments_s, default=now_s + _LOOKS_AHEAD * _FAR_S) - now_s
    return min(max(left_s / _LOOKS_AHEAD, _NEAR_S), _FAR_S)


def _changed(plan: Plan, seen: Seen, telling: _Telling) -> Happening:
    was, now = telling.was, telling.now
    return _happening(
        plan, seen, "shipment.eta_changed", now.stop,
        {
            "old": None if was is None else _iso(was.arrive),
            "new": _iso(now.arrive),
            "p10": _iso(now.p10), "p50": _iso(now.p50), "p90": _iso(now.p90),
            "reason": telling.why.reason, "because": telling.why.because,
        },
    )  # fmt: skip


def _risk(plan: Plan, seen: Seen, stops: Sequence[StopEstimate], change: Risk) -> Happening:
    told_of = next((one for one in stops if one.stop == change.stop), None)
    type_ = "shipment.at_risk" if change.at_risk else "shipment.safe"
    estimated = None if told_of is None else _iso(told_of.arrive)
    data = {"estimated": estimated, "probability": round(change.late, 2)}
    return _happening(plan, seen, type_, change.stop, data)


def _happening(plan: Plan, seen: Seen, type_: str, stop: int, data: dict[str, Any]) -> Happening:
    named = {
        "shipment": plan.id,
        "order_ref": plan.order_ref,
        **of_stop(plan, stop),
        **data,
        "device": seen.device,
    }
    return Happening(type_, round(seen.here.time_s * 1e6), f"stop:{stop}", named)


def _iso(at: datetime) -> str:
    return iso(to_us(at))
