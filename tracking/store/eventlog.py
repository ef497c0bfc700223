"""Writing events: each id once, every change a revision, cursors in commit order."""

from collections import defaultdict
from collections.abc import Sequence
from hashlib import sha1
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import numpy as np

from tracking.feed import EventRecord, Origin
from tracking.fold import Fact
from tracking.store.arrays import (
    Bools,
    Column,
    FixedUuids,
    Int4s,
    Int8s,
    Rows,
    Texts,
    Times,
    Uuids,
    VaryingColumn,
)
from tracking.store.connection import Connection, type_oid
from tracking.times import EARLIEST_US, from_us, iso, to_us

# The root of every event id.
_NAMESPACE = UUID("6d1c1f5e-7c0a-5d0e-9a55-77617961726b").bytes


class Occurrence(msgspec.Struct, frozen=True):
    """An event as its source states it; what the log adds is cursor, revision and time of record.

    `confirmed` is the key (time_us, seq) of the fix that made the fold sure, None for events
    that are not the fold's. `late` tells that a repair found it, `quiet` that no rule is to judge
    what a backfill brought about.
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
    origin: Origin = "live"
    quiet: bool = False

    def retracted(self) -> "Occurrence":
        """The same event, taken back."""
        return msgspec.structs.replace(self, status="retracted", late=True)

    def backfilled(self, *, quiet: bool) -> "Occurrence":
        """The same event, told by a history that was brought in."""
        return msgspec.structs.replace(self, origin="backfill", quiet=quiet)

    @property
    def id(self) -> UUID:
        """Deterministic: the same fact has the same id, whoever finds it and however often."""
        return UUID(bytes=self.id_bytes)

    @property
    def id_bytes(self) -> bytes:
        """The sixteen bytes of `id`: its UUIDv5, RFC 9562 5.5, in 1.5 us instead of 4."""
        name = "\0".join((self.tenant, self.subject, self.type, self.rule, iso(self.time_us)))
        digest = bytearray(sha1(_NAMESPACE + name.encode(), usedforsecurity=False).digest()[:16])
        digest[6] = digest[6] & 0x0F | 0x50
        digest[8] = digest[8] & 0x3F | 0x80
        return bytes(digest)


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
        rule: str = "",
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
            rule=rule,
            late=late,
        )

    def of_fact(self, fact: Fact, *, late: bool = False) -> Occurrence:
        """An event the fold of this device raised."""
        confirmed = (fact.confirmed_us, fact.confirmed_seq)
        return self.occurrence(
            fact.type, fact.time_us, fact.data, confirmed=confirmed, rule=fact.rule, late=late
        )


_KNOWN = """
SELECT id, status, data, revision, late, confirmed_at, confirmed_seq, origin FROM event
WHERE id = ANY(%s)
"""

_TAKE_CURSORS = """
UPDATE tenant SET feed_cursor = feed_cursor + %s WHERE id = %s RETURNING feed_cursor, now()
"""

_PUT = """
INSERT INTO event (id, tenant_id, cursor, type, subject, device_id, time, confirmed_at,
                   confirmed_seq, recorded_at, revision, status, late, data, rule)
SELECT id, %s, cursor, type, subject, NULLIF(device_id, -1), time,
       NULLIF(confirmed_at, 'epoch'), CASE WHEN confirmed_at <> 'epoch' THEN confirmed_seq END,
       %s, revision, status, late, data::jsonb, rule
FROM unnest(%s::ingest_event[])
ON CONFLICT (id) DO UPDATE SET
    cursor = excluded.cursor, confirmed_at = excluded.confirmed_at,
    confirmed_seq = excluded.confirmed_seq, recorded_at = excluded.recorded_at,
    revision = excluded.revision, status = excluded.status, late = excluded.late,
    data = excluded.data
