"""What a preview reads: fences as stored, the devices concerned, and their history as columns.

Every statement here only reads; `only_reads` makes the server see to that.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracking.fencebook import Bounds, VersionRow
from tracking.fences import Audience
from tracking.fold.columnar import FixColumns
from tracking.fold.state import NEVER
from tracking.store.arrays import PG_EPOCH_US, Float8s, Int4s, Int8s, Times, texts, unpacked
from tracking.store.connection import Connection
from tracking.store.eventlog import Device
from tracking.store.fences import US, wrapped
from tracking.store.repairs import Checkpoint
from tracking.times import from_us, to_us

Ints = NDArray[np.int64]

# Before every sequence number.
FIRST_SEQ = NEVER

# Beyond this many boxes one around all of them is asked for: each position meets every box.
_BOXES = 64

_FENCES = f"""
WITH own AS (
    SELECT v.fence_number, v.options->>'layer' AS layer
    FROM fence f JOIN fence_version v ON v.fence_number = f.number
    WHERE f.tenant_id = %(tenant_id)s AND f.id = ANY(%(ids)s)
), neighbour AS (
    SELECT v.fence_number FROM fence_version v
    WHERE v.tenant_id = %(tenant_id)s AND (v.options->>'layer' = ANY(%(layers)s)
        OR v.options->>'layer' IN (SELECT layer FROM own))
)
SELECT v.fence_number, f.id, v.name, v.version, {US.format("f.since")},
    {US.format("v.valid_from")}, {US.format("v.valid_to")}, v.kind, v.geometry, v.radius_m,
    v.options::text::bytea, v.attrs::text::bytea
FROM fence_version v JOIN fence f ON f.number = v.fence_number
WHERE v.fence_number IN (SELECT fence_number FROM own UNION SELECT fence_number FROM neighbour)
ORDER BY v.fence_number, v.version
"""  # noqa: S608 -- of constants

_DEVICES = """
FROM device d JOIN device_state s ON s.device_id = d.id
WHERE d.tenant_id = %(tenant_id)s AND s.fix_time >= %(start)s
    AND (%(names)s::text[] IS NULL OR d.name = ANY(%(names)s))
    AND (%(everyone)s OR d.name = ANY(%(devices)s) OR d.groups && %(groups)s OR d.tags && %(tags)s)
"""

# What waits to be repaired stands on a history that changed: checkpoints behind it are of no use.
_CHECKPOINTS = """
SELECT k.i - 1, c.fix_time, c.seq, c.fold, c.presences
FROM unnest(%s, %s) WITH ORDINALITY k(device_id, before, i)
LEFT JOIN repair r ON r.device_id = k.device_id
CROSS JOIN LATERAL (
    SELECT * FROM checkpoint c
    WHERE c.device_id = k.device_id AND c.fix_time < k.before
        AND (r.device_id IS NULL OR (c.fix_time, c.seq) < (r.fix_time, r.seq))
    ORDER BY c.fix_time DESC, c.seq DESC LIMIT 1) c
"""

_FIRST = """
SELECT k.i - 1, (SELECT min(p.fix_time) FROM position p WHERE p.device_id = k.device_id)
FROM unnest(%s) WITH ORDINALITY k(device_id, i)
"""

_NEAR = """
SELECT k.i - 1, min(p.fix_time), max(p.fix_time)
FROM unnest(%(ids)s, %(since)s) WITH ORDINALITY k(device_id, since, i)
JOIN position p ON p.device_id = k.device_id AND p.fix_time >= k.since
WHERE p.fix_time >= %(first)s AND p.fix_time < %(until)s
    AND p.lon BETWEEN %(west)s AND %(east)s AND p.lat BETWEEN %(south)s AND %(north)s
    AND (%(boxes)s OR EXISTS (
        SELECT FROM unnest(%(wests)s, %(souths)s, %(easts)s, %(norths)s)
            b(west, south, east, north)
        WHERE p.lon BETWEEN b.west AND b.east AND p.lat BETWEEN b.south AND b.north))
