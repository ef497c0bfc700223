"""What was driven, read in the order in which it became known: trips of devices, legs of shipments.

By event cursor, so that nothing is passed by and nothing read twice. An event that is amended comes
again under a later cursor; its key tells that it was there.
"""

from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
import numpy as np

from tracking.eta.itinerary import lane_of
from tracking.eta.lessons import Lesson, Told, Track, Unfit
from tracking.shipments import Plan
from tracking.store.arrays import PG_EPOCH_US, Int8s, Times, unpacked
from tracking.store.connection import Connection
from tracking.times import to_us
from tracking.timetable import leg_planned_s

# A trip of more fixes would hold up all others: a fix a second for eight hours has fewer.
_MOST_FIXES = 30_000
# Forecasts that were told of one leg, spread over it: more say the same.
_MOST_TOLD = 10

# `event_driven` has exactly these types.
_ENDED = """
SELECT e.cursor, e.id, e.type, e.device_id, e.time, e.data, t.*
FROM event e LEFT JOIN LATERAL (
    SELECT d.time, d.device_id, (d.data ->> 'stop')::integer, s.number, s.plan::text
    FROM shipment s LEFT JOIN LATERAL (
        SELECT * FROM event d WHERE d.tenant_id = e.tenant_id AND d.subject = e.subject
            AND d.type = 'stop.departed' AND d.status = 'active' AND d.time <= e.time
        ORDER BY d.time DESC LIMIT 1) d ON true
    WHERE s.tenant_id = e.tenant_id AND s.id = e.data ->> 'shipment'
) t ON e.type = 'stop.arrived'
WHERE e.tenant_id = %(tenant_id)s AND e.cursor > %(after)s AND e.cursor <= %(upto)s
    AND e.type IN ('trip.ended', 'stop.arrived') AND e.status = 'active'
ORDER BY e.cursor LIMIT %(limit)s
"""

_WAITING = """
SELECT count(*) FROM event WHERE tenant_id = %s AND cursor > %s AND cursor <= %s
    AND type IN ('trip.ended', 'stop.arrived') AND status = 'active'
"""

_FIXES = """
SELECT array_send(array_agg(i)), array_send(array_agg(fix_time)), array_send(array_agg(lon)),
    array_send(array_agg(lat))
FROM (
    SELECT k.i, p.fix_time, p.lon, p.lat FROM unnest(%(devices)s, %(starts)s, %(ends)s)
        WITH ORDINALITY k(device_id, start, until, i)
    CROSS JOIN LATERAL (
        SELECT fix_time, lon, lat FROM position p
        WHERE p.device_id = k.device_id AND p.tenant_id = %(tenant_id)s
            AND p.fix_time >= k.start AND p.fix_time <= k.until AND p.quality = 0
        ORDER BY p.fix_time, p.seq LIMIT %(most)s) p
    ORDER BY k.i, p.fix_time) fixes
"""

_TOLD = """
SELECT k.i - 1, f.path <> 'detour', extract(epoch FROM f.p50_at - f.made_at)::float8,
    extract(epoch FROM k.arrived - f.made_at)::float8
FROM unnest(%(numbers)s, %(stops)s, %(starts)s, %(ends)s)
    WITH ORDINALITY k(number, stop, departed, arrived, i)
JOIN eta_forecast f ON f.shipment_number = k.number AND f.stop = k.stop
    AND f.made_at >= k.departed AND f.made_at < k.arrived
WHERE f.tenant_id = %(tenant_id)s AND f.legs = 1
ORDER BY k.i, f.made_at
"""


class Driven(NamedTuple):
    """Lessons in the order of their events, and the cursor up to which there are no others."""

    lessons: list[Lesson]
    upto: int


class _Ended(NamedTuple):
    """A trip or leg that ended: whose fixes tell of it, or why nothing does."""

    key: int
    began: datetime
    ended: datetime
    device_id: int
    lane: tuple[str, str] | None = None
    stop: tuple[int, int] | None = None
    planned_s: float | None = None


async def waiting(conn: Connection, tenant_id: int, after: int, upto: int) -> int:
    """How many trips and legs there are between two cursors."""
    found = await conn.execute(_WAITING, (tenant_id, after, upto))
    (n,) = await found.fetchone() or (0,)
    return int(n)