"""

# Of events that are new: what was told before by another way stays as it was.
_MARK = """
UPDATE event SET origin = 'backfill', quiet = u.quiet
FROM unnest(%s, %s) u(id, quiet) WHERE event.id = u.id
"""

_RECONFIRM = """
UPDATE event e SET confirmed_at = u.confirmed_at, confirmed_seq = u.confirmed_seq
FROM unnest(%s, %s, %s) u(id, confirmed_at, confirmed_seq) WHERE e.id = u.id
"""


class _Change(NamedTuple):
    id: bytes
    occurrence: Occurrence
    revision: int
    late: bool
    origin: Origin


async def write_events(conn: Connection, occurrences: Sequence[Occurrence]) -> list[EventRecord]:
    """Write what is new or different; return the records to publish, in cursor order.

    An id seen before with the same data is left alone; with other data or status it becomes the
    next revision and moves to a new cursor. A retraction of an unknown event is nothing.

    Must be the last write of its transaction: from here to the commit the tenant's row is
    locked, which is what makes cursor order commit order.
    """
    wanted = {occurrence.id_bytes: occurrence for occurrence in occurrences}
    if not wanted:
        return []
    cursor = await conn.execute(_KNOWN, (Uuids(list(wanted)),))
    known = {row[0].bytes: row[1:] for row in await cursor.fetchall()}
    changed: dict[tuple[int, str], list[_Change]] = defaultdict(list)
    reconfirmed: list[tuple[bytes, int, int]] = []
    for id_, occurrence in wanted.items():
        of_tenant = changed[occurrence.tenant_id, occurrence.tenant]
        if id_ not in known:
            if occurrence.status == "active":
                of_tenant.append(_Change(id_, occurrence, 1, occurrence.late, occurrence.origin))
            continue
        status, data, revision, late, confirmed_at, confirmed_seq, origin = known[id_]
        if (status, data) != (occurrence.status, occurrence.data):
            late = late or occurrence.late
            of_tenant.append(_Change(id_, occurrence, revision + 1, late, origin or "live"))
        elif occurrence.confirmed and confirmed_at:
            confirmed = (to_us(confirmed_at), confirmed_seq)
            if confirmed != occurrence.confirmed:
                reconfirmed.append((id_, *occurrence.confirmed))
    await _reconfirm(conn, reconfirmed)
    records = []
    # In one order, so that two writers of several tenants cannot deadlock.
    for (tenant_id, tenant), changes in sorted(changed.items()):
        records += await _put(conn, tenant_id, tenant, changes)
    return records


async def _reconfirm(conn: Connection, events: Sequence[tuple[bytes, int, int]]) -> None:
    """Keep the confirming fix of unchanged events current: a repair selects by it."""
    if events:
        ids, times, seqs = zip(*events, strict=True)
        await conn.execute(_RECONFIRM, (Uuids(ids), Times(times), Int8s(seqs)))


async def _put(
    conn: Connection, tenant_id: int, tenant: str, changes: list[_Change]
) -> list[EventRecord]:
    if not changes:
        return []
    taken = await conn.execute(_TAKE_CURSORS, (len(changes), tenant_id))
    row = await taken.fetchone()
    assert row is not None  # noqa: S101 -- tenant rows are never deleted
    last, recorded_at = row
    cursors = range(last - len(changes) + 1, last + 1)
    await conn.execute(_PUT, (tenant_id, recorded_at, _rows(conn, changes, cursors)))
    await _mark(conn, [c for c in changes if c.revision == 1 and c.origin != "live"])
    recorded_at_us = to_us(recorded_at)
    return [
        EventRecord(
            id=_hyphened(change.id),
            tenant=tenant,
            type=change.occurrence.type,
            subject=change.occurrence.subject,
            time_us=change.occurrence.time_us,
            recorded_at_us=recorded_at_us,
            revision=change.revision,
            status=change.occurrence.status,
            late=change.late,
            cursor=cursor,
            data=change.occurrence.data,
            origin=change.origin,
        )
        for cursor, change in zip(cursors, changes, strict=True)
    ]


async def _mark(conn: Connection, changes: Sequence[_Change]) -> None:
    if changes:
        quiet = np.array([change.occurrence.quiet for change in changes])
        await conn.execute(_MARK, (Uuids([change.id for change in changes]), Bools(quiet)))


def _rows(conn: Connection, changes: Sequence[_Change], cursors: Sequence[int]) -> Rows:
    """The changes as an array of `ingest_event`."""
    occurrences = [change.occurrence for change in changes]
    # The epoch stands for "not the fold's": no reading is that old.
    confirmed = [occurrence.confirmed or (0, 0) for occurrence in occurrences]
    fixed: list[Column] = [
        (FixedUuids, np.frombuffer(b"".join([change.id for change in changes]), "V16")),
        (Int8s, np.array(cursors)),
        (Int8s, np.array([-1 if o.device_id is None else o.device_id for o in occurrences])),
        (Times, np.array([occurrence.time_us for occurrence in occurrences])),
        (Times, np.array([time_us for time_us, _ in confirmed])),
        (Int8s, np.array([seq for _, seq in confirmed])),
        (Int4s, np.array([change.revision for change in changes])),
        (Bools, np.array([change.late for change in changes])),
    ]
    varying: list[VaryingColumn] = [
        (Texts, [occurrence.type.encode() for occurrence in occurrences]),
        (Texts, [occurrence.subject.encode() for occurrence in occurrences]),
        (Texts, [occurrence.status.encode() for occurrence in occurrences]),
        (Texts, [msgspec.json.encode(occurrence.data) for occurrence in occurrences]),
        (Texts, [occurrence.rule.encode() or None for occurrence in occurrences]),
    ]
    return Rows(type_oid(conn, "ingest_event"), fixed, varying)


def _hyphened(id_: bytes) -> str:
    text = id_.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


async def confirmed_after(
    conn: Connection, device_id: int, after_us: int, after_seq: int
) -> list[Occurrence]:
    """The active events the fold raised of a device behind the given key."""
    cursor = await conn.execute(
        "SELECT t.name, e.tenant_id, e.subject, e.type, e.time, e.data, e.confirmed_at, "
        "e.confirmed_seq, coalesce(e.rule, '') FROM event e JOIN tenant t ON t.id = e.tenant_id "
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
            rule=rule,
        )
        async for tenant, tenant_id, subject, type_, time, data, at, seq, rule in cursor
    ]
