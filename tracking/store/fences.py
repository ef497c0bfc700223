"""Fences for those who follow them: what was written since, and which devices an edit concerns."""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from tracking.fencebook import Bounds, Changes, FenceRows
from tracking.store.arrays import Blobs, Float8s, Int8s
from tracking.store.connection import Connection
from tracking.times import from_us, to_us

# A timestamp in microseconds, exactly; PostgreSQL's epochs are numeric.
US = "(extract(epoch FROM {}) * 1000000)::bigint"

_SINCE = f"""
SELECT v.fence_number, f.id, v.name, v.version, {US.format("f.since")},
    {US.format("v.valid_from")}, {US.format("v.valid_to")}, v.kind, v.geometry, v.radius_m,
    v.options::text::bytea
FROM fence_version v JOIN fence f ON f.number = v.fence_number
WHERE v.tenant_id = %(tenant_id)s AND v.revision > %(revision)s
    AND (v.valid_to IS NULL OR v.valid_to > %(ended_after)s)
ORDER BY v.fence_number, v.version
"""  # noqa: S608 -- of constants

_RECENT = """
SELECT fence_number, min_lon, min_lat, max_lon, max_lat,
    CASE WHEN recorded_at > now() - %(within)s THEN valid_from ELSE valid_to END
FROM fence_version
WHERE tenant_id = %(tenant_id)s AND revised_at > now() - %(within)s
"""

# The rows of one step of decoding, about 10 ms, between which the event loop goes on.
_STEP = 5_000
# Each position meets every box, so beyond this one box around all is cheaper.
_BOXES = 16
# Each device's presences are searched for every fence, so beyond this they are read whole.
_SEARCHES = 16


async def fence_revisions(conn: Connection) -> dict[int, int]:
    """The revision of every tenant that ever had a fence; asked each second by each worker."""
    cursor = await conn.execute("SELECT id, fence_revision FROM tenant WHERE fence_revision > 0")
    return dict(await cursor.fetchall())


async def fences_since(
    conn: Connection, tenant_id: int, revision: int, *, ended_after_us: int | None = None
) -> FenceRows:
    """The versions of a tenant's fences written after `revision`, by fence and version.

    With `ended_after_us` without those that ended at or before it. The revision that comes back
    is that of the tenant, raised also by edits that wrote no version (of a device's groups).
    """
    head = await conn.execute("SELECT fence_revision FROM tenant WHERE id = %s", (tenant_id,))
    # Read before the rows: some may be newer, and then come again, which changes nothing.
    (current,) = await head.fetchone() or (revision,)
    ended_after = from_us(0 if ended_after_us is None else ended_after_us)
    cursor = await conn.execute(
        _SINCE,
        {"tenant_id": tenant_id, "revision": revision, "ended_after": ended_after},
        binary=True,
    )
    rows: list[tuple[Any, ...]] = []
    while step := await cursor.fetchmany(_STEP):
        rows += step
        await asyncio.sleep(0)
    return FenceRows(current, rows)


async def recent_changes(conn: Connection, tenant_id: int, within_s: float) -> Changes:
    """What edits changed in the last `within_s` seconds of our clock; `zones` is empty."""
    cursor = await conn.execute(
        _RECENT, {"tenant_id": tenant_id, "within": timedelta(seconds=within_s)}
    )
    rows = await cursor.fetchall()
    since_us = min((to_us(row[5]) for row in rows), default=0)
    return Changes(
        list(dict.fromkeys(row[0] for row in rows)), [row[1:5] for row in rows], since_us, []
    )


async def audiences(
    conn: Connection, device_ids: Collection[int] | NDArray[np.int64]
) -> list[tuple[int, list[str], list[str]]]:
    """(device id, groups, tags) of those of the devices that exist."""
    cursor = await conn.execute(
        "SELECT id, groups, tags FROM device WHERE id = ANY(%s)",
        (Int8s(np.fromiter(device_ids, np.int64)),),
    )
    return await cursor.fetchall()


