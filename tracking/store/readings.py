"""`position`, `measurement` and `tag_read`: the readings, each stored once.

Callers hold the lock of every device they write for, so what a SELECT here sees cannot change
before the transaction ends.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from tracking.fold.refold import FoldedFix
from tracking.fold.state import NEVER
from tracking.store.arrays import (
    Column,
    Float4s,
    Float8s,
    Int2s,
    Int4s,
    Int8s,
    Rows,
    Texts,
    Times,
    texts,
)
from tracking.store.connection import Connection, type_oid
from tracking.times import EARLIEST_US, from_us, to_us

Ints = NDArray[np.int64]
Floats = NDArray[np.floating]

_EXISTING = """
SELECT k.row, p.content, p.quality FROM unnest(%s, %s, %s, %s) k(row, device_id, fix_time, seq)
JOIN position p USING (device_id, fix_time, seq)
"""

_INSERT = """
INSERT INTO position (device_id, tenant_id, fix_time, seq, received_at, lon, lat, alt_m, speed_mps,
                      course_deg, accuracy_m, battery, quality, h3, content, attrs)
SELECT device_id, tenant_id, fix_time, seq, received_at, lon, lat, NULLIF(alt_m, 'NaN'),
       NULLIF(speed_mps, 'NaN'), NULLIF(course_deg, 'NaN'), NULLIF(accuracy_m, 'NaN'),
       NULLIF(battery, 'NaN'), quality, h3, content, attrs::jsonb
FROM unnest(%s::ingest_position[])
"""

_DELETE = """
DELETE FROM position p USING unnest(%s, %s, %s) k(device_id, fix_time, seq)
WHERE p.device_id = k.device_id AND p.fix_time = k.fix_time AND p.seq = k.seq
"""

_REQUALIFY = """
UPDATE position p SET quality = u.quality
FROM unnest(%s, %s, %s, %s) u(device_id, fix_time, seq, quality)
WHERE p.device_id = u.device_id AND p.fix_time = u.fix_time AND p.seq = u.seq
"""

# FUTURE and STALE (3, 4) are outside the fold.
_HISTORY = """
SELECT (extract(epoch FROM fix_time) * 1000000)::bigint, seq, quality, lon, lat,
       COALESCE(speed_mps, 'NaN'), COALESCE(accuracy_m, 'NaN')
