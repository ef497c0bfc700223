"""Reading the history of positions."""

from datetime import datetime
from typing import NamedTuple

from psycopg import sql

from tracking.feed import PositionUpdate, position_update
from tracking.quality import Quality
from tracking.store.connection import Connection


class PositionKey(NamedTuple):
    """Where a fix stands in the history of its device."""

    fix_time: datetime
    seq: int


class StoredPosition(NamedTuple):
    """A fix and its key."""

    key: PositionKey
    position: PositionUpdate


async def list_positions(
    conn: Connection,
    tenant_id: int,
    device: str,
    *,
    start: datetime | None,
    end: datetime | None,
    quality: Quality | None,
    after: PositionKey | None,
    limit: int,
) -> list[StoredPosition] | None:
    """Fixes of a device in [start, end), oldest first, those behind `after`; None: no such device.

    Every quality is told unless one is asked for: a fix is never hidden.
    """
    found = await conn.execute(
        "SELECT id FROM device WHERE tenant_id = %s AND name = %s", (tenant_id, device)
    )
    row = await found.fetchone()
    if row is None:
        return None
    # The id is enough to find the rows; the tenant is asked again as the second lock.
    parts = ["device_id = %(device_id)s", "tenant_id = %(tenant_id)s"]
    values: dict[str, object] = {"device_id": row[0], "tenant_id": tenant_id, "limit": limit}
    # A lower bound on the time itself lets the planner skip the days before it.
    lower = max((t for t in (start, after.fix_time if after else None) if t), default=None)
    if lower is not None:
        parts.append("fix_time >= %(lower)s")
        values["lower"] = lower
    if end is not None:
        parts.append("fix_time < %(end)s")
        values["end"] = end
    if after is not None:
        parts.append("(fix_time, seq) > (%(after_time)s, %(after_seq)s)")
        values |= {"after_time": after.fix_time, "after_seq": after.seq}
    if quality is not None:
        parts.append("quality = %(quality)s")
        values["quality"] = int(quality)
    query = (
        sql.SQL(
            "SELECT seq, fix_time, received_at, lon, lat, alt_m, speed_mps, course_deg, "
            "accuracy_m, battery, quality, h3, attrs::text FROM position WHERE "
        )
        + sql.SQL(" AND ").join(map(sql.SQL, parts))
        + sql.SQL(" ORDER BY fix_time, seq LIMIT %(limit)s")
    )
    cursor = await conn.execute(query, values)
    return [
        StoredPosition(PositionKey(row[1], row[0]), position_update(device, *row[1:]))
        async for row in cursor
    ]
