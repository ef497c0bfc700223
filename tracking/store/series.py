"""Upkeep of the time series: partitions made and filled, old data compressed and dropped."""

from datetime import UTC, date, datetime, timedelta

from psycopg import sql

from tracking.store.connection import Connection

SERIES = ("position", "measurement", "tag_read")

# Attaching a day locks its series; rather later than in the way of ingest.
_LOCK_TIMEOUT = "2s"


async def has_chunks(conn: Connection) -> bool:
    """Whether TimescaleDB keeps the series; otherwise they are native partitions."""
    cursor = await conn.execute("SELECT to_regclass('position_default') IS NULL")
    row = await cursor.fetchone()
    return bool(row and row[0])


async def days_without_partition(
    conn: Connection, series: str, *, ahead: int, limit: int
) -> list[date]:
    """Today and the next `ahead` days, then up to `limit` days of rows waiting in the default
    partition; of these only days that have no partition yet.
    """  # noqa: D205 -- one contract
    today = datetime.now(UTC).date()
    wanted = [today + timedelta(days=n) for n in range(ahead + 1)]
    cursor = await conn.execute(
        sql.SQL(
            "SELECT DISTINCT (fix_time AT TIME ZONE 'UTC')::date FROM {} ORDER BY 1 DESC LIMIT %s"
        ).format(sql.Identifier(f"{series}_default")),
        (limit,),
    )
    wanted += [row[0] for row in await cursor.fetchall() if row[0] not in wanted]
    parts = [f"{series}_{day:%Y%m%d}" for day in wanted]
    cursor = await conn.execute(
        "SELECT name FROM unnest(%s::text[]) name WHERE to_regclass(name) IS NULL", (parts,)
    )
    missing = {row[0] for row in await cursor.fetchall()}
    return [day for day, part in zip(wanted, parts, strict=True) if part in missing]


async def attach_day(conn: Connection, series: str, day: date) -> bool:
    """Give a day its partition and move the rows that wait for it. Idempotent."""
    async with conn.transaction():
        await conn.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        cursor = await conn.execute("SELECT series_attach_day(%s, %s)", (series, day))
        row = await cursor.fetchone()
    return bool(row and row[0])


async def compress_before(conn: Connection, series: str, horizon: datetime) -> int:
    """Compress the chunks that end before `horizon`; returns how many. TimescaleDB only."""
    cursor = await conn.execute(
        "SELECT count(compress_chunk(chunk, if_not_compressed => true)) "
        "FROM (SELECT format('%%I.%%I', chunk_schema, chunk_name)::regclass AS chunk "
        "      FROM timescaledb_information.chunks WHERE hypertable_name = %s "
        "      AND range_end < %s AND NOT is_compressed) due",
        (series, horizon),
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def drop_before(conn: Connection, series: str, horizon: datetime) -> int:
    """Drop the chunks or partitions that end before `horizon`; returns how many."""
    cursor = await conn.execute("SELECT series_drop_before(%s, %s)", (series, horizon))
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def prune_checkpoints(conn: Connection, late_horizon_h: float) -> int:
    """Forget checkpoints no repair can need: all but one beyond each device's late horizon."""
    cursor = await conn.execute(
        "DELETE FROM checkpoint c USING device_state s WHERE s.device_id = c.device_id "
        "AND c.fix_time < (SELECT max(k.fix_time) FROM checkpoint k "
        "                  WHERE k.device_id = c.device_id "
        "                  AND k.fix_time < s.fix_time - make_interval(mins => %s))",
        (round(late_horizon_h * 60),),
    )
    return cursor.rowcount
