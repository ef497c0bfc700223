"""Reading events, by cursor for followers and by filter for people."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from tracking.feed import EventRecord
from tracking.store.asking import rows_where
from tracking.store.connection import Connection
from tracking.times import to_us

Order = Literal["asc", "desc"]


class EventFilter(NamedTuple):
    """Which events; None leaves that question open. Times are [start, end) of when it happened."""

    types: tuple[str, ...] | None = None
    device: str | None = None
    fence: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    status: str | None = None
    since: int | None = None
    subject: str | None = None


class EventPage(NamedTuple):
    """What followed a cursor. Every event up to `covered` is in here or moved to a later cursor."""

    events: list[EventRecord]
    covered: int


_SELECT = (
    "SELECT e.id, t.name, e.type, e.subject, e.time, e.recorded_at, e.revision, e.status, e.late, "
    "e.cursor, e.data, e.origin FROM event e JOIN tenant t ON t.id = e.tenant_id "
)


async def feed_cursor(conn: Connection, tenant_id: int) -> int:
    """The last cursor given out in committed transactions."""
    found = await conn.execute("SELECT feed_cursor FROM tenant WHERE id = %s", (tenant_id,))
    row = await found.fetchone()
    return row[0] if row else 0


async def events_after(
    conn: Connection, tenant_id: int, cursor: int, *, limit: int = 1_000
) -> EventPage:
    """The events behind a cursor in cursor order, at most `limit`, with no hole.

    One statement sees one snapshot, so the tenant's cursor read with the rows covers them all:
    a cursor that has no row any more belongs to an event amended since.
    """
    found = await conn.execute(
        "SELECT t.feed_cursor, e.* FROM tenant t LEFT JOIN LATERAL ("
        "SELECT e.id, t.name, e.type, e.subject, e.time, e.recorded_at, e.revision, e.status, "
        "e.late, e.cursor, e.data, e.origin FROM event e "
        "WHERE e.tenant_id = t.id AND e.cursor > %s "
        "ORDER BY e.cursor LIMIT %s) e ON true WHERE t.id = %s ORDER BY e.cursor",
        (cursor, limit, tenant_id),
    )
    rows = await found.fetchall()
    events = [event_of(row[1:]) for row in rows if row[1] is not None]
    if len(events) == limit:
        return EventPage(events, events[-1].cursor)
    return EventPage(events, max(cursor, rows[0][0] if rows else 0))


async def events_of_subject(
    conn: Connection, tenant_id: int, subject: str, after: int, upto: int, *, limit: int
) -> EventPage:
    """The events of one subject with cursors in (after, upto], in that order, at most `limit`."""
    found = await conn.execute(
        (
            _SELECT + "WHERE e.tenant_id = %s AND e.subject = %s AND e.cursor > %s "
            "AND e.cursor <= %s ORDER BY e.cursor LIMIT %s"
        ).encode(),
        (tenant_id, subject, after, upto, limit),
    )
    events = [event_of(row) for row in await found.fetchall()]
    return EventPage(events, events[-1].cursor if len(events) == limit else upto)


async def list_events(
    conn: Connection,
    tenant_id: int,
    wanted: EventFilter,
    *,
    after: int | None,
    order: Order,
    limit: int,
) -> list[EventRecord]:
    """Events in cursor order (ascending or descending), those beyond the cursor `after`."""
    beyond = ">" if order == "asc" else "<"
    asked = {
        f"e.cursor {beyond} %(after)s": ("after", after),
        "e.type = ANY(%(types)s)": ("types", wanted.types),
        "e.subject = %(device)s AND e.device_id IS NOT NULL": ("device", wanted.device),
        "e.subject = %(subject)s": ("subject", wanted.subject),
        # The index is on `rule`, which holds a rule's id in the events of alerts.
        "e.rule = %(fence)s AND e.type NOT LIKE 'alert.%%'": ("fence", wanted.fence),
        "e.time >= %(start)s": ("start", wanted.start),
        "e.time < %(end)s": ("end", wanted.end),
        "e.cursor > %(since)s": ("since", wanted.since),
        "e.status = %(status)s": ("status", wanted.status),
    }
    found = await rows_where(
        conn,
        _SELECT,
        ["e.tenant_id = %(tenant_id)s"],
        asked,
        order=f"ORDER BY e.cursor {order} LIMIT %(limit)s",
        values={"tenant_id": tenant_id, "limit": limit},
    )
    return [event_of(row) for row in found]


async def get_event(conn: Connection, tenant_id: int, event_id: UUID) -> EventRecord | None:
    """One event, in its latest revision."""
    found = await conn.execute(
        _SELECT + "WHERE e.tenant_id = %s AND e.id = %s",
        (tenant_id, event_id),
    )
    row = await found.fetchone()
    return None if row is None else event_of(row)


def event_of(row: Sequence[Any]) -> EventRecord:
    """A row of what the queries above select."""
    (id_, tenant, type_, subject, time, recorded_at,
     revision, status, late, cursor, data, origin) = row  # fmt: skip
    return EventRecord(
        str(id_), tenant, type_, subject, to_us(time), to_us(recorded_at),
        revision, status, late, cursor, data, origin or "live",
    )  # fmt: skip
