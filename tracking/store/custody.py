"""Claims out of the database, and the positions of whatever is carried."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from tracking.custody import FOR_EVER_US, Claim, Custody, Kind, Ref, Segment
from tracking.feed import PositionUpdate, position_update
from tracking.store.connection import Connection
from tracking.store.positions import PositionKey, StoredPosition
from tracking.times import from_us, to_us

# Of a thing that was carried by many, this many parts before a moment are looked through for its
# last fix.
_PARTS_BACK = 50

# The tables behind `Ref`, and the names and numbers in them.
_NUMBERS = {
    "device": "SELECT id, name FROM device WHERE tenant_id = %s AND name = ANY(%s)",
    "asset": "SELECT number, id FROM asset WHERE tenant_id = %s AND id = ANY(%s)",
    "shipment": "SELECT number, id FROM shipment WHERE tenant_id = %s AND id = ANY(%s)",
}

# An attachment with the names of both ends.
NAMED = """
FROM attachment a
LEFT JOIN device ld ON ld.id = a.load_device
LEFT JOIN asset la ON a.load_kind = 'asset' AND la.number = a.load_number
LEFT JOIN shipment ls ON a.load_kind = 'shipment' AND ls.number = a.load_number
LEFT JOIN device cd ON cd.id = a.carrier_device
LEFT JOIN asset ca ON a.carrier_kind = 'asset' AND ca.number = a.carrier_number
"""
LOAD = "coalesce(ld.name, la.id, ls.id)"
CARRIER = "coalesce(cd.name, ca.id)"

# From the things up to all that ever carried them, and the devices on those.
_CLAIMS = f"""
WITH RECURSIVE up(kind, number) AS (
    SELECT %(kind)s::text, unnest(%(numbers)s::bigint[])
    UNION
    SELECT a.carrier_kind, a.carrier_number FROM up
    JOIN attachment a ON a.load_kind = up.kind AND a.load_number = up.number
    WHERE up.kind <> 'device' AND a.removed_at IS NULL AND a.tenant_id = %(tenant_id)s),
wanted(id) AS (
    SELECT a.id FROM up JOIN attachment a ON a.load_kind = up.kind AND a.load_number = up.number
    WHERE up.kind <> 'device' AND a.removed_at IS NULL AND a.tenant_id = %(tenant_id)s
    UNION
    SELECT a.id FROM up
    JOIN attachment a ON a.carrier_kind = up.kind AND a.carrier_number = up.number
    WHERE a.load_kind = 'device' AND a.removed_at IS NULL AND a.tenant_id = %(tenant_id)s)
SELECT a.load_kind, {LOAD}, a.carrier_kind, {CARRIER}, a.valid_from, a.valid_to
{NAMED} WHERE a.id IN (SELECT id FROM wanted)
"""  # noqa: S608 -- of constants

_LAST = """
SELECT DISTINCT ON (s.thing) s.thing, s.part, d.name, p.fix_time, p.received_at, p.lon, p.lat,
    p.alt_m, p.speed_mps, p.course_deg, p.accuracy_m, p.battery, p.quality, p.h3, p.attrs::text
FROM unnest(%s::integer[], %s::integer[], %s::text[], %s::timestamptz[], %s::timestamptz[])
    s(thing, part, device, start, stop)
JOIN device d ON d.tenant_id = %s AND d.name = s.device
CROSS JOIN LATERAL (
    SELECT * FROM position p WHERE p.device_id = d.id AND p.quality = 0
        AND p.fix_time >= s.start AND p.fix_time < s.stop
    ORDER BY p.fix_time DESC, p.seq DESC LIMIT 1) p
ORDER BY s.thing, s.part DESC
"""

# Parts do not overlap, so their fixes in the order of time are the track.
_TRACK = """
SELECT p.seq, d.name, p.fix_time, p.received_at, p.lon, p.lat, p.alt_m, p.speed_mps,
    p.course_deg, p.accuracy_m, p.battery, p.quality, p.h3, p.attrs::text
FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[]) s(device, start, stop)
JOIN device d ON d.tenant_id = %s AND d.name = s.device
CROSS JOIN LATERAL (
    SELECT * FROM position p WHERE p.device_id = d.id AND p.quality = 0
        AND p.fix_time >= s.start AND p.fix_time < s.stop
        AND (p.fix_time, p.seq) > (%s, %s)
    ORDER BY p.fix_time, p.seq LIMIT %s) p