async def devices_near(
    conn: Connection,
    tenant_id: int,
    bounds: Sequence[Bounds],
    numbers: Sequence[int],
    since_us: int,
) -> list[int]:
    """Ids of the devices an edit may concern, sorted.

    Those with a fix at or after `since_us` in one of the boxes (degrees, unwrapped), and those
    that remember one of the fences `numbers`. May be more: of many boxes the one around all counts.
    """
    found = set(await _remembering(conn, tenant_id, numbers))
    if bounds:
        found |= set(await _passing(conn, tenant_id, bounds, since_us))
    return sorted(found)


async def _passing(
    conn: Connection, tenant_id: int, bounds: Sequence[Bounds], since_us: int
) -> list[int]:
    """Devices with a fix in the boxes since a moment of device time."""
    boxes = np.array(list(wrapped(bounds)))
    around = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    where = [
        "p.tenant_id = %(tenant_id)s AND p.fix_time >= %(since)s",
        "p.lon BETWEEN %(west)s AND %(east)s AND p.lat BETWEEN %(south)s AND %(north)s",
    ]
    values: dict[str, object] = {"tenant_id": tenant_id, "since": from_us(max(since_us, 0))}
    values |= dict(zip(("west", "south", "east", "north"), around.tolist(), strict=True))
    if 1 < len(boxes) <= _BOXES:
        where.append(
            "EXISTS (SELECT FROM unnest(%(wests)s, %(souths)s, %(easts)s, %(norths)s) "
            "b(west, south, east, north) WHERE p.lon BETWEEN b.west AND b.east "
            "AND p.lat BETWEEN b.south AND b.north)"
        )
        names = ("wests", "souths", "easts", "norths")
        values |= {name: Float8s(boxes[:, i]) for i, name in enumerate(names)}
    query = sql.SQL("SELECT DISTINCT p.device_id FROM position p WHERE {}").format(
        sql.SQL(" AND ").join(map(sql.SQL, where))
    )
    cursor = await conn.execute(query, values)
    return [row[0] for row in await cursor.fetchall()]


def wrapped(bounds: Iterable[Bounds]) -> Iterator[Bounds]:
    """Boxes with unwrapped longitudes as boxes between -180 and 180."""
    for west, south, east, north in bounds:
        if east - west >= 360.0:
            yield -180.0, south, 180.0, north
            continue
        shift = (west + 180.0) // 360.0 * 360.0
        first, last = west - shift, east - shift
        yield first, south, min(last, 180.0), north
        if last > 180.0:
            yield -180.0, south, last - 360.0, north


async def _remembering(conn: Connection, tenant_id: int, numbers: Sequence[int]) -> list[int]:
    """Devices whose stored presences name one of the fences, or rarely, by chance, none."""
    if not len(numbers):
        return []
    if len(numbers) <= _SEARCHES:
        cursor = await conn.execute(
            "SELECT device_id FROM device_state WHERE tenant_id = %s AND presences IS NOT NULL "
            "AND EXISTS (SELECT FROM unnest(%s) n(bytes) WHERE position(n.bytes IN presences) > 0)",
            (tenant_id, Blobs([number.to_bytes(8, "little") for number in numbers])),
        )
        return [row[0] for row in await cursor.fetchall()]
    cursor = await conn.execute(
        "SELECT device_id, presences FROM device_state "
        "WHERE tenant_id = %s AND presences IS NOT NULL",
        (tenant_id,),
        binary=True,
    )
    rows = await cursor.fetchall()
    # Records of 8-byte fields: a fence's number is one of them.
    fields = np.frombuffer(b"".join(presences for _, presences in rows), "<i8")
    owner = np.repeat(np.arange(len(rows)), [len(presences) // 8 for _, presences in rows])
    hits = np.unique(owner[np.isin(fields, np.asarray(numbers))])
    return [rows[hit][0] for hit in hits.tolist()]
