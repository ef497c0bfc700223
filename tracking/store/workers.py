"""Which workers divide the devices among them; see `ingest.split`."""

from tracking.store.connection import Connection


async def note_subscribed(conn: Connection, index: int, workers: int) -> tuple[bool, bool]:
    """Note that worker `index` of `workers` has a session at the broker.

    Returns whether all of them have one, and whether this one already shared the work.
    """
    await conn.execute(
        "INSERT INTO ingest_worker (workers, index) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (workers, index),
    )
    cursor = await conn.execute(
        "SELECT count(*) >= %s, bool_or(index = %s AND shares_since IS NOT NULL) "
        "FROM ingest_worker WHERE workers = %s",
        (workers, index, workers),
    )
    row = await cursor.fetchone()
    return (bool(row[0]), bool(row[1])) if row else (False, False)


async def note_sharing(conn: Connection, index: int, workers: int) -> None:
    """Note that everything queued for this worker came after all sessions existed.

    Another division of the devices is over with that: who returns to it begins anew.
    """
    await conn.execute(
        "WITH over AS (DELETE FROM ingest_worker WHERE workers <> %(workers)s) "
        "UPDATE ingest_worker SET shares_since = now() "
        "WHERE workers = %(workers)s AND index = %(index)s",
        {"workers": workers, "index": index},
    )
