"""Visits as the event log tells them: an entering, and the leaving that names it.

A visit is open while the device is, by its stored state, still inside since that entering. One that
is neither open nor left ended while its fence's schedule was silent: nobody recorded when.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg import sql

from tracking.fold.presence import load_presences
from tracking.shipments import RESERVED
from tracking.store.connection import Connection
from tracking.store.eventlog import Device
from tracking.times import Moment, to_us


class Visit(msgspec.Struct, frozen=True):
    """One device's stay in one fence. Times are device time.

    `inside_s` of an open visit is so far, as of the device's latest ok fix (`as_of`). `reason` is
    why it ended: left, deleted or excluded. `late` tells that a repair found it or its end,
    `amended` that an event of it was revised.
    """

    device: str
    fence: str
    fence_name: str
    layer: str | None
    entered_at: Moment
    left_at: Moment | None
    open: bool
    inside_s: float | None
    as_of: Moment | None
    dwelled: bool
    initial: bool
    reason: str | None
    entered_event: str
    left_event: str | None
    late: bool
    amended: bool

    @property
    def key(self) -> "VisitKey":
        """Its place in lists."""
        return VisitKey(self.entered_at, self.device, self.fence)


class VisitKey(NamedTuple):
    """Where a visit stands in lists: the order of entering."""

    entered_at: datetime
    device: str
    fence: str


class VisitFilter(NamedTuple):
    """Which visits; None leaves that question open. Those with a moment in [start, end)."""

    fence: str | None = None
    device: str | None = None
    layer: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    open: bool | None = None


class Scope(NamedTuple):
    """Whose visits: the tenant's id and name, which is part of the ids of its events."""

    tenant_id: int
    tenant: str


# The leaving has the device's key beyond the entering, so the events of one device, by the fix
# that confirmed them, hold it; the planner may as well look among those of the fence.
_SELECT = """
SELECT e.id, e.time, e.subject, e.rule, e.data, e.late, e.revision > 1,
    x.id, x.time, x.data, x.late, x.revision > 1,
    EXISTS (SELECT FROM event w WHERE w.tenant_id = e.tenant_id AND w.device_id = e.device_id
        AND w.confirmed_at BETWEEN e.time AND coalesce(x.confirmed_at, 'infinity')
        AND w.type = 'fence.dwelled' AND w.rule = e.rule
        AND w.status = 'active' AND (w.data ->> 'entered_at')::timestamptz = e.time),
    s.fix_time, CASE WHEN x.id IS NULL THEN s.presences END, f.number
FROM event e
JOIN fence f ON f.tenant_id = e.tenant_id AND f.id = e.rule
LEFT JOIN device_state s ON s.device_id = e.device_id
LEFT JOIN LATERAL (
    SELECT x.id, x.time, x.data, x.late, x.revision, x.confirmed_at FROM event x
    WHERE x.tenant_id = e.tenant_id AND x.device_id = e.device_id AND x.confirmed_at >= e.time
        AND x.type = 'fence.exited' AND x.rule = e.rule AND x.status = 'active'
        AND (x.data ->> 'entered_at')::timestamptz = e.time
    LIMIT 1) x ON true
WHERE e.tenant_id = %(tenant_id)s AND e.type = 'fence.entered' AND e.status = 'active' AND """

# Visits that began before `start` and ended in it or behind it.
_REACHING = """
SELECT e.id FROM event x JOIN event e ON e.tenant_id = x.tenant_id AND e.rule = x.rule
    AND e.time = (x.data ->> 'entered_at')::timestamptz AND e.subject = x.subject
    AND e.type = 'fence.entered' AND e.status = 'active'
WHERE x.tenant_id = %(tenant_id)s AND x.type = 'fence.exited' AND x.status = 'active'
    AND x.rule IS NOT NULL AND x.time > %(start)s
    AND (x.data ->> 'entered_at')::timestamptz < %(start)s"""

_INSIDE = """
SELECT d.id, d.name, s.presences FROM device_state s JOIN device d ON d.id = s.device_id
WHERE s.tenant_id = %s AND s.presences IS NOT NULL AND (%s::text IS NULL OR d.name = %s)
"""


async def list_visits(
    conn: Connection, scope: Scope, wanted: VisitFilter, *, after: VisitKey | None, limit: int
) -> list[Visit]:
    """Visits in the order of entering, at most `limit`, those behind `after`.

    First come those that began before `wanted.start` and reach into the time asked for.
    """
    found: list[Visit] = []
    start = wanted.start
    if wanted.open or (start is not None and (after is None or after.entered_at < start)):
        ids = await _reaching(conn, scope, wanted)
        found = await _page(conn, scope, wanted, _Part(ids=ids), after=after, limit=limit)
    if wanted.open or len(found) == limit:
        return found
    if start is not None and after is not None and after.entered_at < start:
        after = None
    return found + await _page(
        conn, scope, wanted, _Part(since=start), after=after, limit=limit - len(found)
    )


class _Part(NamedTuple):
    """Of the visits, those of these events, or those that began at or after a moment."""

    ids: Sequence[UUID] | None = None
    since: datetime | None = None


