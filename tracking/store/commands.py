"""Commands to devices: queued by people, published by workers, ended by answers and by time.

A command's row is locked before the tenant's, which `write_events` takes last. Whoever changes
commands of several devices leaves out those that are locked, so nobody waits in a circle.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from tracking.commands import (
    LATE,
    MAX_QUEUED,
    Command,
    Downlink,
    State,
    Word,
    after_answer,
    event_data,
)
from tracking.errors import Conflict
from tracking.feed import EventRecord
from tracking.store.connection import Connection
from tracking.store.eventlog import Device, Occurrence, write_events
from tracking.times import from_us, to_us

# A worker that died while publishing leaves its commands to others after this.
LEASE_S = 15.0

_COLUMNS = (
    "c.id, d.name, c.name, c.payload::text, c.state, c.timeout_s, c.created_at, c.created_by, "
    "c.expires_at, c.attempts_n, c.sent_at, c.delivered_at, c.answered_at, c.ended_at, "
    "c.result::text"
)
_FROM = " FROM command c JOIN device d ON d.id = c.device_id "
# Whom and what an event is about.
_TOLD = "t.name, t.id, d.name, d.id, c.id, c.name"


class NewCommand(NamedTuple):
    """What to queue. `id` is the caller's, so that asking twice queues once."""

    id: UUID
    name: str
    payload: bytes
    author: str
    timeout_s: float
    ttl_s: float


class Answer(NamedTuple):
    """A device's word on a command; `result` is JSON text."""

    device: Device
    command: UUID
    word: Word
    result: bytes | None
    at_us: int


async def queue_command(
    conn: Connection, tenant: tuple[int, str], device: str, new: NewCommand
) -> tuple[Command, list[EventRecord]] | None:
    """Queue a command; None when there is no such device.

    Raises:
        Conflict: too many wait for this device.
    """
    tenant_id, tenant_name = tenant
    async with conn.transaction():
        found = await conn.execute(
            "SELECT d.id, (SELECT count(*) FROM command c WHERE c.device_id = d.id "
            "AND c.state = 'queued') FROM device d WHERE d.tenant_id = %s AND d.name = %s",
            (tenant_id, device),
        )
        row = await found.fetchone()
        if row is None:
            return None
        device_id, waiting = row
        if waiting >= MAX_QUEUED:
            raise Conflict(f"{waiting} commands wait for device {device!r} already")
        made = await conn.execute(
            "INSERT INTO command (id, tenant_id, device_id, name, payload, timeout_s, created_by, "
            "expires_at, due_at) SELECT %s, %s, %s, %s, %s::jsonb, %s, %s, ends, ends "
            "FROM (SELECT now() + make_interval(secs => %s)) e(ends) "
            "ON CONFLICT (id) DO NOTHING RETURNING created_at",
            (
                new.id,
                tenant_id,
                device_id,
                new.name,
                new.payload.decode(),
                new.timeout_s,
                new.author,
                new.ttl_s,
            ),
        )
        created = await made.fetchone()
        command = await get_command(conn, tenant_id, device, new.id)
        assert command is not None  # noqa: S101 -- made just now, or by the run before this
        if created is None:
            return command, []
        about = Device(tenant_name, tenant_id, device, device_id)
        event = _occurrence(about, (new.id, new.name), "queued", to_us(created[0]))
        return command, await write_events(conn, [event])


async def get_command(conn: Connection, tenant_id: int, device: str, id_: UUID) -> Command | None:
    """One command of a device."""
    cursor = await conn.execute(
        f"SELECT {_COLUMNS}{_FROM}WHERE d.tenant_id = %s AND d.name = %s AND c.id = %s",
        (tenant_id, device, id_),
    )
    row = await cursor.fetchone()
    return None if row is None else _command(row)


