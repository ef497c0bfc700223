"""Ways by road as they are kept, by name, and who may ask for one.

A way is named by what it is of: `<shipment's number>/<stop>` from where that shipment was, and
`<lon>,<lat>;<lon>,<lat>` from one place to another, for whoever goes there.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from tracking.store.connection import Connection

# Whoever asked and was not answered asks again after this, as does who has left the way.
ASK_EVERY = timedelta(minutes=1)
# Roads are seldom built; where there is no way there hardly is one soon.
NO_WAY_FOR = timedelta(hours=1)

# Points already known are not sent again: a minute's ways of 10,000 shipments are some 50 MB.
_KNOWN = """
SELECT k.i, p.not_before <= now(), p.made_at,
    CASE WHEN p.made_at IS DISTINCT FROM k.made_at THEN p.points END
FROM unnest(%s::integer[], %s::text[], %s::timestamptz[])
    WITH ORDINALITY k(tenant_id, name, made_at, i)
JOIN road_path p ON p.tenant_id = k.tenant_id AND p.name = k.name
"""

# One of several that want to know gets to ask.
_CLAIM = """
INSERT INTO road_path (tenant_id, name, shipment_number, not_before)
VALUES (%s, %s, %s, now() + %s)
ON CONFLICT (tenant_id, name) DO UPDATE SET not_before = excluded.not_before
WHERE road_path.not_before <= now()
"""

# The forecast of a shipment that has a way now is made anew.
_KEEP = """
WITH kept AS (
    UPDATE road_path SET points = %(points)s,
        made_at = CASE WHEN %(points)s::bytea IS NOT NULL THEN clock_timestamp() END,
        not_before = greatest(not_before, now() + %(rest)s)
    WHERE tenant_id = %(tenant_id)s AND name = %(name)s RETURNING shipment_number)
UPDATE shipment_eta e SET next_at = '-infinity', fix_time = NULL FROM kept k
WHERE e.shipment_number = k.shipment_number
"""

# Of a shipment under way they begin where it was, and go with it.
_FORGET = """
DELETE FROM road_path WHERE not_before < now()
    - CASE WHEN shipment_number IS NULL THEN interval '30 days' ELSE interval '1 day' END
"""


class WayName(NamedTuple):
    """Whose way it is, and what it is of; see the module."""

    tenant_id: int
    name: str


class KnownWay(NamedTuple):
    """What is kept of a way. `points` is None where there is none, or none newer than asked for."""

    may_ask: bool
    made_at: datetime | None
    points: bytes | None


async def known_ways(
    conn: Connection, wanted: Sequence[tuple[WayName, datetime | None]]
) -> dict[WayName, KnownWay]:
    """What is kept of these, each with the time at which the one was made that the caller has."""
    if not wanted:
        return {}
    found = await conn.execute(
        _KNOWN,
        (
            [name.tenant_id for name, _ in wanted],
            [name.name for name, _ in wanted],
            [made_at for _, made_at in wanted],
        ),
    )
    return {wanted[i - 1][0]: KnownWay(*rest) async for i, *rest in found}


async def claim_question(conn: Connection, name: WayName, shipment_number: int | None) -> bool:
    """Whether the caller gets to ask; nobody else does for a minute."""
    claimed = await conn.execute(_CLAIM, (*name, shipment_number, ASK_EVERY))
    return claimed.rowcount == 1


async def keep_way(conn: Connection, name: WayName, points: bytes | None) -> None:
    """Keep the answer; None: there is no way."""
    await conn.execute(
        _KEEP,
        {
            "tenant_id": name.tenant_id,
            "name": name.name,
            "points": points,
            "rest": timedelta(0) if points is not None else NO_WAY_FOR,
        },
    )


async def forget_ways(conn: Connection) -> int:
    """Forget what nobody asked for in a day, between places in thirty; returns how many."""
    return (await conn.execute(_FORGET)).rowcount
