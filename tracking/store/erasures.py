"""Erasing a device or a person: asked for in one transaction, carried out in small ones."""

from datetime import timedelta
from typing import Literal, NamedTuple
from uuid import UUID

import msgspec
from psycopg import sql

from tracking.store.connection import Connection
from tracking.store.retention import remove_day
from tracking.times import Moment

Kind = Literal["device", "user"]

# Whoever had the device in hand when it was erased has committed by then: transactions of ingest
# take tens of milliseconds, and one that hangs is ended by the server after 60 s.
SETTLED_AFTER = timedelta(seconds=90)

_COLUMNS = "id, kind, subject, requested_at, requested_by, rows_n, finished_at, number"
_OF_TENANT = " FROM erasure WHERE tenant_id = %(tenant_id)s "


class Erasure(msgspec.Struct, frozen=True):
    """What was asked to be forgotten, and how far that is."""

    id: UUID
    kind: Kind
    subject: str
    requested_at: Moment
    requested_by: str | None
    rows_n: int
    finished_at: Moment | None
    number: int


async def erase_device(
    conn: Connection, tenant_id: int, device: str, author: str | None
) -> Erasure | None:
    """Take a device away at once and note that its history must go; None: no such device.

    A device that goes on sending is registered anew, without any of its past.
    """
    async with conn.transaction():
        # Its state goes along; a worker that has it in hand finishes first, or starts over.
        gone = await conn.execute(
            "DELETE FROM device WHERE tenant_id = %s AND name = %s RETURNING id",
            (tenant_id, device),
        )
        row = await gone.fetchone()
        if row is None:
            return None
        # By name alone, so a successor of this name must find them gone.
        await conn.execute(
            "DELETE FROM ledger_reason WHERE tenant_id = %s AND device = %s", (tenant_id, device)
        )
        await conn.execute(
            "DELETE FROM dead_letter WHERE tenant_id = %s AND device = %s", (tenant_id, device)
        )
        made = await conn.execute(
            "INSERT INTO erasure (tenant_id, kind, subject, subject_id, requested_by) "
            "VALUES (%s, 'device', %s, %s, %s) RETURNING " + _COLUMNS,
            (tenant_id, device, row[0], author),
        )
        return Erasure(*(await made.fetchone() or ()))


async def get_erasure(conn: Connection, tenant_id: int, erasure_id: UUID) -> Erasure | None:
    """One erasure."""
    found = await conn.execute(
        "SELECT " + _COLUMNS + _OF_TENANT + "AND id = %(id)s",
        {"tenant_id": tenant_id, "id": erasure_id},
    )
    row = await found.fetchone()
    return None if row is None else Erasure(*row)


async def list_erasures(
    conn: Connection, tenant_id: int, *, before: int | None, limit: int
) -> list[Erasure]:
    """Erasures, the latest first, at most `limit`, those before the number `before`."""
    found = await conn.execute(
        "SELECT "
        + _COLUMNS
        + _OF_TENANT
        + "AND (%(before)s::bigint IS NULL OR number < %(before)s) "
        "ORDER BY number DESC LIMIT %(limit)s",
        {"tenant_id": tenant_id, "before": before, "limit": limit},
    )
    return [Erasure(*row) async for row in found]


class _Table(NamedTuple):
    """A table that holds rows of devices; `timed` where they lie by device and time."""

    name: str
    timed: bool


async def erase_some(conn: Connection, *, settled_after: timedelta = SETTLED_AFTER) -> bool:
    """Do a part of the oldest erasure nobody else works on; whether there is more to do now.

    A part is a transaction of at most a day of one device's readings, or of one other table. An
    erasure is finished when a look at every table finds nothing, `settled_after` it was asked for:
    by then whoever had the device in hand has committed.
    """
    async with conn.transaction():
        found = await conn.execute(
            "SELECT id, subject_id, requested_at < now() - %s::interval "
            "FROM erasure WHERE finished_at IS NULL "
            "AND coalesce(checked_at, '-infinity') < now() - interval '10 seconds' "
            "ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED",
            (settled_after,),
        )
        row = await found.fetchone()
        if row is None:
            return False
        erasure_id, subject_id, settled = row
        removed = await _remove_part(conn, subject_id)
        found_any = removed or await _redact(conn, erasure_id)
        await conn.execute(
            "UPDATE erasure SET rows_n = rows_n + %(removed)s, "
            # What is found empty too early is looked at again a little later.
            "checked_at = CASE WHEN %(clean)s THEN now() END, "
            "finished_at = CASE WHEN %(done)s THEN now() END WHERE id = %(id)s",
            {
                "removed": removed,
                "clean": not found_any,
                "done": settled and not found_any,
                "id": erasure_id,
            },
        )
        return True


async def _remove_part(conn: Connection, device_id: int) -> int:
    for table in await _tables_of_devices(conn):
        remove = remove_day if table.timed else _remove_all
        removed = await remove(conn, table.name, device_id)
        if removed:
            return removed
    return 0


async def _redact(conn: Connection, erasure_id: UUID) -> int:
    """Take out of the audit log what a device was like; who did what to it when stays."""
    redacted = await conn.execute(
        "UPDATE audit_log a SET before = NULL, after = NULL FROM erasure e WHERE e.id = %s "
        "AND a.tenant_id = e.tenant_id AND a.noun = 'devices' AND a.key = e.subject "
        "AND a.at <= e.requested_at AND (a.before IS NOT NULL OR a.after IS NOT NULL)",
        (erasure_id,),
    )
    return redacted.rowcount


async def _tables_of_devices(conn: Connection) -> list[_Table]:
    """Every table with a column `device_id`: one made later is not forgotten."""
    found = await conn.execute(
        "SELECT c.relname, EXISTS (SELECT FROM pg_attribute t WHERE t.attrelid = c.oid "
        "  AND t.attname = 'fix_time' AND NOT t.attisdropped) "
        "FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
        "WHERE a.attname = 'device_id' AND NOT a.attisdropped AND c.relkind IN ('r', 'p') "
        "AND NOT c.relispartition AND c.relnamespace = current_schema::regnamespace "
        "ORDER BY c.relname"
    )
    return [_Table(*row) async for row in found]


async def _remove_all(conn: Connection, table: str, device_id: int) -> int:
    gone = await conn.execute(
        sql.SQL("DELETE FROM {} WHERE device_id = %s").format(sql.Identifier(table)), (device_id,)
    )
    return gone.rowcount
