"""Reading fences for people: one, a list, and all versions of one."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import msgspec
from psycopg import sql

from tracking import raw
from tracking.fences import Audience, Buffers, FenceOptions, Schedule
from tracking.shipment_fences import Circle
from tracking.shipments import RESERVED
from tracking.store.connection import Connection
from tracking.store.devices import Bbox
from tracking.times import Moment


class FenceView(msgspec.Struct, frozen=True):
    """One version of a fence as every interface tells it.

    `effective_from` and `effective_to` are device time; `created_at` and `deleted_at` are the
    fence's, `updated_at` and `updated_by` the version's.
    """

    id: str
    name: str
    version: int
    shape: raw.Object
    layer: str | None
    buffers: Buffers
    dwell_s: float | None
    speed_limit_mps: float | None
    schedule: Schedule | None
    applies_to: Audience
    normal: str
    crossed: bool
    attrs: raw.Object
    effective_from: Moment
    effective_to: Moment | None
    created_at: Moment
    updated_at: Moment
    updated_by: str | None
    deleted_at: Moment | None
    notes: list[str]


class FenceFilter(NamedTuple):
    """Which fences; None leaves that question open. Without `deleted` they are those that live."""

    prefix: str | None = None
    name: str | None = None
    layer: str | None = None
    bbox: Bbox | None = None
    deleted: bool = False


_SELECT = (
    "SELECT f.id, v.name, v.version, v.shape::text, v.options::text, v.attrs::text, v.valid_from, "
    "v.valid_to, f.created_at, v.recorded_at, v.recorded_by, f.deleted_at, v.notes "
    "FROM fence f JOIN fence_version v ON v.fence_number = f.number "
)
_FOOTPRINTS = """
SELECT f.id, v.min_lon, v.min_lat, v.max_lon, v.max_lat FROM fence f
JOIN fence_version v ON v.fence_number = f.number AND v.version = f.version
WHERE f.tenant_id = %s AND f.id = ANY(%s) AND f.deleted_at IS NULL
"""

_options = msgspec.json.Decoder(FenceOptions)


async def get_fence(
    conn: Connection, tenant_id: int, id_: str, version: int | None = None
) -> FenceView | None:
    """A fence in its latest version or the given one; a deleted fence is still told."""
    cursor = await conn.execute(
        _SELECT + "AND v.version = coalesce(%s, f.version) WHERE f.tenant_id = %s AND f.id = %s",
        (version, tenant_id, id_),
    )
    row = await cursor.fetchone()
    return None if row is None else _view(row)


async def list_versions(
    conn: Connection, tenant_id: int, id_: str, *, before: int | None, limit: int
) -> list[FenceView]:
    """The versions of a fence, the latest first, those below the version `before`."""
    cursor = await conn.execute(
        _SELECT + "WHERE f.tenant_id = %(tenant_id)s AND f.id = %(id)s "
        "AND (%(before)s::integer IS NULL OR v.version < %(before)s) "
        "ORDER BY v.version DESC LIMIT %(limit)s",
        {"tenant_id": tenant_id, "id": id_, "before": before, "limit": limit},
    )
    return [_view(row) async for row in cursor]


async def list_fences(
    conn: Connection, tenant_id: int, wanted: FenceFilter, *, after: str | None, limit: int
) -> list[FenceView]:
    """Fences by id in their latest versions, at most `limit`, those behind the id `after`."""
    where, values = _conditions(wanted, after)
    query = (
        sql.SQL(_SELECT + "AND v.version = f.version WHERE f.tenant_id = %(tenant_id)s AND ")
        + where
        + sql.SQL(' ORDER BY f.id COLLATE "C" LIMIT %(limit)s')
    )
    cursor = await conn.execute(query, {**values, "tenant_id": tenant_id, "limit": limit})
    return [_view(row) async for row in cursor]


def _conditions(wanted: FenceFilter, after: str | None) -> tuple[sql.Composable, dict[str, object]]:
    parts = [f"f.deleted_at IS {'NOT NULL' if wanted.deleted else 'NULL'}"]
    values: dict[str, object] = {}
    if after is not None:
        parts.append('f.id COLLATE "C" > %(after)s')
        values["after"] = after
    if wanted.prefix is not None:
        parts.append("starts_with(f.id, %(prefix)s)")
        values["prefix"] = wanted.prefix
    if wanted.prefix is None or not wanted.prefix.startswith(RESERVED):
        # Nobody drew those that follow shipments around.
        parts.append("NOT starts_with(f.id, %(reserved)s)")
        values["reserved"] = RESERVED
    if wanted.name is not None:
        parts.append("strpos(lower(v.name), lower(%(name)s)) > 0")
        values["name"] = wanted.name
    if wanted.layer is not None:
        parts.append("v.options->>'layer' = %(layer)s")
        values["layer"] = wanted.layer
    if wanted.bbox is not None:
        west, south, east, north = wanted.bbox
        # Bounds run on beyond 180; so does a box across the antimeridian. A whole turn apart
        # they mean the same ground.
        values |= {"west": west, "south": south, "north": north}
        values["east"] = east if west <= east else east + 360.0
        meets = "(v.min_lon + {0} <= %(east)s AND v.max_lon + {0} >= %(west)s)"
        turns = " OR ".join(meets.format(turn) for turn in (0, 360, -360))
        parts.append(f"v.min_lat <= %(north)s AND v.max_lat >= %(south)s AND ({turns})")
    return sql.SQL(" AND ").join(map(sql.SQL, parts)), values


def _view(row: tuple[Any, ...]) -> FenceView:
    id_, name, version, shape, stored, attrs, valid_from, valid_to, *rest = row
    created_at, recorded_at, recorded_by, deleted_at, notes = rest
    options = _options.decode(stored)
    return FenceView(
        id=id_,
        name=name,
        version=version,
        shape=msgspec.Raw(shape.encode()),
        layer=options.layer,
        buffers=options.buffers,
        dwell_s=options.dwell_s,
        speed_limit_mps=options.speed_limit_mps,
        schedule=options.schedule,
        applies_to=options.applies_to,
        normal=options.normal,
        crossed=options.crossed,
        attrs=msgspec.Raw(attrs.encode()),
        effective_from=valid_from,
        effective_to=valid_to,
        created_at=created_at,
        updated_at=recorded_at,
        updated_by=recorded_by,
        deleted_at=deleted_at,
        notes=notes,
    )


async def footprints_of(
    conn: Connection, tenant_id: int, ids: Collection[str]
) -> Mapping[str, Circle]:
    """Circles around those of these fences that there are."""
    if not ids:
        return {}
    found = await conn.execute(_FOOTPRINTS, (tenant_id, sorted(ids)))
    return {row[0]: Circle.around(*row[1:]) async for row in found}
