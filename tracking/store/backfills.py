"""Backfills: histories brought in, kept until they are worked in, and what became of them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec
import psycopg

from tracking.store.connection import Connection
from tracking.times import Moment

# Refused readings told one by one; of the rest how many, by reason. Dead letters have them all.
MAX_REFUSED = 1_000
# What nobody finished sending is forgotten after this.
_ABANDONED_S = 3_600.0


class RefusedReading(msgspec.Struct, frozen=True):
    """A reading that could not be taken: the line it came in, from 1, and why."""

    line: int
    device: str | None
    reason: str
    detail: str


class Backfill(msgspec.Struct, frozen=True):
    """A history that was brought in, and what became of it so far.

    Each reading is stored, a duplicate (it was there, or another reading of its key stays) or
    rejected. `refused` lists the first thousand rejected ones; `reasons` counts all.
    """

    id: str
    state: Literal["receiving", "queued", "running", "done"]
    alerts: bool
    created_at: Moment
    created_by: str
    started_at: Moment | None
    finished_at: Moment | None
    lines: int
    done_lines: int
    readings: int
    stored: int
    duplicate: int
    rejected: int
    events: int
    reasons: dict[str, int]
    refused: list[RefusedReading]


class BackfillKey(NamedTuple):
    """Where one stands in lists: the latest first."""

    created_at: datetime
    id: UUID


class Part(NamedTuple):
    """Whole lines of a backfill whose turn it is; `last` when none follow."""

    backfill_id: UUID
    tenant_id: int
    tenant: str
    alerts: bool
    number: int
    first_line: int
    payload: bytes
    last: bool


class Outcome(NamedTuple):
    """What became of one part."""

    lines: int
    readings: int
    stored: int
    duplicate: int
    events: int
    refused: Sequence[RefusedReading]


_COLUMNS = (
    "id, state, alerts, created_at, created_by, started_at, finished_at, lines, done_lines, "
    "readings, stored, duplicate, rejected, events, reasons, refused"
)

# The one that waits longest; another monitor's is skipped.
_NEXT = """
SELECT b.id, b.tenant_id, t.name, b.alerts, p.number, p.first_line, p.payload,
    NOT EXISTS (SELECT FROM backfill_part q WHERE q.backfill_id = b.id AND q.number > p.number)
FROM backfill b JOIN tenant t ON t.id = b.tenant_id
JOIN LATERAL (
    SELECT * FROM backfill_part p WHERE p.backfill_id = b.id ORDER BY p.number LIMIT 1) p ON true
WHERE b.state IN ('queued', 'running')
ORDER BY b.touched_at LIMIT 1 FOR UPDATE OF b SKIP LOCKED
"""

_NOTE = """
UPDATE backfill SET
    state = CASE WHEN %(last)s THEN 'done' ELSE 'running' END, touched_at = now(),
    started_at = coalesce(started_at, now()), finished_at = CASE WHEN %(last)s THEN now() END,
    done_lines = done_lines + %(lines)s, readings = readings + %(readings)s,
    stored = stored + %(stored)s, duplicate = duplicate + %(duplicate)s,
    rejected = rejected + %(rejected)s, events = events + %(events)s,
    reasons = (SELECT coalesce(jsonb_object_agg(reason, n), '{}') FROM (
        SELECT reason, sum(n) AS n FROM (
            SELECT key AS reason, value::bigint AS n FROM jsonb_each_text(reasons)
            UNION ALL SELECT key, value::bigint FROM jsonb_each_text(%(reasons)s::jsonb)) both_
        GROUP BY reason) summed),
    refused = CASE WHEN jsonb_array_length(refused) < %(most)s
        THEN refused || %(refused)s::jsonb ELSE refused END