GROUP BY k.i
"""

# One row of packed arrays: 1.0 us a fix where rows take 2.7. Each device's part is cut out in
# time, as partitions are; with a LIMIT instead each page would sort all that follows it.
# FUTURE and STALE (3, 4) are outside the fold.
_FIXES = """
SELECT array_send(array_agg(i)), array_send(array_agg(fix_time)), array_send(array_agg(seq)),
    array_send(array_agg(quality)), array_send(array_agg(lon)), array_send(array_agg(lat)),
    array_send(array_agg(speed_mps)), array_send(array_agg(accuracy_m))
FROM (
    SELECT k.i, p.* FROM unnest(%(i)s, %(ids)s, %(after)s, %(seq)s, %(until)s)
        k(i, device_id, after, seq, until)
    CROSS JOIN LATERAL (
        SELECT fix_time, seq, quality, lon, lat, COALESCE(speed_mps, 'NaN') AS speed_mps,
            COALESCE(accuracy_m, 'NaN') AS accuracy_m
        FROM position p
        WHERE p.device_id = k.device_id AND p.fix_time >= k.after AND p.fix_time < k.until
            AND (p.fix_time, p.seq) > (k.after, k.seq) AND p.quality NOT IN (3, 4)
        ORDER BY p.fix_time, p.seq) p
    LIMIT %(limit)s) fixes