async def driven_after(
    conn: Connection, tenant_id: int, after: int, upto: int, limit: int
) -> Driven:
    """The first trips and legs behind a cursor, at most `limit`."""
    found = await conn.execute(
        _ENDED, {"tenant_id": tenant_id, "after": after, "upto": upto, "limit": limit}
    )
    rows = await found.fetchall()
    ended = [_ended(row) for row in rows]
    fit = [one for one in ended if isinstance(one, _Ended)]
    tracks = iter(await _tracks(conn, tenant_id, fit))
    told = iter(await _told(conn, tenant_id, fit))
    lessons = [
        Lesson(one.key, next(tracks), one.lane, next(told), one.planned_s)
        if isinstance(one, _Ended)
        else one
        for one in ended
    ]
    return Driven(lessons, rows[-1][0] if len(rows) == limit else upto)


def _ended(row: Sequence[Any]) -> _Ended | Lesson:
    _, id_, type_, device_id, time, data, departed, before, since, number, plan = row
    key = _key(id_.bytes)
    if type_ == "trip.ended":
        return _Ended(key, datetime.fromisoformat(data["started_at"]), time, device_id)
    if data.get("cause") is None or device_id is None:
        return Lesson(key, Unfit.NOT_SEEN)
    if departed is None:
        return Lesson(key, Unfit.NO_DEPARTURE)
    if before != device_id:
        return Lesson(key, Unfit.OTHER_DEVICE)
    planned = msgspec.json.decode(plan, type=Plan)
    to = data["stop"]
    if to == since or max(to, since) >= len(planned.stops):
        return Lesson(key, Unfit.CAME_BACK)
    lane = lane_of(planned.stops[since], planned.stops[to])
    # Whatever is in one truck is one drive, however many shipments that are.
    key = _key(f"{device_id} {to_us(departed)} {to_us(time)} {lane}".encode())
    planned_s = leg_planned_s(planned, since, to)
    return _Ended(key, departed, time, device_id, lane, (number, to), planned_s)


def _key(name: bytes) -> int:
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "big", signed=True)


async def _tracks(conn: Connection, tenant_id: int, ended: Sequence[_Ended]) -> list[Track | Unfit]:
    if not ended:
        return []
    found = await conn.execute(
        _FIXES,
        {
            "tenant_id": tenant_id,
            "devices": Int8s([one.device_id for one in ended]),
            "starts": Times([to_us(one.began) for one in ended]),
            "ends": Times([to_us(one.ended) for one in ended]),
            "most": _MOST_FIXES + 1,
        },
        binary=True,
    )
    packed = await found.fetchone() or (None,) * 4
    which, time, lon, lat = (
        np.empty(0) if part is None else unpacked(part, wire).astype(np.float64)
        for part, wire in zip(packed, (">i8", ">i8", ">f8", ">f8"), strict=True)
    )
    time_s = (time + PG_EPOCH_US) / 1e6
    edges = np.searchsorted(which, np.arange(1, len(ended) + 2))
    tracks: list[Track | Unfit] = []
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = slice(start, end)
        track = Track(time_s[part], lon[part], lat[part])
        tracks.append(track if end - start <= _MOST_FIXES else Unfit.TOO_LONG)
    return tracks


async def _told(conn: Connection, tenant_id: int, ended: Sequence[_Ended]) -> list[Sequence[Told]]:
    """Of each the forecasts that were stored while it was driven."""
    told: list[list[Told]] = [[] for _ in ended]
    legs = [(i, one, one.stop) for i, one in enumerate(ended) if one.stop is not None]
    if legs:
        found = await conn.execute(
            _TOLD,
            {
                "tenant_id": tenant_id,
                "numbers": Int8s([number for *_, (number, _) in legs]),
                "stops": Int8s([stop for *_, (_, stop) in legs]),
                "starts": Times([to_us(one.began) for _, one, _ in legs]),
                "ends": Times([to_us(one.ended) for _, one, _ in legs]),
            },
        )
        async for i, known_way, forecast_s, actual_s in found:
            told[legs[i][0]].append(Told(known_way, forecast_s, actual_s))
    return [one[:: max(1, -(-len(one) // _MOST_TOLD))] for one in told]
