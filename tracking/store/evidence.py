"""What explanations stand on: the fixes, the state to fold them from, and the fences they met.

Everything of one explanation is read in one snapshot, and nothing is written.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg import IsolationLevel

from tracking.alert_life import Alert
from tracking.feed import EventRecord
from tracking.fencebook import FenceRows
from tracking.fold.presence import load_presences
from tracking.fold.state import NEVER, load_record
from tracking.fold.terrain import Who
from tracking.store.alerts import get_alert
from tracking.store.connection import Connection
from tracking.store.events import EventFilter, get_event, list_events
from tracking.store.fence_reads import FenceView, get_fence
from tracking.store.fences import US
from tracking.store.repairs import Checkpoint, nearest_checkpoint
from tracking.store.rules import StoredRule, get_rule
from tracking.times import EARLIEST_US, Moment, from_us, to_us

# Fixes shown before what is to be explained.
BEFORE = 5
# Folding again this many takes 0.3 s. Between checkpoints lie 128 and more; where old
# ones are gone the fold starts this far back, from nothing.
_FIXES_MAX = 20_000
# Of a layer, only fences near the fixes matter: within 2 km or so.
_NEAR_DEG = 0.02

_WHO = """
SELECT d.id, d.name, d.groups, d.tags, EXISTS (SELECT FROM repair r WHERE r.device_id = d.id)
FROM device d WHERE d.tenant_id = %s AND """

_FIXES = f"""
SELECT {US.format("fix_time")}, seq, quality, lon, lat,
    COALESCE(speed_mps, 'NaN')::float8, COALESCE(accuracy_m, 'NaN')::float8,
    {US.format("received_at")}
FROM position WHERE device_id = %(device_id)s AND fix_time >= %(after)s AND fix_time <= %(upto)s
    AND (fix_time, seq) > (%(after)s, %(after_seq)s)
    AND (fix_time, seq) <= (%(upto)s, %(upto_seq)s)
ORDER BY fix_time DESC, seq DESC LIMIT %(limit)s
"""  # noqa: S608 -- of constants

_FENCES = f"""
WITH own AS (
    SELECT number FROM fence WHERE tenant_id = %(tenant_id)s AND id = %(fence)s
), layers AS (
    SELECT DISTINCT v.options ->> 'layer' AS layer FROM fence_version v JOIN own ON
        v.fence_number = own.number WHERE v.options ->> 'layer' IS NOT NULL
), wanted AS (
    SELECT number FROM own
    UNION SELECT v.fence_number FROM fence_version v
    WHERE v.tenant_id = %(tenant_id)s AND v.options ->> 'layer' IN (SELECT layer FROM layers)
        AND (v.fence_number = ANY(%(remembered)s) OR v.max_lat >= %(south)s
            AND v.min_lat <= %(north)s AND (v.max_lon >= %(west)s AND v.min_lon <= %(east)s
                OR v.max_lon - 360 >= %(west)s AND v.min_lon - 360 <= %(east)s))
)
SELECT v.fence_number, f.id, v.name, v.version, {US.format("f.since")},
    {US.format("v.valid_from")}, {US.format("v.valid_to")}, v.kind, v.geometry, v.radius_m,
    v.options::text::bytea
