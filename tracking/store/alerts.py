"""Alerts as they are kept. Whoever changes those of a tenant holds its row of `alert_cursor`."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from tracking.alert_life import UNRESOLVED, Act, Alert, Notice, NotPossible, act
from tracking.feed import EventRecord
from tracking.rules import RuleVersion
from tracking.store.asking import rows_where
from tracking.store.connection import Connection
from tracking.store.eventlog import Occurrence, write_events
from tracking.store.rules import versions_of
from tracking.times import from_us, iso, to_us

# Every member of an alert and its column; the rule's public name is kept with the rule.
_COLUMNS = {
    name: name.removesuffix("_us") + ("" if name == "snoozed_until_us" else "_at")
    if name.endswith("_us")
    else name
    for name in Alert.__struct_fields__
    if name != "rule"
}
_MEMBERS = (*_COLUMNS, "rule")
_TIMES = [member.endswith("_us") for member in _MEMBERS]
_SELECT = (
    f"SELECT {', '.join(f'a.{column}' for column in _COLUMNS.values())}, r.id, a.number "  # noqa: S608
    "FROM alert a JOIN rule r ON r.number = a.rule_number "
)
_INSERTED = ", ".join(("tenant_id", *_COLUMNS.values()))
_SAVE = (
    f"INSERT INTO alert ({_INSERTED}) SELECT {_INSERTED} "  # noqa: S608 -- of constants
    "FROM jsonb_populate_recordset(NULL::alert, %s::jsonb) ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS.values() if column != "id")
)


class Tenant(NamedTuple):
    """Whose alerts, as events name it and as rows do."""

    name: str
    id: int


class AlertFilter(NamedTuple):
    """Which alerts; None leaves that question open. Times are [start, end) of `opened_us`.

    Without states all but the suppressed.
    """

    states: tuple[str, ...] | None = None
    severities: tuple[str, ...] | None = None
    rule: str | None = None
    device: str | None = None
    fence: str | None = None
    event: UUID | None = None
    start: datetime | None = None
    end: datetime | None = None


class Listed(NamedTuple):
    """An alert and its place in lists."""

    number: int
    alert: Alert


class Acted(NamedTuple):
    """What came of acting on alerts: as they are now, why others could not, what to publish."""

    alerts: list[Alert]
    refused: dict[UUID, str]
    changed: list[Alert]
    records: list[EventRecord]


async def list_alerts(
    conn: Connection, tenant_id: int, wanted: AlertFilter, *, before: int | None, limit: int
) -> list[Listed]:
    """The newest first, those numbered below `before`."""
    asked = {
        "a.severity = ANY(%(severities)s)": ("severities", wanted.severities),
        "r.id = %(rule)s": ("rule", wanted.rule),
        "a.device = %(device)s": ("device", wanted.device),
        "a.fence = %(fence)s": ("fence", wanted.fence),
        "a.event_id = %(event)s": ("event", wanted.event),
        "a.opened_at >= %(start)s": ("start", wanted.start),
        "a.opened_at < %(end)s": ("end", wanted.end),
        "a.number < %(before)s": ("before", before),
    }
    found = await rows_where(
        conn,
        _SELECT,
        ["a.tenant_id = %(tenant_id)s", _state_condition(wanted.states)],
        asked,
        order="ORDER BY a.number DESC LIMIT %(limit)s",
        values={"tenant_id": tenant_id, "limit": limit, "states": list(wanted.states or ())},
    )
    return [Listed(row[-1], _alert(row)) for row in found]


async def get_alert(conn: Connection, tenant_id: int, id_: UUID) -> Alert | None:
    """One alert, a suppressed one too."""
    found = await alerts_where(conn, "a.id = %s AND a.tenant_id = %s", (id_, tenant_id))
    return found[0] if found else None


async def act_on(
    conn: Connection, tenant: Tenant, ids: Iterable[UUID], deed: Callable[[int], Act]
) -> Acted:
    """Do something about alerts of one tenant; those of others, and unknown ones, are left out.

    `deed` is told the moment at which it is done.
    """
    async with conn.transaction():
        now_us = await hold(conn, tenant.id)
        alerts = await alerts_where(
            conn, "a.id = ANY(%s) AND a.tenant_id = %s ORDER BY a.number", (list(ids), tenant.id)
        )
        versions = await versions_of_alerts(conn, alerts)
        done = Acted([], {}, [], [])
        notices: list[Notice] = []
        for alert in alerts:
            before = msgspec.structs.replace(alert)
            try:
                notices += act(alert, deed(now_us), versions[alert.rule_number, alert.rule_version])
            except NotPossible as exc:
                done.refused[alert.id] = str(exc)
                continue
            done.alerts.append(alert)
            if alert != before:
                done.changed.append(alert)
        await save_alerts(conn, tenant.id, done.changed)
        # Last in the transaction, as ever.
        records = await write_events(conn, occurrences(tenant, notices))
        return done._replace(records=records)


async def followed_tenants(conn: Connection) -> list[str]:
    """The names of the tenants that have, or had, rules."""
    found = await conn.execute(
        "SELECT t.name FROM alert_cursor c JOIN tenant t ON t.id = c.tenant_id ORDER BY t.name"
    )
    return [row[0] for row in await found.fetchall()]


async def hold(conn: Connection, tenant_id: int) -> int:
    """Be the only one to change a tenant's alerts until the commit; return our time now."""
    await conn.execute("SELECT 1 FROM alert_cursor WHERE tenant_id = %s FOR UPDATE", (tenant_id,))
    found = await conn.execute("SELECT clock_timestamp()")
    return to_us((await found.fetchone() or (from_us(0),))[0])