WHERE id = %(id)s
"""


async def begin_backfill(conn: Connection, tenant_id: int, author: str, *, alerts: bool) -> UUID:
    """Make one to be filled with `add_part`."""
    found = await conn.execute(
        "INSERT INTO backfill (tenant_id, created_by, alerts) VALUES (%s, %s, %s) RETURNING id",
        (tenant_id, author, alerts),
    )
    row = await found.fetchone()
    assert row is not None  # noqa: S101 -- RETURNING
    id_: UUID = row[0]
    return id_


async def add_part(
    conn: Connection, tenant_id: int, id_: UUID, *, number: int, first_line: int, payload: bytes
) -> None:
    """Add whole lines; the same part twice is one."""
    await conn.execute(
        "INSERT INTO backfill_part (backfill_id, number, tenant_id, first_line, payload) "
        "VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (id_, number, tenant_id, first_line, payload),
    )


async def queue_backfill(
    conn: Connection, tenant_id: int, id_: UUID, *, lines: int, digest: bytes
) -> tuple[UUID, bool]:
    """Have it worked in, or find the one with the same content: its id, and whether it is new."""
    try:
        # What the caller's transaction has is not undone with it.
        async with conn.transaction():
            await conn.execute(
                "UPDATE backfill SET state = 'queued', lines = %s, digest = %s, touched_at = now() "
                "WHERE tenant_id = %s AND id = %s AND state = 'receiving'",
                (lines, digest, tenant_id, id_),
            )
    except psycopg.errors.UniqueViolation:
        found = await conn.execute(
            "SELECT id FROM backfill WHERE tenant_id = %s AND digest = %s", (tenant_id, digest)
        )
        row = await found.fetchone()
        await drop_backfill(conn, tenant_id, id_)
        return (id_ if row is None else row[0]), False
    return id_, True


async def drop_backfill(conn: Connection, tenant_id: int, id_: UUID) -> None:
    """Forget one that was not received whole."""
    await conn.execute(
        "DELETE FROM backfill WHERE tenant_id = %s AND id = %s AND state = 'receiving'",
        (tenant_id, id_),
    )


async def get_backfill(conn: Connection, tenant_id: int, id_: UUID) -> Backfill | None:
    """One by its id."""
    found = await conn.execute(
        f"SELECT {_COLUMNS} FROM backfill WHERE tenant_id = %s AND id = %s",  # noqa: S608
        (tenant_id, id_),
    )
    row = await found.fetchone()
    return None if row is None else _backfill(row)


async def list_backfills(
    conn: Connection, tenant_id: int, *, before: BackfillKey | None, limit: int
) -> list[Backfill]:
    """The latest first, those older than `before`; each without its `refused`."""
    found = await conn.execute(
        f"SELECT {_COLUMNS} FROM backfill WHERE tenant_id = %(tenant_id)s "  # noqa: S608
        "AND (%(at)s::timestamptz IS NULL OR (created_at, id) < (%(at)s, %(id)s)) "
        "ORDER BY created_at DESC, id DESC LIMIT %(limit)s",
        {
            "tenant_id": tenant_id,
            "limit": limit,
            "at": before.created_at if before else None,
            "id": before.id if before else None,
        },
    )
    return [msgspec.structs.replace(_backfill(row), refused=[]) async for row in found]


async def next_part(conn: Connection) -> Part | None:
    """The part whose turn it is; its backfill is ours until the end of the transaction."""
    found = await conn.execute(_NEXT)
    row = await found.fetchone()
    return None if row is None else Part(*row)


async def note_part(conn: Connection, part: Part, outcome: Outcome) -> None:
    """Note what became of a part, which is thereby done; in the transaction that stored it."""
    reasons: dict[str, int] = {}
    for one in outcome.refused:
        reasons[one.reason] = reasons.get(one.reason, 0) + 1
    await conn.execute(
        _NOTE,
        {
            "id": part.backfill_id,
            "last": part.last,
            **{name: getattr(outcome, name) for name in _COUNTS},
            "rejected": len(outcome.refused),
            "reasons": _json(reasons),
            "refused": _json(outcome.refused[:MAX_REFUSED]),
            "most": MAX_REFUSED,
        },
    )
    await conn.execute(
        "DELETE FROM backfill_part WHERE backfill_id = %s AND number = %s",
        (part.backfill_id, part.number),
    )


async def forget_abandoned(conn: Connection) -> int:
    """Drop what was begun and never sent whole; how many."""
    dropped = await conn.execute(
        "DELETE FROM backfill WHERE state = 'receiving' "
        "AND touched_at < now() - make_interval(secs => %s)",
        (_ABANDONED_S,),
    )
    return dropped.rowcount


_COUNTS = ("lines", "readings", "stored", "duplicate", "events")


def _backfill(row: Sequence[Any]) -> Backfill:
    refused = msgspec.convert(row[-1][:MAX_REFUSED], list[RefusedReading])
    values: list[Any] = [str(row[0]), *row[1:-1], refused]
    return Backfill(*values)


def _json(value: Mapping[str, int] | Sequence[RefusedReading]) -> str:
    return msgspec.json.encode(value).decode()