"""
_WIRE = (">i4", ">i8", ">i8", ">i2", ">f8", ">f8", ">f4", ">f4")


class StoredFence(NamedTuple):
    """One version of a fence, and its attributes as JSON."""

    row: VersionRow
    attrs: bytes


class Subject(NamedTuple):
    """A device, as events and fences name it, and the time of its newest ok fix."""

    device: Device
    groups: frozenset[str]
    tags: frozenset[str]
    newest_us: int


class Near(NamedTuple):
    """The first and the last fix of a device near the fences."""

    first_us: int
    last_us: int


@dataclass(frozen=True, slots=True)
class Reach:
    """Which part of whose history: behind the key (after_us, seq) and before `until_us`."""

    device: Ints  # what the caller knows it by
    device_id: Ints
    after_us: Ints
    seq: Ints
    until_us: Ints


async def only_reads(conn: Connection) -> None:
    """Have the server refuse every write of this connection."""
    await conn.execute("SET default_transaction_read_only = on")


async def fences_about(
    conn: Connection, tenant_id: int, ids: Collection[str], layers: Collection[str]
) -> list[StoredFence]:
    """Every version of the fences `ids`, and of all that ever shared a layer with one of them or
    were in one of `layers`, by fence and version.
    """  # noqa: D205 -- one contract
    cursor = await conn.execute(
        _FENCES, {"tenant_id": tenant_id, "ids": list(ids), "layers": list(layers)}, binary=True
    )
    return [StoredFence(VersionRow(*row[:-1]), row[-1]) for row in await cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class Whom:
    """Whose history: devices of a tenant that were heard since, by name and by audience.

    None for `names` or `audiences` is everyone.
    """

    tenant: str
    tenant_id: int
    names: tuple[str, ...] | None
    audiences: tuple[Audience, ...] | None
    since_us: int

    def _values(self) -> dict[str, object]:
        audiences = self.audiences or ()
        return {
            "tenant_id": self.tenant_id,
            "start": from_us(self.since_us),
            "names": None if self.names is None else list(self.names),
            "everyone": self.audiences is None,
            "devices": [name for audience in audiences for name in audience.devices],
            "groups": [name for audience in audiences for name in audience.groups],
            "tags": [name for audience in audiences for name in audience.tags],
        }

    async def count(self, conn: Connection) -> int:
        """How many there are."""
        cursor = await conn.execute("SELECT count(*)" + _DEVICES, self._values())
        row = await cursor.fetchone()
        return row[0] if row else 0

    async def unknown(self, conn: Connection) -> list[str]:
        """Those of the names that no device has, sorted."""
        cursor = await conn.execute(
            "SELECT n FROM unnest(%s) n WHERE NOT EXISTS "
            "(SELECT FROM device d WHERE d.tenant_id = %s AND d.name = n) ORDER BY n",
            (texts(self.names or ()), self.tenant_id),
        )
        return [row[0] for row in await cursor.fetchall()]

    async def page(self, conn: Connection, after_id: int, limit: int) -> list[Subject]:
        """The next of them by id."""
        cursor = await conn.execute(
            "SELECT d.id, d.name, d.groups, d.tags, s.fix_time"
            + _DEVICES
            + "AND d.id > %(after_id)s ORDER BY d.id LIMIT %(limit)s",
            {**self._values(), "after_id": after_id, "limit": limit},
        )
        return [
            Subject(
                Device(self.tenant, self.tenant_id, name, id_),
                frozenset(groups),
                frozenset(tags),
                to_us(fix_time),
            )
            async for id_, name, groups, tags, fix_time in cursor
        ]


async def checkpoints_before(
    conn: Connection, device_id: Ints, before_us: Ints
) -> dict[int, Checkpoint]:
    """The last checkpoint of each device before a moment, by its place in the arguments."""
    cursor = await conn.execute(_CHECKPOINTS, (Int8s(device_id), Times(before_us)), binary=True)
    return {row[0]: Checkpoint(to_us(row[1]), *row[2:]) for row in await cursor.fetchall()}


async def first_fixes(conn: Connection, device_id: Ints) -> dict[int, int]:
    """The time of the first fix of each device that has one, by its place in the argument."""
    cursor = await conn.execute(_FIRST, (Int8s(device_id),))
    return {i: to_us(time) for i, time in await cursor.fetchall() if time is not None}


async def fixes_near(
    conn: Connection, device_id: Ints, since_us: Ints, until_us: int, bounds: Sequence[Bounds]
) -> dict[int, Near]:
    """Which devices were in one of the boxes (degrees, unwrapped) from their `since_us` on, by
    their place in the arguments. Of many boxes the one around all counts.
    """  # noqa: D205 -- one contract
    if not len(device_id) or not bounds:
        return {}
    boxes = np.array(list(wrapped(bounds)))
    around = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    by_box = 1 < len(boxes) <= _BOXES
    values: dict[str, Any] = {
        "ids": Int8s(device_id),
        "since": Times(since_us),
        "first": from_us(int(since_us.min())),
        "until": from_us(until_us),
        "boxes": not by_box,
    }
    names = ("west", "south", "east", "north")
    values |= dict(zip(names, around.tolist(), strict=True))
    chosen = boxes if by_box else boxes[:0]
    values |= {f"{name}s": Float8s(chosen[:, i]) for i, name in enumerate(names)}
    cursor = await conn.execute(_NEAR, values)
    return {i: Near(to_us(first), to_us(last)) for i, first, last in await cursor.fetchall()}


async def read_fixes(conn: Connection, reach: Reach, limit: int) -> FixColumns | None:
    """The fixes within reach, by device and in order; None where there are `limit` or more.

    `device` is the reach's. Qualities are those stored.
    """
    cursor = await conn.execute(
        _FIXES,
        {
            "i": Int4s(reach.device),
            "ids": Int8s(reach.device_id),
            "after": Times(reach.after_us),
            "seq": Int8s(reach.seq),
            "until": Times(reach.until_us),
            "limit": limit,
        },
        binary=True,
    )
    row = await cursor.fetchone()
    if row is None or row[0] is None:
        columns = [np.empty(0, wire) for wire in _WIRE]
    else:
        columns = [unpacked(packed, wire) for packed, wire in zip(row, _WIRE, strict=True)]
    if len(columns[0]) >= limit:
        return None
    device, time_us, seq, quality = (column.astype(np.int64) for column in columns[:4])
    lon, lat, speed_mps, accuracy_m = (column.astype(np.float64) for column in columns[4:])
    return FixColumns.of(
        device=device,
        time_us=time_us + PG_EPOCH_US,
        seq=seq,
        quality=quality,
        lon=lon,
        lat=lat,
        speed_mps=speed_mps,
        accuracy_m=accuracy_m,
    )
