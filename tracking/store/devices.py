"""Reading devices and what is known of each now."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args

import msgspec
from psycopg import sql

from tracking import raw
from tracking.feed import PositionUpdate, position_update
from tracking.store.connection import Connection
from tracking.store.ledger import LedgerRow
from tracking.times import Moment

Motion = Literal["unknown", "stopped", "moving"]
# As `device_state.motion` counts them.
MOTIONS: tuple[Motion, ...] = get_args(Motion)


class Bbox(NamedTuple):
    """Degrees; `min_lon` above `max_lon` is a box across the antimeridian, as in RFC 7946."""

    min_lon: float
    min_lat: float
    max_lon: float
    max_lat: float

    def holds(self, lon: float, lat: float) -> bool:
        """Whether a place is inside or on the edge."""
        if not self.min_lat <= lat <= self.max_lat:
            return False
        if self.min_lon <= self.max_lon:
            return self.min_lon <= lon <= self.max_lon
        return lon >= self.min_lon or lon <= self.max_lon


class DeviceView(msgspec.Struct, frozen=True):
    """A device and its state. `position` is its latest ok fix, None before the first.

    `version` counts edits of `groups`, `tags` and `attrs`.
    """

    name: str
    online: bool | None
    online_at: Moment | None
    silent_since: Moment | None
    heard_at: Moment | None
    motion: Motion
    odometer_m: float
    position: PositionUpdate | None
    groups: list[str]
    tags: list[str]
    attrs: raw.Object
    version: int
    created_at: Moment


class DeviceDetail(DeviceView, frozen=True):
    """A device with its account in the ledger."""

    ledger: LedgerRow | None


class DeviceFilter(NamedTuple):
    """Which devices; None leaves that question open."""

    names: tuple[str, ...] | None = None
    prefix: str | None = None
    online: bool | None = None
    motion: Motion | None = None
    bbox: Bbox | None = None
    group: str | None = None
    tag: str | None = None


Sort = Literal["name", "-name", "fix_time", "-fix_time"]


class DeviceKey(NamedTuple):
    """Where a device stands in lists; those without a fix are before all others."""

    name: str
    fix_time: datetime | None = None


_FIX_TIME = "coalesce(s.fix_time, '-infinity')"
# By what, and what is behind a row.
_ORDERS: dict[Sort, tuple[str, str]] = {
    "name": ("d.name", "d.name > %(after)s"),
    "-name": ("d.name DESC", "d.name < %(after)s"),
    "fix_time": (
        f"{_FIX_TIME}, d.name",
        f"({_FIX_TIME}, d.name) > (coalesce(%(after_time)s::timestamptz, '-infinity'), %(after)s)",
    ),
    "-fix_time": (
        f"{_FIX_TIME} DESC, d.name DESC",
        f"({_FIX_TIME}, d.name) < (coalesce(%(after_time)s::timestamptz, '-infinity'), %(after)s)",
    ),
}
_STATE = (
    "SELECT d.name, s.fix_time, s.received_at, s.lon, s.lat, s.alt_m, s.speed_mps, s.course_deg, "
    "s.accuracy_m, s.battery, 0 AS quality, s.h3, s.attrs::text"
)
_DEVICE = (
    _STATE + ", s.online, s.online_at, s.silent_since, s.heard_at, coalesce(s.motion, 0), "
    "coalesce(s.odometer_m, 0), d.groups, d.tags, d.attrs::text, d.version, d.created_at"
)
_FROM = " FROM device d LEFT JOIN device_state s ON s.device_id = d.id WHERE "


async def list_devices(
    conn: Connection,
    tenant_id: int,
    wanted: DeviceFilter,
    *,
    after: DeviceKey | None,
    limit: int,
    sort: Sort = "name",
) -> list[DeviceView]:
    """Devices in an order, at most `limit`, those behind `after`."""
    where, values = _conditions(tenant_id, wanted, after, sort)
    query = (
        sql.SQL(_DEVICE + _FROM)
        + where
        + sql.SQL(" ORDER BY " + _ORDERS[sort][0] + " LIMIT %(limit)s")
    )
    cursor = await conn.execute(query, {**values, "limit": limit}, prepare=_prepared(wanted))
    return [_device(row) async for row in cursor]


async def get_device(conn: Connection, tenant_id: int, name: str) -> DeviceView | None:
    """One device by its name."""
    found = await list_devices(conn, tenant_id, DeviceFilter(names=(name,)), after=None, limit=1)
    return found[0] if found else None


async def list_latest(
    conn: Connection, tenant_id: int, wanted: DeviceFilter, *, after: str | None, limit: int
) -> list[PositionUpdate]:
    """The latest ok fix of each device that has one, by name, those behind the name `after`."""
    key = None if after is None else DeviceKey(after)
    where, values = _conditions(tenant_id, wanted, key)
    query = (
        sql.SQL(_STATE + _FROM + "s.fix_time IS NOT NULL AND ")
        + where
        + sql.SQL(" ORDER BY d.name LIMIT %(limit)s")
    )
    cursor = await conn.execute(query, {**values, "limit": limit}, prepare=_prepared(wanted))
    return [position_update(*row) async for row in cursor]


async def latest_of(
    conn: Connection, tenant_id: int, names: list[str]
) -> dict[str, PositionUpdate | None]:
    """The latest ok fix of each of these devices that exists; None before its first."""
    cursor = await conn.execute(
        _STATE + _FROM + "d.tenant_id = %s AND d.name = ANY(%s)", (tenant_id, names), binary=True
    )
    return {
        row[0]: None if row[1] is None else position_update(*row) for row in await cursor.fetchall()
    }


async def devices_of(
    conn: Connection, tenant_id: int, names: Sequence[str] | None, group: str | None
) -> dict[str, int]:
    """The ids of devices by name, in that order: of these names or all, of one group or any."""
    cursor = await conn.execute(
        "SELECT name, id FROM device WHERE tenant_id = %(tenant_id)s "
        "AND (%(names)s::text[] IS NULL OR name = ANY(%(names)s)) "
        "AND (%(group)s::text IS NULL OR groups @> ARRAY[%(group)s]) ORDER BY name",
        {"tenant_id": tenant_id, "names": None if names is None else list(names), "group": group},
    )
    return dict(await cursor.fetchall())


async def latest_heard_since(
    conn: Connection, tenant_id: int, since: datetime
) -> list[PositionUpdate]:
    """The latest ok fix of each device that sent anything at or after `since` (our clock)."""
    cursor = await conn.execute(
        _STATE + _FROM + "d.tenant_id = %s AND s.fix_time IS NOT NULL AND s.heard_at >= %s",
        (tenant_id, since),
    )
    return [position_update(*row) async for row in cursor]


def _prepared(wanted: DeviceFilter) -> bool | None:
    # A plan for any box walks the devices by name until enough are inside: 80 ms for 1,000 of
    # 100,000. One for this box reads all states once where few of them are inside it: 25.
    return False if wanted.bbox is not None else None


def _conditions(
    tenant_id: int, wanted: DeviceFilter, after: DeviceKey | None, sort: Sort = "name"
) -> tuple[sql.Composable, dict[str, object]]:
    parts = ["d.tenant_id = %(tenant_id)s"]
    values: dict[str, object] = {"tenant_id": tenant_id}
    if after is not None:
        parts.append(_ORDERS[sort][1])
        values |= {"after": after.name, "after_time": after.fix_time}
    if wanted.group is not None:
        parts.append("d.groups @> ARRAY[%(group)s]")
        values["group"] = wanted.group
    if wanted.tag is not None:
        parts.append("d.tags @> ARRAY[%(tag)s]")
        values["tag"] = wanted.tag
    if wanted.names is not None:
        parts.append("d.name = ANY(%(names)s)")
        values["names"] = list(wanted.names)
    if wanted.prefix is not None:
        parts.append("starts_with(d.name, %(prefix)s)")
        values["prefix"] = wanted.prefix
    if wanted.online is not None:
        parts.append("s.online = %(online)s")
        values["online"] = wanted.online
    if wanted.motion is not None:
        parts.append("coalesce(s.motion, 0) = %(motion)s")
        values["motion"] = MOTIONS.index(wanted.motion)
    if wanted.bbox is not None:
        parts.append("s.lat BETWEEN %(min_lat)s AND %(max_lat)s")
        crosses = wanted.bbox.min_lon > wanted.bbox.max_lon
        parts.append(
            "(s.lon >= %(min_lon)s OR s.lon <= %(max_lon)s)"
            if crosses
            else "s.lon BETWEEN %(min_lon)s AND %(max_lon)s"
        )
        values |= wanted.bbox._asdict()
    return sql.SQL(" AND ").join(map(sql.SQL, parts)), values


def _device(row: tuple[Any, ...]) -> DeviceView:
    state, (online, online_at, silent_since, heard_at), known = row[:13], row[13:17], row[17:]
    motion, odometer_m, groups, tags, attrs, version, created_at = known
    return DeviceView(
        name=state[0],
        online=online,
        online_at=online_at,
        silent_since=silent_since,
        heard_at=heard_at,
        motion=MOTIONS[motion],
        odometer_m=round(odometer_m, 1),
        position=None if state[1] is None else position_update(*state),
        groups=groups,
        tags=tags,
        attrs=msgspec.Raw(attrs.encode()),
        version=version,
        created_at=created_at,
    )
