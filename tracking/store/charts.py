"""What charts are drawn of: measurements and positions of one device, by bucket.

Hours and days come from the hourly aggregates where TimescaleDB keeps them, everything else from
the readings themselves; what came late is in either.
"""

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

import numpy as np

from geofence.geodesy import chord_m, ecef
from tracking.charts import Buckets
from tracking.quality import Quality
from tracking.store.connection import Connection
from tracking.store.position_pages import HistoryFilter, read_history
from tracking.store.series import has_chunks
from tracking.times import to_us

# Less is what a parked receiver's place wanders.
_STEP_M = 25.0


class Figures(NamedTuple):
    """One bucket of one metric."""

    n: int
    mean: float
    low: float
    high: float


# By bucket number; one without readings is not there.
Series = dict[int, Figures]

_MEASURED = """
SELECT metric, width_bucket(fix_time, %(starts)s::timestamptz[]) - 1, count(*), avg(value),
    min(value), max(value)
FROM measurement WHERE device_id = %(device_id)s AND tenant_id = %(tenant_id)s
    AND fix_time >= %(start)s AND fix_time < %(end)s
    AND (%(metrics)s::text[] IS NULL OR metric = ANY(%(metrics)s))
GROUP BY 1, 2
"""
_MEASURED_HOURLY = """
SELECT metric, width_bucket(bucket, %(starts)s::timestamptz[]) - 1, sum(n)::bigint,
    sum(mean * n) / sum(n), min(low), max(high)
FROM measurement_hourly WHERE device_id = %(device_id)s AND tenant_id = %(tenant_id)s
    AND bucket >= %(start)s AND bucket < %(end)s
    AND (%(metrics)s::text[] IS NULL OR metric = ANY(%(metrics)s))
GROUP BY 1, 2
"""
_POSITIONS = """
SELECT width_bucket(fix_time, %(starts)s::timestamptz[]) - 1, count(speed_mps), avg(speed_mps),
    min(speed_mps), max(speed_mps), count(battery), avg(battery), min(battery), max(battery)
FROM position WHERE device_id = %(device_id)s AND tenant_id = %(tenant_id)s AND quality = 0
    AND fix_time >= %(start)s AND fix_time < %(end)s
GROUP BY 1
"""
_POSITIONS_HOURLY = """
SELECT width_bucket(bucket, %(starts)s::timestamptz[]) - 1,
    sum(speed_n)::bigint, sum(speed_mean * speed_n) / nullif(sum(speed_n), 0), min(speed_low),
    max(speed_high), sum(battery_n)::bigint,
    sum(battery_mean * battery_n) / nullif(sum(battery_n), 0), min(battery_low), max(battery_high)
FROM position_hourly WHERE device_id = %(device_id)s AND tenant_id = %(tenant_id)s
    AND bucket >= %(start)s AND bucket < %(end)s
GROUP BY 1
"""


async def chart_measurements(
    conn: Connection,
    tenant_id: int,
    device_id: int,
    buckets: Buckets,
    metrics: Sequence[str] | None,
) -> dict[str, Series]:
    """Metrics by name, those asked for or all there are."""
    query = _MEASURED_HOURLY if await _from_hours(conn, buckets) else _MEASURED
    values = _values(tenant_id, device_id, buckets)
    values["metrics"] = None if metrics is None else list(metrics)
    found: dict[str, Series] = {name: {} for name in metrics or ()}
    for metric, number, *figures in await (await conn.execute(query, values)).fetchall():
        found.setdefault(metric, {})[number] = Figures(*figures)
    return found


async def chart_positions(
    conn: Connection, tenant_id: int, device_id: int, buckets: Buckets
) -> dict[str, Series]:
    """`speed_mps` and `battery` of ok fixes."""
    query = _POSITIONS_HOURLY if await _from_hours(conn, buckets) else _POSITIONS
    speed: Series = {}
    battery: Series = {}
    rows = await conn.execute(query, _values(tenant_id, device_id, buckets))
    for number, *figures in await rows.fetchall():
        for series, (n, *rest) in ((speed, figures[:4]), (battery, figures[4:])):
            if n:
                series[number] = Figures(n, *rest)
    return {"speed_mps": speed, "battery": battery}


async def chart_distance(
    conn: Connection, tenant_id: int, device_id: int, buckets: Buckets
) -> dict[int, float]:
    """Metres a device moved, by the bucket in which each step of 25 m or more ended."""
    wanted = HistoryFilter(buckets.starts[0], buckets.end, Quality.OK)
    edges = np.array([to_us(start) for start in buckets.starts])
    found: dict[int, float] = {}
    anchor: tuple[float, float, float] | None = None
    async with aclosing(read_history(conn, tenant_id, [device_id], wanted)) as pages:
        async for page in pages:
            numbers = (np.searchsorted(edges, page.fix_time_us, "right") - 1).tolist()
            places = (axis.tolist() for axis in ecef(page.lon, page.lat))
            for number, *place in zip(numbers, *places, strict=True):
                here = (place[0], place[1], place[2])
                if anchor is None:
                    anchor = here
                    continue
                moved_m = chord_m(*here, *anchor)
                if moved_m >= _STEP_M:
                    found[number] = found.get(number, 0.0) + moved_m
                    anchor = here
    return found


async def _from_hours(conn: Connection, buckets: Buckets) -> bool:
    # Of native partitions the aggregate is a view over the readings, which only they can bound.
    return buckets.hourly and await has_chunks(conn)


def _values(tenant_id: int, device_id: int, buckets: Buckets) -> dict[str, Any]:
    return {
        "tenant_id": tenant_id,
        "device_id": device_id,
        "starts": buckets.starts,
        "start": buckets.starts[0],
        "end": buckets.end,
    }