async def _page(
    conn: Connection,
    scope: Scope,
    wanted: VisitFilter,
    part: _Part,
    *,
    after: VisitKey | None,
    limit: int,
) -> list[Visit]:
    found: list[Visit] = []
    while len(found) < limit:
        asked = limit - len(found)
        visits = list(map(_visit, await _rows(conn, scope, wanted, part, after=after, limit=asked)))
        # Whether a visit without an end is open only the state can tell.
        found += [v for v in visits if wanted.open is None or v.open is wanted.open]
        if len(visits) < asked:
            break
        after = visits[-1].key
    return found


async def _rows(
    conn: Connection,
    scope: Scope,
    wanted: VisitFilter,
    part: _Part,
    *,
    after: VisitKey | None,
    limit: int,
) -> list[tuple[Any, ...]]:
    conditions, values = _named(wanted, "e")
    values |= {"tenant_id": scope.tenant_id, "limit": limit}
    if part.ids is not None:
        conditions.append("e.id = ANY(%(ids)s)")
        values["ids"] = list(part.ids)
    if part.since is not None:
        conditions.append("e.time >= %(since)s")
        values["since"] = part.since
    if wanted.end is not None:
        conditions.append("e.time < %(end)s")
        values["end"] = wanted.end
    if wanted.open:
        conditions.append("x.id IS NULL")
    if after is not None:
        conditions.append(
            "e.time >= %(after_time)s AND (e.time, e.subject, e.rule) "
            "> (%(after_time)s, %(after_device)s, %(after_fence)s)"
        )
        values |= {
            "after_time": after.entered_at,
            "after_device": after.device,
            "after_fence": after.fence,
        }
    query = (
        sql.SQL(_SELECT)
        + sql.SQL(" AND ").join(map(sql.SQL, conditions))
        + sql.SQL(" ORDER BY e.time, e.subject, e.rule LIMIT %(limit)s")
    )
    cursor = await conn.execute(query, values)
    return await cursor.fetchall()


def _named(wanted: VisitFilter, alias: str) -> tuple[list[str], dict[str, object]]:
    # A condition that is always true spells the index of events that have a rule.
    conditions = [f"{alias}.rule IS NOT NULL"]
    values: dict[str, object] = {}
    for name, column in (
        ("fence", f"{alias}.rule"),
        ("device", f"{alias}.subject"),
        ("layer", f"{alias}.data ->> 'layer'"),
    ):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(f"{column} = %({name})s")
            values[name] = value
    if wanted.fence is None:
        # Stays at the stops of shipments are told by those.
        conditions.append(f"NOT starts_with({alias}.rule, %(reserved)s)")
        values["reserved"] = RESERVED
    return conditions, values


async def _reaching(conn: Connection, scope: Scope, wanted: VisitFilter) -> list[UUID]:
    """Enterings before the time asked for, or at any time if only open visits are wanted."""
    ids = [] if wanted.open is False else await _still_inside(conn, scope, wanted)
    if wanted.open:
        return ids
    conditions, values = _named(wanted, "x")
    query = sql.SQL(" AND ").join([sql.SQL(_REACHING), *map(sql.SQL, conditions)])
    cursor = await conn.execute(
        query, {**values, "tenant_id": scope.tenant_id, "start": wanted.start}
    )
    return ids + [row[0] for row in await cursor.fetchall()]


async def _still_inside(conn: Connection, scope: Scope, wanted: VisitFilter) -> list[UUID]:
    """The ids that enterings of devices have which are inside now."""
    cursor = await conn.execute(_INSIDE, (scope.tenant_id, wanted.device, wanted.device))
    inside = [
        (Device(scope.tenant, scope.tenant_id, name, device_id), watch.zone, watch.since_us)
        async for device_id, name, presences in cursor
        for watch in load_presences(presences).values()
        if watch.zone
    ]
    cursor = await conn.execute(
        "SELECT number, id FROM fence WHERE tenant_id = %s AND number = ANY(%s) "
        "AND (%s::text IS NULL OR id = %s)",
        (scope.tenant_id, list({zone for _, zone, _ in inside}), wanted.fence, wanted.fence),
    )
    fences: dict[int, str] = dict(await cursor.fetchall())
    start_us = None if wanted.start is None or wanted.open else to_us(wanted.start)
    return [
        device.occurrence("fence.entered", since_us, {}, rule=fences[zone]).id
        for device, zone, since_us in inside
        if zone in fences and (start_us is None or since_us < start_us)
    ]


def _visit(row: tuple[Any, ...]) -> Visit:
    (entered_id, entered_at, device, fence, entered, entered_late, entered_amended,
     left_id, left_at, left, left_late, left_amended,
     dwelled, as_of, presences, number) = row  # fmt: skip
    entered_us = to_us(entered_at)
    is_open = left_id is None and any(
        watch.zone == number and watch.since_us == entered_us
        for watch in load_presences(presences).values()
    )
    inside_s = None if left is None else left["inside_s"]
    if is_open and as_of is not None:
        inside_s = max(0.0, (as_of - entered_at) / timedelta(seconds=1))
    return Visit(
        device=device,
        fence=fence,
        fence_name=entered["fence_name"] if left is None else left["fence_name"],
        layer=entered.get("layer"),
        entered_at=entered_at,
        left_at=left_at,
        open=is_open,
        inside_s=inside_s,
        as_of=as_of if is_open else None,
        dwelled=dwelled,
        initial=entered.get("initial", False),
        reason=None if left is None else left["reason"],
        entered_event=str(entered_id),
        left_event=None if left_id is None else str(left_id),
        late=entered_late or bool(left_late),
        amended=entered_amended or bool(left_amended),
    )
