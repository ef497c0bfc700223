"""What tells of stays at stops: the fixes that events stand on, and times without any."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from tracking.custody import FOR_EVER_US, Segment
from tracking.shipments import Record
from tracking.store.connection import Connection
from tracking.store.custody import moment
from tracking.times import Moment, from_us, to_us

# From the first fix of the run to the one that made it sure; a run is a handful.
_FIXES_AT_MOST = 20

_FIXES = """
SELECT e.id::text, d.name, p.fix_time, p.seq, p.lon, p.lat, p.accuracy_m
FROM event e JOIN device d ON d.id = e.device_id
CROSS JOIN LATERAL (
    SELECT * FROM position p WHERE p.device_id = e.device_id AND p.quality = 0
        AND p.fix_time >= e.time AND p.fix_time <= coalesce(e.confirmed_at, e.time)
    ORDER BY p.fix_time, p.seq LIMIT %s) p
WHERE e.tenant_id = %s AND e.id = ANY(%s::uuid[]) ORDER BY p.fix_time, p.seq
"""

_GAPS = """
WITH seen AS (
    SELECT s.stay, p.fix_time AS at
    FROM unnest(%s::integer[], %s::text[], %s::timestamptz[], %s::timestamptz[])
        s(stay, device, start, stop)
    JOIN device d ON d.tenant_id = %s AND d.name = s.device
    JOIN position p ON p.device_id = d.id AND p.quality = 0
        AND p.fix_time >= s.start AND p.fix_time < s.stop
    UNION ALL SELECT * FROM unnest(%s::integer[], %s::timestamptz[])
)
SELECT stay, before, at FROM (
    SELECT stay, at, lag(at) OVER (PARTITION BY stay ORDER BY at) AS before FROM seen) s
WHERE at - before > %s ORDER BY before
"""


class SeenFix(msgspec.Struct, frozen=True):
    """A fix as evidence: by device, time and `seq` it is found among the positions."""

    device: str
    fix_time: Moment
    seq: int | None
    lon: float
    lat: float
    accuracy_m: float | None


class Gap(NamedTuple):
    """A time at a stop in which nothing was seen."""

    stop: int
    start: datetime
    end: datetime


async def fixes_of_stays(
    conn: Connection, tenant_id: int, record: Record
) -> dict[str, list[SeenFix]]:
    """The ok fixes on which a shipment's stays stand, by the event that they made."""
    events = {
        event
        for became in record.stops
        for stay in became.stays
        for event in (stay.arrived_by, stay.left_by)
        if event is not None
    }
    by_event: dict[str, list[SeenFix]] = {event: [] for event in events}
    if events:
        found = await conn.execute(_FIXES, (_FIXES_AT_MOST, tenant_id, sorted(events)))
        async for event, device, fix_time, seq, lon, lat, accuracy_m in found:
            # Devices that count nothing send -1 for all.
            told = SeenFix(device, fix_time, None if seq < 0 else seq, lon, lat, accuracy_m)
            by_event[event].append(told)
    return by_event


async def gaps_in_stays(
    conn: Connection,
    tenant_id: int,
    record: Record,
    custody: Sequence[Segment],
    *,
    now: datetime,
    longer_than: timedelta,
) -> list[Gap]:
    """The times at stops in which whatever carried it sent no ok fix."""
    stays = [
        (stop, stay.arrived_at, stay.left_at or now)
        for stop, became in enumerate(record.stops)
        for stay in became.stays
    ]
    parts = [
        (i, part.device, max(from_us(part.from_us), start), min(moment(part.to_us), end))
        for i, (_, start, end) in enumerate(stays)
        for part in custody
        if part.device is not None
        and part.from_us < to_us(end)
        and (part.to_us == FOR_EVER_US or part.to_us > to_us(start))
    ]
    edges = [(i, edge) for i, (_, start, end) in enumerate(stays) for edge in (start, end)]
    found = await conn.execute(
        _GAPS,
        (
            *([part[k] for part in parts] for k in range(4)),
            tenant_id,
            *([edge[k] for edge in edges] for k in range(2)),
            longer_than,
        ),
    )
    return [Gap(stays[i][0], before, at) async for i, before, at in found]
