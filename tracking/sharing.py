"""What a share link shows of a shipment: enough to wait for it, and no more. Pure."""

from datetime import datetime, timedelta

import msgspec
from h3.api import numpy_int as h3

from tracking.estimates import EtaState, Expected
from tracking.shipments import Kind, Plan, Record, Status, StopKind, StopRecord, ahead
from tracking.times import Moment

# Cells of 5 km2, 1.4 km from the middle to a corner.
_COARSE = 7


class ShareLink(msgspec.Struct, frozen=True):
    """A link that somebody may follow to one shipment. It ends at `expires_at` or `revoked_at`.

    It is meant for who waits at `stop`; where the shipment is, is shown exactly from when that is
    at most `stops_away` stops ahead, and coarsely before.
    """

    id: int
    stop: int
    stops_away: int
    created_at: Moment
    created_by: str | None
    expires_at: Moment
    revoked_at: Moment | None


class SharedStop(msgspec.Struct, frozen=True):
    """A stop, as whoever waits may see it; without a window its time zone is not known.

    Of other stops than the link's it is told that they are there and done, not whose or where, nor
    when they are expected. It is expected at `estimated_at`, between `estimated_from` and
    `estimated_until`; null where `expected` of the shipment says why not.
    """

    kind: StopKind
    name: str | None
    address: str | None
    lon: float | None
    lat: float | None
    time_zone: str | None
    planned_from: Moment | None
    planned_until: Moment | None
    estimated_at: Moment | None
    estimated_from: Moment | None
    estimated_until: Moment | None
    at_risk: bool
    arrived_at: Moment | None
    departed_at: Moment | None
    done: bool
    delayed: bool


class SharedPlace(msgspec.Struct, frozen=True):
    """Where it was last seen: within `radius_m` of a point, which is 0 where that is exact."""

    lon: float
    lat: float
    radius_m: float
    seen_at: Moment
    age_s: float
    stale: bool


class SharedShipment(msgspec.Struct, frozen=True):
    """A shipment, as a share link shows it. `for_stop` is the one that it is for.

    `expected` tells whether anything is: `last_seen` when nothing was heard of it for too long.
    """

    shipment: str
    order_ref: str | None
    kind: Kind
    status: Status
    since: Moment
    delayed: bool
    at_stop: int | None
    next_stop: int | None
    for_stop: int
    expected: EtaState
    stops: list[SharedStop]
    place: SharedPlace | None
    expires_at: Moment


class LastSeen(msgspec.Struct, frozen=True):
    """Where what carries a shipment was last seen."""

    lon: float
    lat: float
    fix_time: datetime


def shared(
    plan: Plan,
    record: Record,
    link: ShareLink,
    seen: LastSeen | None,
    expected: Expected,
    *,
    now: datetime,
    stale_after: timedelta,
) -> SharedShipment:
    """The shipment as the link shows it at a moment.

    Before it is picked up and once it is over, what carries it is nobody's business.
    """
    stop = min(link.stop, len(plan.stops) - 1)
    moving = record.picked_up_at is not None and not record.final
    place = None
    if seen is not None and moving:
        place = _place(seen, now, stale_after, exact=_is_near(plan, record, stop, link.stops_away))
    return SharedShipment(
        shipment=plan.id,
        order_ref=plan.order_ref,
        kind=plan.kind,
        status=record.status,
        since=record.since,
        delayed="delayed" in record.exceptions,
        at_stop=record.at_stop,
        next_stop=record.next_stop,
        for_stop=stop,
        expected=expected.state,
        stops=[
            _own(plan, record, stop, expected, now)
            if i == stop
            else _stop(plan.stops[i].kind, record.stops[i])
            for i in range(len(plan.stops))
        ],
        place=place,
        expires_at=link.expires_at,
    )


def _is_near(plan: Plan, record: Record, stop: int, stops_away: int) -> bool:
    """Whether the link's stop is that few stops ahead, or it is arriving there."""
    if record.at_stop == stop:
        return True
    coming = [i for i in ahead(plan, record) if i <= stop]
    if stop not in coming:
        return False
    arriving = record.status == "arriving" and record.next_stop == stop
    return arriving or len(coming) <= stops_away


def _place(seen: LastSeen, now: datetime, stale_after: timedelta, *, exact: bool) -> SharedPlace:
    lon, lat, radius_m = seen.lon, seen.lat, 0.0
    if not exact:
        # The middle of the cell, and a circle that holds all of it.
        cell = h3.latlng_to_cell(seen.lat, seen.lon, _COARSE)
        lat, lon = h3.cell_to_latlng(cell)
        radius_m = max(_metres(lon, lat, at[1], at[0]) for at in h3.cell_to_boundary(cell))
    age = max(now - seen.fix_time, timedelta())
    return SharedPlace(
        lon=round(lon, 6),
        lat=round(lat, 6),
        radius_m=round(radius_m),
        seen_at=seen.fix_time,
        age_s=round(age.total_seconds(), 1),
        stale=age > stale_after,
    )


def _metres(lon: float, lat: float, other_lon: float, other_lat: float) -> float:
    """Between two places of one cell."""
    return float(h3.great_circle_distance((lat, lon), (other_lat, other_lon), unit="m"))


def _own(plan: Plan, record: Record, stop: int, expected: Expected, now: datetime) -> SharedStop:
    """The stop that a link is for, with all that concerns who waits there."""
    planned, became = plan.stops[stop], record.stops[stop]
    place, window = planned.place, planned.window
    told = None if became.arrived_at is not None else expected.of(stop, now)
    at_risk = expected.estimate is not None and stop in expected.estimate.at_risk
    return msgspec.structs.replace(
        _stop(planned.kind, became),
        name=planned.name,
        address=None if place is None else place.address,
        lon=None if place is None else place.lon,
        lat=None if place is None else place.lat,
        time_zone=None if window is None else window.time_zone,
        planned_from=None if window is None else window.start,
        planned_until=None if window is None else window.end,
        estimated_at=None if told is None else told.arrive,
        estimated_from=None if told is None else told.early,
        estimated_until=None if told is None else told.late,
        at_risk=at_risk and became.arrived_at is None,
    )


def _stop(kind: StopKind, became: StopRecord) -> SharedStop:
    return SharedStop(
        kind=kind,
        name=None,
        address=None,
        lon=None,
        lat=None,
        time_zone=None,
        planned_from=None,
        planned_until=None,
        estimated_at=None,
        estimated_from=None,
        estimated_until=None,
        at_risk=False,
        arrived_at=became.arrived_at,
        departed_at=became.departed_at,
        done=became.done,
        delayed=became.delayed,
    )
