"""What deliverers read and write: which targets are theirs, and how far each got.

A deliverer holds a target by a lease that it renews; a lease that runs out is anybody's. Every
write names lease and epoch, so whoever lost a target changes nothing any more.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from tracking.feed import EventRecord
from tracking.store.connection import Connection
from tracking.store.eventlog import Occurrence, write_events
from tracking.store.events import event_of
from tracking.times import iso, to_us
from tracking.webhooks import DISABLED, Webhook

# A deliverer that was killed is replaced this late.
LEASE_S = 6
# Asked-for letters of a target loaded at once.
ASIDES_AT_ONCE = 100
_ATTEMPTS_KEPT = 50

_decoder = msgspec.json.Decoder(Webhook)

_TAKE = """
WITH picked AS (
    SELECT p.webhook_number AS number FROM webhook_progress p
    JOIN webhook w ON w.number = p.webhook_number JOIN tenant t ON t.id = p.tenant_id
    -- Our own that ran out are ours still, until somebody takes them.
    WHERE w.enabled AND (p.lease IS NULL OR p.lease_until < now() AND p.lease <> %(lease)s)
        AND (p.due_at <= now() OR p.cursor < t.feed_cursor
             AND (p.failures < %(down_after)s OR p.due_at IS NULL))
    ORDER BY p.lease_until NULLS FIRST LIMIT %(limit)s FOR UPDATE OF p SKIP LOCKED)
UPDATE webhook_progress p SET lease = %(lease)s, lease_until = now() + make_interval(secs => %(s)s)
FROM picked, webhook w, tenant t
WHERE p.webhook_number = picked.number AND w.number = p.webhook_number AND t.id = p.tenant_id
RETURNING p.webhook_number, p.tenant_id, t.name, p.epoch, p.nudge, w.body::text, w.secrets,
    p.cursor, p.failures, p.failing_since
"""

_ASIDES = """
SELECT d.webhook_number, d.tries, d.started_at, d.due_at, d.body, e.id, t.name, e.type, e.subject,
    e.time, e.recorded_at, e.revision, e.status, e.late, e.cursor, e.data, e.origin
FROM unnest(%s::bigint[]) k(number) CROSS JOIN LATERAL (
    SELECT * FROM webhook_delivery d WHERE d.webhook_number = k.number AND d.state = 'waiting'
    ORDER BY d.due_at LIMIT %s) d
LEFT JOIN event e ON e.id = d.event_id LEFT JOIN tenant t ON t.id = e.tenant_id
"""

_PROGRESS = """
UPDATE webhook_progress p SET cursor = u.cursor, failures = u.failures,
    failing_since = u.failing_since,
    -- What was asked for meanwhile is due.
    due_at = CASE WHEN p.nudge = u.nudge THEN u.due_at ELSE now() END,
    last_success_at = coalesce(u.last_success_at, p.last_success_at),
    last_failure_at = coalesce(u.last_failure_at, p.last_failure_at),
    last_failure = coalesce(u.last_failure, p.last_failure)
FROM jsonb_to_recordset(%s::jsonb) u(number bigint, epoch bigint, nudge bigint, cursor bigint,
    due_at timestamptz, failures integer, failing_since timestamptz, last_success_at timestamptz,
    last_failure_at timestamptz, last_failure text)
WHERE p.webhook_number = u.number AND p.epoch = u.epoch AND p.lease = %s
RETURNING p.webhook_number
"""

_ENTRIES = f"""
INSERT INTO webhook_delivery (tenant_id, webhook_number, message, event_id, type, subject, state,
    tries, started_at, due_at, recorded_at, attempts)
SELECT * FROM jsonb_to_recordset(%s::jsonb) u(tenant_id integer, webhook_number bigint,
    message text, event_id uuid, type text, subject text, state text, tries integer,
    started_at timestamptz, due_at timestamptz, recorded_at timestamptz, attempts jsonb)
ON CONFLICT (webhook_number, message) DO UPDATE SET state = excluded.state,
    tries = excluded.tries, started_at = excluded.started_at, due_at = excluded.due_at,
    recorded_at = excluded.recorded_at, attempts = CASE
        WHEN jsonb_array_length(webhook_delivery.attempts) >= {_ATTEMPTS_KEPT}
        THEN webhook_delivery.attempts - 0 ELSE webhook_delivery.attempts END || excluded.attempts
"""  # noqa: S608 -- of a constant

_HEADS = """
INSERT INTO webhook_head (webhook_number, tenant_id, subject, cursor, message, tries, started_at,
    due_at)
SELECT * FROM jsonb_to_recordset(%s::jsonb) u(webhook_number bigint, tenant_id integer,
    subject text, cursor bigint, message text, tries integer, started_at timestamptz,
    due_at timestamptz)
ON CONFLICT (webhook_number, subject) DO UPDATE SET cursor = excluded.cursor,
    message = excluded.message, tries = excluded.tries, started_at = excluded.started_at,
    due_at = excluded.due_at
