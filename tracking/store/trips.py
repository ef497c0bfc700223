"""Trips as the event log tells them: a start, and the end that names it. Without one it is open."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import UUID

import msgspec
from psycopg import sql

from tracking.fold.state import load_record
from tracking.store.connection import Connection
from tracking.times import Moment, iso, to_us


class Trip(msgspec.Struct, frozen=True):
    """One device's way from a stay to the next. Times are device time; `id` is its first event's.

    Of an open trip distance, duration and place are as of the device's latest ok fix. `reason` is
    why it ended: stay, gap or relocated. `late` tells that a repair found it or its end, `amended`
    that an event of it was revised. `track` leads to its ok fixes.
    """

    id: str
    device: str
    started_at: Moment
    ended_at: Moment | None
    open: bool
    start_lon: float
    start_lat: float
    end_lon: float | None
    end_lat: float | None
    distance_m: float | None
    duration_s: float | None
    max_speed_mps: float | None
    reason: str | None
    late: bool
    amended: bool
    track: str

    @property
    def key(self) -> "TripKey":
        """Its place in lists."""
        return TripKey(self.started_at, self.device)


class TripKey(NamedTuple):
    """Where a trip stands in lists: the order of starting."""

    started_at: datetime
    device: str


class TripFilter(NamedTuple):
    """Which trips; None leaves that question open. Those with a moment in [start, end)."""

    device: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    open: bool | None = None


# The end is confirmed after the start happened, and is the next the device has.
_SELECT = """
SELECT e.id, e.subject, e.time, e.data, e.late, e.revision > 1,
    x.time, x.data, x.late, x.revision > 1,
    s.fix_time, s.lon, s.lat, CASE WHEN x.time IS NULL THEN s.fold END,
    (SELECT max(p.speed_mps) FROM position p WHERE p.device_id = e.device_id
        AND p.tenant_id = e.tenant_id AND p.quality = 0
        AND p.fix_time >= e.time AND p.fix_time <= coalesce(x.time, s.fix_time))
FROM event e
LEFT JOIN device_state s ON s.device_id = e.device_id
LEFT JOIN LATERAL (
    SELECT x.time, x.data, x.late, x.revision FROM event x
    WHERE x.tenant_id = e.tenant_id AND x.device_id = e.device_id AND x.confirmed_at >= e.time
        AND x.type = 'trip.ended' AND x.status = 'active'
        AND (x.data ->> 'started_at')::timestamptz = e.time
    ORDER BY x.confirmed_at LIMIT 1) x ON true
WHERE e.tenant_id = %(tenant_id)s AND e.type = 'trip.started' AND e.status = 'active'"""

# Of the trips a device began before a moment only the last can reach beyond it.
_BEFORE = """
SELECT e.id FROM device d CROSS JOIN LATERAL (
    SELECT e.id FROM event e WHERE e.tenant_id = d.tenant_id AND e.subject = d.name
        AND e.type = 'trip.started' AND e.status = 'active' AND e.time < %(start)s
    ORDER BY e.time DESC LIMIT 1) e
WHERE d.tenant_id = %(tenant_id)s AND (%(device)s::text IS NULL OR d.name = %(device)s)
"""


async def list_trips(
    conn: Connection, tenant_id: int, wanted: TripFilter, *, after: TripKey | None, limit: int
) -> list[Trip]:
    """Trips in the order of starting, at most `limit`, those behind `after`."""
    parts: list[str] = []
    values: dict[str, object] = {"tenant_id": tenant_id, "limit": limit, **wanted._asdict()}
    if wanted.device is not None:
        parts.append("e.subject = %(device)s")
    if wanted.start is not None:
        before = await conn.execute(_BEFORE, values)
        values["before"] = [row[0] for row in await before.fetchall()]
        parts.append("(e.time >= %(start)s OR e.id = ANY(%(before)s))")
        parts.append("(x.time IS NULL OR x.time > %(start)s)")
    if wanted.end is not None:
        parts.append("e.time < %(end)s")
    if wanted.open is not None:
        parts.append("x.time IS NULL" if wanted.open else "x.time IS NOT NULL")
    if after is not None:
        parts.append("(e.time, e.subject) > (%(after_time)s, %(after_device)s)")
        values |= {"after_time": after.started_at, "after_device": after.device}
    query = sql.SQL(" AND ").join([sql.SQL(_SELECT), *map(sql.SQL, parts)])
    cursor = await conn.execute(
        query + sql.SQL(" ORDER BY e.time, e.subject LIMIT %(limit)s"), values
    )
    return [_trip(row) async for row in cursor]


async def get_trip(conn: Connection, tenant_id: int, trip_id: UUID) -> Trip | None:
    """One trip by its id."""
    cursor = await conn.execute(
        _SELECT + " AND e.id = %(id)s", {"tenant_id": tenant_id, "id": trip_id}
    )
    row = await cursor.fetchone()
    return None if row is None else _trip(row)


def _trip(row: Sequence[Any]) -> Trip:
    (id_, device, started_at, began, late, amended, ended_at, ended, end_late, end_amended,
     as_of, lon, lat, fold, max_speed_mps) = row  # fmt: skip
    if ended is None:
        distance_m, duration_s = _so_far(fold, started_at, as_of)
        place, reason = {"lon": lon, "lat": lat}, None
    else:
        distance_m, duration_s = ended["distance_m"], ended["duration_s"]
        place, reason = ended["to"], ended["reason"]
    return Trip(
        id=str(id_),
        device=device,
        started_at=started_at,
        ended_at=ended_at,
        open=ended is None,
        start_lon=began["lon"],
        start_lat=began["lat"],
        end_lon=place["lon"],
        end_lat=place["lat"],
        distance_m=distance_m,
        duration_s=duration_s,
        max_speed_mps=None if max_speed_mps is None else round(max_speed_mps, 2),
        reason=reason,
        late=late or bool(end_late),
        amended=amended or bool(end_amended),
        track=_track(device, started_at, ended_at),
    )


def _so_far(
    fold: bytes | None, started_at: datetime, as_of: datetime | None
) -> tuple[float | None, float | None]:
    """Distance and duration of a trip that goes on."""
    record = load_record(fold)
    distance_m = None
    if record is not None and int(record["trip_us"][0]) == to_us(started_at):
        distance_m = round(float(record["odometer_m"][0] - record["trip_odometer_m"][0]), 1)
    duration_s = None if as_of is None else max(0.0, (as_of - started_at) / timedelta(seconds=1))
    return distance_m, duration_s


def _track(device: str, started_at: datetime, ended_at: datetime | None) -> str:
    link = (
        f"/v1/devices/{quote(device, safe='')}/positions?quality=ok&from={iso(to_us(started_at))}"
    )
    # The end of a range is not in it, and the last fix is to be.
    return link if ended_at is None else f"{link}&to={iso(to_us(ended_at) + 1)}"
