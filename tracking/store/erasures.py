"""Erasing a device or a person: asked for in one transaction, carried out in small ones.

Of a device everything goes. Of a person the account goes, and the name wherever it stands for who
did something: what was done stays, by `erased user 17`.
"""

from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from uuid import UUID

import msgspec
from psycopg import sql

from tracking.store.connection import Connection
from tracking.store.dossier import Table, tables_of_devices
from tracking.store.retention import remove_day
from tracking.store.users import delete_user
from tracking.times import Moment

Kind = Literal["device", "user"]

# Whoever had the device in hand when it was erased has committed by then: transactions of ingest
# take tens of milliseconds, and one that hangs is ended by the server after 60 s.
SETTLED_AFTER = timedelta(seconds=90)

_COLUMNS = "id, kind, subject, requested_at, requested_by, rows_n, finished_at, number"
_OF_TENANT = " FROM erasure WHERE tenant_id = %(tenant_id)s "


# What a backfill told of readings it could not take.
_FORGET_REFUSED = (
    "UPDATE backfill SET refused = (SELECT coalesce(jsonb_agg(r), '[]') "
    "FROM jsonb_array_elements(refused) r WHERE r->>'device' IS DISTINCT FROM %(device)s) "
    "WHERE tenant_id = %(tenant_id)s "
    "AND refused @> jsonb_build_array(jsonb_build_object('device', %(device)s::text))"
)
_BY_NAME = (
    "DELETE FROM ledger_reason WHERE tenant_id = %(tenant_id)s AND device = %(device)s",
    "DELETE FROM dead_letter WHERE tenant_id = %(tenant_id)s AND device = %(device)s",
    _FORGET_REFUSED,
)


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
        # Ways begin where it was.
        await conn.execute(
            "DELETE FROM road_path p USING shipment s WHERE s.number = p.shipment_number "
            "AND s.tenant_id = %s AND s.devices @> ARRAY[%s::bigint]",
            (tenant_id, row[0]),
        )
        # It tells where the device was; what else carried them is followed anew.
        await conn.execute(
            "DELETE FROM shipment_route WHERE tenant_id = %s AND shipment_number IN "
            "(SELECT shipment_number FROM shipment_route_part WHERE device_id = %s)",
            (tenant_id, row[0]),
        )
        # So does an estimate; whoever is at it now is waited for.
        await conn.execute(
            "UPDATE shipment_eta SET estimate = NULL, device_id = NULL, fix_time = NULL "
            "WHERE tenant_id = %s AND (estimate ->> 'carrier')::bigint = %s",
            (tenant_id, row[0]),
        )
        # By name alone, so a successor of this name must find them gone.
        for statement in _BY_NAME:
            await conn.execute(statement, {"tenant_id": tenant_id, "device": device})
        return await _asked(conn, tenant_id, "device", device, row[0], author)


async def erase_person(
    conn: Connection, tenant_id: int, email: str, author: str | None
) -> Erasure | None:
    """Take an account away at once and note that the name must go; None: nobody knows the name.

    People of an OIDC provider have no account here; their names are in the audit log.

    Raises:
        Conflict: nobody could administer the tenant any more.
    """
    async with conn.transaction():
        found = await conn.execute(
            "SELECT (SELECT id FROM user_account WHERE tenant_id = %(tenant_id)s "
            "AND email = lower(%(name)s)), EXISTS (SELECT FROM audit_log "
            "WHERE tenant_id = %(tenant_id)s AND actor_name = %(name)s AND actor_kind <> 'key')",
            {"tenant_id": tenant_id, "name": email},
        )
        user_id, acted = await found.fetchone() or (None, False)
        if user_id is None and not acted:
            return None
        if user_id is not None:
            # As accounts write it, and so the audit log.
            email = email.lower()
            await delete_user(conn, tenant_id, user_id)
        return await _asked(conn, tenant_id, "user", email, user_id or 0, author)


