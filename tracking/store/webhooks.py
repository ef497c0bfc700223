"""Targets as people see them: made, changed, removed, and how they fare."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from tracking.store.audit import record
from tracking.store.connection import Connection
from tracking.store.events import feed_cursor
from tracking.webhooks import Webhook

_decoder = msgspec.json.Decoder(Webhook)

_SELECT = """
SELECT w.number, w.version, w.body::text, w.secrets, w.enabled, w.disabled_reason, w.created_at,
    w.updated_at, w.updated_by, t.feed_cursor - p.cursor, p.cursor, p.failing_since,
    p.last_success_at, p.last_failure_at, p.last_failure,
    (SELECT count(*) FROM webhook_head h WHERE h.webhook_number = w.number),
    (SELECT count(*) FROM webhook_delivery d
     WHERE d.webhook_number = w.number AND d.state = 'dead')
FROM webhook w JOIN webhook_progress p ON p.webhook_number = w.number
JOIN tenant t ON t.id = w.tenant_id
WHERE w.tenant_id = %(tenant_id)s
"""

MAX_PER_TENANT = 200
# The longest that one takes to commit.
_TRANSACTION = timedelta(seconds=60)
# Of progress: the holder finishes what is under way and reads everything anew.
_NUDGE = "UPDATE webhook_progress SET nudge = nudge + 1, due_at = now()"


class Fares(NamedTuple):
    """How a target fares. `backlog` is the number of events it has not looked at."""

    backlog: int
    cursor: int
    failing_since: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_failure: str | None
    retrying_subjects: int
    dead_letters: int


class StoredWebhook(NamedTuple):
    """A target as it is kept, its secrets sealed."""

    number: int
    version: int
    webhook: Webhook
    sealed: bytes
    enabled: bool
    disabled_reason: str | None
    created_at: datetime
    updated_at: datetime
    updated_by: str | None
    fares: Fares


async def create_webhook(
    conn: Connection,
    tenant_id: int,
    webhook: Webhook,
    sealed: bytes,
    *,
    enabled: bool,
    author: str,
) -> StoredWebhook | None:
    """Make a target that follows what is recorded from now on.

    None when its id is taken, or the tenant has as many as it may.
    """
    async with conn.transaction():
        made = await conn.execute(
            "INSERT INTO webhook (tenant_id, id, body, secrets, enabled, updated_by) "
            "SELECT %s, %s, %s::jsonb, %s, %s, %s WHERE "
            "(SELECT count(*) FROM webhook WHERE tenant_id = %s) < %s "
            "ON CONFLICT DO NOTHING RETURNING number",
            (
                tenant_id, webhook.id, _body(webhook), sealed, enabled, author, tenant_id,
                MAX_PER_TENANT,
            ),
        )  # fmt: skip
        row = await made.fetchone()
        if row is None:
            return None
        await conn.execute(
            "INSERT INTO webhook_progress (webhook_number, tenant_id, cursor) "
            "SELECT %s, id, feed_cursor FROM tenant WHERE id = %s",
            (row[0], tenant_id),
        )
        return await get_webhook(conn, tenant_id, webhook.id)


async def get_webhook(conn: Connection, tenant_id: int, id_: str) -> StoredWebhook | None:
    """One target."""
    found = await conn.execute(_SELECT + "AND w.id = %(id)s", {"tenant_id": tenant_id, "id": id_})
    row = await found.fetchone()
    return None if row is None else _stored(row)


async def list_webhooks(
    conn: Connection, tenant_id: int, *, after: str | None, limit: int
) -> list[StoredWebhook]:
    """Targets by id, at most `limit`, those behind the id `after`."""
    found = await conn.execute(
        _SELECT + "AND (%(after)s::text IS NULL OR w.id > %(after)s) ORDER BY w.id LIMIT %(limit)s",
        {"tenant_id": tenant_id, "after": after, "limit": limit},
    )
    return [_stored(row) async for row in found]


async def save_webhook(
    conn: Connection,
    tenant_id: int,
    webhook: Webhook,
    sealed: bytes,
    *,
    enabled: bool,
    author: str,
    version: int,
) -> StoredWebhook | None:
    """Change a target that still has this version; None if it has another, or is gone.

    One that is enabled again goes on where it stopped, with all its retries due.
    """
    async with conn.transaction():
        saved = await conn.execute(
            "UPDATE webhook SET body = %s::jsonb, secrets = %s, enabled = %s, updated_by = %s, "
            "disabled_reason = CASE WHEN %s THEN NULL ELSE disabled_reason END, "
            "version = version + 1, updated_at = now() "
            "WHERE tenant_id = %s AND id = %s AND version = %s RETURNING number",
            (_body(webhook), sealed, enabled, author, enabled, tenant_id, webhook.id, version),
        )
        row = await saved.fetchone()
        if row is None:
            return None
        await conn.execute(
            _NUDGE + ", failures = 0, failing_since = NULL WHERE webhook_number = %s", (row[0],)
        )
        await conn.execute(
            "UPDATE webhook_head SET due_at = now() WHERE webhook_number = %s", (row[0],)
        )
        return await get_webhook(conn, tenant_id, webhook.id)


async def delete_webhook(conn: Connection, tenant_id: int, id_: str) -> bool:
    """Remove a target with all that is known of it; False when there is none."""
    async with conn.transaction():
        # Its deliverer locks this row first, too.
        await conn.execute(
            "SELECT 1 FROM webhook_progress p JOIN webhook w ON w.number = p.webhook_number "
            "WHERE w.tenant_id = %s AND w.id = %s FOR UPDATE OF p",
            (tenant_id, id_),
        )
        gone = await conn.execute(
            "DELETE FROM webhook WHERE tenant_id = %s AND id = %s", (tenant_id, id_)
        )
        return gone.rowcount > 0


async def move_cursor(
    conn: Connection, tenant_id: int, stored: StoredWebhook, since: int | datetime
) -> int | None:
    """Have everything behind a cursor, or recorded since a time, delivered (again), in order.

    Returns the cursor; None when it is ahead of all events. Retries under way are forgotten, as
    their events come again or are to be skipped.
    """
    async with conn.transaction():
        last = await feed_cursor(conn, tenant_id)
        cursor = since
        if isinstance(cursor, datetime):
            cursor = await _cursor_at(conn, tenant_id, cursor, last)
        if cursor > last:
            return None
        await conn.execute(
            _NUDGE + ", epoch = epoch + 1, cursor = %s, failures = 0, failing_since = NULL "
            "WHERE webhook_number = %s",
            (cursor, stored.number),
        )
        await conn.execute("DELETE FROM webhook_head WHERE webhook_number = %s", (stored.number,))
        await conn.execute(
            "UPDATE webhook_delivery SET state = 'superseded', due_at = NULL "
            "WHERE webhook_number = %s AND state = 'retrying'",
            (stored.number,),
        )
        await record(conn, "replay", "webhooks", stored.webhook.id, {"cursor": cursor})
        return cursor


async def nudge(conn: Connection, number: int) -> None:
    """Have whoever delivers look for what was asked for."""
    await conn.execute(_NUDGE + " WHERE webhook_number = %s", (number,))


async def _cursor_at(conn: Connection, tenant_id: int, moment: datetime, last: int) -> int:
    """A cursor such that everything recorded since `moment` is behind it, found by halving.

    An event has the time its transaction started and the cursor of its end, so a little of what
    was recorded before may be behind it, too.
    """
    moment -= _TRANSACTION
    low, high = 0, last
    while low < high:
        middle = (low + high) // 2
        found = await conn.execute(
            "SELECT recorded_at, cursor FROM event WHERE tenant_id = %s AND cursor > %s "
            "ORDER BY cursor LIMIT 1",
            (tenant_id, middle),
        )
        row = await found.fetchone()
        if row is None or row[0] >= moment:
            high = middle
        else:
            low = row[1]
    return low


def _body(webhook: Webhook) -> str:
    return msgspec.json.encode(webhook).decode()


def _stored(row: tuple[Any, ...]) -> StoredWebhook:
    (number, version, body, sealed, enabled, reason, created_at, updated_at, updated_by,
     *fares) = row  # fmt: skip
    return StoredWebhook(
        number, version, _decoder.decode(body), bytes(sealed), enabled, reason, created_at,
        updated_at, updated_by, Fares(*fares),
    )  # fmt: skip
