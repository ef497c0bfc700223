"""The repair queue and the checkpoints: where history changed, and where to start again."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracking.fold.state import NEVER
from tracking.store.arrays import Blobs, Int4s, Int8s, Times
from tracking.store.connection import Connection
from tracking.times import EARLIEST_US, from_us, to_us

Ints = NDArray[np.int64]

_QUEUE = """
INSERT INTO repair (device_id, tenant_id, fix_time, seq, fixes)
SELECT u.*, %(fixes)s FROM unnest(%(device_id)s, %(tenant_id)s, %(fix_time)s, %(seq)s) u
ON CONFLICT (device_id) DO UPDATE SET
    (fix_time, seq) = (SELECT r.* FROM (VALUES (excluded.fix_time, excluded.seq),
        (repair.fix_time, repair.seq)) r(fix_time, seq) ORDER BY 1, 2 LIMIT 1),
    fixes = repair.fixes OR excluded.fixes
WHERE (excluded.fix_time, excluded.seq) < (repair.fix_time, repair.seq)
    OR excluded.fixes AND NOT repair.fixes
"""

# The rows are there: `_QUEUE` came before.
_BACKFILLED = """
UPDATE repair r SET backfill_until = greatest(r.backfill_until, u.until), quiet = r.quiet OR %s
FROM unnest(%s, %s) u(device_id, until) WHERE r.device_id = u.device_id
"""

_CHECKPOINT = """
INSERT INTO checkpoint (device_id, fix_time, seq, fold, presences)
SELECT * FROM unnest(%s, %s, %s, %s, %s)
ON CONFLICT (device_id, fix_time, seq)
DO UPDATE SET fold = excluded.fold, presences = excluded.presences
"""

_NEAREST = """
SELECT fix_time, seq, fold, presences FROM checkpoint
WHERE device_id = %s AND (fix_time, seq) < (%s, %s) ORDER BY fix_time DESC, seq DESC LIMIT 1
"""


async def queue_repairs(
    conn: Connection,
    device_id: Ints,
    tenant_id: Ints,
    fix_time_us: Ints,
    seq: Ints,
    *,
    fixes: bool = True,
) -> None:
    """Ask for devices to be folded again from the given fixes on; the earliest request counts.

    `fixes` tells that there are fixes that were not there before, and not only other fences.
    """
    if len(device_id):
        await conn.execute(
            _QUEUE,
            {
                "device_id": Int8s(device_id),
                "tenant_id": Int4s(tenant_id),
                "fix_time": Times(fix_time_us),
                "seq": Int8s(seq),
                "fixes": fixes,
            },
        )


async def mark_backfilled(
    conn: Connection, device_id: Ints, until_us: Ints, *, quiet: bool
) -> None:
    """Note of queued repairs that a backfill is why, up to the given fixes."""
    if len(device_id):
        await conn.execute(_BACKFILLED, (quiet, Int8s(device_id), Times(until_us)))


async def waiting_repairs(conn: Connection, limit: int) -> list[int]:
    """Devices that wait, longest first. Nothing is locked: another worker may be faster."""
    cursor = await conn.execute(
        "SELECT device_id FROM repair ORDER BY queued_at LIMIT %s", (limit,)
    )
    return [row[0] for row in await cursor.fetchall()]


class Request(NamedTuple):
    """From which fix on a device is to be folded again, and whether for other fixes than before.

    What fixes up to `backfill_until_us` tell is a backfill's, and `quiet` where that is.
    """

    time_us: int
    seq: int
    backfill_until_us: int = NEVER
    quiet: bool = False
    fixes: bool = True


async def take_repair(conn: Connection, device_id: int) -> Request | None:
    """Remove a device's request and return it; None when already taken.

    The device must be locked: ingest queues under the same lock.
    """
    cursor = await conn.execute(
        "DELETE FROM repair WHERE device_id = %s "
        "RETURNING fix_time, seq, backfill_until, quiet, fixes",
        (device_id,),
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    fix_time, seq, until, quiet, fixes = row
    until_us = NEVER if until is None else to_us(until)
    return Request(to_us(fix_time), seq, until_us, quiet, fixes)


class Checkpoint(NamedTuple):
    """A device's state as it was after the fix (time_us, seq)."""

    time_us: int
    seq: int
    fold: bytes | None
    presences: bytes | None


_BEGINNING = Checkpoint(NEVER, NEVER, None, None)


async def save_checkpoints(conn: Connection, checkpoints: Sequence[tuple[int, Checkpoint]]) -> None:
    """Keep states as they were after a fix, each with its device's id."""
    if not checkpoints:
        return
    device_id = [id_ for id_, _ in checkpoints]
    time_us, seq, fold, presences = zip(*(kept for _, kept in checkpoints), strict=True)
    await conn.execute(
        _CHECKPOINT,
        (Int8s(device_id), Times(time_us), Int8s(seq), Blobs(fold), Blobs(presences)),
    )


async def nearest_checkpoint(
    conn: Connection, device_id: int, before_us: int, before_seq: int
) -> Checkpoint:
    """The last checkpoint before a fix; the beginning, without a state, when there is none."""
    cursor = await conn.execute(_NEAREST, (device_id, from_us(before_us), before_seq))
    row = await cursor.fetchone()
    return _BEGINNING if row is None else Checkpoint(to_us(row[0]), *row[1:])


async def drop_checkpoints(conn: Connection, device_id: int, after_us: int, after_seq: int) -> None:
    """Forget what was folded on the old history: every checkpoint behind the given one."""
    await conn.execute(
        "DELETE FROM checkpoint WHERE device_id = %s AND (fix_time, seq) > (%s, %s)",
        (device_id, from_us(max(after_us, EARLIEST_US)), after_seq),
    )