async def _asked(  # noqa: PLR0917 -- the columns
    conn: Connection,
    tenant_id: int,
    kind: Kind,
    subject: str,
    subject_id: int,
    author: str | None,
) -> Erasure:
    made = await conn.execute(
        "INSERT INTO erasure (tenant_id, kind, subject, subject_id, requested_by) "
        "VALUES (%s, %s, %s, %s, %s) RETURNING " + _COLUMNS,
        (tenant_id, kind, subject, subject_id, author),
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


class _Due(NamedTuple):
    """An erasure to be carried out."""

    id: UUID
    kind: Kind
    tenant_id: int
    subject: str
    subject_id: int
    requested_at: datetime
    settled: bool

    @property
    def pseudonym(self) -> str:
        """What stands where the name was."""
        return f"erased user {self.subject_id or self.id}"


# In lines by them, and in lines about them.
_ACTED = (
    "UPDATE audit_log SET actor_name = %(erased)s, ip = NULL WHERE tenant_id = %(tenant_id)s "
    "AND actor_name = %(name)s AND actor_kind <> 'key'"
)
_ACTED_ON = (
    "UPDATE audit_log SET key = %(erased)s, before = NULL, after = NULL "
    "WHERE tenant_id = %(tenant_id)s AND noun IN ('users', 'auth') AND key = %(name)s"
)
# Rows name their authors too, and so do the copies of them that the log holds.
_COPIED = (
    "UPDATE audit_log SET before = replace(before::text, to_json(%(name)s::text)::text, "
    "to_json(%(erased)s::text)::text)::jsonb, after = replace(after::text, "
    "to_json(%(name)s::text)::text, to_json(%(erased)s::text)::text)::jsonb "
    "WHERE tenant_id = %(tenant_id)s AND noun <> 'privacy' AND strpos("
    "concat(before::text, after::text), to_json(%(name)s::text)::text) > 0"
)


async def erase_some(conn: Connection, *, settled_after: timedelta = SETTLED_AFTER) -> bool:
    """Do a part of the oldest erasure nobody else works on; whether there is more to do now.

    A part is a transaction of at most a day of one device's readings, or of one other table. An
    erasure is finished when a look at every table finds nothing, `settled_after` it was asked for:
    by then whoever had the device in hand has committed.
    """
    async with conn.transaction():
        found = await conn.execute(
            "SELECT id, kind, tenant_id, subject, subject_id, requested_at, "
            "requested_at < now() - %s::interval "
            "FROM erasure WHERE finished_at IS NULL "
            "AND coalesce(checked_at, '-infinity') < now() - interval '10 seconds' "
            "ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED",
            (settled_after,),
        )
        row = await found.fetchone()
        if row is None:
            return False
        due = _Due(*row)
        removed = await _remove_part(conn, due.subject_id) if due.kind == "device" else 0
        clean = not removed and not await (_redact if due.kind == "device" else _rename)(conn, due)
        await conn.execute(
            "UPDATE erasure SET rows_n = rows_n + %(removed)s, "
            # What is found empty too early is looked at again a little later.
            "checked_at = CASE WHEN %(clean)s THEN now() END, "
            "finished_at = CASE WHEN %(done)s THEN now() END WHERE id = %(id)s",
            {"removed": removed, "clean": clean, "done": due.settled and clean, "id": due.id},
        )
        if due.settled and clean and due.kind == "user":
            await _forget_name(conn, due)
        return True


async def _remove_part(conn: Connection, device_id: int) -> int:
    for table in await tables_of_devices(conn):
        if table.timed:
            removed = await remove_day(conn, table.name, device_id)
        else:
            removed = await _remove_all(conn, table, device_id)
        if removed:
            return removed
    return 0


async def _redact(conn: Connection, due: _Due) -> int:
    """Take out of the audit log what a device was like; who did what to it when stays.

    What became of telling webhooks about it is forgotten as well.
    """
    values = (due.tenant_id, due.subject, due.requested_at)
    told = await conn.execute(
        "DELETE FROM webhook_delivery WHERE tenant_id = %s AND subject = %s AND recorded_at <= %s",
        values,
    )
    waiting = await conn.execute(
        "DELETE FROM webhook_head WHERE tenant_id = %s AND subject = %s AND started_at <= %s",
        values,
    )
    redacted = await conn.execute(
        "UPDATE audit_log SET before = NULL, after = NULL WHERE tenant_id = %s "
        "AND noun = 'devices' AND key = %s AND at <= %s "
        "AND (before IS NOT NULL OR after IS NOT NULL)",
        (due.tenant_id, due.subject, due.requested_at),
    )
    return told.rowcount + waiting.rowcount + redacted.rowcount


async def _rename(conn: Connection, due: _Due) -> int:
    """Put `erased user 17` where the name is: as an author anywhere, and in the audit log."""
    values = {"tenant_id": due.tenant_id, "name": due.subject, "erased": due.pseudonym}
    renamed = 0
    for statement in (_ACTED, _ACTED_ON, _COPIED):
        renamed += (await conn.execute(statement, values)).rowcount
    found = await conn.execute(
        "SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
        "WHERE a.attname LIKE '%\\_by' AND a.atttypid = 'text'::regtype AND NOT a.attisdropped "
        "AND c.relkind IN ('r', 'p') AND NOT c.relispartition "
        "AND c.relnamespace = current_schema::regnamespace"
    )
    for table, column in await found.fetchall():
        authored = sql.SQL(
            "UPDATE {table} SET {column} = %(erased)s WHERE tenant_id = %(tenant_id)s "
            "AND {column} = %(name)s"
        ).format(table=sql.Identifier(table), column=sql.Identifier(column))
        renamed += (await conn.execute(authored, values)).rowcount
    return renamed


async def _forget_name(conn: Connection, due: _Due) -> None:
    """The erasure itself is the last to know the name."""
    await conn.execute("UPDATE erasure SET subject = %s WHERE id = %s", (due.pseudonym, due.id))
    await conn.execute(
        "UPDATE audit_log SET key = %s, after = NULL WHERE tenant_id = %s AND noun = 'privacy' "
        "AND key = %s",
        (f"user {due.pseudonym}", due.tenant_id, f"user {due.subject}"),
    )


async def _remove_all(conn: Connection, table: Table, device_id: int) -> int:
    statement = sql.SQL("DELETE FROM {} WHERE {} = %s").format(
        sql.Identifier(table.name), sql.Identifier(table.column)
    )
    gone = await conn.execute(statement, (device_id,))
    return gone.rowcount