FROM fence_version v JOIN fence f ON f.number = v.fence_number
WHERE v.fence_number IN (SELECT number FROM wanted) ORDER BY v.fence_number, v.version
"""  # noqa: S608 -- of constants

_HEAD = """
SELECT fix_time, seq FROM position
WHERE device_id = %s AND fix_time < %s ORDER BY fix_time DESC, seq DESC LIMIT %s
"""


class StoredFix(NamedTuple):
    """A fix as it is stored; NaN for missing."""

    time_us: int
    seq: int
    quality: int
    lon: float
    lat: float
    speed_mps: float
    accuracy_m: float
    received_us: int


class Edited(msgspec.Struct, frozen=True):
    """A version of a fence and when it was saved."""

    version: int
    recorded_at: Moment
    effective_from: Moment
    effective_to: Moment | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """One device among one fence and its layer, ready to be folded again.

    `start` is the state before the first of `fixes`, which are in order and of every quality;
    `whole` is False where the fold must start from nothing in the middle of the history. What is
    to be told begins at `shown_us`.
    """

    device_id: int
    who: Who
    repair_waits: bool
    fence: str | None
    start: Checkpoint
    fixes: Sequence[StoredFix]
    whole: bool
    shown_us: int
    fences: FenceRows


class EventEvidence(NamedTuple):
    """An event and all that is kept about how it came about; None for what does not apply.

    `confirmed` is the key of the fix that made the fold sure.
    """

    event: EventRecord
    rule: str | None
    confirmed: tuple[int, int] | None
    fence: FenceView | None
    edits: Sequence[Edited]
    folded: Evidence | None
    alert: Alert | None
    alert_rule: StoredRule | None
    source: EventRecord | None


class AbsenceEvidence(NamedTuple):
    """A device and a fence around a moment, and the events there are."""

    fence: FenceView
    edits: Sequence[Edited]
    folded: Evidence
    events: Sequence[EventRecord]
    nearest: tuple[datetime | None, datetime | None]  # fixes before and behind the time looked at


class Question(NamedTuple):
    """Why did this device not do anything at this fence around this moment?"""

    device: str
    fence: str
    at_us: int
    within_us: int

    @property
    def start_us(self) -> int:
        """The first moment looked at."""
        return max(self.at_us - self.within_us, EARLIEST_US)

    @property
    def end_us(self) -> int:
        """The last moment looked at."""
        return self.at_us + self.within_us


@asynccontextmanager
async def _snapshot(conn: Connection) -> AsyncIterator[None]:
    await conn.set_isolation_level(IsolationLevel.REPEATABLE_READ)
    await conn.set_read_only(True)
    try:
        async with conn.transaction():
            yield
    finally:
        await conn.set_isolation_level(None)
        await conn.set_read_only(None)


async def event_evidence(conn: Connection, tenant_id: int, id_: UUID) -> EventEvidence | None:
    """What is kept about an event; None where there is no such event."""
    async with _snapshot(conn):
        event = await get_event(conn, tenant_id, id_)
        if event is None:
            return None
        cursor = await conn.execute(
            "SELECT rule, device_id, confirmed_at, confirmed_seq FROM event WHERE id = %s", (id_,)
        )
        rule, device_id, confirmed_at, confirmed_seq = await cursor.fetchone() or (None,) * 4
        if event.type.startswith("alert."):
            return await _alert_evidence(conn, tenant_id, event, rule)
        confirmed = None if confirmed_at is None else (to_us(confirmed_at), confirmed_seq)
        fence, edits = None, []
        if rule is not None:
            fence = await get_fence(conn, tenant_id, rule, event.data.get("fence_version"))  # type: ignore[arg-type]
            edits = await _edits(conn, tenant_id, rule)
        folded = None
        if confirmed is not None and device_id is not None:
            folded = await _evidence(
                conn,
                tenant_id,
                ("d.id = %s", device_id),
                rule,
                begin=(_beginning(event, confirmed), None),
                upto=confirmed,
            )
        return EventEvidence(event, rule, confirmed, fence, edits, folded, None, None, None)


def _beginning(event: EventRecord, confirmed: tuple[int, int]) -> int:
    """Where the story of an event begins: its own moment, of a dwelling the entering."""
    entered_at = event.data.get("entered_at") if event.type == "fence.dwelled" else None
    if isinstance(entered_at, str):
        return to_us(datetime.fromisoformat(entered_at))
    return min(event.time_us, confirmed[0])


async def absence_evidence(
    conn: Connection, tenant_id: int, question: Question
) -> AbsenceEvidence | str:
    """What is kept about a device and a fence around a moment; or what of them there is not."""
    start_us, end_us, fence = question.start_us, question.end_us, question.fence
    async with _snapshot(conn):
        view = await get_fence(conn, tenant_id, fence)
        if view is None:
            return f"fence {fence!r}"
        folded = await _evidence(
            conn,
            tenant_id,
            ("d.name = %s", question.device),
            fence,
            begin=(start_us, start_us),
            upto=(end_us, 2**63 - 1),
        )
        if folded is None:
            return f"device {question.device!r}"
        return AbsenceEvidence(
            view,
            await _edits(conn, tenant_id, fence),
            folded,
            await _events_of(conn, tenant_id, question),
            await _nearest(conn, folded.device_id, from_us(start_us), from_us(end_us)),
        )


async def _evidence(
    conn: Connection,
    tenant_id: int,
    named: tuple[str, object],
    fence: str | None,
    *,
    begin: tuple[int, int | None],
    upto: tuple[int, int],
) -> Evidence | None:
    """From some fixes before `begin[0]`, or from `begin[1]` on, up to a key, included."""
    condition, value = named
    cursor = await conn.execute((_WHO + condition).encode(), (tenant_id, value))
    found = await cursor.fetchone()
    if found is None:
        return None
    device_id, name, groups, tags, repair_waits = found
    shown_us = begin[1]
    if shown_us is None:
        cursor = await conn.execute(_HEAD, (device_id, from_us(begin[0]), BEFORE))
        rows = await cursor.fetchall()
        shown_us = to_us(rows[-1][0]) if rows else begin[0]
    start = await nearest_checkpoint(conn, device_id, shown_us, NEVER)
    # A state of an older version of the fold cannot be read.
    if load_record(start.fold) is None:
        start = Checkpoint(NEVER, NEVER, None, None)
    fixes = await _fixes(conn, device_id, start, upto)
    whole = len(fixes) <= _FIXES_MAX
    if not whole:
        start, fixes = Checkpoint(NEVER, NEVER, None, None), fixes[-_FIXES_MAX:]
    return Evidence(
        device_id=device_id,
        who=Who(name, frozenset(groups), frozenset(tags)),
        repair_waits=repair_waits,
        fence=fence,
        start=start,
        fixes=fixes,
        whole=whole,
        shown_us=shown_us,
        fences=await _fences(conn, tenant_id, fence, start, fixes),
    )


async def _fixes(
    conn: Connection, device_id: int, start: Checkpoint, upto: tuple[int, int]
) -> list[StoredFix]:
    cursor = await conn.execute(
        _FIXES,
        {
            "device_id": device_id,
            "after": from_us(max(start.time_us, EARLIEST_US)),
            "after_seq": start.seq,
            "upto": from_us(upto[0]),
            "upto_seq": upto[1],
            "limit": _FIXES_MAX + 1,
        },
    )
    return [StoredFix(*row) for row in reversed(await cursor.fetchall())]


async def _fences(
    conn: Connection,
    tenant_id: int,
    fence: str | None,
    start: Checkpoint,
    fixes: Sequence[StoredFix],
) -> FenceRows:
    if fence is None:
        return FenceRows(0, [])
    lons, lats = [fix.lon for fix in fixes], [fix.lat for fix in fixes]
    remembered = {
        number
        for watch in load_presences(start.presences).values()
        for number in (watch.zone, watch.left)
    }
    cursor = await conn.execute(
        _FENCES,
        {
            "tenant_id": tenant_id,
            "fence": fence,
            "remembered": list(remembered),
            "west": min(lons, default=0.0) - _NEAR_DEG,
            "east": max(lons, default=0.0) + _NEAR_DEG,
            "south": min(lats, default=0.0) - _NEAR_DEG,
            "north": max(lats, default=0.0) + _NEAR_DEG,
        },
        binary=True,
    )
    return FenceRows(1, await cursor.fetchall())


async def _edits(conn: Connection, tenant_id: int, fence: str) -> list[Edited]:
    cursor = await conn.execute(
        "SELECT v.version, v.recorded_at, v.valid_from, v.valid_to FROM fence_version v "
        "JOIN fence f ON f.number = v.fence_number WHERE f.tenant_id = %s AND f.id = %s "
        "ORDER BY v.version",
        (tenant_id, fence),
    )
    return [Edited(*row) for row in await cursor.fetchall()]


async def _events_of(conn: Connection, tenant_id: int, question: Question) -> list[EventRecord]:
    wanted = EventFilter(
        device=question.device,
        fence=question.fence,
        start=from_us(question.start_us),
        end=from_us(question.end_us + 1),
    )
    return await list_events(conn, tenant_id, wanted, after=None, order="asc", limit=1_000)


async def _nearest(
    conn: Connection, device_id: int, start: datetime, end: datetime
) -> tuple[datetime | None, datetime | None]:
    cursor = await conn.execute(
        "SELECT (SELECT max(fix_time) FROM position WHERE device_id = %(id)s "
        "AND fix_time < %(start)s), (SELECT min(fix_time) FROM position "
        "WHERE device_id = %(id)s AND fix_time > %(end)s)",
        {"id": device_id, "start": start, "end": end},
    )
    before, behind = await cursor.fetchone() or (None, None)
    return before, behind


async def _alert_evidence(
    conn: Connection, tenant_id: int, event: EventRecord, rule: str | None
) -> EventEvidence:
    """Of an event about an alert: the alert, the rule as it was, and the event behind it."""
    data: dict[str, Any] = event.data
    alert = None if rule is None else await get_alert(conn, tenant_id, UUID(rule))
    stored = await get_rule(conn, tenant_id, data["rule"], data["rule_version"])
    source = await get_event(conn, tenant_id, UUID(data["event"]["id"]))
    return EventEvidence(event, rule, None, None, [], None, alert, stored, source)
