"""Reading the history of one device's positions."""

from contextlib import aclosing
from datetime import datetime
from typing import NamedTuple

from tracking.feed import PositionUpdate
from tracking.quality import Quality
from tracking.store.connection import Connection
from tracking.store.position_pages import HistoryFilter, PositionKey, read_history

__all__ = ["PositionKey", "StoredPosition", "list_positions"]


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
    wanted = HistoryFilter(start, end, quality)
    result: list[StoredPosition] = []
    pages = read_history(conn, tenant_id, [row[0]], wanted, after=after, limit=limit)
    async with aclosing(pages):
        async for page in pages:
            updates = page.updates([device])
            keys = map(PositionKey, (update.fix_time for update in updates), page.seq.tolist())
            result += map(StoredPosition, keys, updates)
    return result