async def alerts_where(conn: Connection, condition: str, values: Sequence[object]) -> list[Alert]:
    """The alerts of a condition on `a`, a row of `alert`; it is SQL and never anybody's input."""
    found = await conn.execute((_SELECT + "WHERE " + condition).encode(), values)
    return [_alert(row) for row in await found.fetchall()]


async def versions_of_alerts(
    conn: Connection, alerts: Iterable[Alert]
) -> dict[tuple[int, int], RuleVersion]:
    """The rules as they were when these alerts were raised."""
    return await versions_of(conn, ((a.rule_number, a.rule_version) for a in alerts))


async def save_alerts(conn: Connection, tenant_id: int, alerts: Iterable[Alert]) -> None:
    """Write alerts as they are, new or not."""
    rows = [
        {"tenant_id": tenant_id}
        | {column: _written(member, getattr(alert, member)) for member, column in _COLUMNS.items()}
        for alert in alerts
    ]
    if rows:
        await conn.execute(_SAVE, (msgspec.json.encode(rows).decode(),))


async def drop_alerts(conn: Connection, ids: Iterable[UUID]) -> None:
    """Forget suppressed alerts whose event is gone."""
    wanted = list(ids)
    if wanted:
        await conn.execute("DELETE FROM alert WHERE id = ANY(%s)", (wanted,))


def occurrences(tenant: Tenant, notices: Iterable[Notice]) -> list[Occurrence]:
    """Changes of alerts as events; the alert is part of their ids."""
    return [
        Occurrence(
            tenant=tenant.name,
            tenant_id=tenant.id,
            subject=notice.alert.device,
            type=notice.type,
            time_us=notice.time_us,
            data=notice.data,
            device_id=notice.alert.device_id,
            rule=str(notice.alert.id),
            late=notice.type == "alert.opened" and notice.alert.late,
        )
        for notice in notices
    ]


def _state_condition(states: tuple[str, ...] | None) -> str:
    # Spelled as the indexes are, so that they serve.
    if states is None:
        return "a.state <> 'suppressed'"
    if set(states) <= set(UNRESOLVED):
        return "a.state NOT IN ('resolved', 'suppressed') AND a.state = ANY(%(states)s)"
    if "suppressed" not in states:
        return "a.state <> 'suppressed' AND a.state = ANY(%(states)s)"
    return "a.state = ANY(%(states)s)"


def _written(member: str, value: Any) -> object:  # noqa: ANN401 -- any member
    return iso(value) if value is not None and member.endswith("_us") else value


def _alert(row: tuple[Any, ...]) -> Alert:
    values: dict[str, Any] = {
        member: to_us(value) if is_time and value is not None else value
        for member, value, is_time in zip(_MEMBERS, row, _TIMES, strict=False)
    }
    values["event_id"] = str(values["event_id"])
    if values["resolved_event"] is not None:
        values["resolved_event"] = str(values["resolved_event"])
    return Alert(**values)
