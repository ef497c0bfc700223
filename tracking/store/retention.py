"""How long each tenant keeps what, where that is shorter than the installation does."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta
from psycopg import sql

from tracking.store.connection import Connection

Days = Annotated[int, Meta(ge=1, le=36_500)]

# A transaction of so many rows takes well below a second.
_AT_ONCE = 10_000
_DAY = timedelta(days=1)


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Days a tenant keeps its data; null: as long as the installation does.

    Alerts go with the events, once they are resolved.
    """

    positions_days: Days | None = None
    measurements_days: Days | None = None
    tag_reads_days: Days | None = None
    events_days: Days | None = None
    dead_letters_days: Days | None = None
    audit_days: Days | None = None


_SERIES = {"positions": "position", "measurements": "measurement", "tag_reads": "tag_read"}


class _Dated(NamedTuple):
    """Rows that go by a time of their own."""

    table: str
    column: str
    when: str = "true"


_DATED = {
    "events": (
        _Dated("event", "time"),
        _Dated("alert", "opened_at", "state IN ('resolved', 'suppressed')"),
    ),
    "dead_letters": (_Dated("dead_letter", "last_received_at"),),
    "audit": (_Dated("audit_log", "at"),),
}
_FORECASTS = _Dated("eta_forecast", "made_at")


async def get_retention(conn: Connection, tenant_id: int) -> Retention:
    """What a tenant has chosen."""
    found = await conn.execute(
        "SELECT what || '_days', days FROM retention WHERE tenant_id = %s", (tenant_id,)
    )
    return Retention(**dict(await found.fetchall()))


async def put_retention(conn: Connection, tenant_id: int, wanted: Retention) -> None:
    """Choose anew; the monitor acts on it within minutes."""
    chosen = {
        name.removesuffix("_days"): days
        for name, days in msgspec.structs.asdict(wanted).items()
        if days is not None
    }
    async with conn.transaction():
        await conn.execute(
            "DELETE FROM retention WHERE tenant_id = %s AND what <> ALL(%s)",
            (tenant_id, list(chosen)),
        )
        await conn.execute(
            "INSERT INTO retention (tenant_id, what, days) "
            "SELECT %s, * FROM unnest(%s::text[], %s::integer[]) "
            "ON CONFLICT (tenant_id, what) DO UPDATE SET days = excluded.days",
            (tenant_id, list(chosen), list(chosen.values())),
        )


async def apply_retention(conn: Connection, now: datetime | None = None) -> int:
    """Remove what tenants no longer keep, in small transactions; how many rows that were.

    Any number may do it at once; being interrupted costs nothing.
    """
    now = now or datetime.now(UTC)
    found = await conn.execute("SELECT tenant_id, what, days FROM retention")
    removed = 0
    for tenant_id, what, days in await found.fetchall():
        horizon = now - days * _DAY
        if what in _SERIES:
            removed += await _remove_series(conn, tenant_id, _SERIES[what], horizon)
        for dated in _DATED.get(what, ()):
            removed += await _remove_dated(conn, tenant_id, dated, horizon)
    return removed


async def remove_forecasts(conn: Connection, before: datetime) -> int:
    """Remove every tenant's forecasts made before a time, as `apply_retention` does."""
    found = await conn.execute("SELECT id FROM tenant")
    return sum(
        [
            await _remove_dated(conn, tenant_id, _FORECASTS, before)
            for (tenant_id,) in await found.fetchall()
        ]
    )


async def remove_day(
    conn: Connection, table: str, device_id: int, before: datetime | None = None
) -> int:
    """Remove the first day there is of a device's rows, up to `before`; how many that were.

    By device and time, which is how the rows lie, in few chunks and without a long lock.
    """
    name = sql.Identifier(table)
    found = await conn.execute(
        sql.SQL("SELECT min(fix_time) FROM {} WHERE device_id = %s").format(name), (device_id,)
    )
    (first,) = await found.fetchone() or (None,)
    if first is None or (before is not None and first >= before):
        return 0
    end = first + _DAY if before is None else min(first + _DAY, before)
    gone = await conn.execute(
        sql.SQL("DELETE FROM {} WHERE device_id = %s AND fix_time >= %s AND fix_time < %s").format(
            name
        ),
        (device_id, first, end),
    )
    return gone.rowcount


async def _remove_series(conn: Connection, tenant_id: int, table: str, horizon: datetime) -> int:
    found = await conn.execute(
        sql.SQL(
            "SELECT id FROM device d WHERE tenant_id = %s AND "
            "(SELECT min(fix_time) FROM {} s WHERE s.device_id = d.id) < %s"
        ).format(sql.Identifier(table)),
        (tenant_id, horizon),
    )
    removed = 0
    for (device_id,) in await found.fetchall():
        while n := await remove_day(conn, table, device_id, horizon):
            removed += n
    return removed


async def _remove_dated(conn: Connection, tenant_id: int, dated: _Dated, horizon: datetime) -> int:
    statement = sql.SQL(
        "DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE tenant_id = %s "
        "AND {column} < %s AND {when} LIMIT %s))"
    ).format(
        table=sql.Identifier(dated.table),
        column=sql.Identifier(dated.column),
        when=sql.SQL(dated.when),
    )
    removed = 0
    while n := (await conn.execute(statement, (tenant_id, horizon, _AT_ONCE))).rowcount:
        removed += n
    return removed
