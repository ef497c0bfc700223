"""One turn at a tenant's event log: what the follower of alerts reads and writes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tracking.alert_life import Alert
from tracking.alerting import Clearing, Desk, Seen, candidate
from tracking.feed import EventRecord
from tracking.rules import RuleVersion
from tracking.store.alerts import Tenant, alerts_where, versions_of_alerts
from tracking.store.connection import Connection
from tracking.times import from_us, to_us

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

_DUE_AT_ONCE = 500

_TAKE = """
SELECT c.tenant_id, t.name, c.cursor FROM alert_cursor c JOIN tenant t ON t.id = c.tenant_id
WHERE c.cursor < t.feed_cursor OR EXISTS (
    SELECT 1 FROM alert a WHERE a.tenant_id = c.tenant_id AND a.due_at <= now())
ORDER BY c.visited_at LIMIT 1 FOR UPDATE OF c SKIP LOCKED
"""

EVENT = """
SELECT e.id, t.name, e.type, e.subject, e.time, e.recorded_at, e.revision, e.status, e.late,
    e.cursor, e.data, e.device_id, d.groups, d.tags
FROM event e JOIN tenant t ON t.id = e.tenant_id LEFT JOIN device d ON d.id = e.device_id
WHERE e.tenant_id = %(tenant_id)s AND e.type NOT LIKE 'alert.%%'
    AND coalesce(e.rule, '') NOT LIKE 'shipment:%%' -- what they mean, the shipment's events tell
"""

_CLEARED = """
SELECT k.alert, e.id, e.time FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::timestamptz[],
    %s::text[]) k(alert, subject, fence, since, types)
CROSS JOIN LATERAL (
    SELECT e.id, e.time FROM event e WHERE e.tenant_id = %s AND e.subject = k.subject
        AND e.status = 'active' AND e.cursor <= %s AND e.time >= k.since
        AND (e.type = ANY(string_to_array(k.types, ' '))
             OR split_part(e.type, '.', 1) || '.*' = ANY(string_to_array(k.types, ' ')))
        AND (k.fence IS NULL OR e.data ->> 'fence' IS NULL OR e.data ->> 'fence' = k.fence)
    ORDER BY e.time LIMIT 1) e
"""


class Turn(NamedTuple):
    """A tenant whose alerts are ours until the commit. Events up to `upto` can be read."""

    tenant: Tenant
    cursor: int
    upto: int
    rule_revision: int
    now_us: int


async def take_turn(conn: Connection) -> Turn | None:
    """The tenant that waits longest for its events or deadlines; others pass by those taken."""
    found = await conn.execute(_TAKE)
    row = await found.fetchone()
    if row is None:
        return None
    tenant_id, name, cursor = row
    # A statement of its own: it sees all that was committed before the row was ours.
    found = await conn.execute(
        "SELECT feed_cursor, rule_revision, clock_timestamp() FROM tenant WHERE id = %s",
        (tenant_id,),
    )
    upto, revision, now = await found.fetchone() or (cursor, 0, from_us(0))
    return Turn(Tenant(name, tenant_id), cursor, upto, revision, to_us(now))


async def end_turn(conn: Connection, turn: Turn, cursor: int) -> None:
    """Note how far the tenant's events have been judged."""
    await conn.execute(
        "UPDATE alert_cursor SET cursor = %s, visited_at = clock_timestamp() WHERE tenant_id = %s",
        (cursor, turn.tenant.id),
    )


async def due_alerts(conn: Connection, turn: Turn) -> list[Alert]:
    """Alerts that change by themselves, the longest due first."""
    return await alerts_where(
        conn,
        "a.tenant_id = %s AND a.due_at <= %s ORDER BY a.due_at LIMIT %s",
        (turn.tenant.id, from_us(turn.now_us), _DUE_AT_ONCE),
    )


async def events_between(
    conn: Connection, tenant_id: int, after: int, upto: int, limit: int
) -> list[Seen]:
    """Events with cursors in (after, upto], in order, without quiet ones and those about alerts."""
    found = await conn.execute(
        (
            EVENT + "AND NOT e.quiet AND e.cursor > %(after)s AND e.cursor <= %(upto)s "
            "ORDER BY e.cursor LIMIT %(limit)s"
        ).encode(),
        {"tenant_id": tenant_id, "after": after, "upto": upto, "limit": limit},
    )
    return [seen_of(row) for row in await found.fetchall()]


