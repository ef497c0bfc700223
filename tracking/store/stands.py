"""Where the devices that carry shipments stood still for long."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from tracking.custody import FOR_EVER_US
from tracking.store.connection import Connection
from tracking.times import from_us, to_us
from tracking.troubles import Stand

# Of a carrier that stands still for longer than this when it takes a shipment it is not known.
_BEFORE_US = 86_400_000_000

# A stop for a gap in the fixes is none: nobody knows what it did. By the key of the fix that made
# the fold sure; those of before the time asked for were confirmed before.
_STANDS = """
WITH motion AS (
    SELECT k.i, k.after_s, e.device_id, e.id, e.type, e.time, e.data,
        lead(e.time) OVER (PARTITION BY k.i ORDER BY e.confirmed_at, e.confirmed_seq) AS until
    FROM unnest(%s::bigint[], %s::timestamptz[], %s::float8[])
        WITH ORDINALITY k(device, since, after_s, i)
    JOIN event e ON e.device_id = k.device AND e.confirmed_at >= k.since
    WHERE e.status = 'active' AND e.type IN ('motion.started', 'motion.stopped'))
SELECT m.i, m.time, m.until, last.fix_time, (m.data ->> 'lon')::float8,
    (m.data ->> 'lat')::float8, m.id::text
FROM motion m CROSS JOIN LATERAL (
    SELECT p.fix_time FROM position p WHERE p.device_id = m.device_id AND p.quality = 0
        AND p.fix_time >= m.time AND p.fix_time < coalesce(m.until, 'infinity')
    ORDER BY p.fix_time DESC LIMIT 1) last
WHERE m.type = 'motion.stopped' AND m.data ->> 'reason' = 'stay'
    AND coalesce(m.until, clock_timestamp()) - m.time >= make_interval(secs => m.after_s)
ORDER BY m.i, m.time
"""


class Carrier(NamedTuple):
    """A device that carries a shipment from a moment on; `after_s` is how long is long."""

    number: int
    device: str
    device_id: int
    since_us: int
    after_s: float


async def stands_of(conn: Connection, carriers: Sequence[Carrier]) -> dict[int, list[Stand]]:
    """By shipment, where its carriers stood for long, and their last fix there."""
    stands: dict[int, list[Stand]] = defaultdict(list)
    if not carriers:
        return stands
    found = await conn.execute(
        _STANDS,
        (
            [one.device_id for one in carriers],
            [from_us(max(one.since_us - _BEFORE_US, 0)) for one in carriers],
            [one.after_s for one in carriers],
        ),
    )
    async for i, time, until, still, lon, lat, event in found:
        one = carriers[i - 1]
        until_us = FOR_EVER_US if until is None else to_us(until)
        stands[one.number].append(
            Stand(one.device, to_us(time), until_us, to_us(still), lon, lat, event)
        )
    return stands