"""


class StoredHead(NamedTuple):
    """A subject that is behind, as `webhook_head` has it."""

    subject: str
    cursor: int
    message: str
    tries: int
    started_us: int
    due_us: int


class StoredAside(NamedTuple):
    """A letter somebody asked for: an event of the log, or a `body` that is in none."""

    record: EventRecord | None
    body: str | None
    tries: int
    started_us: int
    due_us: int


class Taken(NamedTuple):
    """A target that is ours for a while, and where it stands."""

    number: int
    tenant_id: int
    tenant: str
    epoch: int
    nudge: int
    webhook: Webhook
    sealed: bytes
    cursor: int
    failures: int
    failing_since_us: int | None
    heads: list[StoredHead]
    asides: list[StoredAside]


class Note(NamedTuple):
    """One message to write down; `attempts` are the tries since it was last written."""

    message: str
    event_id: str | None
    type: str
    subject: str
    state: str
    tries: int
    started_us: int
    due_us: int | None
    recorded_us: int
    attempts: list[dict[str, object]]


class Progress(NamedTuple):
    """How far a target got, and everything new about it."""

    taken: Taken
    cursor: int
    due_us: int | None
    failures: int
    failing_since_us: int | None
    last_success_us: int | None
    last_failure: tuple[int, str] | None
    notes: Sequence[Note]
    superseded: Sequence[str]
    heads: Sequence[StoredHead]
    rejoined: Sequence[str]
    # Why it is to be disabled.
    disabled: str | None = None


class Held(NamedTuple):
    """A target that is still ours, and whether somebody wants it looked at anew."""

    epoch: int
    nudge: int


async def take(conn: Connection, lease: UUID, limit: int, *, down_after: int) -> list[Taken]:
    """Take targets with something to do that nobody holds, those first that waited longest."""
    async with conn.transaction():
        found = await conn.execute(
            _TAKE, {"limit": limit, "lease": lease, "s": LEASE_S, "down_after": down_after}
        )
        taken = {row[0]: _taken(row) for row in await found.fetchall()}
        if taken:
            await _load(conn, taken)
        return list(taken.values())


async def renew(conn: Connection, lease: UUID) -> dict[int, Held]:
    """Keep what we hold for another while; return it by number."""
    found = await conn.execute(
        "UPDATE webhook_progress p SET lease_until = now() + make_interval(secs => %s) "
        "FROM webhook w WHERE p.lease = %s AND w.number = p.webhook_number AND w.enabled "
        "RETURNING p.webhook_number, p.epoch, p.nudge",
        (LEASE_S, lease),
    )
    return {row[0]: Held(row[1], row[2]) for row in await found.fetchall()}


async def release(conn: Connection, lease: UUID, numbers: Iterable[int]) -> None:
    """Let go of targets."""
    await conn.execute(
        "UPDATE webhook_progress SET lease = NULL, lease_until = now() "
        "WHERE lease = %s AND webhook_number = ANY(%s)",
        (lease, list(numbers)),
    )


async def write_progress(
    conn: Connection, lease: UUID, progress: Sequence[Progress]
) -> tuple[set[int], list[EventRecord]]:
    """Write how far targets got; return those that were still ours, and events to announce."""
    async with conn.transaction():
        rows = [_progress_row(one) for one in progress]
        found = await conn.execute(_PROGRESS, (_json(rows), lease))
        ours = {row[0] for row in await found.fetchall()}
        kept = [one for one in progress if one.taken.number in ours]
        await _write_notes(conn, kept)
        await _write_heads(conn, kept)
        # Last in the transaction, as ever.
        return ours, await write_events(conn, await _disable(conn, kept))


async def followed_tenants(conn: Connection) -> dict[int, str]:
    """The tenants that have targets, by number."""
    found = await conn.execute(
        "SELECT t.id, t.name FROM tenant t WHERE EXISTS "
        "(SELECT 1 FROM webhook w WHERE w.tenant_id = t.id AND w.enabled)"
    )
    return dict(await found.fetchall())


async def prune_deliveries(conn: Connection, days: int) -> int:
    """Forget what was delivered or superseded so long ago; dead letters stay."""
    gone = await conn.execute(
        "DELETE FROM webhook_delivery WHERE state IN ('delivered', 'superseded') "
        "AND recorded_at < now() - make_interval(days => %s)",
        (days,),
    )
    return gone.rowcount


async def _load(conn: Connection, taken: dict[int, Taken]) -> None:
    numbers = list(taken)
    found = await conn.execute(
        "SELECT webhook_number, subject, cursor, message, tries, started_at, due_at "
        "FROM webhook_head WHERE webhook_number = ANY(%s)",
        (numbers,),
    )
    for number, subject, cursor, message, tries, started_at, due_at in await found.fetchall():
        head = StoredHead(subject, cursor, message, tries, to_us(started_at), to_us(due_at))
        taken[number].heads.append(head)
    # What was amended since it was asked for comes by itself, as its next revision.
    await conn.execute(
        "UPDATE webhook_delivery d SET state = 'superseded', due_at = NULL "
        "WHERE d.webhook_number = ANY(%s) AND d.state = 'waiting' AND d.body IS NULL "
        "AND NOT EXISTS (SELECT 1 FROM event e "
        "WHERE e.id = d.event_id AND e.id || '_' || e.revision = d.message)",
        (numbers,),
    )
    found = await conn.execute(_ASIDES, (numbers, ASIDES_AT_ONCE))
    for number, tries, started_at, due_at, body, *event in await found.fetchall():
        record = None if body is not None else event_of(event)
        aside = StoredAside(record, body, tries, to_us(started_at), to_us(due_at))
        taken[number].asides.append(aside)


async def _write_notes(conn: Connection, kept: Sequence[Progress]) -> None:
    rows = [_note_row(one.taken, note) for one in kept for note in one.notes]
    if rows:
        await conn.execute(_ENTRIES, (_json(rows),))
    pairs = [(one.taken.number, message) for one in kept for message in one.superseded]
    if pairs:
        await conn.execute(
            "UPDATE webhook_delivery d SET state = 'superseded', due_at = NULL "
            "FROM unnest(%s::bigint[], %s::text[]) k(number, message) "
            "WHERE d.webhook_number = k.number AND d.message = k.message AND d.state = 'retrying'",
            ([number for number, _ in pairs], [message for _, message in pairs]),
        )


async def _write_heads(conn: Connection, kept: Sequence[Progress]) -> None:
    rows = [
        {
            "webhook_number": one.taken.number, "tenant_id": one.taken.tenant_id,
            "subject": head.subject, "cursor": head.cursor, "message": head.message,
            "tries": head.tries, "started_at": iso(head.started_us), "due_at": iso(head.due_us),
        }
        for one in kept
        for head in one.heads
    ]  # fmt: skip
    if rows:
        await conn.execute(_HEADS, (_json(rows),))
    pairs = [(one.taken.number, subject) for one in kept for subject in one.rejoined]
    if pairs:
        await conn.execute(
            "DELETE FROM webhook_head h USING unnest(%s::bigint[], %s::text[]) k(number, subject) "
            "WHERE h.webhook_number = k.number AND h.subject = k.subject",
            ([number for number, _ in pairs], [subject for _, subject in pairs]),
        )


async def _disable(conn: Connection, kept: Sequence[Progress]) -> list[Occurrence]:
    occurrences = []
    for one in kept:
        if one.disabled is None:
            continue
        done = await conn.execute(
            "UPDATE webhook SET enabled = false, disabled_reason = %s, version = version + 1, "
            "updated_at = now(), updated_by = NULL WHERE number = %s AND enabled "
            "RETURNING clock_timestamp()",
            (one.disabled, one.taken.number),
        )
        row = await done.fetchone()
        if row is None:
            continue
        data: dict[str, Any] = {"webhook": one.taken.webhook.id, "reason": one.disabled}
        if one.failing_since_us is not None:
            data["failing_since"] = iso(one.failing_since_us)
        occurrences.append(
            Occurrence(
                tenant=one.taken.tenant,
                tenant_id=one.taken.tenant_id,
                subject=one.taken.webhook.id,
                type=DISABLED,
                time_us=to_us(row[0]),
                data=data,
            )
        )
    return occurrences


def _taken(row: Sequence[Any]) -> Taken:
    (number, tenant_id, tenant, epoch, nudge, body, secrets, cursor, failures,
     failing_since) = row  # fmt: skip
    return Taken(
        number, tenant_id, tenant, epoch, nudge, _decoder.decode(body), bytes(secrets), cursor,
        failures, None if failing_since is None else to_us(failing_since), [], [],
    )  # fmt: skip


def _progress_row(one: Progress) -> dict[str, object]:
    failed_us, failure = one.last_failure or (None, None)
    return {
        "number": one.taken.number,
        "epoch": one.taken.epoch,
        "nudge": one.taken.nudge,
        "cursor": one.cursor,
        "due_at": _moment(one.due_us),
        "failures": one.failures,
        "failing_since": _moment(one.failing_since_us),
        "last_success_at": _moment(one.last_success_us),
        "last_failure_at": _moment(failed_us),
        "last_failure": failure,
    }


def _note_row(taken: Taken, note: Note) -> dict[str, object]:
    return {
        "tenant_id": taken.tenant_id,
        "webhook_number": taken.number,
        "message": note.message,
        "event_id": note.event_id,
        "type": note.type,
        "subject": note.subject,
        "state": note.state,
        "tries": note.tries,
        "started_at": iso(note.started_us),
        "due_at": _moment(note.due_us),
        "recorded_at": iso(note.recorded_us),
        "attempts": note.attempts,
    }


def _moment(time_us: int | None) -> str | None:
    return None if time_us is None else iso(time_us)


def _json(rows: Sequence[dict[str, object]]) -> str:
    return msgspec.json.encode(rows).decode()
