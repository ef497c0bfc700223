"""Deliveries as people see them: what became of each message, and asking for one again."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from tracking.feed import EventRecord, encode_event
from tracking.store.asking import rows_where
from tracking.store.audit import record
from tracking.store.connection import Connection
from tracking.store.webhooks import StoredWebhook, nudge

# Of the deliveries asked for at once, so many are named in the audit log.
_TOLD = 100
_SELECT = (
    "SELECT d.number, d.message, d.event_id, d.type, d.subject, d.state, d.tries, d.started_at, "
    "d.due_at, d.recorded_at, d.attempts::text FROM webhook_delivery d"
)
_OF_WEBHOOK = "d.webhook_number = %(webhook)s"


class DeliveryFilter(NamedTuple):
    """Which deliveries; None leaves that question open."""

    state: str | None = None
    event: UUID | None = None
    type: str | None = None
    subject: str | None = None


class Delivery(NamedTuple):
    """What became of a message. `attempts` is JSON, the newest last."""

    number: int
    message: str
    event_id: UUID | None
    type: str
    subject: str
    state: str
    tries: int
    started_at: datetime | None
    due_at: datetime | None
    recorded_at: datetime
    attempts: msgspec.Raw


async def list_deliveries(
    conn: Connection, webhook: int, wanted: DeliveryFilter, *, before: int | None, limit: int
) -> list[Delivery]:
    """The newest first, those numbered below `before`."""
    asked = {
        "d.state = %(state)s": ("state", wanted.state),
        "d.event_id = %(event)s": ("event", wanted.event),
        "d.type = %(type)s": ("type", wanted.type),
        "d.subject = %(subject)s": ("subject", wanted.subject),
        "d.number < %(before)s": ("before", before),
    }
    found = await rows_where(
        conn,
        _SELECT,
        [_OF_WEBHOOK],
        asked,
        order="ORDER BY d.number DESC LIMIT %(limit)s",
        values={"webhook": webhook, "limit": limit},
    )
    return [_delivery(row) for row in found]


async def get_delivery(conn: Connection, webhook: int, number: int) -> Delivery | None:
    """One delivery."""
    found = await conn.execute(
        f"{_SELECT} WHERE {_OF_WEBHOOK} AND d.number = %(number)s",
        {"webhook": webhook, "number": number},
    )
    row = await found.fetchone()
    return None if row is None else _delivery(row)


async def replay_deliveries(
    conn: Connection, stored: StoredWebhook, *, number: int | None = None
) -> list[int]:
    """Have one message, or every dead letter, sent again beside the order; return the deliveries.

    An event is sent as it is now. A letter that is being retried is left to its retries, and one
    whose event is gone cannot be sent.
    """
    async with conn.transaction():
        made = await conn.execute(
            "INSERT INTO webhook_delivery (tenant_id, webhook_number, message, event_id, type, "
            "subject, state, tries, started_at, due_at) "
            "SELECT DISTINCT ON (e.id) d.tenant_id, d.webhook_number, e.id || '_' || e.revision, "
            "e.id, e.type, e.subject, 'waiting', 0, now(), now() "
            "FROM webhook_delivery d JOIN event e ON e.id = d.event_id "
            "WHERE d.webhook_number = %(webhook)s AND e.tenant_id = d.tenant_id "
            "AND CASE WHEN %(number)s::bigint IS NULL THEN d.state = 'dead' "
            "ELSE d.number = %(number)s END "
            "ON CONFLICT (webhook_number, message) DO UPDATE SET state = 'waiting', tries = 0, "
            "started_at = now(), due_at = now() WHERE webhook_delivery.state <> 'retrying' "
            "RETURNING number",
            {"webhook": stored.number, "number": number},
        )
        numbers = [row[0] for row in await made.fetchall()]
        if number is None:
            # Those whose event has a newer revision by now.
            await conn.execute(
                "UPDATE webhook_delivery SET state = 'superseded' "
                "WHERE webhook_number = %s AND state = 'dead' AND event_id IS NOT NULL",
                (stored.number,),
            )
        if numbers:
            await nudge(conn, stored.number)
            told = {"deliveries": numbers[:_TOLD], "n": len(numbers)}
            await record(conn, "replay", "webhooks", stored.webhook.id, told)
        return numbers


async def ask_for_test(
    conn: Connection, tenant_id: int, stored: StoredWebhook, event: EventRecord
) -> int:
    """Have an event that is in no log sent once; return its delivery."""
    async with conn.transaction():
        made = await conn.execute(
            "INSERT INTO webhook_delivery (tenant_id, webhook_number, message, type, subject, "
            "state, tries, started_at, due_at, body) "
            "VALUES (%s, %s, %s, %s, %s, 'waiting', 0, now(), now(), %s) RETURNING number",
            (
                tenant_id, stored.number, f"{event.id}_{event.revision}", event.type, event.subject,
                encode_event(event).decode(),
            ),
        )  # fmt: skip
        [number] = await made.fetchone() or (0,)
        await nudge(conn, stored.number)
        await record(conn, "test", "webhooks", stored.webhook.id)
        return int(number)


def _delivery(row: tuple[Any, ...]) -> Delivery:
    (number, message, event_id, type_, subject, state, tries, started_at, due_at, recorded_at,
     attempts) = row  # fmt: skip
    return Delivery(
        number, message, event_id, type_, subject, state, tries, started_at, due_at, recorded_at,
        msgspec.Raw(attempts.encode()),
    )  # fmt: skip