async def furnish(conn: Connection, turn: Turn, desk: Desk, seen: Sequence[Seen]) -> None:
    """Give the desk every alert that these events may concern."""
    matched = [(one, version) for one in seen for version in desk.matches(one)]
    revised = {one.event.id for one in seen if one.event.revision > 1}
    ids = list({*revised, *(one.event.id for one, _ in matched)})
    if ids:
        await _add(conn, desk, "a.event_id = ANY(%s::uuid[])", (ids,))
    if revised:
        await _add(conn, desk, "a.resolved_event = ANY(%s::uuid[])", (list(revised),))
        of_revised = [a.id for a in desk.alerts.values() if a.event_id in revised]
        if of_revised:
            await _add(conn, desk, "a.suppressed_by = ANY(%s)", (of_revised,))
    # All that may open, or open again, although what ends it is known already.
    reviving = list(desk.alerts.values()) + [
        candidate(version, one, turn.now_us) for one, version in matched if one.event.late
    ]
    await _add_cleared(conn, turn, desk, reviving)
    await _add_holders(conn, desk, matched)
    await _add_clearable(conn, desk, seen)


async def _add(conn: Connection, desk: Desk, condition: str, values: Sequence[object]) -> None:
    alerts = await alerts_where(conn, condition, values)
    missing = [a for a in alerts if (a.rule_number, a.rule_version) not in desk.versions]
    desk.versions.update(await versions_of_alerts(conn, missing))
    desk.add(alerts)


async def _add_holders(
    conn: Connection, desk: Desk, matched: Sequence[tuple[Seen, RuleVersion]]
) -> None:
    """The alerts whose cooldown an event may fall in: those of a match, those judged again."""
    wanted = [
        (version.number, one.event.subject, one.event.time_us, version.rule.cooldown_s)
        for one, version in matched
    ] + [
        (
            a.rule_number,
            a.device,
            a.opened_us,
            desk.versions[a.rule_number, a.rule_version].rule.cooldown_s,
        )
        for a in desk.alerts.values()
        if a.suppressed_by is not None
    ]
    spans: dict[tuple[int, str], tuple[int, int]] = {}
    for number, device, time_us, cooldown_s in wanted:
        if cooldown_s:
            reach_us = round(cooldown_s * 1e6)
            low_us, high_us = spans.get((number, device), (time_us, time_us))
            spans[number, device] = (
                min(low_us, time_us - reach_us),
                max(high_us, time_us + reach_us),
            )
    if spans:
        await _add(
            conn,
            desk,
            # From the few keys to the alerts by index; EXISTS would look at every alert there is.
            "a.id IN (SELECT b.id FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[], "
            "%s::timestamptz[]) k(number, device, low, high) JOIN alert b "
            "ON b.rule_number = k.number AND b.device = k.device "
            "AND b.opened_at BETWEEN k.low AND k.high AND b.state <> 'suppressed')",
            (
                [number for number, _ in spans],
                [device for _, device in spans],
                [from_us(max(low_us, 0)) for low_us, _ in spans.values()],
                [from_us(high_us) for _, high_us in spans.values()],
            ),
        )


async def _add_clearable(conn: Connection, desk: Desk, seen: Sequence[Seen]) -> None:
    """The unresolved alerts that an event may clear."""
    keys = {
        (version.number, one.event.subject)
        for one in seen
        if one.event.status == "active"
        for version in desk.clearing(one.event.type)
    }
    if keys:
        await _add(
            conn,
            desk,
            "a.state NOT IN ('resolved', 'suppressed') AND (a.rule_number, a.device) IN "
            "(SELECT * FROM unnest(%s::bigint[], %s::text[]))",
            ([number for number, _ in keys], [device for _, device in keys]),
        )


async def _add_cleared(conn: Connection, turn: Turn, desk: Desk, reviving: Sequence[Alert]) -> None:
    """The first event since each of these that ends it, if it does not just now become known."""
    ending = [
        (alert, " ".join(desk.versions[alert.rule_number, alert.rule_version].rule.clears_on))
        for alert in reviving
    ]
    ending = [(alert, types) for alert, types in ending if types]
    if not ending:
        return
    found = await conn.execute(
        _CLEARED,
        (
            [alert.id for alert, _ in ending],
            [alert.device for alert, _ in ending],
            [alert.fence for alert, _ in ending],
            [from_us(alert.opened_us) for alert, _ in ending],
            [types for _, types in ending],
            turn.tenant.id,
            turn.upto,
        ),
    )
    cleared: list[tuple[UUID, UUID, datetime]] = await found.fetchall()
    for alert_id, event, time in cleared:
        desk.cleared_since[alert_id] = Clearing(str(event), to_us(time))


def seen_of(row: tuple[Any, ...]) -> Seen:
    """A row of `EVENT`."""
    (id_, tenant, type_, subject, time, recorded_at, revision, status, late, cursor, data,
     device_id, groups, tags) = row  # fmt: skip
    event = EventRecord(
        str(id_), tenant, type_, subject, to_us(time), to_us(recorded_at), revision, status, late,
        cursor, data,
    )  # fmt: skip
    return Seen(event, device_id, tuple(groups or ()), tuple(tags or ()))
