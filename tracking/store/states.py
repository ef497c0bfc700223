"""`device_state` and `checkpoint`: what is known of each device, and where repairs start."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracking.fold.state import DeviceState, StateArray, as_bytes, dump_state, take_states
from tracking.store.arrays import (
    Blobs,
    Column,
    Fixed,
    Float4s,
    Float8s,
    Int2s,
    Int8s,
    Rows,
    Texts,
    Times,
)
from tracking.store.connection import Connection, type_oid
from tracking.store.eventlog import Device
from tracking.store.readings import PositionRows
from tracking.times import EARLIEST_US, from_us

Ints = NDArray[np.int64]
Floats = NDArray[np.floating]

# Rows are locked in device order, so writers that share devices cannot deadlock. Only states
# another writer moved come back; the usual answer is empty.
_LOCK = """
WITH locked AS MATERIALIZED (
    SELECT s.device_id, s.version, s.fold, s.presences, k.version AS cached
    FROM unnest(%s, %s) k(device_id, version) JOIN device_state s USING (device_id)
    ORDER BY s.device_id FOR NO KEY UPDATE OF s)
SELECT device_id, version, fold, presences FROM locked WHERE version <> cached
"""

_UPDATE = """
UPDATE device_state s SET
    version = s.version + 1, fold = u.fold, motion = u.motion,
    presences = CASE WHEN u.presences IS NULL THEN s.presences ELSE NULLIF(u.presences, '') END,
    odometer_m = u.odometer_m,
    missing_seq = u.missing_seq, heard_at = GREATEST(s.heard_at, NULLIF(u.heard_at, 'epoch')),
    silent_since = CASE WHEN u.heard_at = 'epoch' THEN s.silent_since END,
    received = s.received + u.received, stored = s.stored + u.stored,
    duplicate = s.duplicate + u.duplicate, conflict = s.conflict + u.conflict,
    late = s.late + u.late
FROM unnest(%s::ingest_state_2[]) u
WHERE s.device_id = u.device_id AND s.version = u.version
"""

_MOVE = """
UPDATE device_state s SET
    version = s.version + 1, fold = u.fold, motion = u.motion,
    presences = CASE WHEN u.presences IS NULL THEN s.presences ELSE NULLIF(u.presences, '') END,
    odometer_m = u.odometer_m,
    missing_seq = u.missing_seq, heard_at = GREATEST(s.heard_at, NULLIF(u.heard_at, 'epoch')),
    silent_since = CASE WHEN u.heard_at = 'epoch' THEN s.silent_since END,
    received = s.received + u.received, stored = s.stored + u.stored,
    duplicate = s.duplicate + u.duplicate, conflict = s.conflict + u.conflict,
    late = s.late + u.late,
    fix_time = u.fix_time, seq = u.seq, received_at = u.received_at, lon = u.lon, lat = u.lat,
    alt_m = NULLIF(u.alt_m, 'NaN'), speed_mps = NULLIF(u.speed_mps, 'NaN'),
    course_deg = NULLIF(u.course_deg, 'NaN'), accuracy_m = NULLIF(u.accuracy_m, 'NaN'),
    battery = NULLIF(u.battery, 'NaN'), h3 = u.h3, attrs = u.attrs::jsonb
FROM unnest(%s::ingest_state_2[]) u
WHERE s.device_id = u.device_id AND s.version = u.version
"""

_REFRESH = """
UPDATE device_state s SET
    version = s.version + 1, fold = %(fold)s, presences = %(presences)s, motion = %(motion)s,
    odometer_m = %(odometer_m)s,
    missing_seq = %(missing_seq)s, fix_time = p.fix_time, seq = p.seq,
    received_at = p.received_at, lon = p.lon, lat = p.lat, alt_m = p.alt_m,
    speed_mps = p.speed_mps, course_deg = p.course_deg, accuracy_m = p.accuracy_m,
    battery = p.battery, h3 = p.h3, attrs = p.attrs
FROM (SELECT 1) one LEFT JOIN position p
    ON p.device_id = %(device_id)s AND p.fix_time = %(ok_time)s AND p.seq = %(ok_seq)s