async def list_commands(
    conn: Connection,
    tenant_id: int,
    device: str,
    *,
    states: Sequence[str] | None,
    before: int | None,
    limit: int,
) -> list[tuple[int, Command]] | None:
    """(number, command) of a device, the latest first; None when there is no such device."""
    cursor = await conn.execute(
        "SELECT id FROM device WHERE tenant_id = %s AND name = %s", (tenant_id, device)
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    cursor = await conn.execute(
        f"SELECT c.number, {_COLUMNS}{_FROM}WHERE c.device_id = %(device)s "
        "AND (%(before)s::bigint IS NULL OR c.number < %(before)s) "
        "AND (%(states)s::text[] IS NULL OR c.state = ANY(%(states)s)) "
        "ORDER BY c.number DESC LIMIT %(limit)s",
        {
            "device": row[0],
            "before": before,
            "states": None if states is None else list(states),
            "limit": limit,
        },
    )
    return [(found[0], _command(found[1:])) async for found in cursor]


async def cancel_command(
    conn: Connection, tenant_id: int, device: str, id_: UUID
) -> list[EventRecord] | None:
    """Cancel a queued command; None when there is none. Cancelling twice is harmless.

    Raises:
        Conflict: it is being sent, or was.
    """
    async with conn.transaction():
        cursor = await conn.execute(
            f"SELECT c.state, c.leased_until > now(), {_TOLD}{_FROM}"
            "JOIN tenant t ON t.id = c.tenant_id "
            "WHERE d.tenant_id = %s AND d.name = %s AND c.id = %s FOR UPDATE OF c",
            (tenant_id, device, id_),
        )
        row = await cursor.fetchone()
        if row is None:
            return None
        state, leased, *about = row
        if state == "cancelled":
            return []
        if state != "queued" or leased:
            raise Conflict(
                "this command is being sent" if leased else f"this command is {state} already"
            )
        ended = await conn.execute(
            "UPDATE command SET state = 'cancelled', ended_at = now(), due_at = NULL "
            "WHERE id = %s RETURNING ended_at",
            (id_,),
        )
        return await write_events(conn, _told(tuple(about), "cancelled", await ended.fetchone()))


_TAKE = """
WITH ready AS (
    SELECT c.id FROM command c JOIN device_state s ON s.device_id = c.device_id
    WHERE s.online IS NOT FALSE
      AND (c.leased_until IS NULL OR c.leased_until < now())
      AND (
        -- One at a time and the oldest first, so that a device gets them in order.
        (c.state = 'queued' AND c.expires_at > now() AND c.number = (
            SELECT min(first.number) FROM command first
            WHERE first.device_id = c.device_id AND first.state = 'queued'))
        -- The connection it was sent on is gone, and may have taken it along.
        OR (c.state = 'sent' AND s.online_at > c.attempted_at)
      )
    ORDER BY c.number LIMIT %(limit)s FOR UPDATE OF c SKIP LOCKED
)
UPDATE command c SET attempts_n = c.attempts_n + 1, attempted_at = clock_timestamp(),
    leased_until = now() + make_interval(secs => %(lease_s)s)
FROM ready, device d, tenant t
WHERE c.id = ready.id AND d.id = c.device_id AND t.id = c.tenant_id
RETURNING c.id, t.name, d.name, c.name, c.payload::text, c.expires_at
"""

_SENT = f"""
WITH published AS (
    SELECT id FROM command WHERE id = ANY(%(ids)s) FOR UPDATE SKIP LOCKED
), released AS (
    UPDATE command c SET leased_until = NULL FROM published p
    WHERE c.id = p.id AND c.state <> 'queued'
)
UPDATE command c SET state = 'sent', sent_at = now(), leased_until = NULL,
    due_at = now() + make_interval(secs => c.timeout_s)
FROM published p, device d, tenant t
WHERE c.id = p.id AND c.state = 'queued' AND d.id = c.device_id AND t.id = c.tenant_id
RETURNING {_TOLD}, c.sent_at
"""  # noqa: S608 -- our own names


async def take_downlinks(conn: Connection, limit: int) -> list[Downlink]:
    """Commands to be published now, which for a while are nobody else's to publish."""
    cursor = await conn.execute(_TAKE, {"limit": limit, "lease_s": LEASE_S})
    return [
        Downlink(id_, tenant, device, name, payload.encode(), to_us(expires_at))
        async for id_, tenant, device, name, payload, expires_at in cursor
    ]


async def downlinks_sent(conn: Connection, ids: Sequence[UUID]) -> list[EventRecord]:
    """Note that the broker has them; those that were answered meanwhile stay as they are."""
    async with conn.transaction():
        cursor = await conn.execute(_SENT, {"ids": list(ids)})
        rows = await cursor.fetchall()
        events = [event for row in rows for event in _told(row[:-1], "sent", row[-1:])]
        return await write_events(conn, events)


async def downlinks_unsent(conn: Connection, ids: Sequence[UUID]) -> None:
    """Let anybody publish them: the broker does not have them, or nobody knows."""
    await conn.execute("UPDATE command SET leased_until = NULL WHERE id = ANY(%s)", (list(ids),))


async def settle_answers(
    conn: Connection, answers: Sequence[Answer]
) -> tuple[list[Occurrence], list[int]]:
    """Take what devices said of their commands: the events, and which answers are to no command.

    Part of the transaction that holds the devices' rows.
    """
    occurrences: list[Occurrence] = []
    unknown = []
    for at, answer in enumerate(answers):
        cursor = await conn.execute(
            "SELECT name, state FROM command WHERE id = %s AND device_id = %s FOR UPDATE",
            (answer.command, answer.device.device_id),
        )
        row = await cursor.fetchone()
        if row is None:
            unknown.append(at)
            continue
        name, before = row
        state = after_answer(before, answer.word)
        if state is None and before not in LATE:
            continue
        await _keep(conn, answer, state)
        if state is not None:
            about = answer.command, name
            occurrences.append(
                _occurrence(answer.device, about, state, answer.at_us, answer.result)
            )
    return occurrences, unknown


async def _keep(conn: Connection, answer: Answer, state: State | None) -> None:
    await conn.execute(
        "UPDATE command SET state = coalesce(%(state)s, state), answered_at = %(at)s, "
        "delivered_at = coalesce(delivered_at, %(at)s), leased_until = NULL, "
        "ended_at = CASE WHEN %(ends)s THEN %(at)s ELSE ended_at END, "
        # A command whose answer overtook the broker's acknowledgement has its time from here.
        "due_at = CASE WHEN %(ends)s THEN NULL WHEN state = 'queued' THEN "
        "%(at)s + make_interval(secs => timeout_s) ELSE due_at END, "
        "sent_at = coalesce(sent_at, attempted_at), "
        "result = coalesce(%(result)s::jsonb, result) WHERE id = %(id)s",
        {
            "state": state,
            "at": from_us(answer.at_us),
            "ends": state in {"succeeded", "failed"},
            "result": None if answer.result is None else answer.result.decode(),
            "id": answer.command,
        },
    )


_ELAPSE = f"""
WITH due AS (
    SELECT id, state FROM command WHERE due_at <= now() AND (leased_until IS NULL
        OR leased_until < now()) ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED
)
UPDATE command c SET ended_at = c.due_at, due_at = NULL, leased_until = NULL,
    state = CASE WHEN due.state = 'queued' THEN 'expired' ELSE 'timed_out' END
FROM due, device d, tenant t
WHERE c.id = due.id AND d.id = c.device_id AND t.id = c.tenant_id
RETURNING {_TOLD}, c.state, c.ended_at
"""  # noqa: S608 -- our own names


async def elapse_commands(conn: Connection, limit: int) -> list[Occurrence]:
    """End what was not sent or not answered in time; each is found by one monitor."""
    cursor = await conn.execute(_ELAPSE, (limit,))
    rows = await cursor.fetchall()
    return [event for row in rows for event in _told(row[:-2], row[-2], row[-1:])]


def _told(
    about: tuple[Any, ...], state: State, moment: tuple[datetime, ...] | None
) -> list[Occurrence]:
    """The event of a row that begins with `_TOLD`."""
    assert moment is not None  # noqa: S101 -- the row was locked, so it was there to change
    *device, id_, name = about
    return [_occurrence(Device(*device), (id_, name), state, to_us(moment[0]))]


def _occurrence(
    device: Device,
    command: tuple[UUID, str],
    state: State,
    at_us: int,
    result: bytes | None = None,
) -> Occurrence:
    return device.occurrence(
        f"command.{state}", at_us, event_data(*command, state, result), rule=str(command[0])
    )


def _command(row: tuple[Any, ...]) -> Command:
    known = dict(zip(Command.__struct_fields__, row, strict=True))
    known["payload"] = _raw(known["payload"])
    known["result"] = _raw(known["result"] or "null")
    return Command(**known)


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())