FROM position
WHERE device_id = %s AND quality NOT IN (3, 4) AND (fix_time, seq) > (%s, %s)
ORDER BY fix_time, seq LIMIT %s
"""

_MEASURE = """
WITH new AS (
    SELECT * FROM unnest(%s, %s, %s, %s, %s, %s)
        u(device_id, tenant_id, fix_time, metric, received_at, value)
), old AS MATERIALIZED (
    SELECT n.device_id, m.value <> n.value AS differs
    FROM new n JOIN measurement m USING (device_id, fix_time, metric)
), written AS (
    INSERT INTO measurement (device_id, tenant_id, fix_time, metric, received_at, value)
    SELECT device_id, tenant_id, fix_time, metric, received_at, value FROM new
    ON CONFLICT (device_id, fix_time, metric) DO UPDATE SET value = excluded.value
    WHERE excluded.value > measurement.value
)
SELECT device_id, count(*), count(*) FILTER (WHERE differs) FROM old GROUP BY device_id
"""

_READ_TAGS = """
WITH new AS (
    SELECT * FROM unnest(%s, %s, %s, %s, %s, %s, %s, %s)
        u(device_id, tenant_id, fix_time, epc, antenna, received_at, rssi_dbm, count)
), old AS MATERIALIZED (
    SELECT n.device_id,
           (COALESCE(t.rssi_dbm, 'NaN'), t.count) <> (n.rssi_dbm, n.count) AS differs
    FROM new n JOIN tag_read t USING (device_id, fix_time, epc, antenna)
), written AS (
    INSERT INTO tag_read AS t
        (device_id, tenant_id, fix_time, epc, antenna, received_at, rssi_dbm, count)
    SELECT device_id, tenant_id, fix_time, epc, antenna, received_at, NULLIF(rssi_dbm, 'NaN'), count
    FROM new
    ON CONFLICT (device_id, fix_time, epc, antenna)
    DO UPDATE SET rssi_dbm = excluded.rssi_dbm, count = excluded.count
    WHERE (COALESCE(excluded.rssi_dbm, 'NaN'), excluded.count)
        > (COALESCE(t.rssi_dbm, 'NaN'), t.count)
)
SELECT device_id, count(*), count(*) FILTER (WHERE differs) FROM old GROUP BY device_id
"""


@dataclass(slots=True)
class PositionRows:
    """Positions to store; columns of equal length, NaN for missing."""

    device_id: Ints
    tenant_id: Ints
    fix_time_us: Ints
    seq: Ints
    received_us: Ints
    lon: Floats
    lat: Floats
    alt_m: Floats
    speed_mps: Floats
    course_deg: Floats
    accuracy_m: Floats
    battery: Floats
    quality: Ints
    h3: Ints
    content: Ints
    attrs: list[bytes | None]

    def take(self, rows: Ints) -> "PositionRows":
        """The given rows only."""
        columns = {
            column.name: getattr(self, column.name)[rows]
            for column in fields(self)
            if column.name != "attrs"
        }
        return PositionRows(**columns, attrs=[self.attrs[row] for row in rows.tolist()])


async def existing_content(
    conn: Connection, device_id: Ints, fix_time_us: Ints, seq: Ints
) -> dict[int, tuple[int, int]]:
    """Which of the given keys are stored: index into the arguments -> (content, quality)."""
    rows = np.arange(len(device_id))
    cursor = await conn.execute(
        _EXISTING, (Int8s(rows), Int8s(device_id), Times(fix_time_us), Int8s(seq)), binary=True
    )
    return {row: (content, quality) for row, content, quality in await cursor.fetchall()}


async def insert_positions(conn: Connection, rows: PositionRows) -> None:
    """Store positions whose keys are known to be free."""
    columns: list[Column] = [
        (Int8s, rows.device_id),
        (Int4s, rows.tenant_id),
        (Times, rows.fix_time_us),
        (Int8s, rows.seq),
        (Times, rows.received_us),
        (Float8s, rows.lon),
        (Float8s, rows.lat),
        (Float4s, rows.alt_m),
        (Float4s, rows.speed_mps),
        (Float4s, rows.course_deg),
        (Float4s, rows.accuracy_m),
        (Float4s, rows.battery),
        (Int2s, rows.quality),
        (Int8s, rows.h3),
        (Int8s, rows.content),
    ]
    await conn.execute(
        _INSERT, (Rows(type_oid(conn, "ingest_position"), columns, [(Texts, rows.attrs)]),)
    )


async def delete_positions(conn: Connection, device_id: Ints, fix_time_us: Ints, seq: Ints) -> None:
    """Remove the losers of a conflict, before the winners are inserted."""
    await conn.execute(_DELETE, (Int8s(device_id), Times(fix_time_us), Int8s(seq)))


async def newest_future(conn: Connection, device_id: int) -> int:
    """The newest fix stored ahead of its time, us; NEVER without one. Reads the whole device."""
    cursor = await conn.execute(
        "SELECT max(fix_time) FROM position WHERE device_id = %s AND quality = 3", (device_id,)
    )
    row = await cursor.fetchone()
    return NEVER if row is None or row[0] is None else to_us(row[0])


async def requalify(conn: Connection, device_id: int, changes: list[tuple[int, int, int]]) -> None:
    """Write repaired quality codes: (fix_time_us, seq, quality) each."""
    if not changes:
        return
    times, seqs, qualities = zip(*changes, strict=True)
    await conn.execute(
        _REQUALIFY,
        (Int8s([device_id] * len(changes)), Times(times), Int8s(seqs), Int2s(qualities)),
    )


async def history(
    conn: Connection, device_id: int, after_us: int, after_seq: int, page: int = 10_000
) -> AsyncIterator[list[FoldedFix]]:
    """Every folded fix behind the given key, in order, in pages that bound memory."""
    time, seq = from_us(max(after_us, EARLIEST_US)), after_seq
    while True:
        cursor = await conn.execute(_HISTORY, (device_id, time, seq, page), binary=True)
        rows = await cursor.fetchall()
        if rows:
            yield rows
        if len(rows) < page:
            return
        time, seq = from_us(rows[-1][0]), rows[-1][1]


@dataclass(slots=True)
class SensorRows:
    """Measurements of one batch; at most one per (device, time, metric)."""

    device_id: Ints
    tenant_id: Ints
    fix_time_us: Ints
    received_us: Ints
    metric: list[str]
    value: Floats


async def store_measurements(conn: Connection, rows: SensorRows) -> list[tuple[int, int, int]]:
    """Store; where a key exists the greater value wins, whatever the order of arrival.

    Returns (device_id, n already there, n of those with another value).
    """
    cursor = await conn.execute(
        _MEASURE,
        (
            Int8s(rows.device_id),
            Int4s(rows.tenant_id),
            Times(rows.fix_time_us),
            texts(rows.metric),
            Times(rows.received_us),
            Float8s(rows.value),
        ),
    )
    return await cursor.fetchall()


@dataclass(slots=True)
class TagRows:
    """Tag reads of one batch; at most one per (device, time, epc, antenna)."""

    device_id: Ints
    tenant_id: Ints
    fix_time_us: Ints
    received_us: Ints
    epc: list[str]
    antenna: Ints
    rssi_dbm: Floats
    count: Ints


async def store_tag_reads(conn: Connection, rows: TagRows) -> list[tuple[int, int, int]]:
    """Store; where a key exists the stronger read wins. Returns as `store_measurements`."""
    cursor = await conn.execute(
        _READ_TAGS,
        (
            Int8s(rows.device_id),
            Int4s(rows.tenant_id),
            Times(rows.fix_time_us),
            texts(rows.epc),
            Int4s(rows.antenna),
            Times(rows.received_us),
            Float4s(rows.rssi_dbm),
            Int4s(rows.count),
        ),
    )
    return await cursor.fetchall()