WHERE s.device_id = %(device_id)s
"""


@dataclass(slots=True)
class Counts:
    """Ledger increments of a batch, one element per device."""

    received: Ints
    stored: Ints
    duplicate: Ints
    conflict: Ints
    late: Ints

    @classmethod
    def zeros(cls, n: int) -> "Counts":
        """No increments for `n` devices."""
        return cls(*(np.zeros(n, np.int64) for _ in range(5)))


async def lock_states(
    conn: Connection, device_id: Ints, version: Ints
) -> list[tuple[int, int, bytes | None, bytes | None]]:
    """Lock the rows until the transaction ends; return (id, version, fold, presences) of those
    whose version is not the given one.
    """  # noqa: D205 -- one contract
    cursor = await conn.execute(_LOCK, (Int8s(device_id), Int8s(version)), binary=True)
    return await cursor.fetchall()


async def save_states(
    conn: Connection,
    *,
    device_id: Ints,
    version: Ints,
    states: StateArray,
    presences: Sequence[bytes | None],
    counts: Counts,
    heard_us: Ints,
    moved: Ints,
    latest: PositionRows,
) -> bool:
    """Write states that were derived from the given versions, raise those, count the ledger.

    Of `presences` None means as before, and an empty string none: most stay as they are.
    `heard_us` is 0 of devices that were not heard, as of what a backfill brings.
    `latest` are the new places of the devices `moved`, as indexes into the other columns.

    False when another writer moved one of them meanwhile: then the transaction must be undone.
    """
    oid = type_oid(conn, "ingest_state_2")

    def rows(chosen: Ints, place: list[Column], attrs: list[bytes | None]) -> Rows:
        known: list[Column] = [
            (Int8s, device_id[chosen]),
            (Int8s, version[chosen]),
            (Fixed, as_bytes(take_states(states, chosen))),
            (Int2s, states["motion"][chosen]),
            (Float8s, states["odometer_m"][chosen]),
            (Int8s, states["seq_missing"][chosen]),
            (Times, heard_us[chosen]),
            *[(Int8s, getattr(counts, member.name)[chosen]) for member in fields(counts)],
        ]
        near = [presences[row] for row in chosen.tolist()]
        return Rows(oid, known + place, [(Texts, attrs), (Blobs, near)])

    still = np.setdiff1d(np.arange(len(device_id)), moved, assume_unique=True)
    written = 0
    if len(still):
        nowhere = [(kind, np.zeros(len(still), np.int64)) for kind, _ in _place(latest)]
        stay = rows(still, nowhere, [None] * len(still))
        written += (await conn.execute(_UPDATE, (stay,))).rowcount
    if len(moved):
        move = rows(moved, _place(latest), latest.attrs)
        written += (await conn.execute(_MOVE, (move,))).rowcount
    return written == len(device_id)


def _place(latest: PositionRows) -> list[Column]:
    return [
        (Times, latest.fix_time_us),
        (Int8s, latest.seq),
        (Times, latest.received_us),
        (Float8s, latest.lon),
        (Float8s, latest.lat),
        (Float4s, latest.alt_m),
        (Float4s, latest.speed_mps),
        (Float4s, latest.course_deg),
        (Float4s, latest.accuracy_m),
        (Float4s, latest.battery),
        (Int8s, latest.h3),
    ]


class Locked(NamedTuple):
    """A device under lock: who it is, as fences name it too, and its fold state."""

    device: Device
    groups: frozenset[str]
    tags: frozenset[str]
    fence_revision: int  # of its tenant, now
    fold: bytes | None


async def lock_device(conn: Connection, device_id: int) -> Locked | None:
    """Lock one device until the transaction ends."""
    cursor = await conn.execute(
        "SELECT t.name, t.id, d.name, d.id, d.groups, d.tags, t.fence_revision, "
        "s.fold FROM device_state s "
        "JOIN device d ON d.id = s.device_id JOIN tenant t ON t.id = d.tenant_id "
        "WHERE s.device_id = %s FOR NO KEY UPDATE OF s",
        (device_id,),
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    return Locked(Device(*row[:4]), frozenset(row[4]), frozenset(row[5]), row[6], row[7])


async def refresh_state(conn: Connection, device_id: int, state: DeviceState) -> None:
    """Write a repaired state of a locked device, and the latest fix it stands on."""
    fold, presences = dump_state(state)
    await conn.execute(
        _REFRESH,
        {
            "device_id": device_id,
            "fold": fold,
            "presences": presences,
            "motion": state.motion,
            "odometer_m": state.odometer_m,
            "missing_seq": state.seq_missing,
            "ok_time": from_us(max(state.ok_us, EARLIEST_US)),
            "ok_seq": state.ok_seq,
        },
    )
