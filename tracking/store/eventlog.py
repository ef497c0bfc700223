"""Writing events: each id once, every change a revision, cursors in commit order."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import msgspec
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from tracking.feed import EventRecord
from tracking.fold import Fact
from tracking.times import EARLIEST_US, from_us, iso, to_us

Connection = AsyncConnection[tuple[Any, ...]]

# The root of every event id.
_NAMESPACE = UUID("6d1c1f5e-7c0a-5d0e-9a55-77617961726b")


class Occurrence(msgspec.Struct, frozen=True):
    """An event as its source states it; what the log adds is cursor, revision and time of record.

    `confirmed` is the key (time_us, seq) of the fix that made the fold sure, None for events
    that are not the fold's. `late` tells that a repair found it.
    """

    tenant: str
    tenant_id: int
    subject: str
    type: str
    time_us: int
    data: dict[str, Any]
    device_id: int | None = None
    confirmed: tuple[int, int] | None = None
    rule: str = ""
    late: bool = False
    status: str = "active"

    def retracted(self) -> "Occurrence":
        """The same event, taken back."""
        return msgspec.structs.replace(self, status="retracted", late=True)

    @property
    def id(self) -> UUID:
        """Deterministic: the same fact has the same id, whoever finds it and however often."""
        return uuid5(
            _NAMESPACE,
            "\0".join((self.tenant, self.subject, self.type, self.rule, iso(self.time_us))),
        )


class Device(NamedTuple):
    """A registered device, as the events about it name it."""

    tenant: str
    tenant_id: int
    name: str
    device_id: int

    def occurrence(
        self,
        type_: str,
        time_us: int,
        data: dict[str, Any],
        *,
        confirmed: tuple[int, int] | None = None,
        late: bool = False,
    ) -> Occurrence:
        """An event about this device."""
        return Occurrence(
            tenant=self.tenant,
            tenant_id=self.tenant_id,
            subject=self.name,
            type=type_,
            time_us=time_us,
            data=data,
            device_id=self.device_id,
            confirmed=confirmed,
            late=late,
        )

    def of_fact(self, fact: Fact, *, late: bool = False) -> Occurrence:
        """An event the fold of this device raised."""
        confirmed = (fact.confirmed_us, fact.confirmed_seq)
        return self.occurrence(fact.type, fact.time_us, fact.data, confirmed=confirmed, late=late)


_KNOWN = """
SELECT id, status, data, revision, late, confirmed_at, confirmed_seq FROM event
WHERE id = ANY(%s)
"""

_TAKE_CURSORS = """
UPDATE tenant SET feed_cursor = feed_cursor + %s WHERE id = %s RETURNING feed_cursor, now()
"""

_PUT = """
INSERT INTO event (id, tenant_id, cursor, type, subject, device_id, time, confirmed_at,
                   confirmed_seq, recorded_at, revision, status, late, data)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET
    cursor = excluded.cursor, confirmed_at = excluded.confirmed_at,
    confirmed_seq = excluded.confirmed_seq, recorded_at = excluded.recorded_at,
    revision = excluded.revision, status = excluded.status, late = excluded.late,
    data = excluded.data