ORDER BY p.fix_time, p.seq LIMIT %s
"""

_BEFORE_ALL = PositionKey(from_us(0), -(2**63))


class Whereabouts(NamedTuple):
    """The last fix of something before a moment, and by which part of its custody."""

    position: PositionUpdate
    part: Segment


async def numbers_of(
    conn: Connection, tenant_id: int, kind: Kind, ids: Iterable[str]
) -> dict[str, int]:
    """The numbers in the database of those of the things that there are, deleted ones too."""
    found = await conn.execute(_NUMBERS[kind].encode(), (tenant_id, list(ids)))
    return {id_: number for number, id_ in await found.fetchall()}


async def custody_of(conn: Connection, tenant_id: int, things: Sequence[Ref]) -> Custody | None:
    """All that is claimed of who carries these things of one kind; None: there is none of them."""
    kind = things[0].kind
    numbers = await numbers_of(conn, tenant_id, kind, [thing.id for thing in things])
    if not numbers:
        return None
    return Custody(await claims_above(conn, tenant_id, kind, list(numbers.values())))


async def claims_above(
    conn: Connection, tenant_id: int, kind: Kind, numbers: Sequence[int]
) -> list[Claim]:
    """The claims about these things, about what carries them, and of the devices on those."""
    found = await conn.execute(
        _CLAIMS.encode(), {"tenant_id": tenant_id, "kind": kind, "numbers": list(numbers)}
    )
    return [
        Claim(
            Ref(load_kind, load),
            Ref(carrier_kind, carrier),
            to_us(start),
            FOR_EVER_US if end is None else to_us(end),
        )
        async for load_kind, load, carrier_kind, carrier, start, end in found
    ]


async def last_position(
    conn: Connection, tenant_id: int, parts: Sequence[Segment]
) -> Whereabouts | None:
    """The latest ok fix within these parts; None where nobody told one."""
    [found] = await last_positions(conn, tenant_id, [parts])
    return found


async def last_positions(
    conn: Connection, tenant_id: int, things: Sequence[Sequence[Segment]]
) -> list[Whereabouts | None]:
    """The same of many things, each told by its parts."""
    known = [
        (thing, number, part)
        for thing, parts in enumerate(things)
        for number, part in _told(parts)[-_PARTS_BACK:]
    ]
    last: list[Whereabouts | None] = [None] * len(things)
    if known:
        columns = [thing for thing, _, _ in known], [number for _, number, _ in known]
        found = await conn.execute(
            _LAST, (*columns, *_columns([part for _, _, part in known]), tenant_id)
        )
        async for thing, number, *position in found:
            last[thing] = Whereabouts(position_update(*position), things[thing][number])
    return last


def _told(parts: Sequence[Segment]) -> list[tuple[int, Segment]]:
    """Those of the parts in which somebody told where it was, with their places."""
    return [(i, part) for i, part in enumerate(parts) if part.device is not None]


async def list_track(
    conn: Connection,
    tenant_id: int,
    parts: Sequence[Segment],
    *,
    after: PositionKey | None,
    limit: int,
) -> list[StoredPosition]:
    """The ok fixes of these parts in their order, at most `limit`, those behind `after`."""
    key = after or _BEFORE_ALL
    after_us = to_us(key.fix_time)
    known = [part for part in parts if part.device is not None and part.to_us > after_us]
    if not known:
        return []
    found = await conn.execute(_TRACK, (*_columns(known), tenant_id, *key, limit, limit))
    return [
        StoredPosition(PositionKey(row[2], row[0]), position_update(*row[1:]))
        async for row in found
    ]


def _columns(parts: Sequence[Segment]) -> tuple[list[str | None], list[datetime], list[datetime]]:
    return (
        [part.device for part in parts],
        [from_us(max(part.from_us, 0)) for part in parts],
        [moment(part.to_us) for part in parts],
    )


def moment(time_us: int) -> datetime:
    """A moment as the database takes it, one that never comes as the last there is."""
    return from_us(min(time_us, 253_402_300_799_999_999))


async def devices_of_shipments(
    conn: Connection, tenant_id: int, ids: Sequence[str], *, party: str | None = None
) -> dict[str, str | None]:
    """By shipment, the device that tells where it is now; None: nobody does.

    Those that are not there are left out, as are those of other parties if one asks. The answer
    holds until the tenant's next `attachments` notice, or until an attachment begins or ends by
    the clock.
    """
    found = await conn.execute(
        "SELECT id FROM shipment WHERE tenant_id = %(tenant_id)s AND id = ANY(%(ids)s) "
        "AND (%(party)s::text IS NULL OR %(party)s = ANY(parties))",
        {"tenant_id": tenant_id, "ids": list(ids), "party": party},
    )
    refs = [Ref("shipment", row[0]) for row in await found.fetchall()]
    custody = await custody_of(conn, tenant_id, refs) if refs else None
    found = await conn.execute("SELECT clock_timestamp()")
    now_us = to_us((await found.fetchone() or (from_us(0),))[0])
    return {
        ref.id: custody.segments(ref, now_us, now_us + 1)[0].device
        for ref in refs
        if custody is not None
    }