"""


async def write_events(conn: Connection, occurrences: Sequence[Occurrence]) -> list[EventRecord]:
    """Write what is new or different; return the records to publish, in cursor order.

    An id seen before with the same data is left alone; with other data or status it becomes the
    next revision and moves to a new cursor. A retraction of an unknown event is nothing.

    Must be the last write of its transaction: from here to the commit the tenant's row is
    locked, which is what makes cursor order commit order.
    """
    wanted = {occurrence.id: occurrence for occurrence in occurrences}
    if not wanted:
        return []
    cursor = await conn.execute(_KNOWN, (list(wanted),))
    known = {row[0]: row[1:] for row in await cursor.fetchall()}
    changed: dict[tuple[int, str], list[tuple[UUID, Occurrence, int, bool]]] = defaultdict(list)
    for id_, occurrence in wanted.items():
        if id_ not in known:
            if occurrence.status == "active":
                changed[occurrence.tenant_id, occurrence.tenant].append(
                    (id_, occurrence, 1, occurrence.late)
                )
            continue
        status, data, revision, late, *_ = known[id_]
        if (status, data) != (occurrence.status, occurrence.data):
            changed[occurrence.tenant_id, occurrence.tenant].append(
                (id_, occurrence, revision + 1, late or occurrence.late)
            )
    await _reconfirm(conn, wanted, known)
    records = []
    # In one order, so that two writers of several tenants cannot deadlock.
    for (tenant_id, tenant), changes in sorted(changed.items()):
        records += await _put(conn, tenant_id, tenant, changes)
    return records


async def _reconfirm(
    conn: Connection, wanted: dict[UUID, Occurrence], known: dict[UUID, tuple[Any, ...]]
) -> None:
    """Keep the confirming fix of unchanged events current: a repair selects by it."""
    moved = [
        (*_confirmed(occurrence), id_)
        for id_, occurrence in wanted.items()
        if id_ in known and occurrence.confirmed is not None
    ]
    if moved:
        async with conn.cursor() as cursor:
            await cursor.executemany(
                "UPDATE event SET confirmed_at = %s, confirmed_seq = %s WHERE id = %s "
                "AND (confirmed_at, confirmed_seq) IS DISTINCT FROM (%s, %s)",
                [(at, seq, id_, at, seq) for at, seq, id_ in moved],
            )


async def _put(
    conn: Connection,
    tenant_id: int,
    tenant: str,
    changes: list[tuple[UUID, Occurrence, int, bool]],
) -> list[EventRecord]:
    taken = await conn.execute(_TAKE_CURSORS, (len(changes), tenant_id))
    row = await taken.fetchone()
    assert row is not None  # noqa: S101 -- tenant rows are never deleted
    last, recorded_at = row
    records, rows = [], []
    for cursor, (id_, occurrence, revision, late) in enumerate(changes, last - len(changes) + 1):
        rows.append(
            (
                id_, tenant_id, cursor, occurrence.type, occurrence.subject,
                occurrence.device_id, from_us(occurrence.time_us), *_confirmed(occurrence),
                recorded_at, revision, occurrence.status, late, Jsonb(occurrence.data),
            )
        )  # fmt: skip
        records.append(
            EventRecord(
                id=str(id_),
                tenant=tenant,
                type=occurrence.type,
                subject=occurrence.subject,
                time_us=occurrence.time_us,
                recorded_at_us=to_us(recorded_at),
                revision=revision,
                status=occurrence.status,
                late=late,
                cursor=cursor,
                data=occurrence.data,
            )
        )
    async with conn.cursor() as writer:
        await writer.executemany(_PUT, rows)
    return records


def _confirmed(occurrence: Occurrence) -> tuple[datetime | None, int | None]:
    if occurrence.confirmed is None:
        return None, None
    time_us, seq = occurrence.confirmed
    return from_us(time_us), seq


async def confirmed_after(
    conn: Connection, device_id: int, after_us: int, after_seq: int
) -> list[Occurrence]:
    """The active events the fold raised of a device behind the given key."""
    cursor = await conn.execute(
        "SELECT t.name, e.tenant_id, e.subject, e.type, e.time, e.data, e.confirmed_at, "
        "e.confirmed_seq FROM event e JOIN tenant t ON t.id = e.tenant_id "
        "WHERE device_id = %s AND status = 'active' "
        "AND (confirmed_at, confirmed_seq) > (%s, %s)",
        (device_id, from_us(max(after_us, EARLIEST_US)), after_seq),
    )
    return [
        Occurrence(
            tenant=tenant,
            tenant_id=tenant_id,
            subject=subject,
            type=type_,
            time_us=to_us(time),
            data=data,
            device_id=device_id,
            confirmed=(to_us(at), seq),
        )
        async for tenant, tenant_id, subject, type_, time, data, at, seq in cursor
    ]
